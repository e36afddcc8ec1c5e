"""A resource partition that was set back gives away no room in which pods run."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from ...proto.kinds import MAIN_STORE
from ...proto.objects import decode
from .recorded import History, Recording
from .violations import Violation

TOLD = "Told before it places"

PODS, PLACEMENTS = "pods", "placements.ursa.dev"


class _Ran(NamedTuple):
    """An instance of a pod, on a node of the partition concerned."""

    tenant_partition: str
    uid: str
    node: str
    since: float
    until: float


def restored_partitions_are_told_first(recording: Recording) -> Iterator[Violation]:
    """**A resource partition that was set back admits no claim on a node before the node's kubelet has said what runs
    there**: when one is admitted, every pod that has run on the node since before has its Placement there.
    (partitions/admission/ledger.py, clients/kubelet/telling.py)

    A pod that its own partition has deleted over its kubelet's head holds no room any more; and where that partition
    was set back itself, its pods are not judged.
    """
    gone = _gone(recording)
    steady = {name for (name, store), histories in recording.incarnations.items() if len(histories) == 1}
    for (partition, store), histories in recording.incarnations.items():
        if store != MAIN_STORE or len(histories) < 2:
            continue
        ran = [each for each in _instances(recording, partition) if each.tenant_partition in steady]
        for history in histories[1:]:
            if history.opened:
                yield from _judge(history, history.opened[0].time, ran, gone)


def _judge(history: History, opened: float, ran: list[_Ran], gone: dict[tuple[str, str], float]) -> Iterator[Violation]:
    held: dict[str, str] = {}  # The node of each placement, by the pod's uid.
    after = history.known(PLACEMENTS)[0]
    before = [each for each in ran if each.since < opened]
    for change in history.by_resource.get(PLACEMENTS, ()):
        uid = change.key.rpartition("/")[2]
        if change.deleted:
            held.pop(uid, None)
            continue
        spec = decode(change.message.spec)
        if not change.previous_revision and change.revision > after and not spec.get("bound"):
            for each in before:
                lives = each.until > change.time and gone.get((each.tenant_partition, each.uid), inf) > change.time
                if each.node == spec["node"] and lives and held.get(each.uid) != each.node:
                    text = f"{change.key} of {history.partition} was admitted on {each.node} at revision"
                    why = f"where pod {each.uid} of {each.tenant_partition} ran since {each.since:.6f} s, and was not"
                    yield Violation(
                        TOLD, f"{text} {change.revision}, {why} told of since the restore", change.key, change.time
                    )
        held[uid] = spec["node"]


def _instances(recording: Recording, partition: str) -> list[_Ran]:
    """On nodes of this resource partition; a kubelet that starts again goes on with what runs there."""
    ran: list[_Ran] = []
    running: dict[tuple[str, str, str], float] = {}
    for each in sorted(recording.instances, key=lambda each: each.time):
        if each.node_partition != partition:
            continue
        name = each.pod_partition, each.uid, each.node
        if each.started:
            running.setdefault(name, each.time)
        elif name in running:
            ran.append(_Ran(*name, running.pop(name), each.time))
    return ran + [_Ran(*name, since, inf) for name, since in running.items()]


def _gone(recording: Recording) -> dict[tuple[str, str], float]:
    """When a pod was deleted for good, or had ended, in its own partition."""
    return {
        (history.partition, change.uid): change.time
        for history in recording.last_histories
        for change in history.by_resource.get(PODS, ())
        if change.deleted or history.pods[change.revision].finished
    }
