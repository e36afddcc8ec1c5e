"""When a placement was lost and is made again: the decisions, without I/O.

A resource partition that is set back to an older snapshot has lost the placements made since then, while the pods they
were for are bound in their tenant partitions, and run. Nobody claims for a pod that is bound, and its room would be
given away twice. So the placement is made again, with what the pod says; but most pods that seem to have none are just
seen a moment before it. Hence, and in this order:

- A tenant partition shows the pod alive and bound to one of our nodes, and our partition shows no placement of it there
  for longer than a grace period.
- Both partitions are asked. The tenant partition has this very pod, alive, on this node, and ours has no placement of
  it: it is made. Ours has one on another node, which the pod had before it came to this one, in a history that has been
  set back: that one goes, and the next answer makes the right one. Anything else, or no answer: ask again later.

What was made for a pod that has gone meanwhile is released like any other (`placement_release_core.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.devices import recorded_devices
from ...proto.host_ports import read_host_ports
from ...proto.objects import Object, ObjectKey, decode, encode
from ..informer import Event, EventType
from ..operations import delete_operation
from ..placements import PLACEMENTS, create_placement, placed_requests, placement_spec
from .pods import NodeName, is_finished, node_of

# Pods gone through in one round, most of which may be of a tenant partition that is away.
ROUND_MAX = 4096


class Suspect(NamedTuple):
    """Ask this tenant partition for this pod, and ours for its placement, which is named by the pod's uid."""

    tenant_partition: str
    pod: ObjectKey
    uid: str


class _Bound(NamedTuple):
    suspect: Suspect
    node: str


class LostPlacementsCore:
    """Of the resource partition `home`. `placements` and `nodes` are informers' caches; times are in seconds of the
    caller's clock."""

    def __init__(
        self,
        home: str,
        placements: Mapping[ObjectKey, Object],
        nodes: Mapping[ObjectKey, Object],
        grace_seconds: float,
        showing: Callable[[Object], Mapping[str, Object]] = lambda _: {},
    ) -> None:
        """`showing`: a pod as the views of tenant partitions show it at the moment."""
        self._home = home
        self._showing = showing
        self._placements, self._nodes = placements, nodes
        self._grace_seconds = grace_seconds
        # Pods shown to be on our nodes and alive, by uid.
        self._bound: dict[str, _Bound] = {}
        # Those without a placement there, and since when they are waited for, the longest waiting first.
        self._lacking: dict[str, float] = {}

    @property
    def lacking(self) -> int:
        """How many pods are without a placement, as far as is seen."""
        return len(self._lacking)

    # ------------------------------------------------------------------------------------------------------- events

    def pod_event(self, tenant_partition: str, event: Event, now: float) -> None:
        """A pod on one of our nodes has come, changed or gone. The hot path."""
        pod = event.object
        uid = pod.uid
        if event.type is EventType.DELETED or is_finished(pod):
            bound = self._bound.get(uid)
            if bound is not None and bound.suspect.tenant_partition == tenant_partition:
                others = [each for each in self._showing(pod) if each != tenant_partition]
                if event.type is EventType.DELETED and others:  # Its tenant has moved.
                    self._bound[uid] = bound._replace(suspect=bound.suspect._replace(tenant_partition=others[0]))
                    return
                del self._bound[uid]
                self._lacking.pop(uid, None)
        elif uid not in self._bound or (event.old is not None and event.old.message.spec != pod.message.spec):
            # A bound pod stays where it is; but one whose partition was set back may have been bound again, elsewhere.
            node = node_of(pod)
            if node is not None and node.partition == self._home:
                self._bound[uid] = _Bound(Suspect(tenant_partition, pod.key, uid), node.node)
                self._look(uid, self._placements.get(ObjectKey("", "", uid)), now)

    def partition_left(self, tenant_partition: str) -> None:
        """A tenant partition is none any more, and nobody's word for its pods."""
        for uid, bound in list(self._bound.items()):
            if bound.suspect.tenant_partition == tenant_partition:
                del self._bound[uid]
                self._lacking.pop(uid, None)

    def placement_event(self, event: Event, now: float) -> None:
        """A placement was made or has gone."""
        if event.object.name in self._bound:
            self._look(event.object.name, None if event.type is EventType.DELETED else event.object, now)

    def _look(self, uid: str, placement: Object | None, now: float) -> None:
        self._lacking.pop(uid, None)  # So that it goes to the end.
        if placement is None or _node(placement) != self._bound[uid].node:
            self._lacking[uid] = now

    # ---------------------------------------------------------------------------------------------------- questions

    def suspects(self, now: float, answering: Collection[str], most: int) -> list[Suspect]:
        """Whom to ask about, of the tenant partitions that can answer; about each again only after a grace period."""
        asked: list[Suspect] = []
        for uid, since in list(islice(self._lacking.items(), ROUND_MAX)):
            if now - since < self._grace_seconds or len(asked) >= most:
                break
            del self._lacking[uid]
            self._lacking[uid] = now
            suspect = self._bound[uid].suspect
            if suspect.tenant_partition in answering:
                asked.append(suspect)
        return asked

    def answer(self, suspect: Suspect, pod: Object | None, placement: Object | None) -> pb.Operation | None:
        """What to do, now that the partitions have said what they have under these names; None: nothing.

        Raises:
            ValueError: the pod's requests make no sense, so nobody knows what it takes.
        """
        bound = self._bound.get(suspect.uid)
        if bound is None or suspect.uid not in self._lacking:
            return None  # It was seen to be in order while the question was on its way.
        if pod is None or pod.uid != suspect.uid or is_finished(pod):
            return None
        if node_of(pod) != NodeName(self._home, bound.node):
            return None
        if placement is None:
            return self._make(bound, pod)
        spec = decode(placement.message.spec)
        if spec["node"] == bound.node or spec["tenantPartition"] != suspect.tenant_partition:
            return None  # Our view has not come to it; or it is another partition's pod, and no business of ours.
        return delete_operation(PLACEMENTS, placement.key, uid=placement.uid)

    def _make(self, bound: _Bound, pod: Object) -> pb.Operation | None:
        node = self._nodes.get(ObjectKey("", "", bound.node))
        if node is None:
            return None  # Lost with the rest: its kubelet registers it again, or its pods are collected.
        spec, suspect = decode(pod.message.spec), bound.suspect
        requests = placed_requests(spec)
        claim = placement_spec(
            bound.node,
            node.uid,
            suspect.tenant_partition,
            suspect.pod,
            pod.uid,
            requests,
            host_ports=read_host_ports(spec),
            devices=recorded_devices(pod.message.metadata.annotations, requests),
        )
        return create_placement(pod.uid, encode({**claim, "bound": True}))


def made(operations: Sequence[pb.Operation], results: Sequence[pb.Result]) -> tuple[int, int]:
    """How many placements were made again by these, and how many went. What was refused is asked about again."""
    done = [operation for operation, result in zip(operations, results, strict=True) if not result.HasField("error")]
    created = sum(operation.HasField("create") for operation in done)
    return created, len(done) - created


def _node(placement: Object) -> str:
    return str(decode(placement.message.spec)["node"])
