"""What each verb does to an object, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.partitions.admission.validation import OBJECT_BYTES_MAX
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    ServiceUnavailable,
)
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, encode
from ursa.storage import MemoryStore

from .conftest import HandCommitter, Partition, pod, target


def bind(name: str, uid: str, node: str = "n1") -> pb.Operation:
    operation = pb.Operation(resource="pods")
    operation.bind.target.CopyFrom(target("pods", name))
    operation.bind.preconditions.uid = uid
    operation.bind.node = node
    operation.bind.resource_partition = "rp-1"
    return operation


def delete(resource: str, name: str, *, grace_seconds: int | None = None, uid: str = "", **scope: str) -> pb.Operation:
    operation = pb.Operation(resource=resource)
    operation.delete.target.CopyFrom(target(resource, name, **scope))
    operation.delete.preconditions.uid = uid
    if grace_seconds is not None:
        operation.delete.grace_seconds = grace_seconds
    return operation


def update(obj: Object, subresource: str = "") -> pb.Operation:
    operation = pb.Operation(resource="pods" if obj.kind == "Pod" else "configmaps", return_object=True)
    operation.update.object.CopyFrom(obj.message)
    operation.update.subresource = subresource
    return operation


def patch(resource: str, name: str, body: dict[str, Any]) -> pb.Operation:
    operation = pb.Operation(resource=resource, return_object=True)
    operation.patch.target.CopyFrom(target(resource, name))
    operation.patch.body = encode(body)
    return operation


def test_a_created_pod_has_identity_defaults_and_a_pending_phase(tenant_partition: Partition) -> None:
    created = tenant_partition.create(pod("a", resourceVersion="99", uid="mine", generation=7))
    assert created.uid not in ("", "mine")
    assert created.generation == 1
    assert created.creation_ms == 1_700_000_000_100
    assert created.status == {"phase": "Pending"}
    assert created.spec["schedulerName"] == "default-scheduler"
    stored = tenant_partition.get("pods", "a")
    assert stored.message == created.message
    assert stored.resource_version == tenant_partition.server.status().stores[0].resource_version


def test_a_name_is_made_up_from_generate_name(tenant_partition: Partition) -> None:
    manifest = pod("")
    del manifest["metadata"]["name"]
    manifest["metadata"]["generateName"] = "web-"
    created = tenant_partition.create(manifest)
    assert created.name.startswith("web-")
    assert len(created.name) == len("web-") + 5


def test_a_made_up_name_that_is_taken_is_made_up_again(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ursa.partitions.planning._NAME_SUFFIX_LENGTH", 1)
    manifest = pod("")
    del manifest["metadata"]["name"]
    monkeypatch.setattr("ursa.partitions.planning._NAME_ALPHABET", "bcdf")
    for number in range(20):
        manifest["metadata"]["generateName"] = f"web-{number}-"
        assert tenant_partition.create(manifest).name != tenant_partition.create(manifest).name
    monkeypatch.setattr("ursa.partitions.planning._NAME_ALPHABET", "b")
    manifest["metadata"]["generateName"] = "one-"
    tenant_partition.create(manifest)
    with pytest.raises(AlreadyExists):
        tenant_partition.create(manifest)


def test_every_broken_rule_of_an_object_is_listed(tenant_partition: Partition) -> None:
    manifest = pod("Not_A_Name", labels={"a b": "c d"})
    manifest["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "-1", "memory": "lots"}
    manifest["spec"]["restartPolicy"] = "Sometimes"
    with pytest.raises(Invalid) as refused:
        tenant_partition.create(manifest)
    fields = [cause.field for cause in refused.value.causes]
    assert fields == [
        "metadata.name",
        "metadata.labels",
        "metadata.labels[a b]",
        "spec.containers[0].resources.requests[cpu]",
        "spec.containers[0].resources.requests[memory]",
        "spec.restartPolicy",
    ]
    assert "\n" not in str(refused.value)


def test_a_kind_asked_of_the_wrong_role_is_refused_with_the_right_one(
    tenant_partition: Partition, resource_partition: Partition
) -> None:
    with pytest.raises(BadRequest, match="nodes are served by a resource partition, this is a tenant partition"):
        tenant_partition.list("nodes")
    with pytest.raises(BadRequest, match="configmaps are served by a tenant partition"):
        resource_partition.list("configmaps")


def test_nothing_is_created_in_a_namespace_that_is_missing_or_going(tenant_partition: Partition) -> None:
    with pytest.raises(NotFound, match="namespace system/nowhere does not exist"):
        tenant_partition.create(pod("a", namespace="nowhere"))
    tenant_partition.do(delete("namespaces", "kube-system", namespace=""))
    with pytest.raises(Forbidden, match="is being deleted"):
        tenant_partition.create(pod("a", namespace="kube-system"))


def test_a_tenant_comes_with_its_default_namespace_in_the_same_commit(tenant_partition: Partition) -> None:
    tenant_partition.create({"apiVersion": "ursa.dev/v1", "kind": "Tenant", "metadata": {"name": "acme"}})
    assert tenant_partition.create(pod("a", tenant="acme")).tenant == "acme"


def test_a_second_create_says_that_the_object_exists(tenant_partition: Partition) -> None:
    first = tenant_partition.create(pod("a"))
    with pytest.raises(AlreadyExists) as refused:
        tenant_partition.create(pod("a"))
    assert refused.value.resource_version == first.resource_version


def test_an_update_on_a_stale_revision_conflicts_and_changes_nothing(tenant_partition: Partition) -> None:
    created = tenant_partition.create(pod("a"))
    fresh = Object(tenant_partition.do(update(created.with_metadata(labels={"x": "1"}))).object)
    with pytest.raises(Conflict, match="has changed since revision"):
        tenant_partition.do(update(created.with_metadata(labels={"x": "2"})))
    assert tenant_partition.get("pods", "a").message == fresh.message


def test_an_update_that_changes_nothing_takes_no_revision(tenant_partition: Partition) -> None:
    created = tenant_partition.create(pod("a"))
    again = Object(tenant_partition.do(update(created)).object)
    assert again.resource_version == created.resource_version


def test_status_and_the_rest_are_written_apart(tenant_partition: Partition) -> None:
    created = tenant_partition.create(pod("a"))
    running = Object(tenant_partition.do(update(created.with_status({"phase": "Running"}), "status")).object)
    assert running.status == {"phase": "Running"}
    labelled = running.with_metadata(labels={"x": "1"}).with_status({"phase": "Failed"})
    updated = Object(tenant_partition.do(update(labelled)).object)
    assert (updated.status, dict(updated.labels)) == ({"phase": "Running"}, {"x": "1"})
    assert updated.generation == 1


def test_a_status_for_another_incarnation_of_the_pod_conflicts(tenant_partition: Partition) -> None:
    created = tenant_partition.create(pod("a"))
    created.message.metadata.uid = "another"
    created.message.metadata.resource_version = 0
    with pytest.raises(Conflict, match="deleted and created again"):
        tenant_partition.do(update(created.with_status({"phase": "Running"}), "status"))


def test_a_bind_sets_the_node_once_and_may_be_repeated(tenant_partition: Partition) -> None:
    created = tenant_partition.create(pod("a"))
    tenant_partition.do(bind("a", created.uid))
    bound = tenant_partition.get("pods", "a")
    assert (bound.spec["nodeName"], bound.spec["resourcePartition"]) == ("n1", "rp-1")
    assert tenant_partition.do(bind("a", created.uid)).resource_version == bound.resource_version
    with pytest.raises(Conflict, match="bound to rp-1/n1 already"):
        tenant_partition.do(bind("a", created.uid, "n2"))


def test_a_bind_never_hits_a_reborn_pod_of_the_same_name(tenant_partition: Partition) -> None:
    """Kubernetes #102761."""
    first = tenant_partition.create(pod("a"))
    tenant_partition.do(delete("pods", "a"))
    tenant_partition.create(pod("a"))
    with pytest.raises(Conflict, match="deleted and created again"):
        tenant_partition.do(bind("a", first.uid))


def test_a_pod_cannot_be_created_on_a_node(tenant_partition: Partition) -> None:
    manifest = pod("a")
    manifest["spec"]["nodeName"] = "n1"
    with pytest.raises(Invalid, match="is set by a binding"):
        tenant_partition.create(manifest)


def test_a_bound_pod_may_be_labelled_but_its_spec_is_fixed(tenant_partition: Partition) -> None:
    created = tenant_partition.create(pod("a"))
    tenant_partition.do(bind("a", created.uid))
    assert Object(tenant_partition.do(patch("pods", "a", {"metadata": {"labels": {"x": "1"}}})).object).labels == {
        "x": "1"
    }
    with pytest.raises(Invalid, match="of a pod is fixed"):
        tenant_partition.do(patch("pods", "a", {"spec": {"nodeName": "n2"}}))


def test_deleting_an_unbound_pod_takes_effect_at_once(tenant_partition: Partition) -> None:
    tenant_partition.create(pod("a"))
    tenant_partition.do(delete("pods", "a"))
    with pytest.raises(NotFound):
        tenant_partition.get("pods", "a")


def test_deleting_a_bound_pod_waits_for_its_kubelet(tenant_partition: Partition) -> None:
    created = tenant_partition.create(pod("a"))
    tenant_partition.do(bind("a", created.uid))
    tenant_partition.do(delete("pods", "a"))
    marked = tenant_partition.get("pods", "a")
    assert marked.deletion_ms == tenant_partition.runtime.wall_ms() - 100 + 30_000
    tenant_partition.do(delete("pods", "a"))
    assert tenant_partition.get("pods", "a").resource_version == marked.resource_version
    tenant_partition.do(delete("pods", "a", grace_seconds=0, uid=created.uid))
    with pytest.raises(NotFound):
        tenant_partition.get("pods", "a")


def test_an_object_with_finalizers_goes_with_the_last_of_them(tenant_partition: Partition) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "tenant": "system", "namespace": "default", "finalizers": ["a", "b"]},
    }
    tenant_partition.create(manifest)
    tenant_partition.do(delete("configmaps", "c"))
    kept = tenant_partition.get("configmaps", "c")
    assert kept.deletion_ms
    kept = Object(tenant_partition.do(update(kept.with_metadata(finalizers=["b"]))).object)
    tenant_partition.do(update(kept.with_metadata(finalizers=[])))
    with pytest.raises(NotFound):
        tenant_partition.get("configmaps", "c")


def test_a_merge_patch_merges_and_removes(tenant_partition: Partition) -> None:
    tenant_partition.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "c", "tenant": "system", "namespace": "default"},
            "data": {"a": "1", "b": "2"},
        }
    )
    patched = Object(tenant_partition.do(patch("configmaps", "c", {"data": {"a": None, "c": "3"}})).object)
    assert patched.rest == {"data": {"b": "2", "c": "3"}}
    with pytest.raises(BadRequest, match="cannot change the name"):
        tenant_partition.do(patch("configmaps", "c", {"metadata": {"name": "d"}}))


def test_a_dry_run_answers_and_changes_nothing(tenant_partition: Partition) -> None:
    operation = pb.Operation(resource="pods", return_object=True, dry_run=True)
    operation.create.object.CopyFrom(Object.from_dict(pod("a")).message)
    before = tenant_partition.server.status().stores[0].resource_version
    assert tenant_partition.do(operation).object.status == encode({"phase": "Pending"})
    assert tenant_partition.server.status().stores[0].resource_version == before


def test_one_bad_operation_does_not_keep_the_others_of_its_batch(tenant_partition: Partition) -> None:
    def create(name: str) -> pb.Operation:
        operation = pb.Operation(resource="pods")
        operation.create.object.CopyFrom(Object.from_dict(pod(name)).message)
        return operation

    results = tenant_partition.write(create("a"), create("a"), pb.Operation(resource="pods"), create("b"))
    assert [result.error.reason for result in results] == ["", "AlreadyExists", "BadRequest", ""]


def test_a_batch_over_the_limit_is_refused_whole(tenant_partition: Partition) -> None:
    with pytest.raises(BadRequest, match="at most 256"):
        tenant_partition.write(*[pb.Operation(resource="pods")] * 257)


def test_an_object_over_the_size_limit_is_refused_and_leaves_no_gap(tenant_partition: Partition) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "tenant": "system", "namespace": "default"},
        "data": {"a": "x" * 1_600_000},
    }
    with pytest.raises(Invalid, match="at most 1572864"):
        tenant_partition.create(manifest)
    tenant_partition.create(pod("a"))


def test_secrets_take_plain_text_and_store_base64(tenant_partition: Partition) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "tenant": "system", "namespace": "default"},
    }
    created = tenant_partition.create({**secret, "stringData": {"password": "hunter2"}})
    assert created.rest == {"data": {"password": "aHVudGVyMg=="}, "type": "Opaque"}
    secret["metadata"]["name"] = "t"
    with pytest.raises(Invalid, match="must be base64"):
        tenant_partition.create({**secret, "data": {"password": "hunter2!"}})


def test_a_full_store_refuses_new_objects_and_lets_old_ones_go() -> None:
    committer = HandCommitter()
    partition = Partition(Role.TENANT, MemoryStore(committer, incarnation="one", bytes_max=4000))
    created = partition.create(pod("first"))
    partition.do(bind("first", created.uid))

    def fill() -> None:
        for number in range(20):
            partition.create(pod(f"p{number}"))

    with pytest.raises(ServiceUnavailable, match="quota"):
        fill()
    assert partition.server.status().stores[0].alarms == ["NOSPACE"]
    partition.do(delete("pods", "first"))  # Only marks it: its kubelet confirms.
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "l", "tenant": "system", "namespace": "default"},
    }
    partition.create(lease)
    partition.do(delete("pods", "first", grace_seconds=0))


def test_the_largest_object_there_may_be_can_go(tenant_partition: Partition) -> None:
    """Its deletion says more than its last write did."""
    created = tenant_partition.create(pod("a", annotations={"padding": ""}, finalizers=["ursa.dev/test"]))
    room = OBJECT_BYTES_MAX - created.message.ByteSize()
    largest = pod("b", annotations={"padding": "x" * (room - 8)}, finalizers=["ursa.dev/test"])
    size = tenant_partition.create(largest).message.ByteSize()
    assert OBJECT_BYTES_MAX - 4 <= size <= OBJECT_BYTES_MAX
    for _ in range(200):  # Revisions take more bytes by and by.
        tenant_partition.create(pod("c"))
        tenant_partition.do(delete("pods", "c", grace_seconds=0))
    tenant_partition.do(delete("pods", "b", grace_seconds=0))
    marked = tenant_partition.get("pods", "b")
    assert marked.message.ByteSize() > OBJECT_BYTES_MAX
    update = pb.Operation(resource="pods")
    update.update.object.CopyFrom(marked.message)
    del update.update.object.metadata.finalizers[:]
    tenant_partition.do(update)
    with pytest.raises(NotFound):
        tenant_partition.get("pods", "b")
