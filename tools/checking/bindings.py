"""A pod is bound where it holds a Placement; and a scheduler claims one node at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import NamedTuple

from ...proto.objects import decode
from ..recording.records import OK, UNKNOWN, Write
from .changes import Change
from .recorded import History, Recording
from .violations import Violation

BOUND = "Bound where placed"
CLAIMS = "One claim at a time"

PODS, PLACEMENTS = "pods", "placements.ursa.dev"
_CLAIM_PREFIX = f"/registry/{PLACEMENTS}///"
# A life of one, and the term in which it leads (0: it need not).
_Scheduler = tuple[str, int]
# After these a claim may have happened, whatever else they say.
_MAYBE_DONE = ("InternalError", "Timeout")


class _Placed(NamedTuple):
    """A Placement, from its creation to its deletion (infinity: it was not deleted)."""

    node: str
    since: float
    until: float


def pods_are_bound_where_they_are_placed(recording: Recording) -> Iterator[Violation]:
    """**A pod is bound only while a Placement that bears its uid holds room for it on that node**, so no bind that was
    meant for another pod of its name ever hits it. (clients/scheduler/binder.py; a bind names the uid it is for,
    partitions/writes/plans.py) A resource partition's own pod is bound from the start, and its Placement is what comes
    next, in the same commit. (partitions/writes/node_pods.py)"""
    placed = {
        partition: _placed(histories)
        for (partition, store), histories in recording.incarnations.items()
        if store == "main" and any(history.known(PLACEMENTS)[1] for history in histories)
    }
    brought = {write.request_id: None for write in recording.writes if write.verb == "transfer"}
    for history in recording.histories.values():
        nodes: dict[str, bool] = {}  # By the uid of a pod: whether it is bound.
        after = history.known(PODS)[0]
        for change in history.by_resource.get(PODS, ()):
            pod = history.pods[change.revision]
            bound = bool(pod.node) and not change.deleted
            newly = bound and not nodes.get(change.uid)
            nodes[change.uid] = bound
            held_in = placed.get(pod.resource_partition)
            if not newly or held_in is None or not change.time or change.revision <= after:
                continue
            if change.request_id in brought:
                continue  # It was bound where it comes from.
            if pod.resource_partition == history.partition:
                following = history.by_revision.get(change.revision + 1)
                held = following is not None and following.key == _CLAIM_PREFIX + change.uid and not following.deleted
            else:
                of_pod = held_in.get(change.uid, ())
                held = any(each.node == pod.node and each.since <= change.time <= each.until for each in of_pod)
            if not held:
                text = f"{change.key} ({change.uid}) of {history.partition} was bound to {pod.node} of"
                yield Violation(
                    BOUND,
                    f"{text} {pod.resource_partition} at revision {change.revision}, where it held no Placement",
                    change.key,
                    change.time,
                )


def _placed(histories: list[History]) -> Mapping[str, list[_Placed]]:
    """By the uid of the pod; in whichever incarnation."""
    found: dict[str, list[_Placed]] = {}
    for history in histories:
        for change in history.by_resource.get(PLACEMENTS, ()):
            of_pod = found.setdefault(change.key.removeprefix(_CLAIM_PREFIX), [])
            if not change.deleted:
                of_pod.append(_Placed(decode(change.message.spec)["node"], change.time, inf))
            elif of_pod:
                of_pod[-1] = of_pod[-1]._replace(until=change.time or inf)
    return found


def schedulers_claim_one_node_at_a_time(recording: Recording) -> Iterator[Violation]:
    """**An assumption ends only by what its partition says, never by time**: no scheduler claims a node in another
    partition for a pod while a claim of its own may stand, that is before it was told that it was refused, or that it
    is gone. (clients/scheduler/binder.py) A partition that has been restored or removed is not judged."""
    claims: dict[tuple[_Scheduler, str], list[Write]] = {}
    releases: dict[tuple[_Scheduler, str, str], list[Write]] = {}
    for write in recording.writes:
        if write.resource != PLACEMENTS or write.dry_run:
            continue
        if write.verb == "create":
            claims.setdefault((_scheduler(write), write.key), []).append(write)
        elif write.verb == "delete" and write.code in (OK, 404, 409):
            releases.setdefault((_scheduler(write), write.partition, write.key), []).append(write)
    gone = _gone(recording)
    for (scheduler, key), of_pod in claims.items():
        if len(dict.fromkeys(write.partition for write in of_pod)) > 1:
            yield from _overlapping(scheduler, key, sorted(of_pod, key=lambda each: each.call), releases, gone)


def _scheduler(write: Write) -> _Scheduler:
    """One that is elected is made anew in each term."""
    return write.client, 0 if write.fence is None else write.fence[2]


def _overlapping(
    scheduler: _Scheduler,
    key: str,
    claims: list[Write],
    releases: Mapping[tuple[_Scheduler, str, str], list[Write]],
    gone: Mapping[tuple[str, str], float],
) -> Iterator[Violation]:
    """Of one pod, by one life of a scheduler."""
    open_since: dict[str, float] = {}
    answers = sorted(
        [*((write.ret, write) for write in claims), *((write.call, write) for write in claims)],
        key=lambda each: each[0],
    )
    for time, write in answers:
        if time == write.ret:
            if write.code not in (OK, UNKNOWN) and write.reason not in _MAYBE_DONE:
                open_since.pop(write.partition, None)
            continue
        for partition, since in list(open_since.items()):
            ended = [each.ret for each in releases.get((scheduler, partition, key), ()) if since <= each.ret]
            if min([*ended, gone.get((partition, key), inf)]) <= time:
                del open_since[partition]
            elif partition != write.partition and (partition, "") not in gone:
                uid = key.removeprefix(_CLAIM_PREFIX)
                text = f"{scheduler[0]} claimed a node in {write.partition} for pod {uid}, {time - since:.3f} s after"
                yield Violation(
                    CLAIMS, f"{text} it had claimed one in {partition}, and not been told that it is gone", key, time
                )
        open_since.setdefault(write.partition, write.call)


def _gone(recording: Recording) -> Mapping[tuple[str, str], float]:
    """When a Placement was deleted, by its partition and key; and, with an empty key, the partitions restored."""
    gone: dict[tuple[str, str], float] = {}
    for (partition, store), histories in recording.incarnations.items():
        if store != "main":
            continue
        if len(histories) > 1 or partition in recording.removed:
            gone[partition, ""] = 0.0
        for history in histories:
            changes: list[Change] = history.by_resource.get(PLACEMENTS, [])
            for change in changes:
                if change.deleted:
                    gone.setdefault((partition, change.key), change.time)
    return gone
