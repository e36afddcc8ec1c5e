"""Short forms of the objects that scheduler tests need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.framework.picker import Picker
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.profiles import profiles_of
from ursa.clients.scheduler.template import Template
from ursa.proto.objects import Object, encode

GI = 1024**3


def node(
    name: str,
    *,
    cpu: str = "4",
    memory: str = "16Gi",
    pods: int = 110,
    uid: str = "",
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Mapping[str, str]] = (),
    unschedulable: bool = False,
    ready: bool = True,
    **extended: Any,
) -> Object:
    """`extended`: other resources, with `__` for `/` and `_` for `-`: ursa.dev/gpu-milli is `gpu_milli`."""
    allocatable: dict[str, Any] = {"cpu": cpu, "memory": memory, "pods": pods}
    if "gpu_milli" in extended:
        allocatable["ursa.dev/gpu-milli"] = extended.pop("gpu_milli")
    assert not extended
    return Object.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "uid": uid or f"uid-{name}", "labels": dict(labels or {})},
            "spec": {"unschedulable": unschedulable, "taints": list(taints)},
            "status": {
                "allocatable": allocatable,
                "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            },
        }
    )


def pod_spec(requests: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "app:1", "resources": {"requests": dict(requests or {})}}], **spec}


def pod(name: str, requests: Mapping[str, Any] | None = None, *, uid: str = "", **spec: Any) -> Object:
    return Object.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "tenant": "acme", "uid": uid or f"uid-{name}"},
            "spec": pod_spec(requests, **spec),
            "status": {"phase": "Pending"},
        }
    )


def placement(
    pod_uid: str,
    node_name: str,
    requests: Mapping[str, int],
    *,
    tenant_partition: str = "tp-2",
    uid: str = "",
    node_uid: str = "",
) -> Object:
    made = Object.from_dict(
        {"apiVersion": "ursa.dev/v1", "kind": "Placement", "metadata": {"name": pod_uid, "uid": uid or f"p-{pod_uid}"}}
    )
    made.message.spec = encode(
        {
            "node": node_name,
            "nodeUID": node_uid or f"uid-{node_name}",
            "tenantPartition": tenant_partition,
            "pod": {"tenant": "acme", "namespace": "default", "name": pod_uid, "uid": pod_uid},
            "requests": dict(requests),
        }
    )
    return made


def shape(template: Template, **labels: str) -> Shape:
    """Of pods of this template, in acme's default namespace. One shape for one template, unless there are labels."""
    return Shape(template.id, template, "acme", "default", labels)


def picker(nodes: NodeColumns, columns_max: int = 10, **options: Any) -> Picker:
    """Of the only profile that these options of a scheduler make."""
    [profile] = profiles_of(SchedulerOptions(**options))
    return Picker(nodes, Random(1), columns_max, profile)
