"""What each kind's objects must be like, and what of them may not change."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Invalid
from ursa.proto.kinds import BY_KIND
from ursa.proto.objects import Object

from ..conftest import Partition, pod, target


def causes_of(partition: Partition, manifest: dict[str, Any]) -> list[str]:
    with pytest.raises(Invalid) as refused:
        partition.create(manifest)
    return [cause.field for cause in refused.value.causes]


def update(partition: Partition, obj: Object) -> Object:
    operation = pb.Operation(resource=BY_KIND[obj.kind].resource, return_object=True)
    operation.update.object.CopyFrom(obj.message)
    return Object(partition.do(operation).object)


def plain(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "tenant": "system", "namespace": "default"}
    return {"apiVersion": BY_KIND[kind].api_version, "kind": kind, "metadata": metadata, **fields}


def deployment() -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "main"}]}}
    return plain("Deployment", "d", spec={"selector": {"matchLabels": {"app": "a"}}, "template": template})


def test_metadata(tenant_partition: Partition) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "u", "controller": True}
    manifest = pod(
        "p",
        annotations={"a b": "c"},
        finalizers=["not ok"],
        ownerReferences=[owner, {**owner, "uid": ""}],
    )
    assert causes_of(tenant_partition, manifest) == [
        "metadata.annotations",
        "metadata.ownerReferences",
        "metadata.ownerReferences[1].uid",
        "metadata.finalizers[0]",
    ]


def test_no_finalizer_is_added_to_what_is_being_deleted(tenant_partition: Partition) -> None:
    tenant_partition.create(pod("p", finalizers=["example.com/a"]))
    operation = pb.Operation(resource="pods")
    operation.delete.target.CopyFrom(target("pods", "p"))
    tenant_partition.do(operation)
    going = tenant_partition.get("pods", "p")
    with pytest.raises(Invalid, match="no new finalizers can be added if the object is being deleted"):
        update(tenant_partition, going.with_metadata(finalizers=["example.com/a", "example.com/b"]))
    update(tenant_partition, going.with_metadata(finalizers=[]))


def test_containers_and_volumes(tenant_partition: Partition) -> None:
    manifest = pod("p")
    manifest["spec"]["activeDeadlineSeconds"] = 0
    manifest["spec"]["volumes"] = [{"name": "v"}, {"name": "v"}, {}]
    manifest["spec"]["containers"][0] |= {
        "ports": [
            {"containerPort": 0, "protocol": "ICMP", "name": "web"},
            {"containerPort": 80, "hostPort": 70_000, "name": "web"},
        ],
        "env": [{"name": ""}, {"name": "A=B"}, {"name": "A", "value": 1}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "w"}],
    }
    container = "spec.containers[0]"
    assert causes_of(tenant_partition, manifest) == [
        f"{container}.ports[0].containerPort",
        f"{container}.ports[0].protocol",
        f"{container}.ports[1].hostPort",
        f"{container}.ports[1].name",
        f"{container}.env[0].name",
        f"{container}.env[1].name",
        f"{container}.env[2].value",
        "spec.activeDeadlineSeconds",
        "spec.volumes[1].name",
        "spec.volumes[2].name",
        f"{container}.volumeMounts[1].name",
        f"{container}.volumeMounts[1].mountPath",
    ]


def test_the_selector_of_a_workload_is_fixed_and_its_pods_do_not_end(tenant_partition: Partition) -> None:
    created = tenant_partition.create(deployment())
    other = deployment()["spec"]
    other["selector"] = {"matchLabels": {"app": "b"}}
    other["template"]["metadata"]["labels"] = {"app": "b"}
    with pytest.raises(Invalid, match=r"spec\.selector: is immutable"):
        update(tenant_partition, created.with_spec(other))
    ending = deployment()
    ending["spec"]["template"]["spec"] |= {"restartPolicy": "Never", "activeDeadlineSeconds": 5}
    assert causes_of(tenant_partition, ending) == [
        "spec.template.spec.restartPolicy",
        "spec.template.spec.activeDeadlineSeconds",
    ]


def test_config_maps_and_secrets(tenant_partition: Partition) -> None:
    config = plain("ConfigMap", "c", data={"a/b": "c", "x": "y"}, binaryData={"x": "eA=="})
    assert causes_of(tenant_partition, config) == ["data[a/b]", "binaryData[x]"]
    assert causes_of(tenant_partition, plain("Secret", "s", stringData={"..": "a"})) == ["data[..]"]
    secret = tenant_partition.create(plain("Secret", "s", stringData={"a": "b"}))
    with pytest.raises(Invalid, match="type: is immutable"):
        update(tenant_partition, secret.with_rest({**secret.rest, "type": "example.com/other"}))


def test_as_many_finalizers_as_an_object_has_room_for_are_compared_at_once(tenant_partition: Partition) -> None:
    """Each with each of the others would be half a minute of the loop, and eight for the largest object."""
    finalizers = [f"example.com/f{number}" for number in range(20_000)]
    manifest = plain("ConfigMap", "c")
    manifest["metadata"]["finalizers"] = finalizers
    tenant_partition.create(manifest)
    operation = pb.Operation(resource="configmaps")
    operation.delete.target.CopyFrom(target("configmaps", "c"))
    tenant_partition.do(operation)
    going = tenant_partition.get("configmaps", "c")
    started = time.process_time()
    update(tenant_partition, going.with_metadata(finalizers=finalizers[::-1]))
    assert time.process_time() - started < 3


def test_a_hundred_broken_rules_are_named_and_no_more(tenant_partition: Partition) -> None:
    manifest = plain("ConfigMap", "c")
    manifest["metadata"]["finalizers"] = ["not ok"] * 5000
    assert len(causes_of(tenant_partition, manifest)) == 100
