"""What StatefulSets, DaemonSets and their revisions must be like, and what of them may not change."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.proto.errors import Invalid

from ..conftest import Partition
from .test_job_rules import told
from .test_rules import causes_of, plain, update


def template(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "main"}], **spec}}


def workload(kind: str, name: str = "s", **spec: Any) -> dict[str, Any]:
    fields = {"selector": {"matchLabels": {"app": "a"}}, "template": template(), **spec}
    return plain(kind, name, spec=fields)


def test_what_a_stateful_set_does_not_say_is_said(tenant_partition: Partition) -> None:
    spec = tenant_partition.create(workload("StatefulSet", replicas=None)).spec
    assert (spec["replicas"], spec["podManagementPolicy"], spec["revisionHistoryLimit"]) == (1, "OrderedReady", 10)
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["template"]["spec"]["schedulerName"] == "default-scheduler"
    on_delete = tenant_partition.create(workload("StatefulSet", "t", updateStrategy={"type": "OnDelete"})).spec
    assert on_delete["updateStrategy"] == {"type": "OnDelete"}


def test_all_that_is_wrong_with_a_stateful_set_is_told_at_once(tenant_partition: Partition) -> None:
    wrong = workload(
        "StatefulSet",
        replicas=-1,
        minReadySeconds="1",
        revisionHistoryLimit=True,
        podManagementPolicy="Sorted",
        ordinals={"start": -1},
        serviceName="no.label",
        updateStrategy={"type": "Recreate", "rollingUpdate": {"partition": 1.5, "maxUnavailable": "0%"}},
        volumeClaimTemplates=[{"metadata": {"name": "data"}}],
        persistentVolumeClaimRetentionPolicy={"whenScaled": "Keep"},
        template=template(restartPolicy="Never"),
        selector={"matchLabels": {"app": "b"}},
    )
    assert causes_of(tenant_partition, wrong) == [
        "spec.replicas",
        "spec.minReadySeconds",
        "spec.template.metadata.labels",
        "spec.template.spec.restartPolicy",
        "spec.revisionHistoryLimit",
        "spec.podManagementPolicy",
        "spec.ordinals.start",
        "spec.serviceName",
        "spec.updateStrategy.type",
        "spec.updateStrategy.rollingUpdate.partition",
        "spec.updateStrategy.rollingUpdate.maxUnavailable",
        "spec.volumeClaimTemplates",
        "spec.persistentVolumeClaimRetentionPolicy.whenScaled",
    ]
    rolls_on_delete = workload("StatefulSet", updateStrategy={"type": "OnDelete", "rollingUpdate": {"partition": 1}})
    assert causes_of(tenant_partition, rolls_on_delete) == ["spec.updateStrategy.rollingUpdate"]


def test_claims_of_volumes_are_refused_with_the_reason(tenant_partition: Partition) -> None:
    claims = workload("StatefulSet", volumeClaimTemplates=[{"metadata": {"name": "data"}}])
    assert told(tenant_partition, claims) == {
        "spec.volumeClaimTemplates": "is not served: create the claims, and name them in the template's volumes"
    }


@pytest.mark.parametrize(("name", "why"), [("a" * 53, "at most 52 characters"), ("a.b", "is no DNS label")])
def test_a_name_must_leave_room_for_what_is_called_by_it(tenant_partition: Partition, name: str, why: str) -> None:
    assert why in told(tenant_partition, workload("StatefulSet", name))["metadata.name"]


def test_only_some_of_a_stateful_set_may_change(tenant_partition: Partition) -> None:
    created = tenant_partition.create(workload("StatefulSet"))
    for field, value in (("serviceName", "x"), ("podManagementPolicy", "Parallel")):
        with pytest.raises(Invalid, match="is fixed but for replicas, ordinals, template") as refused:
            update(tenant_partition, created.with_spec({**created.spec, field: value}))
        assert [(each.field, each.reason) for each in refused.value.causes] == [("spec", "FieldValueForbidden")]
    changed = {"replicas": 3, "ordinals": {"start": 1}, "minReadySeconds": 5, "revisionHistoryLimit": 2}
    assert update(tenant_partition, created.with_spec({**created.spec, **changed})).spec["replicas"] == 3


def test_a_revision_keeps_what_it_holds_and_may_get_another_number(tenant_partition: Partition) -> None:
    assert causes_of(tenant_partition, plain("ControllerRevision", "r")) == ["revision", "data"]
    wrong = plain("ControllerRevision", "r", revision=-1, data=[])
    assert causes_of(tenant_partition, wrong) == ["revision", "data"]
    created = tenant_partition.create(plain("ControllerRevision", "r", revision=1, data={"a": 1}))
    newest = update(tenant_partition, created.with_rest({"data": {"a": 1}, "revision": 7}))
    assert newest.rest["revision"] == 7
    with pytest.raises(Invalid, match="data: is immutable"):
        update(tenant_partition, newest.with_rest({"data": {"a": 2}, "revision": 7}))


def daemon_set(name: str = "d", **spec: Any) -> dict[str, Any]:
    return workload("DaemonSet", name, **spec)


def test_what_a_daemon_set_does_not_say_is_said(resource_partition: Partition) -> None:
    spec = resource_partition.create(daemon_set()).spec
    rolling = {"maxUnavailable": 1, "maxSurge": 0}
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert (spec["revisionHistoryLimit"], "replicas" in spec) == (10, False)
    surges = {"rollingUpdate": {"maxSurge": "10%"}}
    spec = resource_partition.create(daemon_set("e", updateStrategy=surges)).spec
    assert spec["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": "10%"}


def test_all_that_is_wrong_with_a_daemon_set_is_told_at_once(resource_partition: Partition) -> None:
    required = {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "In"}, {"key": "b", "operator": "Gt", "values": ["x"]}]},
            {"matchFields": [{"key": "spec.x", "operator": "Exists"}]},
            {"matchExpressions": [{"operator": "Exists", "values": ["a"]}]},
        ]
    }
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    wrong = daemon_set(
        minReadySeconds=-1,
        revisionHistoryLimit="1",
        updateStrategy={"type": "Recreate", "rollingUpdate": {"maxUnavailable": "x", "maxSurge": -1}},
        template=template(restartPolicy="Never", affinity=affinity),
    )
    terms = "spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    assert causes_of(resource_partition, wrong) == [
        "spec.minReadySeconds",
        "spec.template.spec.restartPolicy",
        "spec.revisionHistoryLimit",
        "spec.updateStrategy.type",
        "spec.updateStrategy.rollingUpdate.maxUnavailable",
        "spec.updateStrategy.rollingUpdate.maxSurge",
        f"{terms}[0].matchExpressions[0].values",
        f"{terms}[0].matchExpressions[1].values",
        f"{terms}[1].matchFields[0].key",
        f"{terms}[1].matchFields[0].operator",
        f"{terms}[2].matchExpressions[0].key",
        f"{terms}[2].matchExpressions[0].values",
    ]


@pytest.mark.parametrize(
    ("rolling", "field"),
    [
        ({"maxUnavailable": 0, "maxSurge": 0}, "maxUnavailable"),
        ({"maxUnavailable": "0%"}, "maxUnavailable"),
        ({"maxUnavailable": 1, "maxSurge": 1}, "maxSurge"),
    ],
)
def test_an_update_goes_one_way_or_the_other(resource_partition: Partition, rolling: Any, field: str) -> None:
    wrong = daemon_set(updateStrategy={"rollingUpdate": rolling})
    assert causes_of(resource_partition, wrong) == [f"spec.updateStrategy.rollingUpdate.{field}"]


def test_a_daemon_set_is_of_the_system_tenant_and_its_selector_stays(resource_partition: Partition) -> None:
    foreign = daemon_set("a" * 53)
    foreign["metadata"]["tenant"] = "acme"
    assert causes_of(resource_partition, foreign) == ["metadata.tenant", "metadata.name"]
    created = resource_partition.create(daemon_set())
    labels = {"app": "a", "b": "c"}
    changed = {"selector": {"matchLabels": labels}, "template": {**template(), "metadata": {"labels": labels}}}
    with pytest.raises(Invalid, match="selector: is immutable"):
        update(resource_partition, created.with_spec({**created.spec, **changed}))
