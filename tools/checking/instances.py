"""No two instances of a pod run at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ...proto.kinds import MAIN_STORE
from ..recording.records import Instance
from .changes import Change
from .recorded import History, Recording
from .violations import Violation

INSTANCES = "One instance"

PODS = "pods"
_CONTROLLERS = "controller-manager-"


class _Life(NamedTuple):
    """Of one pod, by its uid. `deletion`: its last change; None: it lives."""

    created: int
    deletion: Change | None


def no_two_instances(recording: Recording) -> Iterator[Violation]:
    """**A pod runs at most once**: never are there two instances of one pod, by its uid. **Nor do two
    pods run that have had the same partition, tenant, namespace and name**, one after the other: the first has stopped
    before it is deleted, because its kubelet deletes it. Only a user who deletes a pod over its kubelet's head (with no
    grace) may see both; a controller that deletes one with its node waits until its kubelet must have stopped it,
    whomever that hears of. (clients/kubelet/core.py, clients/node_fence.py)

    A kubelet that starts again on the same node adopts what runs there. What was lost with a restored store is not
    judged: where a partition was set back to what has the pod on another node, that one's kubelet starts it before the
    other one has heard that it is there no more.
    """
    lives = _lives_of(recording)
    histories = {partition: of for (partition, store), of in recording.incarnations.items() if store == MAIN_STORE}
    authors = {write.request_id: write.client for write in recording.writes if write.request_id}
    by_uid: dict[str, Instance] = {}
    by_key: dict[tuple[str, str], dict[str, Instance]] = {}
    for instance in sorted(recording.instances, key=lambda each: each.time):
        running = by_uid.get(instance.uid)
        if running is not None and running.pod_partition != instance.pod_partition:  # Its tenant has moved.
            by_key[running.pod_partition, running.key].pop(instance.uid, None)
        namesakes = by_key.setdefault((instance.pod_partition, instance.key), {})
        if not instance.started:
            if running is not None and _node(running) == _node(instance):
                del by_uid[instance.uid]
                namesakes.pop(instance.uid, None)
            continue
        if (
            running is not None
            and _node(running) != _node(instance)
            and not _was_set_back(running, instance, histories.get(instance.pod_partition, ()))
        ):
            yield _violation(instance, running, "another instance of the same pod")
        for other in namesakes.values():
            if other.uid != instance.uid and not _was_forced(other, instance, lives, authors):
                yield _violation(instance, other, "a pod of the same name")
        by_uid[instance.uid] = namesakes[instance.uid] = instance


def running_at_the_end(recording: Recording) -> dict[tuple[str, str], Instance]:
    """By the pod's partition and uid."""
    running: dict[str, Instance] = {}
    for instance in sorted(recording.instances, key=lambda each: each.time):
        if instance.started:
            running[instance.uid] = instance
        elif instance.uid in running and _node(running[instance.uid]) == _node(instance):
            del running[instance.uid]
    return {(each.pod_partition, uid): each for uid, each in running.items()}


def _violation(instance: Instance, other: Instance, what: str) -> Violation:
    text = (
        f"{instance.key} ({instance.uid}) of {instance.pod_partition} was started on {_shown(instance)} while {what} "
        f"({other.uid}) ran on {_shown(other)} since {other.time:.6f} s"
    )
    return Violation(INSTANCES, text, instance.key, instance.time)


def _was_forced(
    one: Instance, other: Instance, lives: Mapping[tuple[str, str], _Life], authors: Mapping[bytes, str]
) -> bool:
    """Whether a user deleted the older of them over its kubelet's head."""
    first = lives.get((one.pod_partition, one.uid))
    second = lives.get((other.pod_partition, other.uid))
    if first is None or second is None:
        return True  # Nobody knows it any more.
    older, instance = (first, one) if first.created < second.created else (second, other)
    if older.deletion is None:
        return False
    author = authors.get(older.deletion.request_id, "")
    return not author.startswith(_CONTROLLERS) and author.partition("#")[0] != instance.host.partition("#")[0]


def _was_set_back(running: Instance, started: Instance, histories: Sequence[History]) -> bool:
    """Whether since `running` was started its partition was set back to what has the pod bound where it is started now,
    and not where it runs."""
    opened = [each for each in histories if each.opened and each.opened[0].time <= started.time]
    if not opened or opened[-1].opened[0].time <= running.time:
        return False
    bound = [
        (pod.resource_partition, pod.node)
        for change in opened[-1].by_resource.get(PODS, ())
        if change.uid == started.uid and (pod := opened[-1].pods[change.revision]).node
    ]
    return _node(started) in bound and _node(running) not in bound


def _lives_of(recording: Recording) -> dict[tuple[str, str], _Life]:
    """Of the pods of the newest incarnations."""
    lives: dict[tuple[str, str], _Life] = {}
    for history in recording.last_histories:
        for change in history.by_resource.get(PODS, ()):
            lives[history.partition, change.uid] = _Life(change.create_revision, change if change.deleted else None)
    return lives


def _node(instance: Instance) -> tuple[str, str]:
    return instance.node_partition, instance.node


def _shown(instance: Instance) -> str:
    return f"{instance.node} of {instance.node_partition}"
