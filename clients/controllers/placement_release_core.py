"""When a placement may be released: the decisions, without I/O.

A placement holds room on a node for a pod that lives in another partition. Releasing it too early over-commits the
node; so **only the pod's own tenant partition ends it**:

- Its informer showed the pod on one of our nodes, and now shows it deleted or finished: release. (Deleted means that
  the kubelet has confirmed it.) This is the way of nearly every placement, and costs no question.
- It was never shown to us: the bind is on its way, or was given up, or the pod went while we did not watch. After a
  grace period the tenant partition is asked. No such pod, another uid under the name, bound elsewhere, finished:
  release. Not bound yet: ask again later. No answer: keep.

A release names the placement's own uid, so that what was decided about one placement never hits its successor.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.objects import Object, ObjectKey, decode
from ..informer import Event, EventType
from ..operations import delete_operation
from .pods import NodeName, is_finished, node_of

RESOURCE = "placements.ursa.dev"

# Unseen placements gone through in one round, most of which may be of a tenant partition that is away: 20 ms.
ROUND_MAX = 4096


class Question(NamedTuple):
    """Ask this tenant partition for this pod. `uid` is the pod's, and the placement's name."""

    tenant_partition: str
    pod: ObjectKey
    uid: str


class _Unseen(NamedTuple):
    since: float
    tenant_partition: str  # Empty until it was looked at.


def is_over(placement: Object, pod: Object | None) -> bool:
    """Whether what the tenant partition has under the pod's name (None: nothing) ends the placement."""
    if pod is None or pod.uid != placement.name or is_finished(pod):
        return True
    node = node_of(pod)
    return node is not None and node != NodeName(placement.partition, decode(placement.message.spec)["node"])


class PlacementReleaseCore:
    """Of one resource partition. `placements` is the informer's cache; times are in seconds of the caller's clock."""

    def __init__(self, placements: Mapping[ObjectKey, Object], grace_seconds: float) -> None:
        self._placements = placements
        self._grace_seconds = grace_seconds
        # Pods shown to be on our nodes and alive, by uid.
        self._shown: dict[str, None] = {}
        # Placements of pods that were not, the longest waiting first.
        self._unseen: dict[str, _Unseen] = {}
        # To be released: the uid of the placement by its name.
        self._over: dict[str, str] = {}

    # ------------------------------------------------------------------------------------------------------- events

    def placement_event(self, event: Event, now: float) -> None:
        """A placement was made or has gone."""
        uid = event.object.name
        if event.type is EventType.DELETED:
            self._unseen.pop(uid, None)
            self._over.pop(uid, None)
        elif event.type is EventType.ADDED and uid not in self._shown:
            self._wait(uid, now)

    def _wait(self, uid: str, now: float, tenant_partition: str = "") -> None:
        self._unseen.pop(uid, None)  # So that it goes to the end.
        self._unseen[uid] = _Unseen(now, tenant_partition)

    def pod_event(self, tenant_partition: str, event: Event) -> None:
        """A pod on one of our nodes has come, changed or gone. The hot path."""
        pod = event.object
        uid = pod.uid
        if event.type is EventType.DELETED or is_finished(pod):
            self._shown.pop(uid, None)
            self._end(uid, tenant_partition)
        elif uid not in self._shown:
            self._shown[uid] = None
            self._unseen.pop(uid, None)

    def _end(self, uid: str, tenant_partition: str) -> None:
        placement = self._placements.get(ObjectKey("", "", uid))
        # No partition speaks for the pods of another. (A placement that is shown only later is asked about.)
        if placement is not None and decode(placement.message.spec).get("tenantPartition") == tenant_partition:
            self._over[uid] = placement.uid
            self._unseen.pop(uid, None)

    # ---------------------------------------------------------------------------------------------------- questions

    def questions(self, now: float, answering: Collection[str], most: int) -> list[Question]:
        """What to ask the tenant partitions that can answer; each is asked again only after another grace period."""
        asked: list[Question] = []
        for uid, unseen in list(islice(self._unseen.items(), ROUND_MAX)):
            if now - unseen.since < self._grace_seconds or len(asked) >= most:
                break
            placement = self._placements.get(ObjectKey("", "", uid))
            if placement is None:
                del self._unseen[uid]
                continue
            tenant_partition = unseen.tenant_partition or decode(placement.message.spec).get("tenantPartition", "")
            self._wait(uid, now, tenant_partition)
            if tenant_partition in answering:
                asked.append(_question(placement, tenant_partition))
        return asked

    def answer(self, question: Question, pod: Object | None) -> bool:
        """What the tenant partition has under the pod's name. Returns whether the placement is to be released."""
        placement = self._placements.get(ObjectKey("", "", question.uid))
        # It may have been shown or released while the question was on its way.
        if placement is None or question.uid not in self._unseen or not is_over(placement, pod):
            return False
        del self._unseen[question.uid]
        self._over[question.uid] = placement.uid
        return True

    # ----------------------------------------------------------------------------------------------------- releases

    @property
    def has_releases(self) -> bool:
        return bool(self._over)

    def take_releases(self, most: int) -> list[pb.Operation]:
        """The next releases. Follow with `settle` or, where they may not have happened, `give_back`."""
        taken = list(islice(self._over.items(), most))
        for uid, _ in taken:
            del self._over[uid]
        return [delete_operation(RESOURCE, ObjectKey("", "", uid), uid=own_uid) for uid, own_uid in taken]

    def settle(self, operations: Sequence[pb.Operation], results: Sequence[pb.Result]) -> int:
        """The answers to releases. Returns how many were released by them."""
        released = 0
        for operation, result in zip(operations, results, strict=True):
            if not result.HasField("error"):
                released += 1
            # NotFound, or Conflict on the uid: it is gone, and a successor is judged by its own event.
            elif result.error.reason not in ("NotFound", "Conflict"):
                self.give_back([operation])
        return released

    def give_back(self, operations: Sequence[pb.Operation]) -> None:
        """They may not have happened: release them again, which is harmless."""
        for operation in operations:
            uid = operation.delete.target.name
            if ObjectKey("", "", uid) in self._placements:
                self._over[uid] = operation.delete.preconditions.uid


def _question(placement: Object, tenant_partition: str) -> Question:
    pod = decode(placement.message.spec)["pod"]
    return Question(tenant_partition, ObjectKey(pod["tenant"], pod["namespace"], pod["name"]), placement.name)
