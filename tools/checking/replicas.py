"""No ReplicaSet gets more pods than were asked for."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping

from ...clients.controllers.replicaset_members import KIND
from ...proto.objects import decode
from ..recording.records import Watched, Write
from .changes import Change
from .recorded import History, Recording
from .violations import Violation

REPLICAS = "Replicas"

PODS, REPLICA_SETS = "pods", "replicasets.apps"
# A create waits for a link for half a minute at most, and for its answer as long: what its controller knew before that
# it knew when it decided.
DECIDED_SECONDS_MAX = 60.0


def replicas_stay_within_bounds(recording: Recording) -> Iterator[Violation]:
    """**By an act of its controller a ReplicaSet never has more active pods than its `spec.replicas`**, whatever is
    delayed, lost or repeated. (clients/controllers/replicaset_core.py)

    In full, of each pod that is created for a ReplicaSet: at the revision of its creation, those of the set's pods that
    are neither terminating nor finished are at most as many as the largest `spec.replicas` that the set has had since
    the newest state that the creator had certainly seen when it decided (a minute before it sent the create). A pod
    that another life of the controller has created counts from when the creator was told of it: nobody can know what
    is still on its way from a process that is gone. Where the creator's watches are not recorded, all count. In a store
    that was restored, what was decided by what it had been before does not count.
    """
    creators = {write.request_id: write for write in recording.writes if write.verb in ("create", "transfer")}
    sight = _Sight(recording, dict.fromkeys(write.client for write in creators.values() if write.resource == PODS))
    for histories in recording.incarnations.values():
        for number, history in enumerate(histories):
            restored_at = history.opened[0].time if number and history.opened else None
            if history.by_resource.get(REPLICA_SETS) and history.by_resource.get(PODS):
                yield from _Sets(history, creators, sight, restored_at).check()


class _Sight:
    """When clients were told of which revision of a ReplicaSet, or of a pod's creation."""

    def __init__(self, recording: Recording, clients: Mapping[str, None]) -> None:
        self._watches = {}
        self._told: dict[tuple[str, str, str], tuple[list[float], list[int]]] = {}
        for given in recording.watches:
            started = given.started
            if started.client in clients and started.selection.resource in (PODS, REPLICA_SETS):
                self._watches[started.watch] = started.partition
        for told in recording.watch_records:
            partition = self._watches.get(told.watch)
            if partition is None or not isinstance(told, Watched):
                continue
            for event in told.events:
                times, revisions = self._told.setdefault((told.client, partition, event[1]), ([], []))
                times.append(told.time)
                revisions.append(event[2])

    def watches(self, client: str, partition: str, key: str) -> bool:
        """Whether anything is known of what it was told of this object."""
        return (client, partition, key) in self._told

    def knew(self, client: str, partition: str, key: str, time: float) -> int:
        """The newest revision of the object that it had been told of before; 0: none."""
        times, revisions = self._told.get((client, partition, key), ([], []))
        place = bisect_left(times, time)
        return max(revisions[:place], default=0) if place <= 1 else max(revisions[place - 2 : place])


class _Set:
    """A ReplicaSet, by its uid."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.revisions: list[int] = []
        self.replicas: list[int] = []
        self.active: dict[str, Change] = {}  # Its pods, by key: their creation.

    def largest_since(self, revision: int) -> int:
        place = bisect_right(self.revisions, revision)
        return max(self.replicas[max(0, place - 1) :])


class _Sets:
    """One walk over a history."""

    def __init__(
        self, history: History, creators: Mapping[bytes, Write], sight: _Sight, restored_at: float | None
    ) -> None:
        self._history = history
        self._restored_at = restored_at
        self._creators = creators
        self._sight = sight
        self._sets: dict[str, _Set] = {}
        self._owners: dict[str, str] = {}  # By the pod's key: the uid of its ReplicaSet.

    def check(self) -> Iterator[Violation]:
        history = self._history
        changes = [*history.by_resource[REPLICA_SETS], *history.by_resource[PODS]]
        after = history.known(PODS)[0]
        for change in sorted(changes, key=lambda each: each.revision):
            if change.key.startswith(f"/registry/{REPLICA_SETS}/"):
                self._replica_set(change)
                continue
            owner = self._pod(change)
            if owner is not None and not change.previous_revision and change.revision > after:
                yield from self._created(change, owner)

    def _replica_set(self, change: Change) -> None:
        replica_set = self._sets.setdefault(change.uid, _Set(change.key))
        replicas = decode(change.message.spec).get("replicas")
        replica_set.revisions.append(change.revision)
        replica_set.replicas.append(1 if replicas is None else replicas)

    def _pod(self, change: Change) -> _Set | None:
        """Count it in or out; returns its ReplicaSet, if that is known."""
        pod = self._history.pods[change.revision]
        owner = pod.controller(KIND)
        replica_set = self._sets.get(owner.uid) if owner is not None else None
        if replica_set is None:
            return None
        if change.going or pod.finished:
            replica_set.active.pop(change.key, None)
        elif change.key not in replica_set.active:
            replica_set.active[change.key] = change
        return replica_set

    def _created(self, change: Change, replica_set: _Set) -> Iterator[Violation]:
        active = len(replica_set.active)
        if active <= min(replica_set.replicas):
            return
        create = self._creators.get(change.request_id)
        if create is not None and create.verb == "transfer":
            return  # It came with its tenant, before its ReplicaSet.
        if self._decided_before_the_restore(change, create):
            return
        seen = 0
        if create is not None:
            seen = self._sight.knew(
                create.client, self._history.partition, replica_set.key, create.call - DECIDED_SECONDS_MAX
            )
            active -= sum(1 for pod in replica_set.active.values() if self._could_not_know(create, pod, replica_set))
        largest = replica_set.largest_since(seen)
        if active > largest:
            text = (
                f"with {change.key} {replica_set.key} of {self._history.partition} has {active} active pods at revision"
            )
            yield Violation(
                REPLICAS, f"{text} {change.revision}, and asked for {largest} at most", change.key, change.time
            )

    def _decided_before_the_restore(self, change: Change, create: Write | None) -> bool:
        if self._restored_at is None:
            return False
        time = change.time if create is None else create.call
        return time < self._restored_at + DECIDED_SECONDS_MAX

    def _could_not_know(self, create: Write, pod: Change, replica_set: _Set) -> bool:
        """Whether it is another life's, of which this one had not been told."""
        author = self._creators.get(pod.request_id)
        if author is None or author.client == create.client:
            return False
        partition, client = self._history.partition, create.client
        if not self._sight.watches(client, partition, replica_set.key):
            return False
        return not self._sight.knew(client, partition, pod.key, create.call)
