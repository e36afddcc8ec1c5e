"""PriorityClasses, and the priority that they give to pods; scheduling gates."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Forbidden, Invalid
from ursa.proto.kinds import BY_KIND
from ursa.proto.objects import Object, encode

from ..conftest import Partition
from .test_job_rules import told
from .test_rules import causes_of, plain, update

CLASSES = BY_KIND["PriorityClass"].resource


def priority_class(name: str, value: Any, **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        **fields,
    }


def pod(name: str = "a", **spec: Any) -> dict[str, Any]:
    return plain("Pod", name, spec={"containers": [{"name": "main"}], **spec})


def resolved(partition: Partition, name: str = "a", **spec: Any) -> tuple[Any, ...]:
    made = partition.create(pod(name, **spec)).spec
    return made.get("priorityClassName"), made.get("priority"), made.get("preemptionPolicy")


def delete(partition: Partition, name: str) -> None:
    target = pb.GetRequest(resource=CLASSES, name=name)
    partition.do(pb.Operation(resource=CLASSES, delete=pb.Delete(target=target)))


def test_a_pod_gets_the_priority_of_the_class_it_names(tenant_partition: Partition) -> None:
    tenant_partition.create(priority_class("fast", 1000))
    tenant_partition.create(priority_class("patient", 2000, preemptionPolicy="Never"))
    assert resolved(tenant_partition, "a", priorityClassName="fast") == ("fast", 1000, "PreemptLowerPriority")
    assert resolved(tenant_partition, "b", priorityClassName="patient") == ("patient", 2000, "Never")
    assert resolved(tenant_partition, "c", priorityClassName="system-node-critical")[1] == 2_000_001_000
    assert resolved(tenant_partition, "d", priorityClassName="system-cluster-critical")[1] == 2_000_000_000


def test_a_pod_that_names_a_class_that_there_is_not_is_refused(tenant_partition: Partition) -> None:
    with pytest.raises(Forbidden, match="no PriorityClass with name fast was found"):
        tenant_partition.create(pod(priorityClassName="fast"))


@pytest.mark.parametrize("field", [{"priority": 999}, {"preemptionPolicy": "Never"}])
def test_a_pod_cannot_say_otherwise_than_its_class(tenant_partition: Partition, field: dict[str, Any]) -> None:
    tenant_partition.create(priority_class("fast", 1000))
    with pytest.raises(Forbidden, match="leave it out"):
        tenant_partition.create(pod(priorityClassName="fast", **field))


def test_the_global_default_is_for_pods_that_say_nothing(tenant_partition: Partition) -> None:
    assert resolved(tenant_partition, "before") == (None, None, None)
    tenant_partition.create(priority_class("usual", 7, globalDefault=True))
    assert resolved(tenant_partition, "a") == ("usual", 7, "PreemptLowerPriority")
    assert resolved(tenant_partition, "b", priority=3) == (None, 3, None)
    delete(tenant_partition, "usual")
    assert resolved(tenant_partition, "c") == (None, None, None)


def test_pods_that_are_alike_get_what_holds_when_each_is_created(tenant_partition: Partition) -> None:
    for name, value in (("a", 1), ("b", 2)):
        tenant_partition.create(priority_class("fast", value))
        assert resolved(tenant_partition, name, priorityClassName="fast")[1] == value
        delete(tenant_partition, "fast")
    assert tenant_partition.get("pods", "a").spec["priority"] == 1
    with pytest.raises(Forbidden):
        tenant_partition.create(pod("c", priorityClassName="fast"))


def test_an_update_that_leaves_the_priority_out_keeps_it(tenant_partition: Partition) -> None:
    tenant_partition.create(priority_class("fast", 1000))
    made = tenant_partition.create(pod(priorityClassName="fast"))
    delete(tenant_partition, "fast")
    sent = Object.from_dict({**pod(priorityClassName="fast"), "metadata": made.to_dict()["metadata"]})
    spec = dict(made.spec)
    del spec["priority"], spec["preemptionPolicy"]
    assert update(tenant_partition, sent.with_spec(spec)).spec["priority"] == 1000


def test_what_is_wrong_with_a_class_is_told_at_once(tenant_partition: Partition) -> None:
    wrong = priority_class("system-mine", 1_000_000_001, preemptionPolicy="Always", globalDefault="yes")
    assert causes_of(tenant_partition, wrong) == ["value", "metadata.name", "preemptionPolicy", "globalDefault"]
    for value in (True, "5", None, 1.5):
        assert causes_of(tenant_partition, priority_class("a", value)) == ["value"]


def test_a_spec_that_makes_no_sense_is_told_whatever_classes_there_are(tenant_partition: Partition) -> None:
    tenant_partition.create(priority_class("usual", 7, globalDefault=True))
    assert causes_of(tenant_partition, pod(priorityClassName=["usual"])) == ["spec.priorityClassName"]
    message = Object.from_dict(pod()).message
    message.spec = encode(["no", "map"])
    operation = pb.Operation(resource="pods", create=pb.Create(object=message))
    with pytest.raises(Invalid) as refused:
        tenant_partition.do(operation)
    assert [cause.field for cause in refused.value.causes] == ["spec"]


def test_there_is_one_global_default(tenant_partition: Partition) -> None:
    first = tenant_partition.create(priority_class("first", 1, globalDefault=True))
    assert (
        "first is the global default already"
        in told(tenant_partition, priority_class("b", 2, globalDefault=True))["globalDefault"]
    )
    update(tenant_partition, first.with_rest({**first.rest, "globalDefault": False}))
    tenant_partition.create(priority_class("b", 2, globalDefault=True))


@pytest.mark.parametrize("change", [{"value": 2}, {"preemptionPolicy": "Never"}])
def test_what_a_class_gives_does_not_change(tenant_partition: Partition, change: dict[str, Any]) -> None:
    made = tenant_partition.create(priority_class("fast", 1))
    [field] = change
    with pytest.raises(Exception, match=f"{field}.*is immutable"):
        update(tenant_partition, made.with_rest({**made.rest, **change}))


def test_gates_go_and_never_come(tenant_partition: Partition) -> None:
    made = tenant_partition.create(pod(schedulingGates=[{"name": "a"}, {"name": "b"}]))
    fewer = update(tenant_partition, made.with_spec({**made.spec, "schedulingGates": [{"name": "b"}]}))
    assert fewer.spec["schedulingGates"] == [{"name": "b"}]
    with pytest.raises(Exception, match="may only lose gates"):
        update(tenant_partition, fewer.with_spec({**fewer.spec, "schedulingGates": [{"name": "a"}]}))
    assert causes_of(tenant_partition, pod(schedulingGates=[{"name": ""}, {"name": "x"}, {"name": "x"}])) == [
        "spec.schedulingGates[0].name",
        "spec.schedulingGates[2].name",
    ]
