"""An eviction is paid for by the budget that guards the pod, in the step that deletes the pod, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.partitions.writes.evictions import DISRUPTED_PODS_MAX
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, Conflict, Forbidden, InternalError, Invalid, TooManyRequests, from_status
from ursa.proto.objects import Object

from .conftest import Partition, pod, target
from .test_writes import bind

BUDGETS = "poddisruptionbudgets.policy"
READY = {"type": "Ready", "status": "True"}


def budget(name: str = "b", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "tenant": "system", "namespace": "default"}
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}, **spec}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


def set_status(partition: Partition, resource: str, name: str, **status: Any) -> None:
    operation = pb.Operation(resource=resource)
    operation.update.object.CopyFrom(partition.get(resource, name).with_status(status).message)
    operation.update.object.metadata.resource_version = 0
    operation.update.subresource = "status"
    partition.do(operation)


def guarded(partition: Partition, allowed: int, *, name: str = "b", **status: Any) -> None:
    """The disruption controller has been here."""
    counts = {"currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2, "observedGeneration": 1}
    set_status(partition, BUDGETS, name, **{**counts, "disruptionsAllowed": allowed, **status})


def running(partition: Partition, name: str, *, phase: str = "Running", ready: bool = True) -> Object:
    created = partition.create(pod(name, labels={"app": "web"}))
    partition.do(bind(name, created.uid))
    set_status(partition, "pods", name, phase=phase, conditions=[READY] if ready else [])
    return partition.get("pods", name)


def eviction(name: str, uid: str = "") -> pb.Operation:
    operation = pb.Operation(resource="pods")
    operation.evict.target.CopyFrom(target("pods", name))
    operation.evict.preconditions.uid = uid
    return operation


def evict(partition: Partition, name: str) -> None:
    partition.do(eviction(name))


def is_going(partition: Partition, name: str) -> bool:
    return bool(partition.get("pods", name).deletion_ms)


def why_not(partition: Partition, name: str) -> str:
    with pytest.raises(
        TooManyRequests, match=r"Cannot evict pod as it would violate the pod's disruption budget\."
    ) as no:
        evict(partition, name)
    [cause] = no.value.causes
    assert cause.reason == "DisruptionBudget"
    assert no.value.retry_after_ms > 0
    assert not is_going(partition, name)
    return cause.message


def test_of_two_evictions_in_one_batch_a_budget_of_one_pays_for_the_first(tenant_partition: Partition) -> None:
    for name in ("a", "b"):
        running(tenant_partition, name)
    tenant_partition.create(budget())
    guarded(tenant_partition, 1)
    first, second = tenant_partition.write(eviction("a"), eviction("b"))
    assert not first.HasField("error")
    assert from_status(second.error).code == 429
    status = tenant_partition.get(BUDGETS, "b").status
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["a"]
    [condition] = status["conditions"]
    assert (condition["type"], condition["status"]) == ("DisruptionAllowed", "False")
    assert is_going(tenant_partition, "a")
    assert not is_going(tenant_partition, "b")


def test_pod_and_budget_change_in_one_commit(tenant_partition: Partition) -> None:
    running(tenant_partition, "a")
    tenant_partition.create(budget())
    guarded(tenant_partition, 2)
    result = tenant_partition.do(eviction("a"))
    assert tenant_partition.get("pods", "a").resource_version == result.resource_version
    assert tenant_partition.get(BUDGETS, "b").resource_version == result.resource_version + 1


def test_a_budget_without_disruptions_says_what_it_needs(tenant_partition: Partition) -> None:
    running(tenant_partition, "a")
    tenant_partition.create(budget())
    guarded(tenant_partition, 0, currentHealthy=1)
    told = why_not(tenant_partition, "a")
    assert told == "The disruption budget b needs 1 healthy pods and has 1 currently"


def test_a_budget_that_could_not_be_worked_out_says_so(tenant_partition: Partition) -> None:
    running(tenant_partition, "a")
    tenant_partition.create(budget())
    failed = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "found no controllers"}
    guarded(tenant_partition, 0, conditions=[failed])
    assert "failed sync: found no controllers" in why_not(tenant_partition, "a")


def test_a_budget_that_was_not_worked_out_yet_or_has_changed_since_pays_nothing(tenant_partition: Partition) -> None:
    running(tenant_partition, "a")
    tenant_partition.create(budget())
    assert "still being processed" in why_not(tenant_partition, "a")
    guarded(tenant_partition, 5)
    body = tenant_partition.get(BUDGETS, "b").with_spec(budget(minAvailable=2)["spec"])
    operation = pb.Operation(resource=BUDGETS)
    operation.update.object.CopyFrom(body.message)
    tenant_partition.do(operation)
    assert "still being processed" in why_not(tenant_partition, "a")


def test_several_budgets_for_one_pod_are_not_supported(tenant_partition: Partition) -> None:
    running(tenant_partition, "a")
    for name in ("b1", "b2"):
        tenant_partition.create(budget(name))
        guarded(tenant_partition, 1, name=name)
    with pytest.raises(InternalError, match=r"more than one PodDisruptionBudget.*b1, b2"):
        evict(tenant_partition, "a")
    assert not is_going(tenant_partition, "a")


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_what_does_not_run_is_evicted_without_asking(tenant_partition: Partition, phase: str) -> None:
    running(tenant_partition, "a", phase=phase, ready=False)
    tenant_partition.create(budget())
    tenant_partition.do(eviction("a"))
    assert tenant_partition.list("pods").items == [] or is_going(tenant_partition, "a")


def test_what_is_being_deleted_is_paid_for_once(tenant_partition: Partition) -> None:
    running(tenant_partition, "a")
    tenant_partition.create(budget())
    guarded(tenant_partition, 2)
    for _ in range(2):
        evict(tenant_partition, "a")
    assert tenant_partition.get(BUDGETS, "b").status["disruptionsAllowed"] == 1


@pytest.mark.parametrize(
    ("spec", "status", "allowed"),
    [
        ({}, {"currentHealthy": 1}, True),
        ({}, {"currentHealthy": 0}, False),
        ({}, {"currentHealthy": 1, "desiredHealthy": 0}, False),
        ({"unhealthyPodEvictionPolicy": "IfHealthyBudget"}, {"currentHealthy": 0}, False),
        ({"unhealthyPodEvictionPolicy": "AlwaysAllow"}, {"currentHealthy": 0}, True),
    ],
    ids=["healthy budget", "unhealthy", "none desired", "if healthy", "always"],
)
def test_a_pod_that_is_not_ready_costs_nothing_where_it_may_go(
    tenant_partition: Partition, spec: dict[str, Any], status: dict[str, Any], allowed: bool
) -> None:
    running(tenant_partition, "a", ready=False)
    tenant_partition.create(budget(**spec))
    guarded(tenant_partition, 0, **status)
    if not allowed:
        why_not(tenant_partition, "a")
        return
    evict(tenant_partition, "a")
    assert "disruptedPods" not in tenant_partition.get(BUDGETS, "b").status


@pytest.mark.parametrize(
    ("selector", "guards"),
    [
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}, True),
        ({}, True),
        ({"matchLabels": {"app": "db"}}, False),
        (None, False),
    ],
    ids=["labels", "expressions", "empty", "other labels", "left out"],
)
def test_a_budget_guards_what_it_selects(tenant_partition: Partition, selector: Any, guards: bool) -> None:
    running(tenant_partition, "a")
    tenant_partition.create(budget(selector=selector))
    guarded(tenant_partition, 0)
    if guards:
        why_not(tenant_partition, "a")
    else:
        evict(tenant_partition, "a")


def test_a_budget_of_another_namespace_guards_nothing_here(tenant_partition: Partition) -> None:
    running(tenant_partition, "a")
    elsewhere = budget()
    elsewhere["metadata"]["namespace"] = "kube-system"
    tenant_partition.create(elsewhere)
    evict(tenant_partition, "a")


def test_a_budget_counts_from_the_moment_it_is_written_durable_or_not(tenant_partition: Partition) -> None:
    running(tenant_partition, "a")
    create = pb.Operation(resource=BUDGETS)
    create.create.object.CopyFrom(Object.from_dict(budget()).message)
    created, refused = tenant_partition.write(create, eviction("a"))
    assert not created.HasField("error")
    assert refused.error.code == 429


def test_a_precondition_that_does_not_hold_costs_nothing(tenant_partition: Partition) -> None:
    running(tenant_partition, "a")
    tenant_partition.create(budget())
    guarded(tenant_partition, 1)
    with pytest.raises(Conflict):
        tenant_partition.do(eviction("a", uid="another"))
    dry = eviction("a")
    dry.dry_run = True
    tenant_partition.do(dry)
    assert tenant_partition.get(BUDGETS, "b").status["disruptionsAllowed"] == 1


def test_a_controller_that_confirms_nothing_is_not_trusted_for_ever(tenant_partition: Partition) -> None:
    running(tenant_partition, "a")
    tenant_partition.create(budget())
    disrupted = {f"p{number}": "2026-01-01T00:00:00Z" for number in range(DISRUPTED_PODS_MAX)}
    guarded(tenant_partition, 1, disruptedPods=disrupted)
    with pytest.raises(Forbidden, match="too many evictions not confirmed"):
        evict(tenant_partition, "a")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"maxUnavailable": 1}, "spec.minAvailable"),
        ({"minAvailable": None}, "spec.minAvailable"),
        ({"minAvailable": -1}, "spec.minAvailable"),
        ({"minAvailable": "half"}, "spec.minAvailable"),
        ({"minAvailable": "101%"}, "spec.minAvailable"),
        ({"minAvailable": None, "maxUnavailable": "1000%"}, "spec.maxUnavailable"),
        (
            {"selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}},
            "spec.selector.matchExpressions[0].operator",
        ),
        ({"unhealthyPodEvictionPolicy": "Never"}, "spec.unhealthyPodEvictionPolicy"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_budget_that_makes_no_sense_is_refused(tenant_partition: Partition, spec: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        tenant_partition.create(budget(**spec))
    assert [cause.field for cause in refused.value.causes] == [field]


def test_a_status_that_makes_no_sense_is_refused(tenant_partition: Partition) -> None:
    tenant_partition.create(budget())
    for wrong in ({"disruptionsAllowed": -1}, {"currentHealthy": "two"}, {"disruptedPods": ["a"]}):
        with pytest.raises(ApiError, match="status"):
            set_status(tenant_partition, BUDGETS, "b", **wrong)
