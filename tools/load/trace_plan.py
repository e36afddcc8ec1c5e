"""From a trace to what is done when.

A trace of five months replayed at 100,000 times its speed takes two minutes, and nine in ten of its pods would then
live for less than a tenth of a second: shorter than any cluster takes to start one. So a pod is given at least
`least_life_seconds` of real time between its creation and its deletion; both moments are fixed by the trace, the speed
and that bound alone, and never wait for the cluster. At a lower speed fewer lives are lengthened, at speed 1 few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...clients.kubelet import hollow_node
from ...proto.objects import Object
from ...proto.quantities import GPU_MILLI
from .trace import TraceNode, TracePod

NAMESPACE = "default"
MODEL_LABEL = "alibabacloud.com/gpu-card-model"


class Step(NamedTuple):
    """A creation or a deletion, `due_seconds` of real time after the start. Sorts by time; creations go first."""

    due_seconds: float
    deletes: bool
    pod: int  # its place in the plan's list


@dataclass(frozen=True)
class TracePlan:
    """`partitions` says where each tenant lives. `never_fit` maps a pod's name to the reason, found by arithmetic."""

    pods: Sequence[TracePod]
    partitions: Mapping[str, str]
    steps: Mapping[str, Sequence[Step]]  # by tenant partition, in order of time
    never_fit: Mapping[str, str]
    lengthened: int
    duration_seconds: float


def plan_trace(
    nodes: Sequence[TraceNode],
    pods: Sequence[TracePod],
    tenant_partitions: Sequence[str],
    speed: float,
    least_life_seconds: float,
) -> TracePlan:
    partitions = spread_tenants(pods, tenant_partitions)
    steps: dict[str, list[Step]] = {partition: [] for partition in tenant_partitions}
    lengthened = 0
    for index, pod in enumerate(pods):
        create_at = pod.creation_seconds / speed
        steps[partitions[pod.tenant]].append(Step(create_at, deletes=False, pod=index))
        if pod.deletion_seconds is not None:
            delete_at = pod.deletion_seconds / speed
            lengthened += delete_at < create_at + least_life_seconds
            delete_at = max(delete_at, create_at + least_life_seconds)
            steps[partitions[pod.tenant]].append(Step(delete_at, deletes=True, pod=index))
    for due in steps.values():
        due.sort()
    return TracePlan(
        pods=pods,
        partitions=partitions,
        steps=steps,
        never_fit=never_fit(nodes, pods),
        lengthened=lengthened,
        duration_seconds=max(due[-1].due_seconds for due in steps.values() if due),
    )


def spread_tenants(pods: Sequence[TracePod], partitions: Sequence[str]) -> dict[str, str]:
    """A partition for every tenant: the largest first, each to the partition with the fewest pods so far."""
    sizes: dict[str, int] = {}
    for pod in pods:
        sizes[pod.tenant] = sizes.get(pod.tenant, 0) + 1
    loads = dict.fromkeys(partitions, 0)
    homes = {}
    for tenant, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        home = min(loads, key=lambda partition: loads[partition])
        homes[tenant] = home
        loads[home] += size
    return homes


def never_fit(nodes: Sequence[TraceNode], pods: Sequence[TracePod]) -> dict[str, str]:
    """The pods that are too large for every node even if it were empty, and why."""
    shapes = list(dict.fromkeys((node.cpu_milli, node.memory_mib, node.gpu_milli, node.model) for node in nodes))
    verdicts: dict[tuple[int, int, int, tuple[str, ...]], str] = {}
    found = {}
    for pod in pods:
        wants = (pod.cpu_milli, pod.memory_mib, pod.gpu_milli, pod.models)
        if wants not in verdicts:
            verdicts[wants] = _why_not(wants, shapes)
        if verdicts[wants]:
            found[pod.name] = verdicts[wants]
    return found


def _why_not(wants: tuple[int, int, int, tuple[str, ...]], shapes: Sequence[tuple[int, int, int, str]]) -> str:
    """Empty if there is a node for it."""
    cpu, memory, gpu, models = wants
    candidates = [shape for shape in shapes if not models or shape[3] in models]
    if not candidates:
        return f"it wants GPUs of model {' or '.join(models)}, and there are none"
    if any(shape[0] >= cpu and shape[1] >= memory and shape[2] >= gpu for shape in candidates):
        return ""
    parts = []
    for name, unit, want, most in (
        ("CPU", "m", cpu, max(shape[0] for shape in candidates)),
        ("memory", "Mi", memory, max(shape[1] for shape in candidates)),
        ("GPU", " thousandths", gpu, max(shape[2] for shape in candidates)),
    ):
        if want > most:
            parts.append(f"{want}{unit} of {name} where the largest node has {most}{unit}")
    return f"it wants {' and '.join(parts)}" if parts else "no node has enough of everything it wants at once"


def node_object(node: TraceNode) -> Object:
    return hollow_node(
        node.name,
        cpu=f"{node.cpu_milli}m",
        memory=f"{node.memory_mib}Mi",
        labels={MODEL_LABEL: node.model} if node.model else None,
        extended={GPU_MILLI: node.gpu_milli} if node.gpu_milli else None,
    )


def on_models(models: Sequence[str]) -> dict[str, Any]:
    """The part of a pod's spec that wants a node with GPUs of one of these models; none: any node will do."""
    if not models:
        return {}
    term = {"matchExpressions": [{"key": MODEL_LABEL, "operator": "In", "values": list(models)}]}
    required = {"nodeSelectorTerms": [term]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def pod_object(pod: TracePod) -> Object:
    requests: dict[str, Any] = {"cpu": f"{pod.cpu_milli}m", "memory": f"{pod.memory_mib}Mi"}
    if pod.gpu_milli:
        requests[GPU_MILLI] = pod.gpu_milli
    spec = {
        "containers": [{"name": "main", "image": "registry.k8s.io/pause:3.10", "resources": {"requests": requests}}],
        **on_models(pod.models),
    }
    return Object.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod.name, "namespace": NAMESPACE, "tenant": pod.tenant},
            "spec": spec,
        }
    )
