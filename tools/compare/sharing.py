"""Two schedulers on shared nodes, each for the pods of a tenant partition of its own: whose claims are refused, and how
long pods take to run.

What a filling by one scheduler alone (`filling.py`) cannot show needs the rest of a cluster, so this is one: real
apiservers with their ledgers, schedulers, controllers and kubelets, in this process, on a clock that jumps. The pods
are those of the filling in the same order, dealt out to the two in turn, but arrive at a rate; nothing leaves. Of a
workload with many nodes it is a sample of them, drawn from the seed, and as many pods as these are filled by.

Times are virtual: links have latency and partitions commit at their pace, but CPU costs no time. So the startup says
what messages, refused claims and waiting add up to under a profile, and not what a busy machine adds to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import trio

from ...clients import operations
from ...clients.client import ClientSet, PartitionClient
from ...clients.informer import Event
from ...clients.nurseries import open_background
from ...clients.pods import RUNNING, phase
from ...clients.scheduler import Scheduler, SchedulerOptions
from ...clients.scheduler.options import DEFAULT_SCHEDULER
from ...clients.spanning import SpanningInformer
from ...proto.objects import Object
from ..bootstrap import register_partitions, tenant_object
from ..clocks import running_clock
from ..determinism import seeded_run
from ..in_process import InProcess, InProcessOptions, open_in_process
from ..load.ledger import LedgerWatch
from ..one_box import Topology
from .workloads import Workload

SCHEDULERS: Final = 2
PODS_A_SECOND: Final = 100.0  # of each scheduler, at random
NODES_MAX: Final = 100
# Of a message's one way, where processes share a network.
LATENCY_SECONDS: Final = (0.0005, 0.005)
_TICK_SECONDS: Final = 0.01
# After the last arrival: a pod whose claims were refused backs off for a second, and then for two.
_REST_SECONDS: Final = 5.0
_READY_SECONDS: Final = 60.0


@dataclass
class Sharing:
    """What came of it, for one profile and one seed. `claims` were answered, and the ledger did not take the `refused`
    ones of them; `overcommitted` counts those that it took and should not have."""

    seed: int
    nodes: int
    pods: int = 0
    claims: int = 0
    refused: int = 0
    overcommitted: int = 0
    startup_seconds: list[float] = field(default_factory=list)  # from creation to Running, of those that run


def share(workload: Workload, profile: Mapping[str, Any], seed: int) -> Sharing:
    """One run under a profile as it is written in a KubeSchedulerConfiguration; it must make sense."""
    sample = sampled(workload, seed)
    return seeded_run(seed, lambda: _Cluster(sample, profile, seed).run())


def sampled(workload: Workload, seed: int) -> Workload:
    """The workload on at most NODES_MAX of its nodes."""
    if len(workload.nodes) <= NODES_MAX:
        return workload
    chosen = sorted(Random(seed).sample(range(len(workload.nodes)), NODES_MAX))
    return workload._replace(nodes=[workload.nodes[number] for number in chosen])


class _Cluster:
    def __init__(self, workload: Workload, profile: Mapping[str, Any], seed: int) -> None:
        self._workload, self._seed = workload, seed
        self._options = InProcessOptions(
            Topology(SCHEDULERS, SCHEDULERS),
            seed,
            latency_seconds=LATENCY_SECONDS,
            scheduler_options=SchedulerOptions(profiles=({**profile, "schedulerName": DEFAULT_SCHEDULER},)),
        )
        self._sharing = Sharing(seed, len(workload.nodes))
        self._created_at: dict[tuple[str, str], float] = {}  # By tenant and name, of those that do not run yet.

    async def run(self) -> Sharing:
        async with (
            open_in_process(self._options, running_clock()) as cluster,
            open_background() as nursery,
            cluster.open_clients(cluster.actor("compare"), home=None) as clients,
        ):
            await register_partitions(clients, cluster.tenant_addresses, cluster.resource_addresses)
            for name, client in clients.tenant_clients.items():
                await client.create(tenant_object(f"tenant-{name}"))
            pods = SpanningInformer(clients.tenant_clients, "pods")
            pods.add_handler(self._pod_event)
            nursery.start_soon(pods.run)
            ledgers = [LedgerWatch(client) for client in clients.resource_clients.values()]
            for ledger in ledgers:
                nursery.start_soon(ledger.run)
            await cluster.start_components(self._workload.nodes)
            await cluster.wait_ready(_READY_SECONDS)
            await self._arrive(clients)
            await trio.sleep(_REST_SECONDS)
            self._count(cluster, ledgers)
            nursery.cancel_scope.cancel()
        return self._sharing

    async def _arrive(self, clients: ClientSet) -> None:
        numbers = self._workload.arrivals(self._seed)
        self._sharing.pods = len(numbers)
        async with trio.open_nursery() as nursery:
            for part, (name, client) in enumerate(clients.tenant_clients.items()):
                random = Random(f"{self._seed}/{name}")
                nursery.start_soon(self._create, client, f"tenant-{name}", numbers[part::SCHEDULERS], random)

    async def _create(self, client: PartitionClient, tenant: str, numbers: Sequence[int], random: Random) -> None:
        arrivals = self._arrivals(tenant, numbers, random)
        due = next(arrivals, None)
        while due is not None:
            batch: list[Object] = []
            while due is not None and due[0] <= trio.current_time():
                batch.append(due[1])
                due = next(arrivals, None)
            for pod in batch:
                self._created_at[tenant, pod.name] = trio.current_time()
            if batch:
                for result in await client.mutate([operations.create_operation(pod) for pod in batch]):
                    operations.raise_for_error(result)
            await trio.sleep(_TICK_SECONDS)

    def _arrivals(self, tenant: str, numbers: Sequence[int], random: Random) -> Iterator[tuple[float, Object]]:
        """When each is due, and the pod."""
        at = trio.current_time()
        for count, number in enumerate(numbers):
            at += random.expovariate(PODS_A_SECOND)
            metadata = {"name": f"pod-{count}", "namespace": "default", "tenant": tenant}
            spec = self._workload.kinds[number].spec
            yield at, Object.from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def _pod_event(self, _: str, event: Event) -> None:
        name = event.object.tenant, event.object.name
        if name in self._created_at and phase(event.object) == RUNNING:
            self._sharing.startup_seconds.append(trio.current_time() - self._created_at.pop(name))

    def _count(self, cluster: InProcess, ledgers: Sequence[LedgerWatch]) -> None:
        counts = [each.counts for each in cluster.components.values() if isinstance(each, Scheduler)]
        self._sharing.claims = sum(each.attempted for each in counts)
        self._sharing.refused = sum(each.rejected for each in counts)
        self._sharing.overcommitted = sum(len(ledger.check.violations) for ledger in ledgers)
