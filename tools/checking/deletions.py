"""No controller deletes what lives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, NamedTuple

from ...clients.controllers.job_pods import KIND as JOB
from ...clients.controllers.job_status import decided
from ...clients.controllers.node_lifecycle_core import UNREACHABLE
from ...clients.controllers.replicaset_members import KIND
from ...proto import ursa_pb2 as pb
from ...proto.objects import decode
from .changes import Change, resource_of
from .recorded import History, Recording
from .violations import Violation

DELETIONS = "Nothing that lives is deleted"

PODS, REPLICA_SETS, JOBS, NAMESPACES, NODES = "pods", "replicasets.apps", "jobs.batch", "namespaces", "nodes"
STATEFUL_SETS, DAEMON_SETS, REVISIONS = "statefulsets.apps", "daemonsets.apps", "controllerrevisions.apps"
_OWNERS = (KIND, JOB)
# The process that runs the controllers of a partition, whatever its home.
_CONTROLLERS = "controller-manager-"
# What a controller has been told may be this old when its delete is carried out: it waits for a link for half a
# minute, and for the answer as long.
DECIDED_SECONDS_MAX = 60.0


class _Sight(NamedTuple):
    """What a node was like from here on."""

    time: float
    sound: bool  # It is there, and nothing drives pods off it.


def nothing_that_lives_is_deleted(recording: Recording) -> Iterator[Violation]:
    """**What a controller deletes has outlived its reason**: its owners are gone or going, or its namespace is; a pod
    has finished, or was one too many for its ReplicaSet or Job, or not as its StatefulSet or DaemonSet wanted it, or
    its node was gone or unreachable; a ReplicaSet has no pods to keep. What a controller has not seen yet is no reason.
    (clients/controllers/pod_gc_core.py, garbage_collector_core.py)

    A reason that held in the last minute will do; what a restored store tells in its first minute is not judged.
    """
    authors = {write.request_id: write.client for write in recording.writes if write.request_id}
    nodes = {
        partition: _sights(histories)
        for (partition, store), histories in recording.incarnations.items()
        if store == "main" and any(history.known(NODES)[1] for history in histories)
    }
    for (_, store), histories in recording.incarnations.items():
        for number, history in enumerate(histories):
            if store == "main" and history.by_resource.get(PODS):
                judged_from = history.opened[0].time + DECIDED_SECONDS_MAX if number and history.opened else 0.0
                yield from _Walk(history, authors, nodes, judged_from, recording.removed).check()


class _Set:
    """A ReplicaSet or a Job: how many pods it asked for, and how many it had that live and stay, since when."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, int]] = []
        self.had: list[tuple[float, int]] = []
        self._active: dict[str, None] = {}

    def count(self, key: str, time: float, *, active: bool) -> None:
        if active:
            self._active[key] = None
        else:
            self._active.pop(key, None)
        self.had.append((time, len(self._active)))

    def least_since(self, time: float) -> int:
        """The fewest that it has asked for since then."""
        return min(_since(self.asked, time), default=0)

    def most_since(self, time: float) -> int:
        """The most that it has had: others may have deleted some since its controller looked."""
        return max(_since(self.had, time), default=0)


def _pods_of_job(message: pb.Object) -> int:
    """None once it is decided how it ends, and while it is suspended."""
    spec, status = decode(message.spec), decode(message.status) if message.status else {}
    if spec.get("suspend") or decided(status):
        return 0
    parallelism, completions = spec.get("parallelism", 1), spec.get("completions")
    left = parallelism if completions is None else completions - (status.get("succeeded") or 0)
    return int(min(parallelism, left))


def _since(counts: list[tuple[float, int]], time: float) -> list[int]:
    before = [count for at, count in counts if at <= time][-1:]
    return [*before, *(count for at, count in counts if at > time)]


class _Wanted(NamedTuple):
    """What a StatefulSet or a DaemonSet asked for from here on. `names`: of its pods; None: any."""

    time: float
    names: tuple[str, ...] | None
    template: Any

    def differs_from(self, pod: pb.Object) -> bool:
        """By its name, or by what its containers are to be."""
        if self.names is not None and pod.metadata.name not in self.names:
            return True
        wanted = (self.template.get("spec") or {}).get("containers") or ()
        return bool([each.get("image") for each in wanted] != [c.get("image") for c in decode(pod.spec)["containers"]])


def _wanted(change: Change) -> _Wanted:
    spec, name = decode(change.message.spec), change.message.metadata.name
    names = None
    if change.key.startswith(f"/registry/{STATEFUL_SETS}/"):
        start, replicas = (spec.get("ordinals") or {}).get("start", 0), spec.get("replicas", 1)
        names = tuple(f"{name}-{ordinal}" for ordinal in range(start, start + replicas))
    return _Wanted(change.time, names, spec.get("template") or {})


def _lately(wanted: list[_Wanted], since: float) -> list[_Wanted]:
    before = [each for each in wanted if each.time <= since][-1:]
    return [*before, *(each for each in wanted if each.time > since)]


class _Walk:
    """Over one history."""

    def __init__(
        self,
        history: History,
        authors: Mapping[bytes, str],
        nodes: Mapping[str, Mapping[str, list[_Sight]]],
        judged_from: float,
        removed: Mapping[str, float],
    ) -> None:
        self._history = history
        self._authors = authors
        self._nodes = nodes
        self._judged_from = judged_from
        self._removed = removed
        self._going: dict[str, bool] = {}  # By the uid of what is there: whether it is being deleted.
        self._namespaces: dict[str, bool] = {}  # The same, by tenant/name.
        self._sets: dict[str, _Set] = {}
        self._rolled: dict[str, list[_Wanted]] = {}  # StatefulSets and DaemonSets, by uid.

    def check(self) -> Iterator[Violation]:
        after = self._history.known(PODS)[0]
        for change in self._history.changes:
            if not change.uid:
                continue
            if change.going and self._going.get(change.uid) is False and change.revision > after:
                yield from self._judge(change)
            self._apply(change)

    def _apply(self, change: Change) -> None:
        resource = resource_of(change.key)
        if change.deleted:
            self._going.pop(change.uid, None)
        else:
            self._going[change.uid] = change.going
        if resource == PODS:
            pod = self._history.pods[change.revision]
            for owner in pod.owners:
                if owner.controller and owner.kind in _OWNERS:
                    of_set = self._sets.setdefault(owner.uid, _Set())
                    of_set.count(change.key, change.time, active=not change.going and not pod.finished)
        elif resource == NAMESPACES:
            metadata = change.message.metadata
            self._namespaces[f"{metadata.tenant}/{metadata.name}"] = change.going
        elif resource == REPLICA_SETS:
            replicas = decode(change.message.spec).get("replicas")
            asked = self._sets.setdefault(change.uid, _Set()).asked
            asked.append((change.time, 1 if replicas is None else replicas))
        elif resource == JOBS:
            self._sets.setdefault(change.uid, _Set()).asked.append((change.time, _pods_of_job(change.message)))
        elif resource in (STATEFUL_SETS, DAEMON_SETS):
            self._rolled.setdefault(change.uid, []).append(_wanted(change))

    def _judge(self, change: Change) -> Iterator[Violation]:
        author = self._authors.get(change.request_id, "")
        if not author.startswith(_CONTROLLERS) or change.time < self._judged_from:
            return
        if not self._has_reason(change):
            text = f"{author} deleted {change.key} ({change.uid}) of {self._history.partition} at revision"
            yield Violation(DELETIONS, f"{text} {change.revision}, which had no reason to go", change.key, change.time)

    def _has_reason(self, change: Change) -> bool:
        metadata, resource = change.message.metadata, resource_of(change.key)
        if self._namespaces.get(f"{metadata.tenant}/{metadata.namespace}", True):
            return True  # It goes with its namespace.
        owners = metadata.owner_references
        if owners and all(self._going.get(owner.uid, True) for owner in owners):
            return True
        if resource == PODS:
            return self._pod_has_reason(change)
        if resource == REPLICA_SETS:
            of_set = self._sets.get(change.uid)
            return of_set is None or of_set.least_since(change.time - DECIDED_SECONDS_MAX) == 0
        return not owners or resource == REVISIONS  # The history of a set that lives.

    def _pod_has_reason(self, change: Change) -> bool:
        pod = self._history.pods[change.revision]
        if pod.finished:
            return True
        since = change.time - DECIDED_SECONDS_MAX
        for owner in pod.owners:
            of_set = self._sets.get(owner.uid) if owner.kind in _OWNERS else None
            if of_set is not None and of_set.most_since(since) > of_set.least_since(since):
                return True
            if any(each.differs_from(change.message) for each in _lately(self._rolled.get(owner.uid, []), since)):
                return True
        if self._removed.get(pod.resource_partition, inf) <= change.time:
            return True
        nodes = self._nodes.get(pod.resource_partition)
        if not pod.node or nodes is None:
            return nodes is None and bool(pod.node)
        return not _was_sound(nodes.get(pod.node, ()), since, change.time)


def _sights(histories: list[History]) -> Mapping[str, list[_Sight]]:
    """Of each node, in the order of time; where a store was restored, all of its nodes were unsound for a moment."""
    found: dict[str, list[_Sight]] = {}
    for number, history in enumerate(histories):
        opened = history.opened[0].time if history.opened else 0.0
        for change in history.by_resource.get(NODES, ()):
            taints = decode(change.message.spec).get("taints") or ()
            sound = not change.deleted and not any(taint.get("key") == UNREACHABLE for taint in taints)
            of_node = found.setdefault(change.key.rpartition("/")[2], [])
            if number and (not of_node or of_node[-1].time < opened):
                of_node.append(_Sight(opened, sound=False))
            of_node.append(_Sight(max(change.time, opened if number else 0.0), sound))
    return found


def _was_sound(sights: list[_Sight] | tuple[()], since: float, until: float) -> bool:
    """All the time, as far as it was there."""
    before = [each.sound for each in sights if each.time <= since][-1:]
    seen = [*before, *(each.sound for each in sights if since < each.time <= until)]
    return bool(seen) and all(seen)
