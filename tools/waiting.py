"""Waiting until objects are as they should be, over several partitions, by watching and not by asking again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import trio

from ..clients.client import PartitionClient
from ..clients.informer import Event, EventType, Informer
from ..clients.nurseries import open_background
from ..proto.errors import UrsaError
from ..proto.objects import Object


class WaitTimeout(UrsaError):
    """What was waited for did not happen in time. The text says how far it got."""


async def watch_until(
    informers: Sequence[Informer], done: Callable[[], bool], timeout_seconds: float, timeout_text: Callable[[], str]
) -> None:
    """Run the informers until all have a full view and `done` holds; it is asked again after every burst of events.

    Raises:
        WaitTimeout: with `timeout_text`.
    """
    finished = trio.Event()

    def look() -> None:
        if all(informer.synced for informer in informers) and done():
            finished.set()

    for informer in informers:
        informer.add_burst_handler(look)
    async with open_background() as nursery:
        for informer in informers:
            nursery.start_soon(informer.run)
        with trio.move_on_after(timeout_seconds):
            await finished.wait()
    if not finished.is_set():
        blind = ", ".join(informer.partition for informer in informers if not informer.synced)
        raise WaitTimeout(timeout_text() + (f" (no view of {blind})" if blind else ""))


class PodCount:
    """Counts pods by phase, as informers report them. A pod that is being deleted counts no more."""

    def __init__(self) -> None:
        self.phases: Counter[str] = Counter()

    def on_event(self, event: Event) -> None:
        if event.old is not None and not event.old.deletion_ms:
            self.phases[pod_phase(event.old)] -= 1
        if event.type is not EventType.DELETED and not event.object.deletion_ms:
            self.phases[pod_phase(event.object)] += 1

    def __str__(self) -> str:
        return (
            ", ".join(f"{count} {phase}" for phase, count in sorted(self.phases.items()) if count) or "there are none"
        )


def pod_phase(pod: Object) -> str:
    return str(pod.status.get("phase", "Pending"))


async def wait_for_pods(
    clients: Iterable[PartitionClient],
    *,
    count: int | None,
    phase: str,
    timeout_seconds: float,
    **selection: Any,
) -> list[Object]:
    """Wait until `count` selected pods (None: all of them, and at least one) are in a phase; returns those that are.

    Raises:
        WaitTimeout: they are not; the message counts them by phase, and quotes one that is not.
    """
    informers = [Informer(client, "pods", **selection) for client in clients]
    counted = PodCount()
    for informer in informers:
        informer.add_handler(counted.on_event)

    def done() -> bool:
        there = counted.phases[phase]
        return there >= count if count is not None else 0 < there == counted.phases.total()

    def so_far() -> str:
        wanted = "all" if count is None else str(count)
        return f"not {wanted} pods are {phase} after {timeout_seconds:g} s: {counted}{_example(informers, phase)}"

    await watch_until(informers, done, timeout_seconds, so_far)
    pods = [pod for informer in informers for pod in informer.objects.values()]
    return [pod for pod in pods if pod_phase(pod) == phase and not pod.deletion_ms]


async def wait_for_nodes(
    clients: Iterable[PartitionClient], names: Iterable[str], *, gone: Iterable[str] = (), timeout_seconds: float
) -> None:
    """Wait until the resource partitions hold all these nodes, each of them Ready, and none of those that are gone.

    Raises:
        WaitTimeout: with their numbers.
    """
    wanted, unwanted = dict.fromkeys(names), dict.fromkeys(gone)
    ready: dict[str, None] = {}
    left: dict[str, None] = {}
    informers = [Informer(client, "nodes") for client in clients]

    def on_event(event: Event) -> None:
        node = event.object
        ready.pop(node.name, None)
        left.pop(node.name, None)
        if event.type is EventType.DELETED:
            return
        if node.name in unwanted:
            left[node.name] = None
        elif node.name in wanted and node_ready(node):
            ready[node.name] = None

    for informer in informers:
        informer.add_handler(on_event)

    def done() -> bool:
        return not left and len(ready) == len(wanted)

    def so_far() -> str:
        leaving = f", and {len(left)} are still there that should be gone" if left else ""
        return f"of {len(wanted)} nodes {len(ready)} are Ready after {timeout_seconds:g} s{leaving}"

    await watch_until(informers, done, timeout_seconds, so_far)


def node_ready(node: Object) -> bool:
    conditions = node.status.get("conditions") or []
    return any(condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions)


def _example(informers: Sequence[Informer], phase: str) -> str:
    for informer in informers:
        for key, pod in informer.objects.items():
            if pod_phase(pod) != phase:
                conditions = pod.status.get("conditions") or [{}]
                why = pod.status.get("message") or conditions[0].get("message") or "no reason given yet"
                return f"; {key} is {pod_phase(pod)}: {why}"
    return ""
