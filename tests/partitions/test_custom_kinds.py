"""Custom kinds: defined, served, checked, and taken away again."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import BadRequest, Conflict, Invalid, MethodNotSupported, NotFound
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, encode

from .conftest import Partition, target

WIDGETS = "widgets.example.com"
DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 9},
                "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
                "port": {"x-kubernetes-int-or-string": True},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "weight": {"type": "integer", "default": 1}},
                    },
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {"type": "object", "properties": {"phase": {"type": "string"}, "size": {"type": "integer"}}},
    },
}


def definition(
    plural: str = "widgets", kind: str = "Widget", group: str = "example.com", **version: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": [kind[:2].lower()]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": SCHEMA},
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
                    },
                    "selectableFields": [{"jsonPath": ".spec.color"}],
                    **version,
                }
            ],
        },
    }


def widget(name: str, spec: Any = None, **metadata: Any) -> pb.Operation:
    manifest = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name, "tenant": "system", "namespace": "default", **metadata},
        "spec": {"size": 1} if spec is None else spec,
    }
    return creation(WIDGETS, manifest)


def creation(resource: str, manifest: dict[str, Any]) -> pb.Operation:
    operation = pb.Operation(resource=resource, return_object=True)
    operation.create.object.CopyFrom(Object.from_dict(manifest).message)
    return operation


def deletion(resource: str, name: str, tenant: str = "system", namespace: str = "default") -> pb.Operation:
    return pb.Operation(resource=resource, delete=pb.Delete(target=target(resource, name, tenant, namespace)))


def define(partition: Partition, *args: str, **version: Any) -> Object:
    return Object(partition.do(creation(DEFINITIONS, definition(*args, **version))).object)


def conditions(partition: Partition, name: str = WIDGETS) -> dict[str, str]:
    status = partition.get(DEFINITIONS, name, "", "").status
    return {each["type"]: each["status"] for each in status["conditions"]}


def test_a_kind_is_served_as_soon_as_it_is_defined(tenant_partition: Partition) -> None:
    with pytest.raises(BadRequest, match="no resource"):
        tenant_partition.do(widget("a"))
    results = tenant_partition.write(creation(DEFINITIONS, definition()), widget("a"))
    assert [result.HasField("error") for result in results] == [False, False], "the very next operation can use it"
    assert conditions(tenant_partition) == {"NamesAccepted": "True", "Established": "True"}
    assert tenant_partition.get(WIDGETS, "a").spec == {"size": 1, "color": "red"}


def test_a_custom_kind_is_listed_watched_and_selected_like_any_other(tenant_partition: Partition) -> None:
    define(tenant_partition)
    green = tenant_partition.watch(WIDGETS, field_selector="spec.color=green")
    tenant_partition.write(widget("a"), widget("b", {"size": 2, "color": "green"}))
    assert [name for _, name, _ in green.read()] == ["b"]
    assert [each.metadata.name for each in tenant_partition.list(WIDGETS).items] == ["a", "b"]
    assert [each.metadata.name for each in tenant_partition.list(WIDGETS, field_selector="spec.color=red").items] == [
        "a"
    ]
    with pytest.raises(BadRequest, match=r"spec\.size"):
        tenant_partition.list(WIDGETS, field_selector="spec.size=1")


def test_unknown_fields_are_pruned_and_kept_where_the_schema_says_so(tenant_partition: Partition) -> None:
    define(tenant_partition)
    spec = {"size": 1, "typo": 1, "free": {"any": {"thing": 1}}, "parts": [{"name": "x", "typo": 2}]}
    tenant_partition.do(widget("a", spec))
    stored = tenant_partition.get(WIDGETS, "a").spec
    assert "typo" not in stored
    assert stored["free"] == {"any": {"thing": 1}}
    assert stored["parts"] == [{"name": "x", "weight": 1}], "pruned and defaulted within lists, too"


def test_all_broken_rules_are_named_by_field(tenant_partition: Partition) -> None:
    define(tenant_partition)
    spec = {"size": 10, "color": "blue", "port": 1.5, "parts": [{"name": "x"}, {"weight": "heavy"}, {"name": "x"}]}
    with pytest.raises(Invalid) as caught:
        tenant_partition.do(widget("a", spec))
    assert {cause.field: cause.reason for cause in caught.value.causes} == {
        "spec.size": "FieldValueInvalid",
        "spec.color": "FieldValueNotSupported",
        "spec.port": "FieldValueTypeInvalid",
        "spec.parts[1].weight": "FieldValueTypeInvalid",
        "spec.parts[1].name": "FieldValueRequired",
        "spec.parts[2]": "FieldValueDuplicate",
    }


def test_unknown_fields_are_refused_where_the_writer_asks_for_that(tenant_partition: Partition) -> None:
    define(tenant_partition)
    operation = widget("a", {"size": 1, "typo": 1})
    operation.field_validation = "Strict"
    with pytest.raises(BadRequest, match=r'unknown field "spec\.typo"'):
        tenant_partition.do(operation)


def test_the_status_is_a_subresource_and_is_checked(tenant_partition: Partition) -> None:
    define(tenant_partition)
    created = Object(tenant_partition.do(widget("a")).object)

    def write(status: Any) -> None:
        operation = pb.Operation(resource=WIDGETS)
        operation.update.object.CopyFrom(created.with_status(status).message)
        operation.update.object.metadata.resource_version = 0
        operation.update.subresource = "status"
        tenant_partition.do(operation)

    write({"phase": "Running", "typo": 1})
    stored = tenant_partition.get(WIDGETS, "a")
    assert stored.status == {"phase": "Running"}
    assert stored.generation == 1
    with pytest.raises(Invalid, match=r"status\.phase"):
        write({"phase": 7})


def test_the_scale_is_where_the_definition_says(tenant_partition: Partition) -> None:
    define(tenant_partition)
    tenant_partition.do(widget("a"))
    patch = pb.Patch(target=target(WIDGETS, "a"), body=encode({"spec": {"replicas": 5}}), subresource="scale")
    shown = Object(tenant_partition.do(pb.Operation(resource=WIDGETS, patch=patch, return_object=True)).object)
    assert (shown.kind, shown.spec) == ("Scale", {"replicas": 5})
    assert tenant_partition.get(WIDGETS, "a").spec["size"] == 5


def test_applied_lists_are_merged_by_the_keys_of_the_schema(tenant_partition: Partition) -> None:
    define(tenant_partition)

    def apply(manager: str, *parts: str) -> None:
        manifest = {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "metadata": {"name": "a"},
            "spec": {"size": 1, "parts": [{"name": part} for part in parts]},
        }
        patch = pb.Patch(target=target(WIDGETS, "a"), type=pb.Patch.APPLY, body=encode(manifest))
        tenant_partition.do(pb.Operation(resource=WIDGETS, patch=patch, field_manager=manager))

    apply("one", "x", "y")
    apply("two", "z")
    apply("one", "y")
    assert [part["name"] for part in tenant_partition.get(WIDGETS, "a").spec["parts"]] == ["y", "z"]


def test_deleting_a_definition_deletes_its_objects_first(tenant_partition: Partition) -> None:
    created = define(tenant_partition)
    assert CLEANUP in created.finalizers
    for start in range(0, 600, 200):
        tenant_partition.write(*(widget(f"w-{number}") for number in range(start, start + 200)))
    watching = tenant_partition.watch(WIDGETS)
    tenant_partition.do(deletion(DEFINITIONS, WIDGETS, "", ""))
    assert conditions(tenant_partition)["Terminating"] == "True"
    with pytest.raises(MethodNotSupported):
        tenant_partition.do(widget("late"))
    for _ in range(100):
        tenant_partition.runtime.advance(0.05)
        watching.read()
    assert sum(kind == "DELETED" for kind, _, _ in watching.events) == 600
    assert isinstance(watching.error, NotFound), "and the watch is told that there will be no more"
    with pytest.raises(NotFound):
        tenant_partition.get(DEFINITIONS, WIDGETS, "", "")
    with pytest.raises(BadRequest, match="no resource"):
        tenant_partition.list(WIDGETS)
    assert not list(tenant_partition.store.range(f"/registry/{WIDGETS}/"))


def test_a_definition_waits_for_objects_that_have_finalizers(tenant_partition: Partition) -> None:
    define(tenant_partition)
    tenant_partition.do(widget("a", finalizers=["example.com/hold"]))
    tenant_partition.do(deletion(DEFINITIONS, WIDGETS, "", ""))
    tenant_partition.runtime.advance(5)
    held = tenant_partition.get(WIDGETS, "a")
    assert held.deletion_ms
    operation = pb.Operation(resource=WIDGETS)
    operation.update.object.CopyFrom(held.with_metadata(finalizers=[]).message)
    tenant_partition.do(operation)
    tenant_partition.runtime.advance(5)
    with pytest.raises(NotFound):
        tenant_partition.get(DEFINITIONS, WIDGETS, "", "")


def test_the_partition_keeps_its_finalizer(tenant_partition: Partition) -> None:
    created = define(tenant_partition)
    operation = pb.Operation(resource=DEFINITIONS)
    operation.update.object.CopyFrom(created.with_metadata(finalizers=[]).message)
    with pytest.raises(Invalid, match="finalizers"):
        tenant_partition.do(operation)


def test_a_kind_can_be_defined_again_with_other_fields(tenant_partition: Partition) -> None:
    define(tenant_partition)
    tenant_partition.do(widget("a", {"size": 3}))
    before = tenant_partition.list(WIDGETS).resource_version
    tenant_partition.do(deletion(DEFINITIONS, WIDGETS, "", ""))
    tenant_partition.runtime.advance(5)
    define(tenant_partition, selectableFields=[{"jsonPath": ".spec.size"}])
    tenant_partition.do(widget("b", {"size": 3}))
    found = tenant_partition.list(WIDGETS, field_selector="spec.size=3").items
    assert [each.metadata.name for each in found] == ["b"]
    again = tenant_partition.watch(WIDGETS, resource_version=before, field_selector="spec.size=3")
    assert again.error is not None
    assert again.error.reason == "Expired", "nobody goes on behind another kind's events"


def test_names_are_taken_once_in_a_group_and_pass_on(tenant_partition: Partition) -> None:
    define(tenant_partition)
    second = define(tenant_partition, "gadgets", "Widget")
    assert conditions(tenant_partition, second.name) == {"NamesAccepted": "False", "Established": "False"}
    with pytest.raises(BadRequest, match="no resource"):
        tenant_partition.list("gadgets.example.com")
    define(tenant_partition, "widgets", "Widget", "other.example.org")
    assert conditions(tenant_partition, "widgets.other.example.org")["Established"] == "True", "groups are apart"
    tenant_partition.do(deletion(DEFINITIONS, WIDGETS, "", ""))
    tenant_partition.runtime.advance(5)
    assert conditions(tenant_partition, second.name)["Established"] == "True"
    assert not tenant_partition.list("gadgets.example.com").items


def test_kinds_and_their_objects_survive_a_restart(tenant_partition: Partition) -> None:
    define(tenant_partition)
    define(tenant_partition, "aardvarks", "Aardvark", "zoo.example.com")
    tenant_partition.do(widget("a", {"size": 1, "color": "green"}))
    tenant_partition.do(deletion(DEFINITIONS, "aardvarks.zoo.example.com", "", ""))
    tenant_partition.runtime.advance(5)
    tenant_partition.server.close()
    again = Partition(Role.TENANT, tenant_partition.store)
    again.committer = tenant_partition.committer
    assert [each.metadata.name for each in again.list(WIDGETS, field_selector="spec.color=green").items] == ["a"]
    with pytest.raises(Invalid):
        again.do(widget("b", {"size": 0}))
    again.do(widget("b"))
    again.server.close()


def test_a_deletion_goes_on_after_a_restart(tenant_partition: Partition) -> None:
    define(tenant_partition)
    tenant_partition.do(widget("a"))
    tenant_partition.do(deletion(DEFINITIONS, WIDGETS, "", ""))
    tenant_partition.server.close()
    again = Partition(Role.TENANT, tenant_partition.store)
    again.runtime.advance(5)
    assert not again.list(DEFINITIONS).items
    again.server.close()


def test_another_schema_holds_from_the_next_write_on(tenant_partition: Partition) -> None:
    created = define(tenant_partition)
    tenant_partition.do(widget("a"))
    manifest = created.to_dict()
    properties = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["size"]["minimum"] = 5
    operation = pb.Operation(resource=DEFINITIONS)
    operation.update.object.CopyFrom(Object.from_dict(manifest).message)
    tenant_partition.do(operation)
    assert tenant_partition.get(WIDGETS, "a").spec["size"] == 1, "what is there stays"
    with pytest.raises(Invalid, match="5 or more"):
        tenant_partition.do(widget("b"))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"schema": {}}, "spec.versions[0].schema.openAPIV3Schema"),
        ({"storage": False}, "spec.versions"),
        ({"served": False}, "spec.versions[0].served"),
        ({"name": "V1"}, "spec.versions[0].name"),
        ({"selectableFields": [{"jsonPath": ".spec.parts"}]}, "spec.versions[0].selectableFields[0].jsonPath"),
        ({"additionalPrinterColumns": [{"name": "A"}]}, "spec.versions[0].additionalPrinterColumns[0].jsonPath"),
        ({"subresources": {"exec": {}}}, "spec.versions[0].subresources.exec"),
        ({"subresources": {"scale": {}}}, "spec.versions[0].subresources.scale.specReplicasPath"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(
    tenant_partition: Partition, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        define(tenant_partition, **change)
    assert field in [cause.field for cause in caught.value.causes]


@pytest.mark.parametrize(
    "change",
    [{"group": "apps"}, {"group": "nodots"}, {"scope": "Galaxy"}, {"scope": ["Cluster"]}, {"names": {"plural": "x"}}],
)
def test_a_group_that_is_built_in_a_strange_scope_and_missing_names_are_refused(
    tenant_partition: Partition, change: dict[str, Any]
) -> None:
    manifest = definition()
    manifest["spec"].update(change)
    with pytest.raises(Invalid):
        tenant_partition.do(creation(DEFINITIONS, manifest))


def test_what_is_in_keys_and_indexes_is_fixed(tenant_partition: Partition) -> None:
    created = define(tenant_partition)
    manifest = created.to_dict()
    manifest["spec"]["scope"] = "Cluster"
    manifest["spec"]["versions"][0]["selectableFields"] = []
    operation = pb.Operation(resource=DEFINITIONS)
    operation.update.object.CopyFrom(Object.from_dict(manifest).message)
    with pytest.raises(Invalid) as caught:
        tenant_partition.do(operation)
    assert {cause.field for cause in caught.value.causes} == {"spec.scope", "spec.versions[].selectableFields"}


def test_a_dry_run_defines_nothing(tenant_partition: Partition) -> None:
    operation = creation(DEFINITIONS, definition())
    operation.dry_run = True
    tenant_partition.do(operation)
    with pytest.raises(BadRequest):
        tenant_partition.do(widget("a"))


def test_a_reader_does_not_find_a_kind_that_is_not_durable(tenant_partition: Partition) -> None:
    tenant_partition.committer.automatic = False
    request = pb.MutateRequest(operations=[creation(DEFINITIONS, definition()), widget("a")], batch=1)
    from ursa.proto.sessions import Caller

    answers: list[Any] = []
    tenant_partition.server.call("Write", request.SerializeToString(), Caller("test"), answers.append)
    tenant_partition.runtime.advance(0.1)
    with pytest.raises(BadRequest):
        tenant_partition.get(WIDGETS, "a")
    tenant_partition.committer.finish()
    assert tenant_partition.get(WIDGETS, "a").name == "a"
    tenant_partition.committer.automatic = True


def test_a_resource_partition_serves_custom_kinds_of_its_own(resource_partition: Partition) -> None:
    manifest = definition()
    manifest["spec"]["scope"] = "Cluster"
    resource_partition.do(creation(DEFINITIONS, manifest))
    created = widget("pool")
    created.create.object.metadata.tenant = created.create.object.metadata.namespace = ""
    resource_partition.do(created)
    assert resource_partition.get(WIDGETS, "pool", "", "").spec["size"] == 1


def test_a_uid_precondition_holds_for_custom_objects(tenant_partition: Partition) -> None:
    define(tenant_partition)
    tenant_partition.do(widget("a"))
    operation = deletion(WIDGETS, "a")
    operation.delete.preconditions.uid = "another"
    with pytest.raises(Conflict):
        tenant_partition.do(operation)


def test_a_key_that_is_no_text_is_named_and_breaks_nothing(tenant_partition: Partition) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "additionalProperties": {"type": "string"}}}}
    define(tenant_partition, schema={"openAPIV3Schema": schema}, subresources={}, selectableFields=[])
    operation = widget("a")
    operation.create.object.spec = encode({b"\xff": 1})
    with pytest.raises(Invalid, match="must be of type string"):
        tenant_partition.do(operation)


def test_rules_in_cel_are_refused_and_not_ignored(tenant_partition: Partition) -> None:
    schema = {"type": "object", "x-kubernetes-validations": [{"rule": "self.x > 1"}]}
    with pytest.raises(Invalid, match="CEL"):
        define(tenant_partition, schema={"openAPIV3Schema": schema}, subresources={}, selectableFields=[])


@pytest.mark.parametrize("path", [".spec" + ".a" * 64, ".spec" + ".a" * 100_000])
def test_paths_are_no_deeper_than_objects(tenant_partition: Partition, path: str) -> None:
    scale = {"specReplicasPath": path, "statusReplicasPath": ".status.size"}
    with pytest.raises(Invalid, match="must be a path within"):
        define(tenant_partition, subresources={"status": {}, "scale": scale})
    with pytest.raises(Invalid, match="must be the path of a field"):
        define(tenant_partition, selectableFields=[{"jsonPath": path}])


def test_the_selector_of_a_custom_scale_is_text_or_is_not_shown(tenant_partition: Partition) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    paths = {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".spec.selector"}
    define(tenant_partition, schema={"openAPIV3Schema": schema}, subresources={"scale": paths}, selectableFields=[])
    for name, selector in (("a", "app=web"), ("b", {"matchExpressions": [1]}), ("c", 7)):
        tenant_partition.do(widget(name, {"n": 1, "selector": selector}))
    shown = []
    for name in "abc":
        patch = pb.Patch(target=target(WIDGETS, name), body=encode({"spec": {"replicas": 5}}), subresource="scale")
        result = tenant_partition.do(pb.Operation(resource=WIDGETS, patch=patch, return_object=True))
        shown.append(Object(result.object).status["selector"])
    assert shown == ["app=web", "", ""]


def test_a_definition_whose_spec_cannot_be_read_is_refused_as_that(tenant_partition: Partition) -> None:
    for spec in (encode({1: 2}), b"\xc1", encode([1])):
        operation = creation(DEFINITIONS, definition())
        operation.create.object.spec = spec
        with pytest.raises(Invalid) as caught:
            tenant_partition.do(operation)
        assert [cause.field for cause in caught.value.causes] == ["spec"]


def versions(*flags: tuple[str, bool, bool]) -> dict[str, Any]:
    """Of a definition: (name, served, storage)."""
    manifest = definition()
    [version] = manifest["spec"]["versions"]
    manifest["spec"]["versions"] = [
        {**version, "name": name, "served": served, "storage": storage} for name, served, storage in flags
    ]
    return manifest


def test_a_second_version_that_is_to_be_served_is_refused_in_one_sentence(tenant_partition: Partition) -> None:
    with pytest.raises(Invalid) as caught:
        tenant_partition.do(creation(DEFINITIONS, versions(("v1", True, True), ("v1beta1", True, False))))
    [cause] = caught.value.causes
    assert cause.field == "spec.versions[1].served"
    assert "one version is served here, the stored one, v1" in cause.message


def test_versions_that_are_no_longer_served_may_stay(tenant_partition: Partition) -> None:
    tenant_partition.do(creation(DEFINITIONS, versions(("v1beta1", False, False), ("v1", True, True))))
    tenant_partition.do(widget("a"))
    assert tenant_partition.get(WIDGETS, "a").api_version == "example.com/v1"
    old = widget("b")
    old.create.object.api_version = "example.com/v1beta1"
    with pytest.raises(BadRequest, match=r"example\.com/v1"):
        tenant_partition.do(old)


@pytest.mark.parametrize("flags", [(("v1", True, True), ("v2", True, True)), (("v1", True, False),)])
def test_objects_are_stored_in_one_version(tenant_partition: Partition, flags: Any) -> None:
    with pytest.raises(Invalid, match="exactly one must have storage: true"):
        tenant_partition.do(creation(DEFINITIONS, versions(*flags)))


def test_a_conversion_by_webhook_is_refused(tenant_partition: Partition) -> None:
    manifest = definition()
    manifest["spec"]["conversion"] = {"strategy": "Webhook", "webhook": {}}
    with pytest.raises(Invalid, match=r"spec\.conversion\.strategy: must be None"):
        tenant_partition.do(creation(DEFINITIONS, manifest))
