"""PersistentVolumes, claims of them, and their classes: what is filled in, what is refused, and what may change."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.proto.errors import Invalid
from ursa.proto.objects import Object

from ..conftest import Partition
from .test_job_rules import told
from .test_rules import plain, update


def storage_class(name: str = "fast", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name}
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata}
    return {**kind, "provisioner": "ursa.dev/hollow", **fields}


def volume(name: str = "v", **spec: Any) -> dict[str, Any]:
    made = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], **spec}
    metadata = {"name": name, "tenant": "system"}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": made}


def claim(name: str = "c", **spec: Any) -> dict[str, Any]:
    requests = {"resources": {"requests": {"storage": "1Gi"}}}
    return plain("PersistentVolumeClaim", name, spec={"accessModes": ["ReadWriteOnce"], **requests, **spec})


def test_what_is_left_out_is_as_in_kubernetes(tenant_partition: Partition) -> None:
    made = tenant_partition.create(volume())
    assert (made.spec["volumeMode"], made.spec["persistentVolumeReclaimPolicy"]) == ("Filesystem", "Retain")
    assert made.status == {"phase": "Pending"}
    made = tenant_partition.create(claim())
    assert (made.spec["volumeMode"], made.status) == ("Filesystem", {"phase": "Pending"})
    made = tenant_partition.create(storage_class())
    assert (made.rest["reclaimPolicy"], made.rest["volumeBindingMode"]) == ("Delete", "Immediate")


def affinity(**expression: Any) -> dict[str, Any]:
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}


@pytest.mark.parametrize(
    ("spec", "field", "told_why"),
    [
        ({"capacity": {}}, "spec.capacity.storage", "required"),
        ({"capacity": {"storage": "0"}}, "spec.capacity.storage", "more than 0"),
        ({"capacity": {"storage": "much"}}, "spec.capacity[storage]", "no quantity"),
        ({"accessModes": []}, "spec.accessModes", "required"),
        ({"accessModes": ["RWO"]}, "spec.accessModes[0]", "one of ReadWriteOnce"),
        ({"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}, "spec.accessModes", "cannot be combined"),
        ({"persistentVolumeReclaimPolicy": "Recycle"}, "spec.persistentVolumeReclaimPolicy", "Retain, Delete"),
        ({"volumeMode": "Tape"}, "spec.volumeMode", "Filesystem, Block"),
        ({"storageClassName": "No Class"}, "spec.storageClassName", "name of a StorageClass"),
        ({"claimRef": {"namespace": "default"}}, "spec.claimRef.name", "required"),
        ({"nodeAffinity": {"required": {}}}, "spec.nodeAffinity.required.nodeSelectorTerms", "required"),
        (
            {"nodeAffinity": affinity(key="zone", operator="Near", values=["a"])},
            "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].operator",
            "one of In",
        ),
        (
            {"nodeAffinity": affinity(key="zone", operator="Gt", values=["a"])},
            "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values",
            "one whole number",
        ),
    ],
)
def test_a_volume_that_makes_no_sense_is_refused(
    tenant_partition: Partition, spec: dict[str, Any], field: str, told_why: str
) -> None:
    assert told_why in told(tenant_partition, volume(**spec))[field]


@pytest.mark.parametrize(
    ("spec", "field", "told_why"),
    [
        ({"resources": {}}, "spec.resources.requests.storage", "required"),
        ({"accessModes": None}, "spec.accessModes", "required"),
        ({"selector": {"matchLabels": {"a b": "c"}}}, "spec.selector.matchLabels", "no label key"),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}}, "spec.dataSource", "not served"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused(
    tenant_partition: Partition, spec: dict[str, Any], field: str, told_why: str
) -> None:
    assert told_why in told(tenant_partition, claim(**spec))[field]


@pytest.mark.parametrize(
    ("fields", "field", "told_why"),
    [
        ({"provisioner": ""}, "provisioner", "a name like"),
        ({"reclaimPolicy": "Recycle"}, "reclaimPolicy", "Retain or Delete"),
        ({"volumeBindingMode": "Late"}, "volumeBindingMode", "Immediate or WaitForFirstConsumer"),
        ({"parameters": {"iops": 3}}, "parameters[iops]", "quote it"),
        (
            {"allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": []}]}]},
            "allowedTopologies[0].matchLabelExpressions[0].values",
            "at least one",
        ),
    ],
)
def test_a_class_that_makes_no_sense_is_refused(
    tenant_partition: Partition, fields: dict[str, Any], field: str, told_why: str
) -> None:
    assert told_why in told(tenant_partition, storage_class(**fields))[field]


def changed(obj: Object, **spec: Any) -> Object:
    return obj.with_spec({**obj.spec, **spec})


def test_of_a_claim_only_what_binds_it_is_filled_in_later_and_once(tenant_partition: Partition) -> None:
    made = tenant_partition.create(claim())
    made = update(tenant_partition, changed(made, storageClassName="fast", volumeName="v"))
    for spec in (
        {"volumeName": "w"},
        {"volumeName": None},
        {"storageClassName": "slow"},
        {"resources": {"requests": {"storage": "2Gi"}}},
    ):
        with pytest.raises(Invalid, match="of a claim is fixed"):
            update(tenant_partition, changed(made, **spec))
    without = tenant_partition.create(claim("without", storageClassName=""))
    with pytest.raises(Invalid, match="of a claim is fixed"):
        update(tenant_partition, changed(without, storageClassName="fast"))


def test_where_a_volume_is_and_what_a_class_makes_do_not_change(tenant_partition: Partition) -> None:
    made = tenant_partition.create(volume())
    made = update(tenant_partition, changed(made, nodeAffinity=affinity(key="zone", operator="In", values=["a"])))
    with pytest.raises(Invalid, match="nodeAffinity: is immutable"):
        update(tenant_partition, changed(made, nodeAffinity=affinity(key="zone", operator="In", values=["b"])))
    made = tenant_partition.create(storage_class())
    with pytest.raises(Invalid, match="volumeBindingMode: is immutable"):
        update(tenant_partition, made.with_rest({**made.rest, "volumeBindingMode": "WaitForFirstConsumer"}))
    update(tenant_partition, made.with_rest({**made.rest, "allowVolumeExpansion": True}))


def test_volumes_have_names_as_in_kubernetes(tenant_partition: Partition) -> None:
    tenant_partition.create(volume("disk.of.acme"))
    assert "metadata.name" in told(tenant_partition, volume("Disk"))


def test_a_pod_names_its_claims(tenant_partition: Partition) -> None:
    def pod(**source: Any) -> dict[str, Any]:
        return plain("Pod", "p", spec={"containers": [{"name": "main"}], "volumes": [{"name": "data", **source}]})

    told_by = told(tenant_partition, pod(persistentVolumeClaim={}))
    assert "required" in told_by["spec.volumes[0].persistentVolumeClaim.claimName"]
    assert "not served" in told(tenant_partition, pod(ephemeral={}))["spec.volumes[0].ephemeral"]
    tenant_partition.create(pod(persistentVolumeClaim={"claimName": "c"}))
