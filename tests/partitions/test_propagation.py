"""What a delete with a propagation policy leaves behind for the garbage collector."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import BadRequest, Conflict, Invalid, NotFound
from ursa.proto.objects import Object

from .conftest import Partition, pod
from .test_writes import bind, delete, patch


def config(name: str = "c", **metadata: Any) -> dict[str, Any]:
    scope = {"name": name, "tenant": "system", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**scope, **metadata}}


def deletion(propagation: str, name: str = "c", resource: str = "configmaps", **options: Any) -> pb.Operation:
    operation = delete(resource, name, **options)
    operation.delete.propagation = propagation
    return operation


def finalizers(partition: Partition, name: str = "c", resource: str = "configmaps") -> tuple[str, ...]:
    return partition.get(resource, name).finalizers


def is_gone(partition: Partition, name: str = "c", resource: str = "configmaps") -> bool:
    try:
        partition.get(resource, name)
    except NotFound:
        return True
    return False


@pytest.mark.parametrize(
    ("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")], ids=str.lower
)
def test_a_policy_that_waits_marks_the_object_with_its_finalizer(
    tenant_partition: Partition, policy: str, finalizer: str
) -> None:
    created = tenant_partition.create(config(finalizers=["ursa.dev/other"]))
    tenant_partition.do(deletion(policy))
    marked = tenant_partition.get("configmaps", "c")
    assert marked.finalizers == ("ursa.dev/other", finalizer)
    assert marked.deletion_ms
    assert marked.generation == created.generation + 1
    tenant_partition.do(patch("configmaps", "c", {"metadata": {"finalizers": [finalizer]}}))
    tenant_partition.do(patch("configmaps", "c", {"metadata": {"finalizers": None}}))
    assert is_gone(tenant_partition)


@pytest.mark.parametrize("policy", ["", "Background"])
def test_what_has_nothing_to_wait_for_goes_at_once(tenant_partition: Partition, policy: str) -> None:
    tenant_partition.create(config())
    tenant_partition.do(deletion(policy))
    assert is_gone(tenant_partition)


@pytest.mark.parametrize("finalizer", ["foregroundDeletion", "orphan"])
def test_a_delete_without_a_policy_does_as_the_finalizers_say(tenant_partition: Partition, finalizer: str) -> None:
    tenant_partition.create(config(finalizers=[finalizer]))
    tenant_partition.do(deletion(""))
    assert finalizers(tenant_partition) == (finalizer,)


def test_background_takes_the_finalizer_of_another_policy_away(tenant_partition: Partition) -> None:
    tenant_partition.create(config(finalizers=["orphan"]))
    tenant_partition.do(deletion("Background"))
    assert is_gone(tenant_partition)


def test_another_policy_may_be_asked_of_what_is_being_deleted(tenant_partition: Partition) -> None:
    tenant_partition.create(config())
    tenant_partition.do(deletion("Foreground"))
    marked = tenant_partition.get("configmaps", "c")
    tenant_partition.runtime.advance(5)
    tenant_partition.do(deletion("Orphan"))
    changed = tenant_partition.get("configmaps", "c")
    assert changed.finalizers == ("orphan",)
    assert (changed.deletion_ms, changed.generation) == (marked.deletion_ms, marked.generation)
    unchanged = tenant_partition.do(deletion(""))
    assert unchanged.resource_version == changed.resource_version
    tenant_partition.do(deletion("Background"))
    assert is_gone(tenant_partition)


def test_a_pod_in_its_grace_keeps_its_policy_until_the_grace_is_shortened(tenant_partition: Partition) -> None:
    created = tenant_partition.create(pod("a"))
    tenant_partition.do(bind("a", created.uid))
    tenant_partition.do(deletion("Foreground", "a", "pods", grace_seconds=20))
    tenant_partition.do(deletion("Orphan", "a", "pods"))
    assert finalizers(tenant_partition, "a", "pods") == ("foregroundDeletion",)
    tenant_partition.do(deletion("Orphan", "a", "pods", grace_seconds=10))
    shortened = tenant_partition.get("pods", "a")
    assert shortened.finalizers == ("orphan",)
    assert shortened.message.metadata.deletion_grace_seconds == 10


def test_a_pod_with_a_policy_stays_when_its_grace_is_over(tenant_partition: Partition) -> None:
    created = tenant_partition.create(pod("a"))
    tenant_partition.do(bind("a", created.uid))
    tenant_partition.do(deletion("Foreground", "a", "pods"))
    tenant_partition.do(deletion("", "a", "pods", grace_seconds=0))
    assert finalizers(tenant_partition, "a", "pods") == ("foregroundDeletion",)
    tenant_partition.do(patch("pods", "a", {"metadata": {"finalizers": []}}))
    assert is_gone(tenant_partition, "a", "pods")


def test_a_precondition_that_does_not_hold_leaves_the_policy_alone(tenant_partition: Partition) -> None:
    tenant_partition.create(config())
    with pytest.raises(Conflict):
        tenant_partition.do(deletion("Orphan", uid="another"))
    assert finalizers(tenant_partition) == ()


def test_every_object_of_a_collection_is_given_the_policy(tenant_partition: Partition) -> None:
    for name in ("a", "b"):
        tenant_partition.create(config(name))
    operation = pb.Operation(resource="configmaps")
    request = operation.delete_collection
    request.selection.CopyFrom(pb.Selection(resource="configmaps", tenant="system", namespace="default"))
    request.propagation = "Orphan"
    assert tenant_partition.do(operation).deleted == 2
    assert finalizers(tenant_partition, "a") == finalizers(tenant_partition, "b") == ("orphan",)
    assert not tenant_partition.do(operation).deleted  # They are marked already.
    request.propagation = "Background"
    assert tenant_partition.do(operation).deleted == 2
    assert is_gone(tenant_partition, "a")


def test_an_event_has_no_dependents_and_no_policy(tenant_partition: Partition) -> None:
    involved = {"kind": "Pod", "name": "a"}
    tenant_partition.create({**config("e"), "kind": "Event", "involvedObject": involved})
    tenant_partition.do(deletion("Foreground", "e", "events"))
    assert is_gone(tenant_partition, "e", "events")


def test_a_policy_that_does_not_exist_is_refused(tenant_partition: Partition) -> None:
    tenant_partition.create(config())
    with pytest.raises(BadRequest, match=r"'Cascade'.*Background, Foreground, Orphan"):
        tenant_partition.do(deletion("Cascade"))


def test_nothing_can_be_orphaned_and_deleted_in_the_foreground_at_once(tenant_partition: Partition) -> None:
    with pytest.raises(Invalid, match="cannot be both set"):
        tenant_partition.create(config(finalizers=["orphan", "foregroundDeletion"]))


def test_a_dry_run_marks_nothing(tenant_partition: Partition) -> None:
    created: Object = tenant_partition.create(config())
    operation = deletion("Foreground")
    operation.dry_run = True
    tenant_partition.do(operation)
    assert tenant_partition.get("configmaps", "c").resource_version == created.resource_version
