"""The placement ledger: no claim over-commits a node, at any revision, whatever is asked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, decode

from .conftest import Partition, target


def node(name: str, cpu: str = "1", pods: int = 10) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "status": {"allocatable": {"cpu": cpu, "pods": pods}},
    }


def placement(
    pod: str, node_object: Object, cpu: int = 100, partition: str = "tp-1", **more: object
) -> dict[str, object]:
    return {
        "apiVersion": "ursa.dev/v1",
        "kind": "Placement",
        "metadata": {"name": pod},
        "spec": {
            "node": node_object.name,
            "nodeUID": node_object.uid,
            "tenantPartition": partition,
            "pod": {"tenant": "acme", "namespace": "default", "name": f"pod-{pod}", "uid": pod},
            "requests": {"cpu": cpu, "pods": 1},
            **more,
        },
    }


def release(name: str) -> pb.Operation:
    operation = pb.Operation(resource="placements.ursa.dev")
    operation.delete.target.CopyFrom(target("placements.ursa.dev", name, "", ""))
    return operation


def test_a_claim_is_refused_when_the_node_has_no_room_and_says_what_is_free(resource_partition: Partition) -> None:
    n1 = resource_partition.create(node("n1"))
    resource_partition.create(placement("a", n1, 600))
    with pytest.raises(Conflict, match="wants cpu 600m, 400m is free") as refused:
        resource_partition.create(placement("b", n1, 600))
    assert refused.value.key == "nodes///n1"
    resource_partition.do(release("a"))
    resource_partition.create(placement("b", n1, 600))


def test_a_pod_that_is_bound_already_is_taken_where_its_room_was_given_away_and_then_claims_are_refused(
    resource_partition: Partition,
) -> None:
    n1 = resource_partition.create(node("n1"))
    resource_partition.create(placement("a", n1, 600))
    resource_partition.create(placement("lost", n1, 600, bound=True))
    with pytest.raises(Conflict, match="wants cpu 1m, 0 is free"):
        resource_partition.create(placement("b", n1, 1))
    resource_partition.create(placement("c", n1, 0))
    resource_partition.do(release("a"))
    resource_partition.create(placement("b", n1, 400))
    with pytest.raises(Conflict, match="wants cpu 1m, 0 is free"):
        resource_partition.create(placement("d", n1, 1))


def test_a_pod_that_is_bound_already_is_held_to_its_node_as_any_other(resource_partition: Partition) -> None:
    n1, n2 = resource_partition.create(node("n1")), resource_partition.create(node("n2"))
    resource_partition.create(placement("a", n1))
    with pytest.raises(AlreadyExists, match="placed on node 'n1' already"):
        resource_partition.create(placement("a", n2, bound=True))
    other = Object.from_dict(node("n3"))
    with pytest.raises(NotFound, match="there is no such node"):
        resource_partition.create(placement("b", other, nodeUID="u3", bound=True))
    with pytest.raises(Invalid, match="must be true or false"):
        resource_partition.create(placement("b", n1, bound="yes"))


def test_a_claim_may_be_repeated_but_not_moved(resource_partition: Partition) -> None:
    n1, n2 = resource_partition.create(node("n1")), resource_partition.create(node("n2"))
    first = resource_partition.create(placement("a", n1, 600))
    assert resource_partition.create(placement("a", n1, 600)).resource_version == first.resource_version
    with pytest.raises(AlreadyExists, match="placed on node 'n1' already"):
        resource_partition.create(placement("a", n2, 600))


def test_a_node_of_the_same_name_is_another_node(resource_partition: Partition) -> None:
    n1 = resource_partition.create(node("n1"))
    operation = pb.Operation(resource="nodes")
    operation.delete.target.CopyFrom(target("nodes", "n1", "", ""))
    resource_partition.do(operation)
    with pytest.raises(NotFound, match="there is no such node"):
        resource_partition.create(placement("a", n1))
    resource_partition.create(node("n1"))
    with pytest.raises(NotFound, match="its uid is"):
        resource_partition.create(placement("a", n1))


def test_a_placement_without_its_parts_is_invalid(resource_partition: Partition) -> None:
    manifest = {
        "apiVersion": "ursa.dev/v1",
        "kind": "Placement",
        "metadata": {"name": "a"},
        "spec": {"requests": {"cpu": -1}},
    }
    with pytest.raises(Invalid) as refused:
        resource_partition.create(manifest)
    assert "spec.node" in [cause.field for cause in refused.value.causes]


steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "bound", "release"]),
        st.integers(0, 11),
        st.integers(0, 2),
        st.integers(0, 700),
    ),
    max_size=40,
)


@settings(max_examples=50, deadline=None)
@given(steps)
def test_no_claim_over_commits_a_node_at_any_revision(asked: list[tuple[str, int, int, int]]) -> None:
    partition = Partition(Role.RESOURCE)
    nodes = [partition.create(node(f"n{number}", pods=4)) for number in range(3)]
    for verb, pod, number, cpu in asked:
        try:
            if verb == "release":
                partition.do(release(f"p{pod}"))
            else:
                bound = {"bound": True} if verb == "bound" else {}
                partition.create(placement(f"p{pod}", nodes[number], cpu, **bound))
        except ApiError:
            continue
    held: dict[str, tuple[str, dict[str, int]]] = {}
    for record in partition.store.log(0):
        if "/placements" not in record.key:
            continue
        message = pb.Object.FromString(record.value)
        spec = decode(message.spec)
        held.pop(message.metadata.name, None)
        if record.deleted:
            continue
        held[message.metadata.name] = (spec["node"], spec["requests"])
        on_node = [requests for name, requests in held.values() if name == spec["node"]]
        if not spec.get("bound"):
            assert sum(requests["cpu"] for requests in on_node) <= 1000 or not spec["requests"]["cpu"]
            assert len(on_node) <= 4


PORT = {"protocol": "TCP", "port": 80, "address": "0.0.0.0"}


def test_a_port_of_a_node_is_one_pods_until_that_is_released(resource_partition: Partition) -> None:
    n1 = resource_partition.create(node("n1"))
    resource_partition.create(placement("a", n1, hostPorts=[PORT]))
    resource_partition.create(placement("b", n1, hostPorts=[{**PORT, "protocol": "UDP"}, {**PORT, "port": 81}]))
    with pytest.raises(Conflict, match=r"its port 10.0.0.1:80/TCP is taken"):
        resource_partition.create(placement("c", n1, hostPorts=[{**PORT, "address": "10.0.0.1"}]))
    resource_partition.do(release("a"))
    resource_partition.create(placement("c", n1, hostPorts=[{**PORT, "address": "10.0.0.1"}]))
    resource_partition.create(placement("d", n1, hostPorts=[{**PORT, "address": "10.0.0.2"}]))


def test_a_port_that_is_none_is_refused(resource_partition: Partition) -> None:
    n1 = resource_partition.create(node("n1"))
    with pytest.raises(Invalid, match=r"spec.hostPorts\[0\].port.*must be from 1 to 65535"):
        resource_partition.create(placement("a", n1, hostPorts=[{**PORT, "port": 0}]))
