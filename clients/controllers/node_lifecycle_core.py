"""Decides which nodes are unreachable, and which of them may begin to lose their pods.

A node lives as long as its Lease is seen to change. "Seen" is by this controller's own clock: the times written in a
Lease are another machine's. A node whose Lease has not changed for the grace period is unreachable: its Ready condition
becomes Unknown and it gets the taints that keep pods away and, once they have tolerated it long enough, drive them out.

Losing sight is not the same as seeing nothing happen (Kubernetes #121793: one lost watch, and all nodes were dead). As
long as the view of nodes or leases is not complete and fresh nothing is judged, and when it is again, every node gets
its whole grace period anew; likewise when this controller itself was asleep. And when all nodes are unreachable at
once, it is the network or this controller that is ill: nothing is evicted then, and what pods tolerate is counted from
its end. Otherwise nodes begin to lose their pods one by one, at the rate of their zone (`node_zones.py`); where that is
none, those that had begun stop, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.kinds import BY_KIND, NODE_LEASE_NAMESPACE, SYSTEM_TENANT
from ...proto.objects import Object, ObjectKey, decode, format_time
from ..informer import Event, EventType
from ..operations import delete_operation, update_operation, update_status_operation
from .node_zones import Census, EvictionTurns, Health, Zone, evictions_per_second, zone_of
from .options import ResourceControllerOptions

LEASES = BY_KIND["Lease"].resource
# The Lease of a node that is gone is kept so long: its kubelet may be about to register again.
LEASE_KEEP_SECONDS = 600.0

UNREACHABLE = "node.kubernetes.io/unreachable"
_EFFECTS = ("NoSchedule", "NoExecute")
_LOST_REASON = "NodeStatusUnknown"


class _Watched:
    """What is known of one node."""

    __slots__ = ("lease_revision", "lost_at", "may_evict", "node", "renewed", "seen_at", "zone")

    def __init__(self, now: float) -> None:
        self.node: Object | None = None  # None: there is only its Lease.
        self.zone = Zone("", "")
        self.lease_revision = 0
        self.renewed = ""  # The renewTime last seen; compared for equality, never as a time.
        self.seen_at = now
        self.lost_at: float | None = None  # Since when it is unreachable.
        self.may_evict = False  # Its turn to lose pods has come.


class NodeLifecycleCore:
    """Of one resource partition. Times are trio's, in seconds."""

    def __init__(self, options: ResourceControllerOptions) -> None:
        self._options = options
        self._watched: dict[str, _Watched] = {}
        self._was_fresh = False
        self._turns = EvictionTurns()
        self.zones: dict[Zone, Census] = {}  # As the last tick found them.
        self._ticked_at = 0.0

    # --------------------------------------------------------------------------------------------------- events

    def node_event(self, event: Event, now: float) -> None:
        name = event.object.name
        watched = self._watched.get(name)
        if event.type is EventType.DELETED:
            # Its Lease stays behind; it is watched on until it goes too.
            has_lease = watched is not None and watched.renewed
            self._watched.pop(name, None)
            if watched is not None and has_lease:
                left = self._watched[name] = _Watched(now)
                left.renewed, left.lease_revision = watched.renewed, watched.lease_revision
            return
        if watched is None or (watched.node is not None and watched.node.uid != event.object.uid):
            watched = self._watched[name] = _Watched(now)
        if watched.node is None:
            watched.seen_at = now
        watched.node = event.object
        watched.zone = zone_of(event.object.labels)

    def lease_event(self, event: Event, now: float) -> None:
        name = event.object.name
        watched = self._watched.get(name)
        if event.type is EventType.DELETED:
            if watched is not None and watched.node is None:
                del self._watched[name]
            return
        if watched is None:
            watched = self._watched[name] = _Watched(now)
        watched.lease_revision = event.object.resource_version
        renewed = str(decode(event.object.message.spec).get("renewTime"))
        if renewed != watched.renewed:
            watched.renewed, watched.seen_at = renewed, now

    # -------------------------------------------------------------------------------------------------- decisions

    def tick(self, now: float, now_ms: int, fresh: bool) -> list[pb.Operation]:
        """Judge every node; returns the writes that make the Node objects say so.

        `fresh`: the views of nodes and of leases are both complete and fresh.
        """
        elapsed, self._ticked_at = now - self._ticked_at, now
        if elapsed > self._options.node_grace_seconds / 2:
            self._was_fresh = False  # Whoever did not look has seen no lease stand still.
        if not fresh:
            self._was_fresh = False
            return []
        if not self._was_fresh:
            self._was_fresh = True
            for watched in self._watched.values():
                watched.seen_at = now
        for watched in self._watched.values():
            self._judge(watched, now)
        self._let_evict(now, elapsed)
        marks = [operation for watched in self._known() for operation in _writes(watched, now_ms)]
        return marks + self._stale_leases(now)

    def _stale_leases(self, now: float) -> list[pb.Operation]:
        """Deletes of the Leases of nodes that are gone, unless they are renewed after all."""
        operations = []
        for name, watched in self._watched.items():
            if watched.node is None and now - watched.seen_at >= LEASE_KEEP_SECONDS:
                watched.seen_at = now
                key = ObjectKey(SYSTEM_TENANT, NODE_LEASE_NAMESPACE, name)
                operations.append(delete_operation(LEASES, key, resource_version=watched.lease_revision))
        return operations

    def evicting(self) -> list[tuple[str, float]]:
        """The nodes that may lose pods now, each with the time since when it is unreachable."""
        return [
            (watched.node.name, watched.lost_at)
            for watched in self._known()
            if watched.may_evict and watched.lost_at is not None and watched.node is not None
        ]

    def _judge(self, watched: _Watched, now: float) -> None:
        if now - watched.seen_at <= self._options.node_grace_seconds:
            watched.lost_at, watched.may_evict = None, False
        elif watched.lost_at is None:
            watched.lost_at = now

    def _let_evict(self, now: float, elapsed: float) -> None:
        """Let the next nodes begin to lose their pods, by the rates of their zones, unless all nodes are lost."""
        known = list(self._known())
        self.zones = _census(known)
        threshold = self._options.unhealthy_zone_threshold
        if all(census.health(threshold) is Health.FULL_DISRUPTION for census in self.zones.values()):
            for watched in known:
                watched.lost_at, watched.may_evict = now, False
            return
        rates = {zone: evictions_per_second(census, self._options) for zone, census in self.zones.items()}
        self._turns.pass_time(rates, elapsed)
        for watched in known:
            if not rates[watched.zone]:
                watched.may_evict = False
            elif watched.lost_at is not None and not watched.may_evict:
                watched.may_evict = self._turns.take(watched.zone)

    def _known(self) -> Iterator[_Watched]:
        return (watched for watched in self._watched.values() if watched.node is not None)


def _census(known: Iterable[_Watched]) -> dict[Zone, Census]:
    zones: dict[Zone, Census] = {}
    for watched in known:
        total, lost = zones.get(watched.zone, (0, 0))
        zones[watched.zone] = Census(total + 1, lost + (watched.lost_at is not None))
    return zones


def _writes(watched: _Watched, now_ms: int) -> Iterator[pb.Operation]:
    """What makes the Node object say what was judged. Both writes are refused if the node has changed since."""
    node, lost = watched.node, watched.lost_at is not None
    assert node is not None
    taints = _taints(node, lost, now_ms)
    if taints != list(node.spec.get("taints") or ()):
        # One at a time: the second would stand on a revision that the first has left behind.
        yield update_operation(node.with_spec({**node.spec, "taints": taints}))
        return
    conditions = _conditions(node, lost, now_ms)
    if conditions is not None:
        yield update_status_operation(node.with_status({**node.status, "conditions": conditions}))


def _taints(node: Object, lost: bool, now_ms: int) -> list[Any]:
    taints = list(node.spec.get("taints") or ())
    ours = [taint for taint in taints if taint.get("key") == UNREACHABLE]
    if lost == bool(ours):
        return taints
    if not lost:
        return [taint for taint in taints if taint.get("key") != UNREACHABLE]
    return taints + [{"key": UNREACHABLE, "effect": effect, "timeAdded": format_time(now_ms)} for effect in _EFFECTS]


def _conditions(node: Object, lost: bool, now_ms: int) -> list[Any] | None:
    """The conditions with Ready as it should be; None if it is."""
    conditions = list(node.status.get("conditions") or ())
    ready = next((condition for condition in conditions if condition.get("type") == "Ready"), {"type": "Ready"})
    if lost and ready.get("status") != "Unknown":
        wanted = ("Unknown", _LOST_REASON, "Kubelet stopped posting node status.")
    elif not lost and ready.get("reason") == _LOST_REASON:
        wanted = ("True", "KubeletReady", "kubelet is posting ready status")
    else:
        return None
    status, reason, message = wanted
    changed = {
        **ready,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": format_time(now_ms),
    }
    return [changed if condition is ready else condition for condition in conditions] or [changed]


def toleration_seconds(spec: Mapping[str, Any], default_seconds: float) -> float:
    """How long a pod stays on an unreachable node; infinity: for ever."""
    for toleration in spec.get("tolerations") or ():
        if toleration.get("effect") not in (None, "", "NoExecute"):
            continue
        key = toleration.get("key")
        if key not in (None, "", UNREACHABLE) or (not key and toleration.get("operator") != "Exists"):
            continue
        if toleration.get("operator") != "Exists" and toleration.get("value"):
            continue
        seconds = toleration.get("tolerationSeconds")
        return float("inf") if seconds is None else float(seconds)
    return default_seconds
