"""Short forms of claims, volumes and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ursa.proto.objects import Object

from .region import manifest

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
CLASSES = "storageclasses.storage.k8s.io"
ZONE = "topology.kubernetes.io/zone"


def claim(name: str, size: str = "1Gi", class_name: str | None = "manual", **spec: Any) -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    if class_name is not None:
        spec["storageClassName"] = class_name
    return manifest("PersistentVolumeClaim", name, spec=spec)


def volume(
    name: str,
    size: str = "1Gi",
    class_name: str = "manual",
    zone: str = "",
    labels: Mapping[str, str] = {},
    **spec: Any,
) -> Object:
    """`zone`: where it can be used, also as its label; empty: anywhere."""
    made: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}, **spec}
    if class_name:
        made["storageClassName"] = class_name
    metadata: dict[str, Any] = {"name": name, "tenant": "acme", "labels": dict(labels)}
    if zone:
        expression = {"key": ZONE, "operator": "In", "values": [zone]}
        made["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
        metadata["labels"][ZONE] = zone
    return Object.from_dict({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": made})


def storage_class(
    name: str,
    *,
    waits: bool = False,
    provisioner: str = "kubernetes.io/no-provisioner",
    zones: Sequence[str] = (),
    default: bool = False,
    **fields: Any,
) -> Object:
    metadata: dict[str, Any] = {"name": name}
    if default:
        metadata["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    if zones:
        fields["allowedTopologies"] = [{"matchLabelExpressions": [{"key": ZONE, "values": list(zones)}]}]
    mode = "WaitForFirstConsumer" if waits else "Immediate"
    head = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata}
    return Object.from_dict({**head, "provisioner": provisioner, "volumeBindingMode": mode, **fields})
