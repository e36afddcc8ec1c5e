"""What is compared on: nodes, and pods that arrive one after the other and stay.

`trace` is the experiment of "Beware of Fragmentation" (USENIX ATC 2023) on the trace that paper published: the nodes
that have GPUs, all of its pods in random order, and then more of them, drawn with replacement, until they have asked
for 130 % of the GPUs there are. `gpu` is of the same kind, made up, for those who have no trace. `basic` has no GPUs,
and arrivals are counted in cpu.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from ...clients.kubelet import hollow_node
from ...clients.placements import placed_requests
from ...proto.errors import InputError
from ...proto.objects import Object, decode
from ...proto.quantities import CPU, GPU_MILLI, resource_list
from ..load.trace import MILLI_PER_GPU, read_nodes, read_pods
from ..load.trace_plan import node_object, on_models

# What arrives in all, in parts of what the nodes have.
ARRIVALS: Final = 1.3
TRACE, GPU, BASIC = "trace", "gpu", "basic"
WORKLOADS: Final = (TRACE, GPU, BASIC)


class Arrival(NamedTuple):
    """A pod: its spec, and how much it adds to what has arrived (units of the workload's resource)."""

    spec: Mapping[str, Any]
    units: int


class Workload(NamedTuple):
    """`resource` is what gets scarce; `kinds` are the pods to draw from, each as often as it is there."""

    name: str
    resource: str
    nodes: Sequence[Object]
    kinds: Sequence[Arrival]

    @property
    def capacity(self) -> int:
        return sum(_allocatable(node, self.resource) for node in self.nodes)

    @property
    def requests(self) -> list[dict[str, int]]:
        """Of each of the kinds, in units."""
        return [placed_requests(kind.spec) for kind in self.kinds]

    def arrivals(self, seed: int) -> list[int]:
        """Positions in `kinds`: all of them once, in an order drawn from the seed, then others, drawn anew each time;
        or fewer, if they are more than ARRIVALS of the capacity."""
        random, bound = Random(seed), ARRIVALS * self.capacity
        once, arrived = list(range(len(self.kinds))), 0
        random.shuffle(once)
        pods: list[int] = []
        while True:
            pod = once[len(pods)] if len(pods) < len(once) else random.randrange(len(self.kinds))
            arrived += self.kinds[pod].units
            if arrived > bound:
                return pods
            pods.append(pod)


def make_workload(name: str, nodes_csv: Path | None = None, pods_csv: Path | None = None) -> Workload:
    """
    Raises:
        InputError: there is none of this name, or its trace cannot be read.
    """
    if name == TRACE:
        if nodes_csv is None or pods_csv is None:
            raise InputError(f"the workload {TRACE} needs the trace: give --nodes-csv and --pods-csv")
        return _trace(nodes_csv, pods_csv)
    if nodes_csv is not None or pods_csv is not None:
        raise InputError(f"only the workload {TRACE} is read from files, not {name}")
    if name == GPU:
        return _made_up_gpus()
    if name == BASIC:
        return _basic()
    raise InputError(f"there is no workload {name!r}: choose one of {', '.join(WORKLOADS)}")


def _allocatable(node: Object, resource: str) -> int:
    return resource_list(decode(node.message.status).get("allocatable")).get(resource, 0)


def _trace(nodes_csv: Path, pods_csv: Path) -> Workload:
    nodes = [node for node in read_nodes(nodes_csv) if node.gpu_milli]
    if not nodes:
        raise InputError("no node has GPUs", file=str(nodes_csv))
    pods = read_pods(pods_csv)
    if not any(pod.gpu_milli for pod in pods):
        raise InputError("no pod asks for GPUs", file=str(pods_csv))
    kinds = [
        Arrival(
            _pod_spec(f"{pod.cpu_milli}m", f"{pod.memory_mib}Mi", pod.gpu_milli, pod.models),
            pod.gpu_milli,
        )
        for pod in pods
    ]
    return Workload(TRACE, GPU_MILLI, [node_object(node) for node in nodes], kinds)


def _pod_spec(cpu: str, memory: str, gpu_milli: int, models: Sequence[str] = ()) -> dict[str, Any]:
    requests: dict[str, Any] = {"cpu": cpu, "memory": memory}
    if gpu_milli:
        requests[GPU_MILLI] = gpu_milli
    containers = [{"name": "main", "image": "app", "resources": {"requests": requests}}]
    return {"containers": containers, **on_models(models)}


def _made_up_gpus() -> Workload:
    """Cpu is scarce beside the GPUs of some nodes, as it is in real clusters."""
    shapes = ((20, 96, 8), (10, 32, 4), (30, 104, 2), (20, 16, 2))  # nodes, cores, GPUs
    nodes = [
        hollow_node(
            f"gpu-{cores}-{gpus}-{number:03d}",
            cpu=str(cores),
            memory=f"{cores * 6}Gi",
            extended={GPU_MILLI: gpus * MILLI_PER_GPU},
        )
        for count, cores, gpus in shapes
        for number in range(count)
    ]
    asked = (
        (14, "8", 0),
        (40, "8", 1000),
        (12, "12", 1000),
        (10, "4", 810),
        (8, "4", 470),
        (6, "2", 320),
        (4, "6", 650),
    )
    whole = ((1, "32", 4000), (2, "64", 8000), (1, "16", 2000))
    kinds = [
        Arrival(_pod_spec(cpu, "16Gi", milli), milli) for count, cpu, milli in (*asked, *whole) for _ in range(count)
    ]
    return Workload(GPU, GPU_MILLI, nodes, kinds)


def _basic() -> Workload:
    nodes = [hollow_node(f"node-{number:03d}", cpu="16", memory="64Gi") for number in range(100)]
    asked = ((4, 250, 1), (4, 500, 2), (2, 1000, 8), (1, 2000, 2), (1, 8000, 16))
    kinds = [Arrival(_pod_spec(f"{cpu}m", f"{memory}Gi", 0), cpu) for count, cpu, memory in asked for _ in range(count)]
    return Workload(BASIC, CPU, nodes, kinds)
