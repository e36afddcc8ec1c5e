"""Writes to claims and volumes, each over the very revision that it was decided on. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.volumes import BOUND_BY_CONTROLLER, CLAIMS, SELECTED_NODE, SELECTED_PARTITION, VOLUMES, YES
from ..operations import patch_operation
from .reading import Claim, NodePlace, Volume


def claim_volume(volume: Volume, claim: Claim, *, by_controller: bool) -> pb.Operation:
    """Let a volume say that it is the claim's. `by_controller`: if the claim turns out to have another, it is free
    again for anybody."""
    of = claim.key
    reference = {"namespace": of.namespace, "name": of.name, "uid": claim.uid}
    return patch_volume(
        volume,
        {"annotations": {BOUND_BY_CONTROLLER: YES}} if by_controller else {},
        spec={"claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **reference}},
    )


def select_node(claim: Claim, place: NodePlace) -> pb.Operation:
    """Let a claim say for which node a volume is to be made."""
    return patch_claim(claim, {"annotations": {SELECTED_NODE: place.node, SELECTED_PARTITION: place.partition}})


def preconditions(uid: str, revision: int) -> dict[str, str]:
    return {"uid": uid, "resourceVersion": str(revision)}


def patch_claim(
    claim: Claim, metadata: Mapping[str, Any] = {}, *, spec: Mapping[str, Any] | None = None
) -> pb.Operation:
    body: dict[str, Any] = {"metadata": {**metadata, **preconditions(claim.uid, claim.resource_version)}}
    if spec is not None:
        body["spec"] = spec
    return patch_operation(CLAIMS, claim.key, body)


def patch_volume(volume: Volume, metadata: Mapping[str, Any], *, spec: Mapping[str, Any]) -> pb.Operation:
    body = {"metadata": {**metadata, **preconditions(volume.uid, volume.resource_version)}, "spec": spec}
    return patch_operation(VOLUMES, volume.key, body)
