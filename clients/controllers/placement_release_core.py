"""When a placement may be released: the decisions, without I/O.

A placement holds room on a node for a pod that lives in another partition. Releasing it too early over-commits the
node; so **only the pod's own tenant partition ends it**:

- Its informer showed the pod on one of our nodes, and now tells that it was deleted or has finished: release. (Deleted
  means that the kubelet has confirmed it.) This is the way of nearly every placement, and costs no question.
- It was removed from the registry: then its pods are gone with it, once their kubelets had time to learn of it.
- It was never shown to us: the bind is on its way, or was given up, or the pod went while we did not watch. After a
  grace period the tenant partition is asked. No such pod, another uid under the name, bound elsewhere, finished:
  release. Not bound yet: ask again later. No answer: keep.
- It was shown to us, and a full view does not show it any more. Its partition may have been set back to an older
  snapshot: the pod may live there, not bound yet, and its scheduler rely on the placement. Or its tenant has moved. The
  partition is asked at once, and the one to which the tenant has moved from there.
- Its tenant has moved, as the last word on it says, or the answer to a question: the placement is of the other tenant
  partition from now on, and says so. While two partitions show the pod, the one that did so first speaks for it.

A release names the placement's own uid, so that what was decided about one placement never hits its successor.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.objects import Object, ObjectKey, decode
from ...proto.tenants import MOVED_TO
from ..informer import Event, EventType
from ..operations import delete_operation, update_operation
from ..placements import PLACEMENTS
from .pods import NodeName, is_finished, node_of

# Unseen placements gone through in one round, most of which may be of a tenant partition that is away: 20 ms.
ROUND_MAX = 4096


class Question(NamedTuple):
    """Ask this tenant partition for this pod. `uid` is the pod's, and the placement's name."""

    tenant_partition: str
    pod: ObjectKey
    uid: str


class _Unseen(NamedTuple):
    """`since`: it was looked at last. `first`: its pod was first missed."""

    since: float
    first: float
    tenant_partition: str  # Empty until it was looked at.


def is_of_partition(placement: Object, partition: str) -> bool:
    """Whether it is of a pod of this partition. Most are not, and do not even have its name in them."""
    spec = placement.message.spec
    return partition.encode() in spec and decode(spec).get("tenantPartition") == partition


def is_over(placement: Object, pod: Object | None) -> bool:
    """Whether what the tenant partition has under the pod's name (None: nothing) ends the placement."""
    if pod is None or pod.uid != placement.name or is_finished(pod):
        return True
    node = node_of(pod)
    return node is not None and node != NodeName(placement.partition, decode(placement.message.spec)["node"])


# A pod as the views of tenant partitions show it at the moment.
Showing = Callable[[Object], Mapping[str, Object]]


class PlacementReleaseCore:
    """Of one resource partition. `placements` is the informer's cache; times are in seconds of the caller's clock."""

    def __init__(
        self,
        placements: Mapping[ObjectKey, Object],
        grace_seconds: float,
        showing: Showing = lambda _: {},
    ) -> None:
        self._placements = placements
        self._grace_seconds = grace_seconds
        self._showing = showing
        # Pods shown to be on our nodes and alive, by uid, and which tenant partition speaks for each.
        self._shown: dict[str, str] = {}
        # Placements of pods that were not, the longest waiting first.
        self._unseen: dict[str, _Unseen] = {}
        # Placements of pods that have vanished with a history of their tenant partition, which is to be asked.
        self._vanished: dict[str, str] = {}
        # Placements of pods that are another partition's than they say: which.
        self._moved: dict[str, str] = {}
        # To be released: the uid of the placement by its name.
        self._over: dict[str, str] = {}

    # ------------------------------------------------------------------------------------------------------- events

    def placement_event(self, event: Event, now: float) -> None:
        """A placement was made or has gone."""
        uid = event.object.name
        if event.type is EventType.DELETED:
            self._unseen.pop(uid, None)
            self._over.pop(uid, None)
        elif uid in self._shown:
            self._belongs(uid, self._shown[uid])  # Our partition may have been set back to before the tenant moved.
        elif event.type is EventType.ADDED:
            self._wait(uid, now)

    def _wait(self, uid: str, now: float, tenant_partition: str = "") -> None:
        before = self._unseen.pop(uid, None)  # So that it goes to the end.
        self._unseen[uid] = _Unseen(now, now if before is None else before.first, tenant_partition)

    def pod_event(self, tenant_partition: str, event: Event) -> None:
        """A pod on one of our nodes has come, changed or gone. The hot path."""
        pod = event.object
        uid = pod.uid
        if event.type is EventType.DELETED or is_finished(pod):
            self._gone(tenant_partition, event)
        elif uid not in self._shown:
            self._shown[uid] = tenant_partition
            self._unseen.pop(uid, None)
            self._vanished.pop(uid, None)
            self._over.pop(uid, None)
            self._belongs(uid, tenant_partition)

    def _gone(self, tenant_partition: str, event: Event) -> None:
        pod = event.object
        uid = pod.uid
        if self._shown.get(uid, tenant_partition) != tenant_partition:
            return  # Another one speaks for it.
        was_shown = self._shown.pop(uid, None) is not None
        if event.type is EventType.DELETED:
            for other, shown in self._showing(pod).items():
                if other != tenant_partition and not is_finished(shown):
                    self._shown[uid] = other
                    self._belongs(uid, other)
                    return
        moved_to = pod.annotations.get(MOVED_TO, "") if event.type is EventType.DELETED else ""
        if moved_to:
            self._ask_at_once(uid, moved_to)
        else:
            self._end(uid, tenant_partition, was_shown=was_shown, missing=event.missing or event.vanished)

    def _belongs(self, uid: str, tenant_partition: str) -> None:
        """The pod lives in this partition, whatever its placement says."""
        placement = self._placements.get(ObjectKey("", "", uid))
        self._moved.pop(uid, None)
        if placement is not None and decode(placement.message.spec).get("tenantPartition") != tenant_partition:
            self._moved[uid] = tenant_partition

    def _ask_at_once(self, uid: str, tenant_partition: str) -> None:
        if ObjectKey("", "", uid) in self._placements:
            self._vanished[uid] = tenant_partition
            self._over.pop(uid, None)  # What ended it may not have happened in this history.

    def partition_left(self, tenant_partition: str, now: float) -> None:
        """A tenant partition is none any more. Its pods are asked about like those never shown, after the grace period
        in which their kubelets learn of it, too."""
        for key, placement in self._placements.items():
            if decode(placement.message.spec).get("tenantPartition") == tenant_partition:
                self._shown.pop(key.name, None)
                self._vanished.pop(key.name, None)
                self._wait(key.name, now, tenant_partition)

    def _end(self, uid: str, tenant_partition: str, *, was_shown: bool, missing: bool) -> None:
        placement = self._placements.get(ObjectKey("", "", uid))
        if placement is None:
            return
        # No partition speaks for the pods of another. (A placement that is shown only later is asked about.)
        ours = decode(placement.message.spec).get("tenantPartition") == tenant_partition
        if (missing and ours) or (was_shown and not ours):
            self._ask_at_once(uid, tenant_partition)
        elif ours:
            self._over[uid] = placement.uid
            self._unseen.pop(uid, None)

    def orphans(self, now: float) -> int:
        """Placements whose pods have not been seen here for the grace period: claims that nobody bound, and what is
        not released yet of pods that have ended or of partitions that do not answer."""
        missed = sum(now - unseen.first >= self._grace_seconds for unseen in self._unseen.values())
        return missed + len(self._vanished) + len(self._over)

    # ---------------------------------------------------------------------------------------------------- questions

    def questions(self, now: float, answering: Collection[str], most: int) -> list[Question]:
        """What to ask the tenant partitions that can answer; each is asked again only after another grace period."""
        asked: list[Question] = []
        for uid, tenant_partition in list(islice(self._vanished.items(), ROUND_MAX)):
            if len(asked) >= most:
                break
            placement = self._placements.get(ObjectKey("", "", uid))
            if placement is None:
                del self._vanished[uid]
            elif tenant_partition in answering:
                del self._vanished[uid]
                self._wait(uid, now, tenant_partition)
                asked.append(_question(placement, tenant_partition))
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

    def answer(self, question: Question, pod: Object | None, tenant_partition: str = "") -> bool:
        """What there is under the pod's name, and in which partition, if not in the one that was asked. Returns whether
        the placement is to be released."""
        placement = self._placements.get(ObjectKey("", "", question.uid))
        # It may have been shown or released while the question was on its way.
        if placement is None or question.uid not in self._unseen:
            return False
        if not is_over(placement, pod):
            self._belongs(question.uid, tenant_partition or question.tenant_partition)
            return False
        del self._unseen[question.uid]
        self._over[question.uid] = placement.uid
        return True

    # ----------------------------------------------------------------------------------------------------- releases

    @property
    def has_releases(self) -> bool:
        return bool(self._over or self._moved)

    def take_moves(self, most: int) -> list[pb.Operation]:
        """The next placements that become another tenant partition's."""
        operations = []
        for uid, tenant_partition in list(islice(self._moved.items(), most)):
            del self._moved[uid]
            placement = self._placements.get(ObjectKey("", "", uid))
            if placement is not None:
                spec = {**decode(placement.message.spec), "tenantPartition": tenant_partition}
                operations.append(update_operation(placement.with_spec(spec), resource=PLACEMENTS))
        return operations

    def take_releases(self, most: int) -> list[pb.Operation]:
        """The next releases. Follow with `settle` or, where they may not have happened, `give_back`."""
        taken = list(islice(self._over.items(), most))
        for uid, _ in taken:
            del self._over[uid]
        return [delete_operation(PLACEMENTS, ObjectKey("", "", uid), uid=own_uid) for uid, own_uid in taken]

    def settle(self, operations: Sequence[pb.Operation], results: Sequence[pb.Result], now: float) -> int:
        """The answers to releases. Returns how many were released by them."""
        released = 0
        for operation, result in zip(operations, results, strict=True):
            if operation.HasField("update"):
                if result.HasField("error"):
                    self.give_back([operation])
                continue
            refused = result.HasField("error")
            released += not refused
            # NotFound, or Conflict on the uid: it is gone, and a successor is judged by its own event.
            if refused and result.error.reason not in ("NotFound", "Conflict"):
                self.give_back([operation])
            elif ObjectKey("", "", operation.delete.target.name) in self._placements:
                # Until its end has been seen: should our partition be set back to before, it is there still.
                self._wait(operation.delete.target.name, now)
        return released

    def give_back(self, operations: Sequence[pb.Operation]) -> None:
        """They may not have happened: release them again, which is harmless, unless the pod has been shown since or is
        to be asked about: its partition was set back meanwhile."""
        for operation in operations:
            if operation.HasField("update"):
                wanted = operation.update.object
                # It may have come to belong to a third one since.
                if ObjectKey("", "", wanted.metadata.name) in self._placements:
                    self._moved.setdefault(wanted.metadata.name, decode(wanted.spec)["tenantPartition"])
                continue
            uid = operation.delete.target.name
            if ObjectKey("", "", uid) in self._placements and uid not in self._shown and uid not in self._vanished:
                self._over[uid] = operation.delete.preconditions.uid


def _question(placement: Object, tenant_partition: str) -> Question:
    pod = decode(placement.message.spec)["pod"]
    return Question(tenant_partition, ObjectKey(pod["tenant"], pod["namespace"], pod["name"]), placement.name)
