"""Strategic merge patch, by the examples of Kubernetes' documentation and of its own tests."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.partitions.patching import shape_of, strategic_merge
from ursa.proto.errors import BadRequest
from ursa.proto.kinds import BY_KIND


def pod(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec}


def patched(before: dict[str, Any], patch: dict[str, Any], kind: str = "Pod") -> Any:
    return strategic_merge(before, patch, shape_of(BY_KIND[kind]))


def spec_after(before: dict[str, Any], patch: dict[str, Any]) -> Any:
    return patched(pod(**before), {"spec": patch})["spec"]


APP = {"name": "app", "image": "app:1"}
LOG = {"name": "log", "image": "log:1"}


def test_containers_are_merged_by_name() -> None:
    """kubernetes.io, "Update API Objects in Place Using kubectl patch": the patch adds a container."""
    assert spec_after({"containers": [APP]}, {"containers": [{"name": "redis", "image": "redis"}]})["containers"] == [
        APP,
        {"name": "redis", "image": "redis"},
    ]
    assert spec_after({"containers": [APP, LOG]}, {"containers": [{"name": "app", "image": "app:2"}]}) == {
        "containers": [{"name": "app", "image": "app:2"}, LOG]
    }


def test_tolerations_are_replaced() -> None:
    """The same page: tolerations have no merge key."""
    before = {"tolerations": [{"effect": "NoSchedule", "key": "dedicated", "value": "test-team"}]}
    new = {"tolerations": [{"effect": "NoSchedule", "key": "disktype", "value": "ssd"}]}
    assert spec_after(before, new) == new


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("ports", "containerPort"),
        ("env", "name"),
        ("volumeMounts", "mountPath"),
        ("volumeDevices", "devicePath"),
    ],
)
def test_the_lists_of_a_container_are_merged_by_their_keys(field: str, key: str) -> None:
    before = {"containers": [{"name": "app", field: [{key: "a", "x": 1}, {key: "b", "x": 2}]}]}
    patch = {"containers": [{"name": "app", field: [{key: "b", "x": 3}, {key: "c", "x": 4}]}]}
    assert spec_after(before, patch)["containers"][0][field] == [
        {key: "a", "x": 1},
        {key: "b", "x": 3},
        {key: "c", "x": 4},
    ]


def test_conditions_owners_and_volumes_are_merged_by_their_keys() -> None:
    before = {
        "metadata": {"ownerReferences": [{"uid": "1", "name": "a"}]},
        "spec": {"volumes": [{"name": "v", "emptyDir": {}}]},
        "status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Initialized", "status": "True"}]},
    }
    patch = {
        "metadata": {"ownerReferences": [{"uid": "1", "controller": True}, {"uid": "2", "name": "b"}]},
        "spec": {"volumes": [{"name": "w", "hostPath": {"path": "/w"}}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    after = patched(before, patch)
    assert after["metadata"]["ownerReferences"] == [
        {"uid": "1", "name": "a", "controller": True},
        {"uid": "2", "name": "b"},
    ]
    assert [volume["name"] for volume in after["spec"]["volumes"]] == ["v", "w"]
    assert [condition["status"] for condition in after["status"]["conditions"]] == ["True", "True"]


def test_finalizers_are_a_set_from_which_values_can_be_deleted() -> None:
    before = {"metadata": {"finalizers": ["a", "b"]}}
    assert patched(before, {"metadata": {"finalizers": ["b", "c"]}})["metadata"]["finalizers"] == ["a", "b", "c"]
    deleting = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert patched(before, deleting)["metadata"]["finalizers"] == ["b"]
    both = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["d"]}}
    assert patched(before, both)["metadata"]["finalizers"] == ["b", "d"]
    assert patched(before, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["z"]}}) == before


def test_nulls_remove_and_are_not_stored() -> None:
    before = {"nodeSelector": {"a": "1", "b": "2"}, "hostname": "h"}
    patch = {"nodeSelector": {"a": None}, "hostname": None, "affinity": {"nodeAffinity": None, "podAffinity": {}}}
    assert spec_after(before, patch) == {"nodeSelector": {"b": "2"}, "affinity": {"podAffinity": {}}}


def test_an_item_is_deleted_by_its_key_before_others_are_merged() -> None:
    patch = {"containers": [{"name": "app", "$patch": "delete"}]}
    assert spec_after({"containers": [APP, LOG]}, patch) == {"containers": [LOG]}
    again = {"containers": [{"name": "new", "image": "n"}, {"name": "app", "$patch": "delete"}]}
    assert spec_after({"containers": [APP]}, again) == {"containers": [{"name": "new", "image": "n"}]}


def test_a_map_or_a_list_is_replaced_where_the_patch_says_so() -> None:
    before = {"containers": [APP, LOG], "securityContext": {"runAsUser": 1, "fsGroup": 2}}
    assert spec_after(before, {"containers": [{"name": "x"}, {"$patch": "replace"}]})["containers"] == [{"name": "x"}]
    assert spec_after(before, {"securityContext": {"$patch": "replace", "runAsGroup": 3}})["securityContext"] == {
        "runAsGroup": 3
    }
    replaced = {"containers": [{"name": "app", "image": "app:9", "$patch": "replace"}]}
    both = [{**APP, "tty": True}, LOG]
    assert spec_after({"containers": both}, replaced)["containers"] == [{"name": "app", "image": "app:9"}, LOG]


def test_a_strategy_of_a_deployment_keeps_only_the_keys_it_names() -> None:
    """The same page: changing RollingUpdate to Recreate."""
    before = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "30%"}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert patched(before, patch, "Deployment") == {"spec": {"strategy": {"type": "Recreate"}}}
    with pytest.raises(BadRequest, match="does not have 'rollingUpdate'"):
        patched(before, {"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}}, "Deployment")


def named(*names: str) -> list[dict[str, Any]]:
    return [{"name": name} for name in names]


@pytest.mark.parametrize(
    ("before", "patch", "order", "after"),
    [
        ("a b c", "", "c b a", "c b a"),
        ("a b c", "d", "d a b c", "d a b c"),
        ("a b c", "d", "a d b c", "a d b c"),
        # What only the server has stays where it stood among the others.
        ("a x b", "", "b a", "x b a"),
        ("x a b", "", "b a", "x b a"),
        ("a b x", "", "b a", "b a x"),
        ("a b", "c", "c", "a b c"),
    ],
)
def test_the_order_that_a_patch_names_is_the_order_of_the_items(
    before: str, patch: str, order: str, after: str
) -> None:
    directive = {"$setElementOrder/containers": named(*order.split())}
    if patch:
        directive["containers"] = named(*patch.split())
    found = spec_after({"containers": named(*before.split())}, directive)["containers"]
    assert " ".join(item["name"] for item in found) == after


def test_what_a_patch_sets_must_be_in_its_order() -> None:
    with pytest.raises(BadRequest, match="must name every item"):
        spec_after({"containers": []}, {"$setElementOrder/containers": named("a"), "containers": named("b")})


@pytest.mark.parametrize(
    "patch",
    [
        {"containers": [{"image": "x"}]},
        {"containers": ["x"]},
        {"containers": [{"$patch": "delete"}]},
        {"$patch": "spam"},
        {"$spam/containers": []},
        {"$retainKeys": "x"},
        {"$setElementOrder/containers": "x"},
        {"$setElementOrder/containers": ["x"], "containers": [APP]},
        {"$deleteFromPrimitiveList/containers": {}},
    ],
)
def test_a_directive_that_makes_no_sense_is_a_bad_request(patch: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        spec_after({"containers": [APP]}, patch)


def test_two_ports_of_one_number_both_stay() -> None:
    """UDP and TCP: the merge key of a strategic merge cannot tell them apart, which must not lose one of them."""
    ports = [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]
    before = {"containers": [{"name": "app", "ports": ports}]}
    patch = {"containers": [{"name": "app", "ports": [{"containerPort": 80}]}]}
    assert spec_after(before, patch)["containers"][0]["ports"] == [*ports, {"containerPort": 80}]


def test_what_was_there_is_not_changed() -> None:
    before = pod(containers=[APP, LOG], nodeSelector={"a": "1"})
    copy = pod(containers=[dict(APP), dict(LOG)], nodeSelector={"a": "1"})
    patched(before, {"spec": {"containers": [{"name": "app", "image": "z"}], "nodeSelector": {"a": None}}})
    assert before == copy
