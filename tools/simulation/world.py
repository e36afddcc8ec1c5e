"""The cluster of a run: partitions, parts, the links between them, and what they share: a seed, a trace, a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import trio

from ...clients.actor import Actor, Clock
from ...clients.client import ClientSet
from ...clients.kubelet.hollow import HollowNodes
from ...clients.kubelet.options import HollowNodesOptions
from ...clients.registry import RegistryFollower
from ...clients.transport.interface import Transport
from ...clients.transport.memory import MemoryTransport
from ...proto.devices import MILLI_PER_DEVICE
from ...proto.errors import ApiError, ServiceUnavailable
from ...proto.kinds import Role
from ...proto.quantities import GPU_MILLI
from ...proto.sessions import Caller, ServerStream
from .. import makers
from ..clocks import MOCK_START_SECONDS
from ..components import Component, elected, replica_names
from ..nodes import NodeOptions, make_nodes, spread
from ..recording.recorder import InstanceLog, Recorder
from .links import DOWN, Links, SimulatedLink
from .partitions import SimulatedPartition
from .parts import SimulatedClock, SimulatedPart
from .plan import Plan
from .scheduling import scheduler_options
from .trace import Trace, TracedRandom


class World:
    """`began`: when the plan's own time began. `failures`: of parts that failed by themselves."""

    def __init__(
        self, plan: Plan, folder: Path, trace: Trace, components: Mapping[str, makers.Make], recorder: Recorder
    ) -> None:
        self.plan = plan
        self.knobs = plan.knobs
        self.folder = folder
        self.trace = trace
        self.began = 0.0
        self._has_begun = trio.Event()
        self.failures: list[tuple[str, str]] = []
        self.notes: list[tuple[float, str, str]] = []
        self.links = Links()
        self.recorder = recorder
        self._instances: dict[str, InstanceLog] = {}  # Of the lives that host kubelets.
        self._offsets: dict[str, float] = {}
        self._clocks: dict[str, SimulatedClock] = {}
        self._on_new_link: dict[object, Callable[[SimulatedLink], None]] = {}
        topology = plan.topology
        self.partitions = {
            name: SimulatedPartition(name, role, folder / name, self)
            for names, role in ((topology.tenant_names, Role.TENANT), (topology.resource_names, Role.RESOURCE))
            for name in names
        }
        gpus = {GPU_MILLI: MILLI_PER_DEVICE * self.knobs.node_gpus} if self.knobs.node_gpus else {}
        options = NodeOptions(cpu=self.knobs.node_cpu, pods=self.knobs.node_pods, extended=gpus)
        nodes = make_nodes(topology.nodes, options)
        self.nodes = spread(nodes, topology.resource_names)
        # Partitions that are lost for good, and whether the registry says so; and those being drained.
        self.lost: dict[str, bool] = {}
        self.drained: dict[str, None] = {}
        self._off: dict[str, int] = {}  # By node, for how many reasons.
        self._hosts = not any(name.startswith("hollow-nodes-") for name in components)
        makers = {**self._own_components(), **components}
        self.parts = {name: SimulatedPart(name, make, self) for name, make in makers.items()}

    def begin(self) -> None:
        self.began = trio.current_time()
        self._has_begun.set()
        self.happened("began", "")

    async def wait_begun(self) -> float:
        await self._has_begun.wait()
        return self.began

    def part(self, name: str) -> SimulatedPart | SimulatedPartition:
        return self.partitions.get(name) or self.parts[name]

    # -------------------------------------------------------------------------------------------- what parts are given

    def random(self, name: str) -> Random:
        return TracedRandom(f"{self.plan.seed}/{name}", self.trace)

    def wall_offset_seconds(self, part: str) -> float:
        return MOCK_START_SECONDS + self._offsets.get(part, 0.0)

    def clock(self, part: str) -> Clock:
        clock = self._clocks[part] = SimulatedClock(self.wall_offset_seconds(part))
        return clock

    def jump_clock(self, part: str, seconds: float) -> None:
        self._offsets[part] = self._offsets.get(part, 0.0) + seconds
        if part in self._clocks:
            self._clocks[part].jump(seconds)
        runtime = self.partitions[part].runtime if part in self.partitions else None
        if runtime is not None:
            runtime.wall_offset_seconds += seconds

    # ---------------------------------------------------------------------------------------------------- machines

    def running(self) -> list[tuple[str, str]] | None:
        """The partition and the uid of each pod that a kubelet runs now. None: they are another's kubelets."""
        if not self._hosts:
            return None
        return [pod for instances in self._instances.values() for pod in instances.running]

    def home_of_node(self, name: str) -> str:
        """Its resource partition."""
        return next(home for home, nodes in self.nodes.items() if any(node.name == name for node in nodes))

    def switch_off(self, name: str) -> None:
        self._off[name] = self._off.get(name, 0) + 1
        host = self.parts[f"hollow-nodes-{self.home_of_node(name)}"].component
        if isinstance(host, HollowNodes) and name in host.node_names:
            host.remove_nodes([name])

    def switch_on(self, name: str) -> None:
        """Once it was switched on as often as off."""
        self._off[name] -= 1
        home = self.home_of_node(name)
        host = self.parts[f"hollow-nodes-{home}"].component
        if not self._off[name] and isinstance(host, HollowNodes) and name not in host.node_names:
            host.add_nodes(node for node in self.nodes[home] if node.name == name)

    # -------------------------------------------------------------------------------------------------- partitions go

    def lose(self, partition: str) -> None:
        """A resource partition, its kubelets and its controllers are gone for good."""
        self.lost[partition] = False
        self.partitions[partition].lose()
        for name in (f"hollow-nodes-{partition}", *self._replicas(f"controller-manager-{partition}")):
            if name in self.parts:
                self.parts[name].lose()

    def _replicas(self, name: str) -> list[str]:
        return replica_names(name, self.plan.topology.replicas)

    def follower(self, name: str, life: str, clients: ClientSet, actor: Actor) -> RegistryFollower | None:
        """Of a component of the cluster's own, by the registry of its home; others have links to all, to the end."""
        if not self.plan.changes_registry or name not in self.plan.topology.components:
            return None
        home = next(each for each in self.partitions if name.rpartition(each)[1])
        addresses = {each: f"memory:{each}" for each in self.partitions}
        return RegistryFollower(clients, home, addresses, lambda entry: self._transport(name, life, entry.name), actor)

    # ------------------------------------------------------------------------------------------------------- links

    def transports(self, component: str, life: str) -> tuple[Mapping[str, Transport], Mapping[str, Transport]]:
        topology = self.plan.topology
        tenant = {name: self._transport(component, life, name) for name in topology.tenant_names}
        resource = {name: self._transport(component, life, name) for name in topology.resource_names}
        return tenant, resource

    def _transport(self, component: str, life: str, partition: str) -> Transport:
        server = self.partitions[partition].server
        transport = MemoryTransport(
            partition,
            server or _Nobody(),
            random=self.random(f"{life}->{partition}"),
            latency_seconds=self.knobs.latency_seconds,
            user=life,
            trace=self.trace,
        )
        link = SimulatedLink(component, partition, transport)
        self.links.add(link)
        if server is None:
            link.cut(DOWN)
        for begin in list(self._on_new_link.values()):
            begin(link)
        return self.recorder.wrap(transport, life)

    # ----------------------------------------------------------------------------------------------- what parts tell

    def partition_up(self, partition: SimulatedPartition) -> None:
        self.happened("up", f"{partition.name}#{partition.life}")
        for link in self.links.between("*", partition.name):
            link.mend(DOWN, partition.server)

    def partition_down(self, partition: SimulatedPartition) -> None:
        self.happened("down", f"{partition.name}#{partition.life}")
        for link in self.links.between("*", partition.name):
            link.cut(DOWN)

    def part_down(self, name: str) -> None:
        self.links.remove_of(name)
        if (instances := self._instances.pop(name, None)) is not None:
            instances.died()

    def part_failed(self, name: str, error: str) -> None:
        self.happened("failed", f"{name}: {error.strip().splitlines()[-1]}")
        self.failures.append((name, error))

    def heal(self) -> None:
        """Everything lives, every link carries, every disk is quick and has room."""
        self._on_new_link.clear()
        for name, times in self._off.items():
            for _ in range(times):
                self.switch_on(name)
        for partition in self.partitions.values():
            partition.heal()
        for part in self.parts.values():
            part.revive()
        for link in self.links.between("*", "*"):
            link.heal(self.knobs.latency_seconds)
        for partition in self.partitions.values():
            self.thaw(partition, self.links.between("*", partition.name))

    def thaw(self, partition: SimulatedPartition, links: Iterable[SimulatedLink]) -> None:
        """Let links that lead to a frozen apiserver lead to the partition's own again. One that is down has none."""
        for link in links:
            if link.frozen and partition.server is not None:
                link.lead_to(partition.server)
                link.frozen = False

    def happened(self, what: str, text: str) -> None:
        self.trace.note(f"{what} {text}")
        self.recorder.happened(f"{what} {text}".strip())
        self.notes.append((trio.current_time(), what, text))

    def ends(self, target: str, other: str) -> tuple[str, str]:
        """The component and the partition that a fault's link joins. A partition's own concerns all its links."""
        return ("*", target) if target in self.partitions else (target, other)

    @contextmanager
    def on_new_link(
        self, component: str, partition: str, begin: Callable[[SimulatedLink], None]
    ) -> Iterator[list[SimulatedLink]]:
        """Do something to each link between them, those that are made meanwhile included. Yields them."""
        found: list[SimulatedLink] = []
        pair = self.ends(component, partition)

        def take(link: SimulatedLink) -> None:
            if pair[0] in ("*", link.component) and pair[1] in ("*", link.partition):
                found.append(link)
                begin(link)

        for link in list(self.links.between("*", "*")):
            take(link)
        key = object()
        self._on_new_link[key] = take
        try:
            yield found
        finally:
            self._on_new_link.pop(key, None)

    # ------------------------------------------------------------------------------------------------ its own parts

    def _own_components(self) -> dict[str, makers.Make]:
        topology, knobs = self.plan.topology, self.knobs
        options = HollowNodesOptions(
            start_delay_seconds=knobs.start_delay_seconds, stop_delay_seconds=knobs.stop_delay_seconds
        )
        made: dict[str, makers.Make] = {}

        scheduling = scheduler_options(self.plan)

        def add(name: str, home: str, make: makers.Make) -> None:
            replicas = replica_names(name, topology.replicas)
            made.update(dict.fromkeys(replicas, elected(home, name, make) if replicas[1:] else make))

        for home in topology.tenant_names:
            add(f"scheduler-{home}", home, makers.scheduler(home, scheduling))
            add(f"controller-manager-{home}", home, makers.tenant_controllers(home))
        for home in topology.resource_names:
            add(f"controller-manager-{home}", home, makers.resource_controllers(home))
            made[f"hollow-nodes-{home}"] = partial(self._hollow_nodes, home, options)
        return made

    def _hollow_nodes(self, home: str, options: HollowNodesOptions, clients: ClientSet, actor: Actor) -> Component:
        """An actor is named after its life."""
        nodes = [node for node in self.nodes[home] if not self._off.get(node.name)]
        instances = self.recorder.instances(actor.name)
        self._instances[actor.name.partition("#")[0]] = instances
        return makers.hollow_nodes(home, nodes, options, instances)(clients, actor)


class _Nobody:
    """The service of a partition that has not lived yet: its links are down, so nobody asks it."""

    def call(self, method: str, request: bytes, caller: Caller, reply: Callable[[bytes | ApiError], None]) -> None:
        reply(ServiceUnavailable("the partition has not started"))

    def open(self, method: str, caller: Caller, wake: Callable[[], None]) -> ServerStream:
        raise ServiceUnavailable("the partition has not started")
