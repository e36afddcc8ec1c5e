"""What is to be done next about a claim, and about a volume, so that each claim gets its volume. Pure functions.

    claim, of no volume ──the smallest that will do──> volume.claimRef ──> claim.volumeName ──> both are Bound
                        ──none, and its class has a provisioner──> one is made, with its claimRef
                        ──its class waits for the first pod──> the scheduler chooses: see below
    the claim is gone   ──> volume Released ──Delete──> gone;  ──Retain──> a person decides

Each plan is one step, and the next is made when the views show it done. A step names the revision that it was decided
on, so it is not carried out over what somebody else has done: `volumeName`, once set, decides which of two volumes it
is. That a claim is gone is what the partition says when it is asked, and never what a view does not show.

Of a class that waits for the first pod the scheduler chooses a volume (it sets the claimRef) or a node (it annotates
the claim), where the pod fits as well. All as in https://kubernetes.io/docs/concepts/storage/persistent-volumes/ under
"Lifecycle of a volume and claim".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.objects import ObjectKey
from ...proto.quantities import MEMORY, format_quantity
from ...proto.volumes import (
    AVAILABLE,
    BIND_COMPLETED,
    BOUND,
    BOUND_BY_CONTROLLER,
    CLAIMS,
    DELETE,
    HOLLOW_PROVISIONER,
    LOST,
    NO_PROVISIONER,
    PROVISIONER,
    RELEASED,
    SELECTED_NODE,
    SELECTED_PARTITION,
    STORAGE,
    VOLUMES,
    YES,
)
from ..operations import create_operation, delete_operation, patch_operation
from ..volumes.matching import find_volume, is_free, is_large_enough, will_do
from ..volumes.reading import Claim, ClaimRef, NodePlace, StorageClass, Volume
from ..volumes.store import VolumeStore
from ..volumes.writing import claim_volume, patch_claim, patch_volume, preconditions
from .hollow_provisioner import hollow_volume

# The labels of a node, by its place; None: it is not in sight; a LookupError: it is gone as far as can be seen.
NodeLabels = Callable[[NodePlace], Mapping[str, str] | None]


class Told(NamedTuple):
    """An event about the claim."""

    type: str
    reason: str
    message: str


class Plan(NamedTuple):
    """One operation at most. `chosen`: the volume that it gives to the claim. `later`: look again after a while."""

    operation: pb.Operation | None = None
    told: Told | None = None
    chosen: Volume | None = None
    later: bool = False


NOTHING = Plan()


# ------------------------------------------------------------------------------------------------------------- claims


def plan_claim(claim: Claim, store: VolumeStore, labels_of: NodeLabels) -> Plan:
    if claim.deleting:
        return NOTHING
    if claim.is_bound:
        return _plan_bound(claim, store.volumes.get(_named(claim)))
    if claim.volume_name:
        return _plan_named(claim, store.volumes.get(_named(claim)))
    if claim.class_name is None:
        default = store.default_class()
        if default is not None:
            return Plan(patch_claim(claim, spec={"storageClassName": default.name}))
    of = store.classes.get(claim.class_name or "")
    waits = of is not None and of.waits
    volume = find_volume(claim, store.candidates(claim), lambda each: not waits or each.is_for(claim))
    if volume is not None:
        return _give(volume, claim)
    if not claim.class_name:
        return Plan(told=Told("Normal", "FailedBinding", _NOTHING_FITS))
    if of is None:
        return Plan(told=Told("Warning", "ProvisioningFailed", f'storageclass "{claim.class_name}" not found'))
    if of.waits and not claim.selected.node:
        return Plan(told=Told("Normal", "WaitForFirstConsumer", _WAITS))
    return _provision(claim, of, labels_of)


_NOTHING_FITS = "no persistent volumes available for this claim and no storage class is set"
_WAITS = "waiting for first consumer to be created before binding"


def _plan_bound(claim: Claim, volume: Volume | None) -> Plan:
    """`volume` None: none is in sight, which the caller has asked about (`lost_claim`)."""
    if volume is None:
        return Plan(later=True)
    if volume.claim is None or (volume.is_for(claim) and volume.claim.uid != claim.uid):
        return _give(volume, claim)
    if not volume.is_for(claim):
        return lost_claim(claim, f"volume {volume.key.name} is bound to another claim")
    if claim.phase == BOUND:
        return NOTHING
    status = {
        "phase": BOUND,
        "accessModes": list(volume.modes),
        "capacity": {STORAGE: format_quantity(MEMORY, volume.size)},
    }
    return Plan(_claim_status(claim, status))


def lost_claim(claim: Claim, why: str) -> Plan:
    """Its volume is gone, or another's: what was on it is lost."""
    if claim.phase == LOST:
        return NOTHING
    return Plan(_claim_status(claim, {"phase": LOST}), Told("Warning", "ClaimLost", f"{why}: its data is lost"))


def _plan_named(claim: Claim, volume: Volume | None) -> Plan:
    """Somebody has named the volume, and it is not bound yet."""
    name = claim.volume_name
    if volume is None:
        return Plan(told=Told("Warning", "FailedBinding", f"volume {name} does not exist"))
    if volume.is_for(claim):
        return _give(volume, claim)
    if volume.claim is not None:
        return Plan(told=Told("Warning", "FailedBinding", f"volume {name} already bound to a different claim"))
    if not (is_large_enough(volume, claim) and will_do(volume, claim)):
        return Plan(told=Told("Warning", "VolumeMismatch", f"volume {name} is not what the claim asks for"))
    return _give(volume, claim) if is_free(volume) else Plan(later=True)


def _give(volume: Volume, claim: Claim) -> Plan:
    """First the volume says whose it is, then the claim which it is."""
    if volume.claim is None or volume.claim.uid != claim.uid:
        by_controller = volume.claim is None
        return Plan(claim_volume(volume, claim, by_controller=by_controller), chosen=volume)
    return Plan(
        patch_claim(
            claim,
            {"annotations": {BIND_COMPLETED: YES, BOUND_BY_CONTROLLER: YES}},
            spec={"volumeName": volume.key.name},
        )
    )


def _provision(claim: Claim, of: StorageClass, labels_of: NodeLabels) -> Plan:
    if of.provisioner == NO_PROVISIONER:
        return Plan(told=Told("Normal", "FailedBinding", f"no volume fits, and StorageClass {of.name} makes none"))
    if of.provisioner != HOLLOW_PROVISIONER:
        told = Told("Normal", "ExternalProvisioning", f"waiting for {of.provisioner} to create a volume")
        return Plan(patch_claim(claim, {"annotations": {PROVISIONER: of.provisioner}}), told)
    if claim.selector:
        told = Told("Warning", "ProvisioningFailed", "claims with a selector are not provisioned for: make a volume")
        return Plan(told=told)
    labels: Mapping[str, str] | None = None
    if of.waits:
        try:
            labels = labels_of(claim.selected)
        except LookupError:
            return _choose_again(claim, f"node {claim.selected.node} is gone")
        if labels is None:
            return Plan(later=True)
    try:
        return Plan(create_operation(hollow_volume(claim, of, labels)))
    except ValueError as error:
        return _choose_again(claim, str(error))


def _choose_again(claim: Claim, why: str) -> Plan:
    """The scheduler is to find another node, as Kubernetes' provisioners ask it to."""
    none = {SELECTED_NODE: None, SELECTED_PARTITION: None}
    return Plan(patch_claim(claim, {"annotations": none}), Told("Warning", "ProvisioningFailed", why))


# ------------------------------------------------------------------------------------------------------------ volumes


def plan_volume(volume: Volume, claim: Claim | None) -> Plan:
    """`claim`: the one that it names, by its uid; None: there is none, and the partition has said so."""
    of = volume.claim
    if volume.deleting:
        return NOTHING
    if of is None or (not of.uid and (claim is None or claim.volume_name != volume.key.name)):
        return _phase(volume, AVAILABLE)
    if claim is None:
        return _reclaim(volume)
    if not claim.volume_name:
        return NOTHING  # The claim's own plan goes on.
    if claim.volume_name == volume.key.name:
        return _phase(volume, BOUND)
    if volume.provisioned_by and volume.reclaim_policy == DELETE:
        return _reclaim(volume)
    return Plan(_unbind(volume, of))


def _unbind(volume: Volume, of: ClaimRef) -> pb.Operation:
    """The claim has another one. What a person has reserved stays reserved."""
    if volume.by_controller:
        return patch_volume(volume, {"annotations": {BOUND_BY_CONTROLLER: None}}, spec={"claimRef": None})
    return patch_volume(volume, {}, spec={"claimRef": {"namespace": of.namespace, "name": of.name, "uid": None}})


def _reclaim(volume: Volume) -> Plan:
    if volume.phase != RELEASED:
        return _phase(volume, RELEASED)
    if volume.reclaim_policy != DELETE:
        return NOTHING
    deletion = delete_operation(
        VOLUMES, volume.key, uid=volume.uid, resource_version=volume.resource_version, propagation="Background"
    )
    return Plan(deletion)


def _phase(volume: Volume, phase: str) -> Plan:
    if volume.phase == phase:
        return NOTHING
    body = {"metadata": preconditions(volume.uid, volume.resource_version), "status": {"phase": phase}}
    return Plan(patch_operation(VOLUMES, volume.key, body, subresource="status"))


# ----------------------------------------------------------------------------------------------------------- writing


def _named(claim: Claim) -> ObjectKey:
    return ObjectKey(claim.key.tenant, "", claim.volume_name)


def _claim_status(claim: Claim, status: Mapping[str, Any]) -> pb.Operation:
    body = {"metadata": preconditions(claim.uid, claim.resource_version), "status": status}
    return patch_operation(CLAIMS, claim.key, body, subresource="status")
