"""The decisions of the Deployment controller, without I/O: a Deployment and its ReplicaSets in, operations out.

Every update of a ReplicaSet carries the revision it was decided on, and a ReplicaSet's name is made from its template:
a decision on an old view is refused, or does what has been done already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.objects import Object, encode
from ..operations import create_operation, delete_operation, update_operation
from .deployment_rollout import DESIRED_ANNOTATION, MAX_ANNOTATION, PlannedSet, Rollout, spec_replicas
from .deployment_status import is_complete, status_of
from .replicaset_members import RESOURCE as REPLICASETS
from .template_hash import template_hash

KIND = "Deployment"
RESOURCE = "deployments.apps"
API_VERSION = "apps/v1"
HASH_LABEL = "pod-template-hash"
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
HISTORY_LIMIT = 10

# Annotations of a Deployment that its ReplicaSets do not inherit.
_OWN_ANNOTATIONS = (
    REVISION_ANNOTATION,
    DESIRED_ANNOTATION,
    MAX_ANNOTATION,
    "kubectl.kubernetes.io/last-applied-configuration",
)


@dataclass(slots=True)
class Plan:
    """`sets` are operations on ReplicaSets, `own` on the Deployment itself."""

    sets: list[pb.Operation] = field(default_factory=list)
    own: list[pb.Operation] = field(default_factory=list)
    # Look again after this long even if nothing happens.
    again_seconds: float | None = None


def plan(deployment: Object, replicasets: Sequence[Object], old_pods_run: bool, now_ms: int) -> Plan:
    """One step towards what the Deployment wants.

    Args:
        replicasets: those it controls.
        old_pods_run: pods of ReplicaSets with another template have not ended yet.
    """
    new, old = find_new(deployment, replicasets)
    rollout = Rollout(deployment, new, old)
    made = Plan()
    if not deployment.deletion_ms:
        revision = _revision(new, old)
        if new is None and not deployment.spec.get("paused") and _may_start(rollout, old_pods_run):
            made.sets.append(create_operation(new_set(deployment, rollout, revision)))
        else:
            _step(deployment, rollout, old_pods_run)
        made.sets.extend(_updates(deployment, rollout, revision))
        if not made.sets and is_complete(deployment, deployment.status):
            made.sets.extend(_history(deployment, rollout))
        if new is not None and deployment.annotations.get(REVISION_ANNOTATION) != str(revision):
            annotations = {**deployment.annotations, REVISION_ANNOTATION: str(revision)}
            made.own.append(update_operation(deployment.with_metadata(annotations=annotations)))
    status, made.again_seconds = status_of(deployment, rollout, now_ms)
    if status != deployment.status:
        made.own.append(status_operation(deployment, status))
    return made


def _may_start(rollout: Rollout, old_pods_run: bool) -> bool:
    """Recreate makes its new set only when nothing of an old one is left."""
    return rollout.rolling or not (old_pods_run or any(each.replicas for each in rollout.old))


def _step(deployment: Object, rollout: Rollout, old_pods_run: bool) -> None:
    if deployment.spec.get("paused") or rollout.is_scaling():
        rollout.scale(_is_saturated(rollout))
    elif not rollout.rolling:
        rollout.recreate(old_pods_run)
    elif rollout.new is not None:
        rollout.roll()


def _is_saturated(rollout: Rollout) -> bool:
    new = rollout.new
    return (
        new is not None
        and new.replicas == rollout.desired
        and new.available == rollout.desired
        and new.object.annotations.get(DESIRED_ANNOTATION) == str(rollout.desired)
    )


# -------------------------------------------------------------------------------------------------- the new set


def find_new(deployment: Object, replicasets: Sequence[Object]) -> tuple[Object | None, list[Object]]:
    """The ReplicaSet that has the Deployment's template (the oldest, should there be several), and the others.

    One that bears the hash of the template counts too: should a partition change templates as it stores them, there
    would be no end of new ReplicaSets otherwise.
    """
    template = deployment.spec.get("template") or {}
    ordered = sorted(replicasets, key=lambda each: (each.creation_ms, each.name))
    new = next((each for each in ordered if _without_hash(each.spec.get("template") or {}) == template), None)
    if new is None:
        digest = template_hash(template, deployment.status.get("collisionCount") or 0)
        new = next((each for each in ordered if each.labels.get(HASH_LABEL) == digest), None)
    return new, [each for each in ordered if each is not new]


def new_set(deployment: Object, rollout: Rollout, revision: int) -> Object:
    """The ReplicaSet for the Deployment's present template."""
    spec = deployment.spec
    template = spec.get("template") or {}
    digest = template_hash(template, deployment.status.get("collisionCount") or 0)
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: digest}
    selector = spec.get("selector") or {}
    replicaset_spec = {
        "replicas": rollout.new_replicas(),
        "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}},
        "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
    }
    if spec.get("minReadySeconds"):
        replicaset_spec["minReadySeconds"] = spec["minReadySeconds"]
    message = pb.Object(api_version=API_VERSION, kind="ReplicaSet", spec=encode(replicaset_spec))
    metadata = message.metadata
    metadata.tenant, metadata.namespace = deployment.tenant, deployment.namespace
    metadata.name = f"{deployment.name}-{digest}"
    metadata.labels.update(labels)
    metadata.annotations.update(_annotations(deployment, {}, rollout))
    metadata.annotations[REVISION_ANNOTATION] = str(revision)
    metadata.owner_references.add(
        api_version=API_VERSION,
        kind=KIND,
        name=deployment.name,
        uid=deployment.uid,
        controller=True,
        block_owner_deletion=True,
    )
    return Object(message)


def _without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(template.get("metadata") or {})
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


# ---------------------------------------------------------------------------------------------------- operations


def _updates(deployment: Object, rollout: Rollout, revision: int) -> list[pb.Operation]:
    operations = []
    for each in rollout.sets:
        replicaset = each.object
        annotations = dict(replicaset.annotations)
        spec = replicaset.spec
        if each.replicas:
            annotations |= {DESIRED_ANNOTATION: str(rollout.desired), MAX_ANNOTATION: str(rollout.most)}
        if each is rollout.new:
            annotations = _annotations(deployment, annotations, rollout)
            annotations[REVISION_ANNOTATION] = str(revision)
            min_ready_seconds = deployment.spec.get("minReadySeconds") or 0
            if (spec.get("minReadySeconds") or 0) != min_ready_seconds:
                spec = {**spec, "minReadySeconds": min_ready_seconds}
        if each.changed:
            spec = {**spec, "replicas": each.replicas}
        if spec is not replicaset.spec or annotations != dict(replicaset.annotations):
            operations.append(update_operation(replicaset.with_spec(spec).with_metadata(annotations=annotations)))
    return operations


def _annotations(deployment: Object, present: Mapping[str, str], rollout: Rollout) -> dict[str, str]:
    inherited = {name: value for name, value in deployment.annotations.items() if name not in _OWN_ANNOTATIONS}
    sizes = {DESIRED_ANNOTATION: str(rollout.desired), MAX_ANNOTATION: str(rollout.most)}
    return {**present, **inherited, **sizes}


def revision_of(replicaset: Object) -> int:
    text = replicaset.annotations.get(REVISION_ANNOTATION, "")
    return int(text) if text.isdecimal() else 0


def _revision(new: Object | None, old: Sequence[Object]) -> int:
    """One more than any old set's: a template that is taken up again becomes the newest."""
    newest_old = max((revision_of(each) for each in old), default=0)
    present = revision_of(new) if new is not None else 0
    return max(present, newest_old + 1)


def _history(deployment: Object, rollout: Rollout) -> list[pb.Operation]:
    """Deletes of the oldest sets that are empty and beyond the limit."""
    limit = deployment.spec.get("revisionHistoryLimit")
    limit = HISTORY_LIMIT if limit is None else limit
    empty = sorted((each.object for each in rollout.old if _is_empty(each)), key=revision_of)
    surplus = empty[: max(len(rollout.old) - limit, 0)]
    return [delete_operation(REPLICASETS, each.key, uid=each.uid) for each in surplus]


def _is_empty(each: PlannedSet) -> bool:
    status = each.object.status
    return (
        not spec_replicas(each.object.spec)
        and not status.get("replicas")
        and (status.get("observedGeneration") or 0) >= each.object.generation
        and not each.object.deletion_ms
    )


def status_operation(deployment: Object, status: Mapping[str, Any]) -> pb.Operation:
    """Only the controller writes a Deployment's status, so the uid is precondition enough."""
    operation = pb.Operation(resource=RESOURCE)
    update = operation.update
    update.subresource = "status"
    update.object.api_version, update.object.kind = API_VERSION, KIND
    metadata, source = update.object.metadata, deployment.message.metadata
    metadata.tenant, metadata.namespace, metadata.name = source.tenant, source.namespace, source.name
    metadata.uid = source.uid
    update.object.status = encode(status)
    return operation
