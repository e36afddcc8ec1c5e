"""Five schedulers on shared nodes: how many of their claims are refused, at a steady fill, with the ledger and without.

A whole cluster in one process on a mock clock, with its real parts: 5 tenant and 2 resource partitions, links with
latency, commits at the apiserver's own pace. First it is filled; then pods arrive at each tenant partition at random,
200 a second, and as many leave, drawn among those that have a place. Who has none after two seconds is taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple
from unittest import mock

import trio
from ursa.clients import operations
from ursa.clients.client import PartitionClient
from ursa.clients.informer import Event, EventType
from ursa.clients.mutations import BATCH_OPERATIONS_MAX
from ursa.clients.nurseries import open_background
from ursa.clients.scheduler import Scheduler, SchedulerOptions, ScoringStrategy
from ursa.clients.spanning import SpanningInformer
from ursa.partitions.admission.ledger import Ledger
from ursa.proto.objects import Object, ObjectKey
from ursa.tools.bootstrap import register_partitions, tenant_object
from ursa.tools.clocks import running_clock
from ursa.tools.determinism import seeded_run
from ursa.tools.in_process import InProcess, InProcessOptions, open_in_process
from ursa.tools.load.ledger import LedgerWatch
from ursa.tools.nodes import NodeOptions, make_nodes
from ursa.tools.one_box import Topology

TENANT_PARTITIONS, RESOURCE_PARTITIONS, NODES = 5, 2, 1000
# Of a message's one way, where processes share a network.
LATENCY_SECONDS = (0.0005, 0.005)
PODS_A_SECOND = 200.0  # of each scheduler
FILLING_PODS_A_SECOND = 1000.0
TICK_SECONDS = 0.02
PATIENCE_SECONDS = 2.0
REST_SECONDS = 1.0  # between filling and counting
FILL_SECONDS_MAX = 60.0
PODS, GPU = "pods", "nvidia.com/gpu"


class Kind(NamedTuple):
    """Of a pod: its requests, and what it counts towards the fill."""

    requests: dict[str, str]
    units: int


@dataclass(frozen=True)
class Mix:
    """Nodes, the pods that arrive on them (each kind as often as the others), and the resource that gets scarce."""

    title: str
    resource: str
    node: NodeOptions
    pods: Sequence[Kind]
    weights: tuple[tuple[str, int], ...]


CPUS = Mix(
    "cpu",
    "cpu",
    NodeOptions(cpu="16", memory="64Gi"),
    [Kind({"cpu": f"{milli}m", "memory": f"{milli * 4}Mi"}, milli) for milli in (250, 500, 1000, 2000)],
    (("cpu", 1), ("memory", 1)),
)
GPUS = Mix(
    "gpu",
    GPU,
    NodeOptions(cpu="128", memory="1024Gi", extended={GPU: 8}),
    [Kind({"cpu": "1", "memory": "4Gi", GPU: str(count)}, count) for count in (1, 2, 4, 8)],
    (("cpu", 1), ("memory", 1), (GPU, 8)),
)


class Counted(NamedTuple):
    """What happened at one fill."""

    fill: float  # wanted
    placed: float  # reached, on average
    attempted: int
    refused: int
    overcommitted: int  # claims admitted without room, counted at every revision

    @property
    def refused_percent(self) -> float:
        return 100 * self.refused / max(self.attempted, 1)


def measure_conflicts(
    mix: Mix, strategy: str, fills: Sequence[float], *, seconds: float, seed: int = 1, ledger: bool = True
) -> list[Counted]:
    """At each fill in turn, for so many virtual seconds."""
    scoring = ScoringStrategy("MostAllocated" if strategy == "most" else "LeastAllocated", mix.weights)
    with nullcontext() if ledger else _nobody_counts():
        return seeded_run(seed, lambda: _Cluster(mix, scoring, seed).run(fills, seconds))


@contextmanager
def _nobody_counts() -> Iterator[None]:
    """As where each scheduler's own view is all there is: what it does not show is room."""
    with mock.patch.object(Ledger, "_check_room"):
        yield


class _Cluster:
    def __init__(self, mix: Mix, scoring: ScoringStrategy, seed: int) -> None:
        self._mix, self._seed = mix, seed
        self._options = InProcessOptions(
            Topology(TENANT_PARTITIONS, RESOURCE_PARTITIONS),
            seed,
            latency_seconds=LATENCY_SECONDS,
            scheduler_options=SchedulerOptions(scoring_strategy=scoring),
        )
        self._load = _Load(mix)

    async def run(self, fills: Sequence[float], seconds: float) -> list[Counted]:
        async with (
            open_in_process(self._options, running_clock()) as cluster,
            open_background() as nursery,
            cluster.open_clients(cluster.actor("benchmark"), home=None) as clients,
        ):
            await register_partitions(clients, cluster.tenant_addresses, cluster.resource_addresses)
            for name, client in clients.tenant_clients.items():
                await client.create(tenant_object(f"tenant-{name}"))
            placements = SpanningInformer(clients.resource_clients, "placements.ursa.dev")
            placements.add_handler(self._load.placement_event)
            nursery.start_soon(placements.run)
            ledgers = [LedgerWatch(client) for client in clients.resource_clients.values()]
            for ledger in ledgers:
                nursery.start_soon(ledger.run)
            await cluster.start_components(make_nodes(NODES, self._mix.node))
            await cluster.wait_ready(60.0)
            for name, client in clients.tenant_clients.items():
                tenant = _Tenant(client, f"tenant-{name}", self._load, Random(f"{name}/{self._seed}"))
                nursery.start_soon(tenant.run)
            counted = [await self._count(cluster, ledgers, fill, seconds) for fill in fills]
            nursery.cancel_scope.cancel()
        return counted

    async def _count(self, cluster: InProcess, ledgers: Sequence[LedgerWatch], fill: float, seconds: float) -> Counted:
        load = self._load
        load.target, load.pods_a_second = fill, FILLING_PODS_A_SECOND
        with trio.move_on_after(FILL_SECONDS_MAX):
            while load.filled < fill:  # noqa: ASYNC110 - nobody announces it
                await trio.sleep(TICK_SECONDS)
        load.pods_a_second = PODS_A_SECOND
        await trio.sleep(REST_SECONDS)
        before = _claims(cluster)
        filled: list[float] = []
        for _ in range(int(seconds / TICK_SECONDS)):
            filled.append(load.filled)
            await trio.sleep(TICK_SECONDS)
        attempted, refused = (now - then for now, then in zip(_claims(cluster), before, strict=True))
        await trio.sleep(REST_SECONDS)  # What was decided has been told.
        overcommitted = sum(len(ledger.check.violations) for ledger in ledgers)
        if any(ledger.check.gaps for ledger in ledgers):
            raise RuntimeError("a revision of a ledger was missed")
        return Counted(fill, sum(filled) / len(filled), attempted, refused, overcommitted)


def _claims(cluster: InProcess) -> tuple[int, int]:
    """Answered and refused, of all schedulers."""
    counts = [each.counts for each in cluster.components.values() if isinstance(each, Scheduler)]
    return sum(each.attempted for each in counts), sum(each.rejected for each in counts)


@dataclass
class _Load:
    """What all tenants together want, and what they have."""

    mix: Mix
    target: float = 0.0
    pods_a_second: float = 0.0
    placed: dict[str, int] = field(default_factory=dict)  # units by uid of the pod
    units: int = 0

    @property
    def filled(self) -> float:
        """Of all there is of the scarce resource, the share that is placed."""
        node = self.mix.node
        each = int(node.extended[GPU]) if self.mix.resource == GPU else 1000 * int(node.cpu)
        return self.units / (each * NODES)

    def placement_event(self, partition: str, event: Event) -> None:
        uid = event.object.name
        self.units -= self.placed.pop(uid, 0)
        if event.type is not EventType.DELETED:
            self.placed[uid] = int(event.object.spec["requests"].get(self.mix.resource, 0))
            self.units += self.placed[uid]


@dataclass
class _Pod:
    key: ObjectKey
    uid: str
    since: float


class _Tenant:
    """The pods of one tenant partition come and go."""

    def __init__(self, client: PartitionClient, tenant: str, load: _Load, random: Random) -> None:
        self._client, self._tenant, self._load, self._random = client, tenant, load, random
        self._waiting: list[_Pod] = []
        self._running: list[_Pod] = []
        self._made = 0

    async def run(self) -> None:
        next_at = trio.current_time()
        while True:
            await trio.sleep(TICK_SECONDS)
            now = trio.current_time()
            if not self._load.target:
                next_at = now
                continue
            new = []
            while next_at < now and len(new) < BATCH_OPERATIONS_MAX // 2:
                next_at += self._random.expovariate(self._load.pods_a_second)
                new.append(self._new_pod())
            leaving = self._leaving(now)
            deletes = [operations.delete_operation(PODS, pod.key, uid=pod.uid, grace_seconds=0) for pod in leaving]
            results = await self._client.mutate(
                [*deletes, *(operations.create_operation(pod, return_object=True) for pod in new)]
            )
            for result in results[len(deletes) :]:
                made = Object(result.object)
                self._waiting.append(_Pod(made.key, made.uid, now))

    def _leaving(self, now: float) -> list[_Pod]:
        """As many of the placed as are too many, a fifth of them here, and those that have waited for too long."""
        load = self._load
        self._running += [pod for pod in self._waiting if pod.uid in load.placed]
        self._waiting = [pod for pod in self._waiting if pod.uid not in load.placed]
        leaving = [pod for pod in self._waiting if now - pod.since > PATIENCE_SECONDS]
        self._waiting = [pod for pod in self._waiting if now - pod.since <= PATIENCE_SECONDS]
        surplus = (load.filled - load.target) / max(load.filled, 1e-9) * sum(load.placed.values()) / TENANT_PARTITIONS
        while surplus > 0 and self._running and len(leaving) < BATCH_OPERATIONS_MAX // 2:
            pod = self._running.pop(self._random.randrange(len(self._running)))
            surplus -= load.placed.get(pod.uid, 0)
            leaving.append(pod)
        return leaving

    def _new_pod(self) -> Object:
        self._made += 1
        kind = self._random.choice(self._load.mix.pods)
        return Object.from_dict(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"pod-{self._made}", "namespace": "default", "tenant": self._tenant},
                "spec": {"containers": [{"name": "main", "image": "app", "resources": {"requests": kind.requests}}]},
            }
        )
