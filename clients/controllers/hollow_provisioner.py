"""Volumes that are made for claims of a class with the provisioner `ursa.dev/hollow`: there is nothing in them. No I/O.

Where a pod has to be, so has its volume. If the class waits for the first pod, the volume is where that pod's node is:
in the first of `allowedTopologies` that has the node, as the node's labels say; without them, in its zone, if it has
one. Otherwise it is wherever `allowedTopologies` allow. The volume's name follows from the claim's uid, so it is made
once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...proto.objects import Object
from ...proto.quantities import MEMORY, format_quantity
from ...proto.volumes import BOUND_BY_CONTROLLER, HOLLOW_PROVISIONER, PROVISIONED_BY, REGION, STORAGE, YES, ZONE
from ..volumes.reading import Claim, StorageClass, Topology, in_topology

_PLACES: Final = (ZONE, REGION)


def volume_name(claim: Claim) -> str:
    return f"pvc-{claim.uid}"


def hollow_volume(claim: Claim, of: StorageClass, node_labels: Mapping[str, str] | None) -> Object:
    """`node_labels`: of the node that the claim is needed on; None: on none in particular.

    Raises:
        ValueError: the class allows no volume there, in words for a person.
    """
    topologies = of.topologies if node_labels is None else (_place_of(of, node_labels),)
    spec: dict[str, Any] = {
        "accessModes": list(claim.modes),
        "capacity": {STORAGE: format_quantity(MEMORY, claim.size)},
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": claim.key.namespace,
            "name": claim.key.name,
            "uid": claim.uid,
        },
        "csi": {"driver": HOLLOW_PROVISIONER, "volumeHandle": claim.uid},
        "persistentVolumeReclaimPolicy": of.reclaim_policy,
        "storageClassName": of.name,
        "volumeMode": claim.volume_mode,
    }
    terms = [_term(topology) for topology in topologies if topology]
    if terms:
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    metadata = {
        "name": volume_name(claim),
        "tenant": claim.key.tenant,
        "labels": _labels(topologies),
        "annotations": {PROVISIONED_BY: HOLLOW_PROVISIONER, BOUND_BY_CONTROLLER: YES},
    }
    return Object.from_dict({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec})


def _place_of(of: StorageClass, labels: Mapping[str, str]) -> Topology:
    for topology in of.topologies:
        if in_topology(topology, labels):
            return tuple((key, (labels[key],)) for key, _ in topology)
    if of.topologies:
        raise ValueError(f"the node chosen for it is in none of the allowedTopologies of StorageClass {of.name}")
    return tuple((key, (labels[key],)) for key in _PLACES if key in labels)


def _term(topology: Topology) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": "In", "values": list(values)} for key, values in topology]}


def _labels(topologies: tuple[Topology, ...]) -> dict[str, str]:
    """Zone and region, where the volume is in one."""
    if len(topologies) != 1:
        return {}
    return {key: values[0] for key, values in topologies[0] if key in _PLACES and len(values) == 1}
