"""What the nodes of a process owe their resource partition: to be there, and a sign of life. No I/O.

A node registers by Create. One of its name that is there already (this process was restarted) is taken over: it gets
the manifest's labels and status and keeps the rest, such as its taints. Its Lease is renewed every ten seconds. All
leases that are due go out in one batch, at few times per interval: messages cost, operations hardly do. The Node
itself is written again every few minutes, at once when somebody has declared it not ready, and anew, with growing
pauses, when somebody has deleted it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.kinds import BY_KIND, NODE_LEASE_NAMESPACE, SYSTEM_TENANT
from ...proto.objects import Object, ObjectKey, decode, encode, format_time
from ...proto.restores import TOLD_ANNOTATION
from ..operations import create_operation, patch_operation, update_status_operation
from .options import HollowNodesOptions

NODES_RESOURCE = BY_KIND["Node"].resource
LEASE = BY_KIND["Lease"]

# Leases are renewed at this many times per interval at most: four batches of a thousand leases each cost half of what
# ten of a hundred do, and no single one keeps pods' messages waiting for long.
LEASE_TIMES_PER_INTERVAL_MAX = 4
# Below this many leases a second time is not worth its messages; it is also what one batch carries.
LEASES_PER_TIME_MIN = 256

# A node that somebody deletes again and again comes back after one second, two, ... a minute.
REGISTER_SECONDS_MIN = 1.0
REGISTER_SECONDS_MAX = 60.0
# The least time between two reports of one node, should somebody contradict each.
REPORT_SECONDS_MIN = 1.0

# Times closer than this are the same: sums of floats differ in their last digits.
_SLACK_SECONDS = 0.001


class Purpose(enum.Enum):
    REGISTER = "register"
    TAKE_OVER = "take over"
    REPORT = "report"
    CREATE_LEASE = "create lease"
    RENEW_LEASE = "renew lease"


class Write(NamedTuple):
    node: HostedNode
    purpose: Purpose
    operation: pb.Operation


class HostedNode:
    """A node of this process. Times are seconds since 1970."""

    __slots__ = (
        "error",
        "lease",
        "lease_at",
        "lease_exists",
        "manifest",
        "name",
        "ready",
        "ready_since",
        "register_at",
        "register_pause",
        "registered",
        "registered_at",
        "report_at",
        "reported_at",
        "slot",
        "status",
        "taking_over",
        "told",
        "uid",
    )

    def __init__(self, manifest: Object, slot: int) -> None:
        self.manifest = manifest
        self.name = manifest.name
        self.slot = slot
        self.registered = False
        self.registered_at = -math.inf
        self.register_at = -math.inf
        self.register_pause = REGISTER_SECONDS_MIN
        self.taking_over = False
        self.error = ""  # Why it is not registered.
        self.uid = ""  # Of its Node, as it was seen last; empty: it is not there.
        self.told = ""  # The incarnation to which it was said what runs here; see `telling.py`.
        self.status = b""  # As we wrote it last.
        self.ready = ""  # The status of the Ready condition in it.
        self.ready_since = -math.inf
        self.report_at = math.inf
        self.reported_at = -math.inf
        self.lease_at = math.inf
        self.lease_exists = False
        self.lease = pb.Object(
            api_version=LEASE.api_version,
            kind=LEASE.kind,
            metadata=pb.ObjectMeta(tenant=SYSTEM_TENANT, namespace=NODE_LEASE_NAMESPACE, name=self.name),
        )


class Registrar:
    """Ask `due` what to write and tell `answered` what came of it."""

    def __init__(self, random: Random, options: HollowNodesOptions) -> None:
        self.nodes: dict[str, HostedNode] = {}
        self._options = options
        # So that processes that were started together do not renew together.
        self._phase = random.uniform(0, options.lease_renew_seconds)
        self._added = 0
        self._viewed: dict[str, None] | None = None  # The nodes in the view that is being taken.
        self._view_began = -math.inf

    def add(self, manifest: Object) -> None:
        self.nodes[manifest.name] = HostedNode(manifest, self._added)
        self._added += 1

    def remove(self, name: str) -> None:
        self.nodes.pop(name, None)

    # ------------------------------------------------------------------------------------------- what to write

    def due(self, now: float) -> list[Write]:
        soon = now + _SLACK_SECONDS
        writes: list[Write] = []
        for node in self.nodes.values():
            if not node.registered:
                if node.register_at <= soon:
                    writes.extend(self._registration(node, now))
                continue
            if node.report_at <= soon:
                writes.append(self._report(node, now))
            if node.lease_at <= soon:
                writes.append(self._lease(node, now))
        return writes

    def next_due(self) -> float:
        """Infinity: nothing until something happens."""
        return min(
            (
                min(node.report_at, node.lease_at) if node.registered else node.register_at
                for node in self.nodes.values()
            ),
            default=math.inf,
        )

    def _registration(self, node: HostedNode, now: float) -> Iterator[Write]:
        node.ready_since = now
        if node.taking_over:
            # A map of protobuf is walked in another order in each process; the bytes that are sent must not be.
            labels = {"metadata": {"labels": dict(sorted(node.manifest.labels.items()))}}
            patch = patch_operation(NODES_RESOURCE, ObjectKey("", "", node.name), labels)
            yield Write(node, Purpose.TAKE_OVER, patch)
            yield self._report(node, now)
        else:
            whole = node.manifest.with_status(self._status(node, now))
            yield Write(node, Purpose.REGISTER, create_operation(whole))

    def _report(self, node: HostedNode, now: float) -> Write:
        manifest = node.manifest
        message = pb.Object(api_version=manifest.api_version, kind=manifest.kind)
        message.metadata.name = node.name
        report = Object(message).with_status(self._status(node, now))
        return Write(node, Purpose.REPORT, update_status_operation(report))

    def _status(self, node: HostedNode, now: float) -> Any:
        """The manifest's, with times in its conditions."""
        status = decode(node.manifest.message.status)
        conditions = status["conditions"] = list(status.get("conditions") or ())
        if not _ready(conditions):
            conditions.append({"type": "Ready", "status": "True"})
        for condition in conditions:
            condition["lastHeartbeatTime"] = format_time(round(now * 1000))
            condition["lastTransitionTime"] = format_time(round(node.ready_since * 1000))
        node.ready = _ready(conditions)
        node.status = encode(status)
        return status

    def _lease(self, node: HostedNode, now: float) -> Write:
        spec = {
            "holderIdentity": node.name,
            "leaseDurationSeconds": self._options.lease_duration_seconds,
            "renewTime": format_time(round(now * 1000)),
        }
        node.lease.spec = encode(spec)
        operation = pb.Operation(resource=LEASE.resource)
        if node.lease_exists:
            operation.update.object.CopyFrom(node.lease)
            return Write(node, Purpose.RENEW_LEASE, operation)
        operation.create.object.CopyFrom(node.lease)
        return Write(node, Purpose.CREATE_LEASE, operation)

    # ------------------------------------------------------------------------------------------- answers

    def answered(self, write: Write, result: pb.Result, now: float) -> None:
        node, purpose = write.node, write.purpose
        reason = result.error.reason if result.HasField("error") else ""
        if purpose is Purpose.REGISTER:
            self._register_answered(node, reason, result.error.message, now)
        elif purpose is Purpose.TAKE_OVER:
            if reason:
                self._not_registered(node, f"{reason}: {result.error.message}", now)
        elif purpose is Purpose.REPORT:
            self._report_answered(node, reason, result.error.message, now)
        else:
            self._lease_answered(node, reason, now)

    def _register_answered(self, node: HostedNode, reason: str, message: str, now: float) -> None:
        if not reason:
            self._registered(node, now)
        elif reason == "AlreadyExists":
            node.taking_over = True
        else:
            self._not_registered(node, f"{reason}: {message}", now)

    def _report_answered(self, node: HostedNode, reason: str, message: str, now: float) -> None:
        if node.registered:
            node.reported_at = now
            node.report_at = now + (REGISTER_SECONDS_MIN if reason else self._options.status_report_seconds)
            if reason == "NotFound":
                self._not_registered(node, "somebody has deleted it", now)
        elif reason:
            self._not_registered(node, f"{reason}: {message}", now)
        elif node.register_at <= now:  # Else the other half of the take-over was refused.
            self._registered(node, now)

    def _lease_answered(self, node: HostedNode, reason: str, now: float) -> None:
        if not reason:
            node.lease_exists = True
            node.lease_at = self._next_lease_time(node, now)
        elif reason in ("AlreadyExists", "NotFound"):
            node.lease_exists = reason == "AlreadyExists"
            node.lease_at = now
        else:
            node.lease_at = now + REGISTER_SECONDS_MIN

    def _registered(self, node: HostedNode, now: float) -> None:
        node.registered = True
        node.registered_at = node.reported_at = now
        node.taking_over = False
        node.error = ""
        node.report_at = now + self._options.status_report_seconds
        node.lease_at = now

    def _not_registered(self, node: HostedNode, why: str, now: float) -> None:
        if not node.registered and node.register_at > now:
            return  # Both halves of a take-over were refused: one pause for both.
        if node.registered and now - node.registered_at > REGISTER_SECONDS_MAX:
            node.register_pause = REGISTER_SECONDS_MIN
        node.registered = node.taking_over = False
        node.error = why
        node.register_at = now + node.register_pause
        node.register_pause = min(REGISTER_SECONDS_MAX, node.register_pause * 2)

    def _next_lease_time(self, node: HostedNode, now: float) -> float:
        """The node's turn in the coming interval."""
        interval = self._options.lease_renew_seconds
        turns = min(LEASE_TIMES_PER_INTERVAL_MAX, max(1, math.ceil(len(self.nodes) / LEASES_PER_TIME_MIN)))
        first = self._phase + node.slot % turns * interval / turns
        return first + (math.floor((now + _SLACK_SECONDS - first) / interval) + 1) * interval

    def untold(self, incarnation: str) -> dict[str, str]:
        """The uids, by name, of the nodes that are there and do not bear the mark of this incarnation."""
        return {node.name: node.uid for node in self.nodes.values() if node.uid and node.told != incarnation}

    # ------------------------------------------------------------------------------------------- the nodes' watch

    def view_started(self, now: float) -> None:
        self._viewed = {}
        self._view_began = now
        for node in self.nodes.values():
            node.uid = ""

    def view_complete(self, now: float) -> None:
        viewed, self._viewed = self._viewed or {}, None
        for node in self.nodes.values():
            if node.name not in viewed:
                node.uid = ""
            if node.registered and node.registered_at < self._view_began and node.name not in viewed:
                self._not_registered(node, "somebody has deleted it", now)

    def observed(self, message: pb.Object, now: float) -> None:
        name = message.metadata.name
        if self._viewed is not None:
            self._viewed[name] = None
        node = self.nodes.get(name)
        if node is None:
            return
        node.uid, node.told = message.metadata.uid, message.metadata.annotations.get(TOLD_ANNOTATION, "")
        if not node.registered or message.status == node.status:
            return
        if _ready(decode(message.status).get("conditions") or ()) != node.ready:
            node.ready_since = now
            node.report_at = min(node.report_at, max(now, node.reported_at + REPORT_SECONDS_MIN))

    def vanished(self, name: str, now: float) -> None:
        if self._viewed is not None:
            self._viewed.pop(name, None)
        node = self.nodes.get(name)
        if node is None:
            return
        node.uid = ""
        if node.registered:
            self._not_registered(node, "somebody has deleted it", now)


def _ready(conditions: Iterable[Mapping[str, Any]]) -> str:
    """The status of the Ready condition: True, False or Unknown; empty where there is none."""
    return next((str(each.get("status")) for each in conditions if each.get("type") == "Ready"), "")
