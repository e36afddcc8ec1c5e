"""A pod that has scheduling gates says so in its status as long as it has any, and is not bound."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.proto.errors import Conflict
from ursa.proto.kinds import Role
from ursa.proto.objects import Object

from ..conftest import Partition, pod
from ..test_writes import bind, update

GATED = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}


def gated(name: str, *gates: str) -> dict[str, Any]:
    made = pod(name)
    made["spec"]["schedulingGates"] = [{"name": gate} for gate in gates]
    return made


def conditions(obj: Object) -> list[dict[str, Any]]:
    found = [dict(each) for each in obj.status.get("conditions") or ()]
    for each in found:
        each.pop("message", None)
    return found


def with_gates(obj: Object, *gates: str) -> Object:
    return obj.with_spec({**obj.spec, "schedulingGates": [{"name": gate} for gate in gates]})


def test_a_pod_without_gates_says_nothing_of_them(tenant_partition: Partition) -> None:
    assert tenant_partition.create(pod("a")).status == {"phase": "Pending"}
    made = pod("b")
    made["spec"]["containers"][0]["env"] = [{"name": "schedulingGates", "value": "none"}]
    assert tenant_partition.create(made).status == {"phase": "Pending"}
    assert tenant_partition.create(gated("c")).status == {"phase": "Pending"}


def test_a_gated_pod_says_so_until_its_last_gate_has_gone(tenant_partition: Partition) -> None:
    made = tenant_partition.create(gated("a", "one", "two"))
    assert (made.status["phase"], conditions(made)) == ("Pending", [GATED])
    fewer = tenant_partition.do(update(with_gates(made, "two"))).object
    assert conditions(Object(fewer)) == [GATED]
    none = tenant_partition.do(update(with_gates(Object(fewer)))).object
    assert Object(none).status == {"phase": "Pending"}


def test_other_conditions_stay_when_the_gates_go(tenant_partition: Partition) -> None:
    made = tenant_partition.create(gated("a", "one"))
    other = {"type": "example.com/Paid", "status": "True"}
    said = tenant_partition.do(
        update(made.with_status({**made.status, "conditions": [*made.status["conditions"], other]}), "status")
    ).object
    none = tenant_partition.do(update(with_gates(Object(said)))).object
    assert conditions(Object(none)) == [other]


def test_what_the_creator_says_of_the_condition_is_not_taken(tenant_partition: Partition) -> None:
    made = tenant_partition.create({**pod("a"), "status": {"conditions": [GATED]}})
    assert made.status == {"phase": "Pending"}


@given(st.lists(st.integers(0, 3), max_size=4))
def test_every_pod_of_a_template_says_it_and_only_those(gates: list[int]) -> None:
    """Also where the partition knows one of them by another that is alike."""
    partition = Partition(Role.TENANT)
    for number, count in enumerate(gates):
        made = partition.create(gated(f"p{number}", *(f"g{each}" for each in range(count))))
        assert conditions(made) == ([GATED] if count else [])
    partition.server.close()
    partition.store.close()


def test_a_gated_pod_is_not_bound_before_its_gates_have_gone(tenant_partition: Partition) -> None:
    made = tenant_partition.create(gated("a", "one"))
    with pytest.raises(Conflict, match="has scheduling gates: it is not to be bound before they are removed"):
        tenant_partition.do(bind("a", made.uid))
    tenant_partition.do(update(with_gates(made)))
    tenant_partition.do(bind("a", made.uid))
    bound = tenant_partition.get("pods", "a")
    assert bound.spec["nodeName"] == "n1"
    assert bound.status == {"phase": "Pending"}
