"""Claims, volumes and classes as plain values, read once from their objects. Pure functions.

The partitions let in nothing that makes no sense; what is read here all the same is read as if it were left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...proto.objects import Object, ObjectKey
from ...proto.quantities import resource_units
from ...proto.selectors import Selector, label_selector_of
from ...proto.volumes import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    DEFAULT_CLASS,
    DELETE,
    FILESYSTEM,
    PENDING,
    PROVISIONED_BY,
    RETAIN,
    SELECTED_NODE,
    SELECTED_PARTITION,
    STORAGE,
    WAIT_FOR_FIRST_CONSUMER,
)

# One of `allowedTopologies`: the values that each label of a node may have.
Topology = tuple[tuple[str, tuple[str, ...]], ...]


class NodePlace(NamedTuple):
    """A node, by its resource partition and its name. Empty: none."""

    partition: str = ""
    node: str = ""


class ClaimRef(NamedTuple):
    """Whom a volume is for. Without a `uid`: whoever has that name, as long as nobody has taken it."""

    namespace: str
    name: str
    uid: str = ""


class StorageClass(NamedTuple):
    """`topologies`: where its volumes may be, one of them; none: anywhere. `waits`: for the first pod that uses it."""

    name: str
    provisioner: str
    waits: bool
    reclaim_policy: str
    topologies: tuple[Topology, ...]
    is_default: bool
    created_ms: int


class Claim(NamedTuple):
    """`class_name` None: whatever the default is. `volume_name`: empty while it is bound to none."""

    key: ObjectKey
    uid: str
    resource_version: int
    class_name: str | None
    modes: tuple[str, ...]
    size: int
    volume_mode: str
    selector: Selector
    volume_name: str
    is_bound: bool
    phase: str
    deleting: bool
    selected: NodePlace


class Volume(NamedTuple):
    """`terms`: of its node affinity, as they are written; None: it can be used anywhere."""

    key: ObjectKey
    uid: str
    resource_version: int
    class_name: str
    modes: tuple[str, ...]
    size: int
    volume_mode: str
    labels: Mapping[str, str]
    claim: ClaimRef | None
    phase: str
    deleting: bool
    reclaim_policy: str
    by_controller: bool
    provisioned_by: str
    terms: tuple[Mapping[str, Any], ...] | None

    def is_for(self, claim: Claim) -> bool:
        """Whether it says that it is the claim's."""
        wanted = self.claim
        return (
            wanted is not None
            and (wanted.namespace, wanted.name) == (claim.key.namespace, claim.key.name)
            and self.key.tenant == claim.key.tenant
            and wanted.uid in ("", claim.uid)
        )


def read_class(obj: Object) -> StorageClass:
    rest = obj.rest
    return StorageClass(
        name=obj.name,
        provisioner=str(rest.get("provisioner") or ""),
        waits=rest.get("volumeBindingMode") == WAIT_FOR_FIRST_CONSUMER,
        reclaim_policy=rest.get("reclaimPolicy") or DELETE,
        topologies=tuple(_topology(each) for each in rest.get("allowedTopologies") or ()),
        is_default=obj.annotations.get(DEFAULT_CLASS) == "true",
        created_ms=obj.creation_ms,
    )


def _topology(term: Mapping[str, Any]) -> Topology:
    return tuple((each["key"], tuple(each["values"])) for each in term.get("matchLabelExpressions") or ())


def allowed_by(topologies: tuple[Topology, ...], labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels is in one of them."""
    return not topologies or any(in_topology(each, labels) for each in topologies)


def in_topology(topology: Topology, labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) in values for key, values in topology)


def read_claim(obj: Object) -> Claim:
    spec, annotations = obj.spec, obj.annotations
    volume_name = spec.get("volumeName") or ""
    return Claim(
        key=obj.key,
        uid=obj.uid,
        resource_version=obj.resource_version,
        class_name=spec.get("storageClassName"),
        modes=tuple(spec.get("accessModes") or ()),
        size=_size((spec.get("resources") or {}).get("requests")),
        volume_mode=spec.get("volumeMode") or FILESYSTEM,
        selector=label_selector_of(spec.get("selector")),
        volume_name=volume_name,
        is_bound=bool(volume_name) and BIND_COMPLETED in annotations,
        phase=obj.status.get("phase") or PENDING,
        deleting=bool(obj.deletion_ms),
        selected=NodePlace(annotations.get(SELECTED_PARTITION, ""), annotations.get(SELECTED_NODE, "")),
    )


def read_volume(obj: Object) -> Volume:
    spec, annotations = obj.spec, obj.annotations
    required = (spec.get("nodeAffinity") or {}).get("required")
    claim = spec.get("claimRef")
    return Volume(
        key=obj.key,
        uid=obj.uid,
        resource_version=obj.resource_version,
        class_name=spec.get("storageClassName") or "",
        modes=tuple(spec.get("accessModes") or ()),
        size=_size(spec.get("capacity")),
        volume_mode=spec.get("volumeMode") or FILESYSTEM,
        labels=dict(obj.labels),
        claim=None if not claim else ClaimRef(claim["namespace"], claim["name"], claim.get("uid") or ""),
        phase=obj.status.get("phase") or PENDING,
        deleting=bool(obj.deletion_ms),
        reclaim_policy=spec.get("persistentVolumeReclaimPolicy") or RETAIN,
        by_controller=BOUND_BY_CONTROLLER in annotations,
        provisioned_by=annotations.get(PROVISIONED_BY, ""),
        terms=None if required is None else tuple(required.get("nodeSelectorTerms") or ()),
    )


def _size(quantities: Mapping[str, Any] | None) -> int:
    """Bytes."""
    return resource_units(STORAGE, (quantities or {}).get(STORAGE, "0"))


def claims_of(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the claims that a pod with this spec uses, each once."""
    sources = (volume.get("persistentVolumeClaim") for volume in spec.get("volumes") or ())
    return tuple(dict.fromkeys(str(source.get("claimName") or "") for source in sources if source))
