"""What the loss of any part costs the others: 5 x 5 partitions with 2,000 nodes, real processes, pods all the time.

Pods are created at every tenant partition at a steady rate, whatever happens. In each round a part (or two) is killed,
stopped, or cut off from all others for some seconds, then healed; the round is over when every pod that was asked for
runs. Compared are the startup times of those pods that the fault does not concern: of tenant partitions whose own
apiserver, scheduler and controllers were left alone, and on nodes of resource partitions that were. Rounds without a
fault, before, between and after, say what these times are in quiet.

The p99 of a round is that of some six hundred pods, and differs twofold between rounds in quiet on a shared machine. So
a round that is too slow is repeated twice, and the median counts.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import NamedTuple

import trio
from ursa import Cluster
from ursa.clients.nurseries import open_background
from ursa.clients.operations import create_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, decode_shared
from ursa.tools.load.follow import Follower
from ursa.tools.load.writer import PacedWriter
from ursa.tools.report.figures import percentile

PARTITIONS, NODES = 5, 2000
PODS_A_SECOND = 100.0  # over all tenant partitions
# Of a round: before the fault, with it, and at most until all is well again.
BEFORE_SECONDS, FAULT_SECONDS, CONVERGE_SECONDS_MAX = 1.0, 6.0, 60.0
# More than so many that are too slow are no accident.
REPEATED_MAX = 3
PODS = "pods"

KILL, FREEZE, CUT = "kill -9", "freeze", "cut"


class Round(NamedTuple):
    """`parts` by the names of their processes; none: quiet."""

    fault: str
    parts: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{self.fault} {' and '.join(self.parts)}" if self.parts else "quiet"


QUIET = Round("", ())


def all_rounds() -> list[Round]:
    """Every kind of part, lost in every way, in turn; then two at once. Quiet rounds in between."""
    parts = ("tp-1", "rp-2", "scheduler-tp-3", "controller-manager-tp-4", "controller-manager-rp-5")
    rounds = [QUIET, QUIET]
    for fault in (KILL, FREEZE, CUT):
        rounds += [Round(fault, (part,)) for part in parts]
        rounds.append(QUIET)
    pairs = (("tp-2", "rp-3"), ("tp-1", "tp-5"), ("rp-1", "rp-4"), ("scheduler-tp-2", "controller-manager-rp-3"))
    rounds += [Round(fault, pair) for fault, pair in zip((KILL, FREEZE, CUT, KILL), pairs, strict=True)]
    return [*rounds, QUIET]


@dataclass
class Outcome:
    """Of one round. Startup times in milliseconds, of the pods that the fault did not concern."""

    round: Round
    startup_ms: list[float]
    asked: int
    converged_seconds: float | None  # after healing; None: not in time
    waiting: str = ""

    @property
    def p99(self) -> float:
        return percentile(sorted(self.startup_ms), 99)

    def __str__(self) -> str:
        end = self.waiting or f"all run {self.converged_seconds:.1f} s after healing"
        p50 = percentile(sorted(self.startup_ms), 50)
        return (
            f"{self.round.title}: {self.asked} pods, {len(self.startup_ms)} of them not concerned: "
            f"startup p50 {p50:.0f} ms, p99 {self.p99:.0f} ms; {end}"
        )


@dataclass
class _Pod:
    tenant_partition: str
    due: float  # in trio's time
    resource_partition: str = ""
    running_at: float | None = None


@dataclass
class Losses:
    """All rounds, and what was deleted though nobody had asked for it."""

    outcomes: list[Outcome] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    def p99(self, of: Round) -> float:
        """The median of its runs."""
        return median(each.p99 for each in self.outcomes if each.round == of)

    def ratio(self, of: Round) -> float:
        """Over quiet."""
        return self.p99(of) / self.p99(QUIET)


async def measure_losses(rounds: Sequence[Round], ratio_max: float) -> Losses:
    """`ratio_max`: a round above it is too slow."""
    losses = Losses()
    async with Cluster(tenant_partitions=PARTITIONS, resource_partitions=PARTITIONS, nodes=NODES) as cluster:
        load = _Load(cluster, losses)
        async with open_background() as nursery:
            await load.start(nursery)
            for each in rounds:
                await load.run(each)
            slow = [each for each in rounds if each != QUIET and losses.ratio(each) > ratio_max]
            for each in [*slow, *slow] if len(slow) <= REPEATED_MAX else []:
                await load.run(each)
    return losses


class _Load:
    def __init__(self, cluster: Cluster, losses: Losses) -> None:
        self._cluster, self._losses = cluster, losses
        self._pods: dict[tuple[str, str], _Pod] = {}  # by tenant partition and name
        self._waiting = 0
        self._made = 0

    async def start(self, nursery: trio.Nursery) -> None:
        for name, client in self._cluster.clients.tenant_clients.items():
            await self._cluster.create_tenant(f"tenant-{name}", name)
            follower = Follower(client, PODS, partial(self._seen, name))
            nursery.start_soon(follower.run)
            await follower.wait_synced()
        await self._run_one_each()

    async def _run_one_each(self) -> None:
        """A first pod of each tenant partition: whatever only the first one costs."""
        await self._create(trio.current_time(), 1.0)
        await self._all_running(CONVERGE_SECONDS_MAX)

    async def run(self, round_: Round) -> None:
        outcome = await self._run(round_)
        self._losses.outcomes.append(outcome)
        print(outcome, flush=True)

    async def _run(self, round_: Round) -> Outcome:
        before = dict(self._pods)
        began = trio.current_time() + 0.5
        seconds = BEFORE_SECONDS + FAULT_SECONDS
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._create, began, seconds)
            await trio.sleep_until(began + BEFORE_SECONDS)
            async with self._fault(round_):
                await trio.sleep_until(began + seconds)
            healed = trio.current_time()
            # Who cannot write yet is waited for by the nursery: a writer tries until it is told that it has written.
        converged = await self._all_running(CONVERGE_SECONDS_MAX - (trio.current_time() - healed))
        pods = [pod for key, pod in self._pods.items() if key not in before]
        concerned = {part.removeprefix("scheduler-").removeprefix("controller-manager-") for part in round_.parts}
        startup = [
            1000 * (pod.running_at - pod.due)
            for pod in pods
            if pod.running_at is not None
            and pod.due >= began + BEFORE_SECONDS
            and concerned.isdisjoint((pod.tenant_partition, pod.resource_partition))
        ]
        waiting = "" if converged else f"{self._waiting} pods do not run {CONVERGE_SECONDS_MAX:g} s after healing"
        return Outcome(round_, startup, len(pods), trio.current_time() - healed if converged else None, waiting)

    @asynccontextmanager
    async def _fault(self, round_: Round) -> AsyncIterator[None]:
        cluster, faults = self._cluster, self._cluster.faults
        pids = [cluster.processes[part].pid for part in round_.parts]
        try:
            for part, pid in zip(round_.parts, pids, strict=True):
                if round_.fault == KILL:
                    cluster.kill(part)
                elif round_.fault == FREEZE:
                    os.kill(pid, signal.SIGSTOP)
                elif part.startswith(("tp-", "rp-")):
                    await faults.cut("*", part)
                else:
                    await faults.cut(part, "*")
            yield
        finally:
            if round_.fault == FREEZE:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
            elif round_.fault == CUT:
                await faults.heal()

    async def _create(self, began: float, seconds: float) -> None:
        """Pods at every tenant partition, each with its turn."""
        clients = self._cluster.clients.tenant_clients
        every = len(clients) / PODS_A_SECOND
        async with trio.open_nursery() as nursery:
            for number, (name, client) in enumerate(clients.items()):
                first = number / PODS_A_SECOND
                items = []
                for turn in range(int(seconds / every)):
                    self._made += 1
                    pod = f"pod-{self._made}"
                    due = first + turn * every
                    self._pods[name, pod] = _Pod(name, began + due)
                    self._waiting += 1
                    items.append((pod, due))
                writer = PacedWriter(
                    client,
                    items,
                    lambda item: item[1],
                    lambda item, name=name: create_operation(_pod(f"tenant-{name}", item[0])),
                    lambda *_: None,
                )
                nursery.start_soon(writer.run, began)

    async def _all_running(self, seconds_max: float) -> bool:
        with trio.move_on_after(max(seconds_max, 0)):
            while self._waiting:  # noqa: ASYNC110 - the watches that count them tell nobody
                await trio.sleep(0.05)
        return not self._waiting

    def _seen(self, partition: str, events: Sequence[pb.WatchEvent]) -> None:
        now = trio.current_time()
        for event in events:
            message = event.object
            pod = self._pods.get((partition, message.metadata.name))
            if pod is None:
                continue
            if event.type == pb.WatchEvent.DELETED:
                self._losses.deleted.append(f"{partition}: {message.metadata.name}")
            elif pod.running_at is None and decode_shared(message.status).get("phase") == "Running":
                pod.running_at = now
                pod.resource_partition = decode_shared(message.spec).get("resourcePartition", "")
                self._waiting -= 1


def _pod(tenant: str, name: str) -> Object:
    requests = {"cpu": "10m", "memory": "10Mi"}
    return Object.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "tenant": tenant},
            "spec": {"containers": [{"name": "main", "image": "app", "resources": {"requests": requests}}]},
        }
    )
