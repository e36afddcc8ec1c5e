"""The pods that a resource partition has itself, and the room that they take of its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from ursa.clients.operations import (
    create_operation,
    delete_collection_operation,
    delete_operation,
    evict_operation,
    update_status_operation,
)
from ursa.clients.placements import placed_requests
from ursa.partitions.writes.node_pods import _requests
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, Conflict, Forbidden, Invalid, NotFound
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey, encode

from .conftest import Partition, pod

PLACEMENTS = "placements.ursa.dev"


@pytest.fixture
def partition() -> Iterator[Partition]:
    made = Partition(Role.RESOURCE)
    resources = {"cpu": "1", "memory": "1Gi", "pods": 10}
    manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {"allocatable": resources}}
    made.create(manifest)
    yield made
    made.server.close()
    made.store.close()


def daemon(name: str, cpu: str = "300m", node: str = "n1", **metadata: Any) -> dict[str, Any]:
    container = {"name": "main", "resources": {"requests": {"cpu": cpu}}}
    return pod(name, **metadata) | {"spec": {"containers": [container], "nodeName": node}}


def claim(uid: str, cpu: int, node_uid: str) -> Object:
    of_pod = {"tenant": "t", "namespace": "default", "name": uid, "uid": uid}
    spec = {"node": "n1", "nodeUID": node_uid, "tenantPartition": "tp-1", "pod": of_pod, "requests": {"cpu": cpu}}
    return Object.from_dict({"apiVersion": "ursa.dev/v1", "kind": "Placement", "metadata": {"name": uid}, "spec": spec})


def placements(partition: Partition) -> dict[str, Any]:
    return {each.metadata.name: Object(each).spec for each in partition.list(PLACEMENTS).items}


def test_a_pod_is_bound_from_the_start_and_its_placement_is_written_with_it(partition: Partition) -> None:
    made = partition.create(daemon("agent"))
    assert (made.spec["nodeName"], made.spec["resourcePartition"]) == ("n1", "p-1")
    [placement] = partition.list(PLACEMENTS).items
    assert placement.metadata.resource_version == made.resource_version + 1, "in the same commit"
    assert Object(placement).spec == {
        "node": "n1",
        "nodeUID": partition.get("nodes", "n1", "", "").uid,
        "tenantPartition": "p-1",
        "pod": {"tenant": "system", "namespace": "default", "name": "agent", "uid": made.uid},
        "requests": {"cpu": 300, "memory": 0, "pods": 1},
    }


def test_claims_and_pods_share_one_ledger(partition: Partition) -> None:
    node = partition.get("nodes", "n1", "", "")
    partition.create(daemon("agent", "600m"))
    with pytest.raises(Conflict, match="wants cpu 500m, 400m is free"):
        partition.do(create_operation(claim("u1", 500, node.uid)))
    partition.do(create_operation(claim("u2", 400, node.uid)))
    with pytest.raises(Conflict, match="has no room for pod system/default/second"):
        partition.create(daemon("second", "1m"))
    assert [each.metadata.name for each in partition.list("pods").items] == ["agent"], "refused as a whole"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_the_placement_of_a_pod_that_has_ended_goes_with_that(partition: Partition, phase: str) -> None:
    made = partition.create(daemon("agent", "900m"))
    for told in ("Running", phase):
        assert list(placements(partition)) == [made.uid]
        partition.do(update_status_operation(partition.get("pods", "agent").with_status({"phase": told})))
    assert placements(partition) == {}
    partition.create(daemon("next", "900m"))


def test_the_placement_of_a_pod_goes_when_the_pod_is_gone_and_not_when_it_is_told_to_go(partition: Partition) -> None:
    made = partition.create(daemon("agent"))
    partition.do(delete_operation("pods", made.key))
    assert list(placements(partition)) == [made.uid], "it still runs"
    partition.do(delete_operation("pods", made.key, grace_seconds=0))
    assert placements(partition) == {}


def test_all_that_ends_pods_ends_their_placements(partition: Partition) -> None:
    for name in ("a", "b"):
        partition.create(daemon(name))
    selection = pb.Selection(resource="pods", tenant="system", namespace="default")
    partition.do(delete_collection_operation(selection, grace_seconds=0))
    assert placements(partition) == {}
    made = partition.create(daemon("c"))
    partition.do(evict_operation(made.key, grace_seconds=0))
    assert placements(partition) == {}


def test_the_placement_of_a_pod_that_lives_cannot_be_taken_from_it(partition: Partition) -> None:
    made = partition.create(daemon("agent"))
    with pytest.raises(Forbidden, match="delete the pod"):
        partition.do(delete_operation(PLACEMENTS, ObjectKey("", "", made.uid)))
    node = partition.get("nodes", "n1", "", "")
    partition.do(create_operation(claim("u1", 100, node.uid)))
    partition.do(delete_operation(PLACEMENTS, ObjectKey("", "", "u1")))
    assert list(placements(partition)) == [made.uid]


def test_a_mirror_of_what_runs_anyway_is_not_refused_for_lack_of_room(partition: Partition) -> None:
    partition.create(daemon("agent", "900m"))
    made = partition.create(daemon("static", "900m", annotations={"kubernetes.io/config.mirror": "h"}))
    assert placements(partition)[made.uid]["bound"] is True
    with pytest.raises(Conflict, match="0 is free"):
        partition.create(daemon("more", "1m"))


def test_no_pod_without_a_node_nor_on_another_partitions_node_nor_of_a_tenant(partition: Partition) -> None:
    with pytest.raises(NotFound, match="there is no such node"):
        partition.create(daemon("agent", node="n2"))
    unbound, elsewhere, foreign = daemon("agent", node=""), daemon("agent"), daemon("agent")
    elsewhere["spec"]["resourcePartition"] = "rp-9"
    foreign["metadata"]["tenant"] = "acme"
    for manifest, field in (
        (unbound, "spec.nodeName"),
        (elsewhere, "spec.resourcePartition"),
        (foreign, "metadata.tenant"),
    ):
        with pytest.raises(Invalid) as refused:
            partition.create(manifest)
        assert [cause.field for cause in refused.value.causes] == [field]
    broken = create_operation(Object.from_dict(daemon("agent")))
    broken.create.object.spec = b"\xc1"
    with pytest.raises(Invalid, match="is no msgpack map"):
        partition.do(broken)


def test_a_dry_run_takes_no_room(partition: Partition) -> None:
    partition.do(create_operation(Object.from_dict(daemon("agent", "900m")), dry_run=True))
    partition.create(daemon("agent", "900m"))
    assert len(placements(partition)) == 1


def test_what_was_placed_is_placed_after_a_restart(partition: Partition) -> None:
    made = partition.create(daemon("agent", "900m"))
    partition.server.close()
    again = Partition(Role.RESOURCE, partition.store)
    with pytest.raises(Conflict, match="has no room"):
        again.create(daemon("more", "200m"))
    again.do(delete_operation("pods", made.key, grace_seconds=0))
    again.create(daemon("more", "200m"))
    again.server.close()


_QUANTITIES = st.dictionaries(
    st.sampled_from(["cpu", "memory", "ephemeral-storage", "ursa.dev/gpu-milli"]), st.integers(0, 5), max_size=3
)
_CONTAINERS = st.fixed_dictionaries({"resources": st.fixed_dictionaries({"requests": _QUANTITIES})})
_INIT = st.fixed_dictionaries(
    {
        "resources": st.fixed_dictionaries({"requests": _QUANTITIES}),
        "restartPolicy": st.sampled_from(["", "Always"]),
    }
)


@given(st.lists(_CONTAINERS, min_size=1, max_size=3), st.lists(_INIT, max_size=2), _QUANTITIES)
@settings(max_examples=50)
def test_a_partitions_own_pods_take_what_a_scheduler_would_claim_for_them(
    containers: list[Any], init: list[Any], overhead: dict[str, int]
) -> None:
    named = [{**each, "name": f"c{number}"} for number, each in enumerate([*containers, *init])]
    spec = {"containers": named[: len(containers)], "initContainers": named[len(containers) :], "overhead": overhead}
    assert _requests(encode(spec)) == placed_requests(spec)


@given(st.data())
@settings(max_examples=30)
def test_no_node_is_overcommitted_and_each_live_pod_has_its_placement(data: st.DataObject) -> None:
    partition = Partition(Role.RESOURCE)
    resources = {"cpu": "1", "memory": "1Gi", "pods": 10}
    manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {"allocatable": resources}}
    node = partition.create(manifest)
    for number in range(data.draw(st.integers(1, 15))):
        cpu = data.draw(st.sampled_from([200, 300, 500]))
        act = data.draw(st.sampled_from(["pod", "pod", "claim", "end", "delete", "force"]))
        pods = [Object(each) for each in partition.list("pods").items]
        try:
            if act == "pod":
                partition.create(daemon(f"p{number}", f"{cpu}m"))
            elif act == "claim":
                partition.do(create_operation(claim(f"u{number}", cpu, node.uid)))
            elif pods and act == "end":
                partition.do(update_status_operation(pods[0].with_status({"phase": "Failed"})))
            elif pods:
                grace = 0 if act == "force" else None
                partition.do(delete_operation("pods", pods[0].key, grace_seconds=grace))
        except ApiError:
            pass
        placed = placements(partition)
        assert sum(spec["requests"]["cpu"] for spec in placed.values()) <= 1000
        alive = [each for each in map(Object, partition.list("pods").items) if each.status["phase"] == "Pending"]
        assert [uid for uid, spec in placed.items() if spec["tenantPartition"] == "p-1"] == sorted(
            each.uid for each in alive
        )
    partition.server.close()
    partition.store.close()
