"""Patches, apply, subresources and collections at the apiserver: what is stored, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.partitions.planning import DELETE_COLLECTION_STEP
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import BadRequest, Conflict, Invalid, NotFound
from ursa.proto.objects import Object, encode
from ursa.proto.sessions import Caller

from .conftest import Partition, pod, target

DEPLOYMENTS = "deployments.apps"


def deployment(name: str = "web", **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "tenant": "system", "namespace": "default"},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def config_map(name: str = "c", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "tenant": "system", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **fields}


class Writing:
    """Short forms for writes of one partition."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition

    def patch(self, resource: str, name: str, body: Any, kind: str = "MERGE", **fields: Any) -> pb.Result:
        operation = pb.Operation(resource=resource, return_object=True)
        patch = operation.patch
        patch.target.CopyFrom(target(resource, name, **fields.pop("scope", {})))
        patch.type = pb.Patch.Type.Value(kind)
        patch.body = body if isinstance(body, bytes) else encode(body)
        for field in ("subresource", "force"):
            if field in fields:
                setattr(patch, field, fields.pop(field))
        for field, value in fields.items():
            setattr(operation, field, value)
        return self.partition.do(operation)

    def apply(self, manifest: dict[str, Any], manager: str = "one", **fields: Any) -> Object:
        resource = {"Deployment": DEPLOYMENTS, "ConfigMap": "configmaps", "Pod": "pods", "Scale": DEPLOYMENTS}[
            manifest["kind"]
        ]
        name = manifest["metadata"]["name"]
        return Object(self.patch(resource, name, manifest, "APPLY", field_manager=manager, **fields).object)

    def update(self, obj: Object, resource: str, **fields: Any) -> pb.Result:
        operation = pb.Operation(resource=resource, return_object=True)
        operation.update.object.CopyFrom(obj.message)
        operation.update.subresource = fields.pop("subresource", "")
        for field, value in fields.items():
            setattr(operation, field, value)
        return self.partition.do(operation)

    @property
    def revision(self) -> int:
        return self.partition.server.status().stores[0].resource_version


@pytest.fixture
def writing(tenant_partition: Partition) -> Writing:
    return Writing(tenant_partition)


def managers(obj: Object) -> list[tuple[str, str, str]]:
    return sorted((entry.manager, entry.operation, entry.subresource) for entry in obj.message.metadata.managed_fields)


# ----------------------------------------------------------------------------------------------------------- patches


def test_a_json_patch_changes_an_object_all_or_nothing(writing: Writing) -> None:
    created = writing.partition.create(config_map(data={"a": "1"}))
    changes = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "add", "path": "/data/b", "value": "2"},
        {"op": "add", "path": "/metadata/labels", "value": {"x": "y"}},
    ]
    patched = Object(writing.patch("configmaps", "c", changes, "JSON").object)
    assert (patched.rest, dict(patched.labels)) == ({"data": {"a": "1", "b": "2"}}, {"x": "y"})
    with pytest.raises(Invalid, match="operation 1, test '/data/a'"):
        writing.patch(
            "configmaps",
            "c",
            [{"op": "remove", "path": "/data/b"}, {"op": "test", "path": "/data/a", "value": "2"}],
            "JSON",
        )
    assert writing.partition.get("configmaps", "c").resource_version == patched.resource_version
    assert patched.uid == created.uid


def test_a_strategic_merge_patch_changes_one_image(writing: Writing) -> None:
    writing.partition.create(deployment())
    body = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "app:2"}]}}}}
    patched = Object(writing.patch(DEPLOYMENTS, "web", body, "STRATEGIC_MERGE").object)
    [container] = patched.spec["template"]["spec"]["containers"]
    assert container == {"name": "app", "image": "app:2"}
    assert patched.generation == 2


@pytest.mark.parametrize("kind", ["MERGE", "STRATEGIC_MERGE", "JSON", "APPLY"])
def test_a_patch_that_changes_nothing_takes_no_revision(writing: Writing, kind: str) -> None:
    if kind == "APPLY":
        writing.apply(deployment(replicas=2))
        body: Any = deployment(replicas=2)
    else:
        writing.partition.create(deployment(replicas=2))
        body = {"spec": {"replicas": 2}}
        if kind == "JSON":
            body = [{"op": "replace", "path": "/spec/replicas", "value": 2}]
    before = writing.revision
    writing.partition.runtime.advance(60)
    found = writing.patch(DEPLOYMENTS, "web", body, kind, field_manager="one")
    assert writing.revision == before
    assert found.resource_version == writing.partition.get(DEPLOYMENTS, "web").resource_version


@pytest.mark.parametrize("kind", ["MERGE", "STRATEGIC_MERGE", "APPLY"])
def test_a_patch_that_asks_for_another_revision_or_uid_conflicts(writing: Writing, kind: str) -> None:
    created = writing.apply(config_map(data={"a": "1"}))
    for wrong in ({"resourceVersion": "1"}, {"uid": "another"}):
        body = config_map(data={"a": "2"})
        body["metadata"] |= wrong
        with pytest.raises(Conflict):
            writing.patch("configmaps", "c", body, kind, field_manager="one")
    body["metadata"] |= {"resourceVersion": str(created.resource_version), "uid": created.uid}
    assert writing.patch("configmaps", "c", body, kind, field_manager="one").resource_version > created.resource_version


def test_a_status_patch_changes_the_status_alone(writing: Writing) -> None:
    writing.partition.create(pod("a"))
    body = {"metadata": {"labels": {"x": "y"}}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    writing.patch("pods", "a", body, "STRATEGIC_MERGE", subresource="status")
    body = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    patched = Object(writing.patch("pods", "a", body, "STRATEGIC_MERGE", subresource="status").object)
    assert patched.status == {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert not patched.labels
    kept = Object(writing.patch("pods", "a", {"status": {"phase": "Failed"}}).object)
    assert kept.status["phase"] == "Running"


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"\xc1", "MERGE", BadRequest),
        (b"", "MERGE", BadRequest),
        ([1], "MERGE", BadRequest),
        ("text", "STRATEGIC_MERGE", BadRequest),
        ({"a": 1}, "JSON", BadRequest),
        ([1], "APPLY", BadRequest),
        ({1: 2}, "MERGE", BadRequest),
        ({"metadata": None}, "MERGE", BadRequest),
        ({"metadata": []}, "MERGE", BadRequest),
        ({"metadata": [1]}, "MERGE", Invalid),
        ({"metadata": {"generation": 2**63}}, "MERGE", Invalid),
        ({"metadata": {"labels": {"a": 1}}}, "MERGE", Invalid),
        ({"metadata": {"name": "other"}}, "MERGE", BadRequest),
        ({"kind": "Secret"}, "MERGE", BadRequest),
        ({"data": 1}, "MERGE", Invalid),
        ([{"op": "replace", "path": "", "value": 1}], "JSON", Invalid),
        ([{"op": "remove", "path": "/metadata"}], "JSON", BadRequest),
        ({"metadata": {"finalizers": [{"a": 1}]}}, "STRATEGIC_MERGE", BadRequest),
    ],
)
def test_a_bad_patch_is_refused_and_changes_nothing(writing: Writing, body: Any, kind: str, error: Any) -> None:
    writing.partition.create(config_map(data={"a": "1"}))
    before = writing.revision
    with pytest.raises(error):
        writing.patch("configmaps", "c", body, kind, field_manager="one")
    assert writing.revision == before


def test_a_patch_nested_too_deeply_is_refused(writing: Writing) -> None:
    writing.partition.create(config_map())
    deep: Any = "x"
    for _ in range(300):
        deep = {"a": deep}
    for kind in ("MERGE", "STRATEGIC_MERGE", "APPLY"):
        with pytest.raises(BadRequest, match="nested more than"):
            writing.patch("configmaps", "c", config_map(data=deep), kind, field_manager="one")


@pytest.mark.parametrize("part", ["spec", "status", "rest"])
@pytest.mark.parametrize("data", [b"\xc1", b"\x93\x01", encode([1]), b"\xd4\x01\x00", encode("x")])
def test_contents_that_are_no_map_are_invalid(writing: Writing, part: str, data: bytes) -> None:
    message = Object.from_dict(pod("a")).message
    setattr(message, part, data)
    operation = pb.Operation(resource="pods")
    operation.create.object.CopyFrom(message)
    if part != "status":  # That of a new pod is not taken.
        with pytest.raises(Invalid) as refused:
            writing.partition.do(operation)
        assert refused.value.causes[0].field == part
    created = writing.partition.create(pod("b"))
    setattr(created.message, part, data)
    with pytest.raises(Invalid):
        writing.update(created, "pods", subresource="status" if part == "status" else "")


def test_the_other_fields_of_an_object_cannot_pretend_to_be_its_metadata(writing: Writing) -> None:
    message = Object.from_dict(config_map()).message
    message.rest = encode({"metadata": {"name": "other"}})
    operation = pb.Operation(resource="configmaps")
    operation.create.object.CopyFrom(message)
    with pytest.raises(Invalid, match="metadata: is not one of the other fields"):
        writing.partition.do(operation)


# ------------------------------------------------------------------------------------------------------------- apply


def test_an_apply_creates_what_is_missing_and_removes_what_is_no_longer_said(writing: Writing) -> None:
    created = writing.apply(config_map(data={"a": "1", "b": "2"}))
    assert created.rest == {"data": {"a": "1", "b": "2"}}
    assert managers(created) == [("one", "Apply", "")]
    applied = writing.apply(config_map(data={"a": "1"}))
    assert applied.rest == {"data": {"a": "1"}}
    assert applied.uid == created.uid
    assert writing.partition.get("configmaps", "c").message == applied.message


def test_an_apply_conflicts_with_the_managers_of_what_it_changes(writing: Writing) -> None:
    writing.apply(deployment(replicas=2))
    with pytest.raises(Conflict, match='"one" using apps/v1') as refused:
        writing.apply(deployment(replicas=3), "two")
    assert [(cause.field, cause.reason) for cause in refused.value.causes] == [
        (".spec.replicas", "FieldManagerConflict")
    ]
    forced = writing.apply(deployment(replicas=3), "two", force=True)
    assert forced.spec["replicas"] == 3
    assert forced.generation == 2


def test_an_object_that_was_never_applied_has_no_managers_and_then_those_from_before(writing: Writing) -> None:
    created = writing.partition.create(config_map(data={"a": "1"}))
    patched = Object(writing.patch("configmaps", "c", {"data": {"b": "2"}}, field_manager="patcher").object)
    assert managers(created) == managers(patched) == []
    with pytest.raises(Conflict, match='"before-first-apply"'):
        writing.apply(config_map(data={"a": "2"}))
    applied = writing.apply(config_map(data={"a": "1", "c": "3"}))
    assert managers(applied) == [("before-first-apply", "Update", ""), ("one", "Apply", "")]
    # Both own a, so it stays when one gives it up.
    assert writing.apply(config_map(data={"c": "3"})).rest["data"] == {"a": "1", "b": "2", "c": "3"}


def test_an_update_of_an_applied_object_owns_what_it_changes(writing: Writing) -> None:
    applied = writing.apply(deployment(replicas=2))
    spec = {**applied.spec, "replicas": 5}
    updated = Object(writing.update(applied.with_spec(spec), DEPLOYMENTS, field_manager="autoscaler").object)
    assert managers(updated) == [("autoscaler", "Update", ""), ("one", "Apply", "")]
    with pytest.raises(Conflict, match='"autoscaler"'):
        writing.apply(deployment(replicas=2))
    assert writing.apply(deployment()).spec["replicas"] == 5


def test_an_update_without_a_manager_is_the_programs(writing: Writing) -> None:
    applied = writing.apply(config_map(data={"a": "1"}))
    operation = pb.Operation(resource="configmaps")
    operation.update.object.CopyFrom(applied.with_rest({"data": {"a": "2"}}).message)
    for agent, manager in (("ursa-load/0.1 (linux)", "ursa-load"), ("", "unknown"), ("\n", "unknown")):
        answers: list[Any] = []
        request = pb.MutateRequest(operations=[operation]).SerializeToString()
        writing.partition.server.call("Write", request, Caller("test", agent), answers.append)
        writing.partition.runtime.advance(0.1)
        assert (manager, "Update", "") in managers(writing.partition.get("configmaps", "c"))
        operation.update.object.metadata.resource_version = 0
        operation.update.object.rest = encode({"data": {"a": f"{len(agent)}"}})


def test_a_status_is_owned_apart_from_the_object(writing: Writing) -> None:
    applied = writing.apply(deployment(replicas=2))
    counted = applied.with_status({"replicas": 2})
    updated = Object(writing.update(counted, DEPLOYMENTS, subresource="status", field_manager="controller").object)
    assert managers(updated) == [("controller", "Update", "status"), ("one", "Apply", "")]
    again = writing.apply(deployment(replicas=2))
    assert again.message == updated.message


def test_what_a_writer_says_about_managers_is_not_taken_but_for_an_end_of_it(writing: Writing) -> None:
    applied = writing.apply(config_map(data={"a": "1"}))
    del applied.message.metadata.managed_fields[:]
    applied.message.metadata.managed_fields.add(manager="me", operation="Apply")
    kept = Object(writing.update(applied.with_rest({"data": {"a": "1"}}), "configmaps").object)
    assert managers(kept) == [("one", "Apply", "")]
    ended = Object(writing.patch("configmaps", "c", {"metadata": {"managedFields": [{}]}}).object)
    assert managers(ended) == []
    created = config_map("d")
    created["metadata"]["managedFields"] = [{"manager": "me", "operation": "Apply"}]
    assert managers(writing.partition.create(created)) == []


def test_a_configuration_must_fit_its_request(writing: Writing) -> None:
    for change, message in (
        ({"kind": "Secret"}, "is for v1/ConfigMap"),
        ({"apiVersion": None}, "is for v1/ConfigMap"),
        ({"metadata": {"name": "d"}}, "metadata.name is 'd'"),
        ({"metadata": {"name": "c", "managedFields": [{}]}}, "managedFields must not be"),
        ({"metadata": 1}, "metadata must be a map"),
    ):
        with pytest.raises(BadRequest, match=message):
            writing.patch("configmaps", "c", {**config_map(), **change}, "APPLY", field_manager="one")
    with pytest.raises(Invalid, match="needs a field_manager"):
        writing.apply(config_map(), "")
    with pytest.raises(BadRequest, match="printable"):
        writing.apply(config_map(), "a\nb")
    with pytest.raises(BadRequest, match="force is for APPLY"):
        writing.patch("configmaps", "c", {}, field_manager="one", force=True) if writing.apply(config_map()) else None
    with pytest.raises(NotFound):
        writing.patch("configmaps", "none", {})


def test_items_that_are_alike_in_a_configuration_are_named(writing: Writing) -> None:
    twice = deployment()
    twice["spec"]["template"]["spec"]["containers"] *= 2
    twice["spec"]["template"]["spec"]["containers"].append({"image": "x"})
    with pytest.raises(Invalid) as refused:
        writing.apply(twice)
    assert [cause.field for cause in refused.value.causes] == [
        "spec.template.spec.containers[1]",
        "spec.template.spec.containers[2]",
    ]


def test_an_apply_for_a_certain_object_does_not_create_another(writing: Writing) -> None:
    gone = config_map()
    gone["metadata"]["uid"] = "some"
    with pytest.raises(Conflict, match="does not exist"):
        writing.apply(gone)


def test_a_dry_run_of_an_apply_changes_nothing(writing: Writing) -> None:
    before = writing.revision
    shown = writing.apply(config_map(data={"a": "1"}), dry_run=True)
    assert shown.rest == {"data": {"a": "1"}}
    assert writing.revision == before
    with pytest.raises(NotFound):
        writing.partition.get("configmaps", "c")


# ------------------------------------------------------------------------------------------------------ subresources


def get_scale(partition: Partition, name: str = "web") -> Object:
    answers: list[Any] = []
    request = target(DEPLOYMENTS, name)
    request.subresource = "scale"

    partition.server.call("Get", request.SerializeToString(), Caller("test"), answers.append)
    return Object(pb.GetReply.FromString(answers[0]).object)


def test_a_scale_shows_and_sets_the_replicas(writing: Writing) -> None:
    created = writing.partition.create(deployment(replicas=2))
    scale = get_scale(writing.partition)
    assert scale.to_dict()["spec"] == {"replicas": 2}
    assert scale.status == {"replicas": 0, "selector": "app=web"}
    assert (scale.kind, scale.api_version, scale.uid) == ("Scale", "autoscaling/v1", created.uid)
    result = writing.update(scale.with_spec({"replicas": 4}), DEPLOYMENTS, subresource="scale")
    scaled = Object(result.object)
    assert (scaled.kind, scaled.spec, scaled.resource_version) == ("Scale", {"replicas": 4}, result.resource_version)
    stored = writing.partition.get(DEPLOYMENTS, "web")
    assert (stored.spec["replicas"], stored.generation) == (4, 2)
    with pytest.raises(Conflict):
        writing.update(scale.with_spec({"replicas": 5}), DEPLOYMENTS, subresource="scale")
    for kind, body in (("MERGE", {"spec": {"replicas": 6}}), ("STRATEGIC_MERGE", {"spec": {"replicas": 7}})):
        patched = Object(writing.patch(DEPLOYMENTS, "web", body, kind, subresource="scale").object)
        assert patched.spec == body["spec"]
    with pytest.raises(Invalid, match=r"spec\.replicas: must be a whole number"):
        writing.patch(DEPLOYMENTS, "web", {"spec": {"replicas": -1}}, subresource="scale")
    with pytest.raises(BadRequest, match="have no subresource 'scale'"):
        writing.patch("configmaps", "c", {}, subresource="scale") if writing.apply(config_map()) else None


def test_who_scales_an_applied_workload_owns_its_replicas(writing: Writing) -> None:
    writing.apply(deployment(replicas=2))
    writing.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 5}}, subresource="scale", field_manager="autoscaler")
    assert managers(writing.partition.get(DEPLOYMENTS, "web")) == [
        ("autoscaler", "Update", "scale"),
        ("one", "Apply", ""),
    ]
    with pytest.raises(Conflict, match="with subresource 'scale'"):
        writing.apply(deployment(replicas=2))


def test_a_scale_can_be_applied(writing: Writing) -> None:
    writing.apply(deployment())
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    applied = writing.apply(scale, "scaler", subresource="scale")
    assert (applied.kind, applied.spec) == ("Scale", {"replicas": 3})
    with pytest.raises(Conflict, match='"scaler"'):
        writing.apply(deployment(replicas=1))


def test_an_eviction_deletes_a_pod_with_its_grace(writing: Writing) -> None:
    created = writing.partition.create(pod("a"))
    bind = pb.Operation(resource="pods")
    bind.bind.target.CopyFrom(target("pods", "a"))
    bind.bind.preconditions.uid = created.uid
    bind.bind.node, bind.bind.resource_partition = "n1", "rp-1"
    writing.partition.do(bind)
    evict = pb.Operation(resource="pods")
    evict.evict.target.CopyFrom(target("pods", "a"))
    evict.evict.preconditions.uid = "another"
    with pytest.raises(Conflict):
        writing.partition.do(evict)
    evict.evict.preconditions.uid = created.uid
    writing.partition.do(evict)
    marked = writing.partition.get("pods", "a")
    assert marked.message.metadata.deletion_grace_seconds == 30
    assert marked.generation == 2
    other = pb.Operation(resource="configmaps")
    writing.apply(config_map())
    other.evict.target.CopyFrom(target("configmaps", "c"))
    with pytest.raises(BadRequest, match="only pods are evicted"):
        writing.partition.do(other)


# ------------------------------------------------------------------------------------------------------- collections


def delete_collection(resource: str, **selection: str) -> pb.Operation:
    operation = pb.Operation(resource=resource)
    asked = {"tenant": "system", "namespace": "default", **selection}
    operation.delete_collection.selection.CopyFrom(pb.Selection(resource=resource, **asked))
    return operation


def test_a_collection_is_deleted_by_selector_in_bounded_steps(writing: Writing) -> None:
    count = DELETE_COLLECTION_STEP + 10
    for number in range(count):
        writing.partition.create(config_map(f"c-{number:04d}"))
    kept = config_map("kept")
    kept["metadata"]["labels"] = {"keep": "yes"}
    writing.partition.create(kept)
    operation = delete_collection("configmaps", label_selector="keep!=yes")
    operation.dry_run = True
    assert writing.partition.do(operation).deleted == DELETE_COLLECTION_STEP
    operation.dry_run = False
    first = writing.partition.do(operation)
    assert (first.deleted, first.resource_version) == (DELETE_COLLECTION_STEP, writing.revision)
    operation.delete_collection.continue_token = first.continue_token
    second = writing.partition.do(operation)
    assert (second.deleted, second.continue_token) == (10, "")
    assert [item.metadata.name for item in writing.partition.list("configmaps").items] == ["kept"]


def test_a_collection_has_what_the_same_batch_created(writing: Writing) -> None:
    create = pb.Operation(resource="configmaps")
    create.create.object.CopyFrom(Object.from_dict(config_map()).message)
    results = writing.partition.write(create, delete_collection("configmaps"))
    assert results[1].deleted == 1


def test_a_collection_marks_what_has_finalizers_once(writing: Writing) -> None:
    held = config_map()
    held["metadata"]["finalizers"] = ["a"]
    writing.partition.create(held)
    assert writing.partition.do(delete_collection("configmaps")).deleted == 1
    assert writing.partition.get("configmaps", "c").deletion_ms
    assert writing.partition.do(delete_collection("configmaps")).deleted == 0


def test_a_collection_is_of_one_namespace_and_kind(writing: Writing) -> None:
    with pytest.raises(Invalid, match=r"metadata\.namespace"):
        writing.partition.do(delete_collection("configmaps", namespace=""))
    operation = delete_collection("configmaps")
    operation.resource = "pods"
    with pytest.raises(BadRequest, match="its selection for 'configmaps'"):
        writing.partition.do(operation)
    operation = delete_collection("configmaps")
    operation.delete_collection.continue_token = "/registry/pods/system/default/a"
    with pytest.raises(BadRequest, match="of another kind"):
        writing.partition.do(operation)


# ---------------------------------------------------------------------------------------------------- unknown fields


def misspelt() -> dict[str, Any]:
    manifest = pod("a")
    manifest["spec"]["containers"][0]["imagee"] = "x"
    manifest["spec"]["nodeSelektor"] = {}
    return manifest


def test_unknown_fields_are_refused_warned_of_or_ignored(writing: Writing) -> None:
    operation = pb.Operation(resource="pods", field_validation="Strict")
    operation.create.object.CopyFrom(Object.from_dict(misspelt()).message)
    with pytest.raises(BadRequest, match="strict decoding error: unknown field") as refused:
        writing.partition.do(operation)
    fields = [cause.field for cause in refused.value.causes]
    assert sorted(fields) == ["spec.containers[0].imagee", "spec.nodeSelektor"]
    operation.field_validation = "Warn"
    assert sorted(writing.partition.do(operation).warnings) == [
        'unknown field "spec.containers[0].imagee"',
        'unknown field "spec.nodeSelektor"',
    ]
    # What was there before is not held against a later writer.
    assert not writing.patch("pods", "a", {"metadata": {"labels": {"x": "y"}}}, field_validation="Strict").warnings
    operation.create.object.metadata.name = "b"
    operation.field_validation = "Ignore"
    assert not writing.partition.do(operation).warnings
    operation.field_validation = "Sometimes"
    with pytest.raises(BadRequest, match="must be Ignore, Warn or Strict"):
        writing.partition.do(operation)


def test_a_strict_apply_names_a_misspelt_field_of_the_metadata(writing: Writing) -> None:
    manifest = config_map(dta={"a": "1"})
    manifest["metadata"]["label"] = {}
    with pytest.raises(BadRequest) as refused:
        writing.apply(manifest, field_validation="Strict")
    assert [cause.field for cause in refused.value.causes] == ["metadata.label", "dta"]
    [one, two] = writing.patch(
        "configmaps", "c", manifest, "APPLY", field_manager="m", field_validation="Warn"
    ).warnings
    assert (one, two) == ('unknown field "metadata.label"', 'unknown field "dta"')
