"""Devices in the ledger: no device is ever over-committed, at any revision, whatever is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.operations import bind_operation, patch_operation, update_operation
from ursa.clients.scheduler.template import Templates
from ursa.proto import ursa_pb2 as pb
from ursa.proto.devices import DEVICES_ANNOTATION, held_devices
from ursa.proto.errors import ApiError, BadRequest, Conflict, Invalid
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, decode, encode

from .conftest import Partition
from .test_ledger import placement, release
from .test_node_pods import daemon

GPU = "ursa.dev/gpu-milli"


def gpu_node(name: str, devices: int) -> dict[str, Any]:
    allocatable = {"cpu": "8", "memory": "8Gi", "pods": 20, GPU: devices * 1000}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"allocatable": allocatable}}


def claim(pod: str, node: Object, milli: int, devices: list[int] | None, **more: Any) -> dict[str, Any]:
    named = {} if devices is None else {"devices": devices}
    return placement(pod, node, requests={"pods": 1, GPU: milli}, **named, **more)


def test_a_share_is_refused_where_its_device_has_no_room_though_the_others_have(resource_partition: Partition) -> None:
    n1 = resource_partition.create(gpu_node("n1", 2))
    resource_partition.create(claim("a", n1, 600, [0]))
    with pytest.raises(Conflict, match=r"wants ursa.dev/gpu-milli 600 of device 0, 400 is free"):
        resource_partition.create(claim("b", n1, 600, [0]))
    with pytest.raises(Conflict, match=r"wants ursa.dev/gpu-milli 1000 of device 0, 400 is free"):
        resource_partition.create(claim("c", n1, 1000, [0]))
    resource_partition.create(claim("b", n1, 600, [1]))
    resource_partition.do(release("a"))
    resource_partition.create(claim("c", n1, 1000, [0]))


def test_whole_devices_must_be_whole_and_the_nodes_own(resource_partition: Partition) -> None:
    n1 = resource_partition.create(gpu_node("n1", 4))
    resource_partition.create(claim("a", n1, 1, [3]))
    with pytest.raises(Conflict, match="of device 3, 999 is free"):
        resource_partition.create(claim("b", n1, 2000, [2, 3]))
    with pytest.raises(Conflict, match="there is no device 4, it has 4"):
        resource_partition.create(claim("b", n1, 2000, [1, 4]))
    resource_partition.create(claim("b", n1, 2000, [2, 1]))


@pytest.mark.parametrize(
    ("milli", "devices", "problem"),
    [
        (500, None, "spec.devices"),
        (500, [0, 1], "must name 1, as it requests, not 2"),
        (2000, [1], "must name 2"),
        (2000, [1, 1], "names one twice"),
        (500, [-1], "numbers from 0 on"),
        (500, "0", "must be a list of numbers"),
        (500, [True], "must be a list of numbers"),
        (1500, [0, 1], "ask for up to 1000, or for a multiple of 1000"),
        (0, [0], "must name 0"),
    ],
)
def test_a_claim_whose_devices_do_not_go_with_its_request_is_invalid(
    resource_partition: Partition, milli: int, devices: Any, problem: str
) -> None:
    n1 = resource_partition.create(gpu_node("n1", 2))
    with pytest.raises(Invalid, match=problem):
        resource_partition.create(claim("a", n1, milli, devices))


def test_devices_without_a_request_for_them_are_invalid(resource_partition: Partition) -> None:
    n1 = resource_partition.create(gpu_node("n1", 2))
    with pytest.raises(Invalid, match="must name 0"):
        resource_partition.create(placement("a", n1, devices=[0]))


def test_a_bound_pod_that_does_not_know_its_devices_keeps_others_off_them(resource_partition: Partition) -> None:
    n1 = resource_partition.create(gpu_node("n1", 2))
    resource_partition.create(claim("lost", n1, 500, None, bound=True))
    with pytest.raises(Conflict, match="1 of its placements do not say which devices they hold"):
        resource_partition.create(claim("a", n1, 500, [1]))
    resource_partition.create(placement("no-gpu", n1))
    resource_partition.do(release("lost"))
    resource_partition.create(claim("a", n1, 500, [1]))


def test_what_devices_hold_is_known_after_a_restart(resource_partition: Partition) -> None:
    n1 = resource_partition.create(gpu_node("n1", 1))
    resource_partition.create(claim("a", n1, 700, [0]))
    resource_partition.server.close()
    again = Partition(Role.RESOURCE, resource_partition.store)
    with pytest.raises(Conflict, match="300 is free"):
        again.create(claim("b", n1, 301, [0]))
    again.create(claim("b", n1, 300, [0]))
    again.server.close()


def test_a_partitions_own_pods_get_devices_from_its_ledger(resource_partition: Partition) -> None:
    n1 = resource_partition.create(gpu_node("n1", 2))
    resource_partition.create(claim("a", n1, 600, [0]))
    for name, milli in (("fits-beside", 400), ("takes-the-other", 1000)):
        resource_partition.create(gpu_daemon(name, milli))
    with pytest.raises(Conflict):
        resource_partition.create(gpu_daemon("too-much", 1))
    with pytest.raises(Invalid, match="multiple of 1000"):
        resource_partition.create(gpu_daemon("odd", 1500))
    held = [decode(each.spec) for each in resource_partition.list("placements.ursa.dev").items]
    assert {spec["pod"]["name"]: spec["devices"] for spec in held} == {
        "pod-a": [0],
        "fits-beside": [0],
        "takes-the-other": [1],
    }
    pods = resource_partition.list("pods").items
    assert {pod.metadata.name: pod.metadata.annotations[DEVICES_ANNOTATION] for pod in pods} == {
        "fits-beside": "0",
        "takes-the-other": "1",
    }


def gpu_pod(milli: Any, **annotations: str) -> dict[str, Any]:
    metadata = {"name": "a", "tenant": "system", "namespace": "default", "annotations": annotations}
    container = {"name": "main", "image": "app:1", "resources": {"requests": {GPU: milli}}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


@pytest.mark.parametrize("milli", [1, 460, 1000, "1k", 2000, 8000, 0])
def test_a_share_of_one_gpu_and_whole_ones_may_be_asked_for(tenant_partition: Partition, milli: Any) -> None:
    tenant_partition.create(gpu_pod(milli))


ODD = "is more than one device and not whole ones: ask for up to 1000, or for a multiple of 1000"


OF_1100 = {"resources": {"requests": {GPU: 1100}}}


def odd_pods() -> Iterator[tuple[dict[str, Any], str]]:
    """Each with what is told of it."""
    for milli in (1001, 1500, "3500"):
        yield gpu_pod(milli)["spec"], f"spec: {GPU}: {milli} {ODD}"
    for quantity in ("0.5", "500m", 1.5):
        told = f"must be a whole number of thousandths of a GPU, not {quantity}"
        yield gpu_pod(quantity)["spec"], f"spec.containers[0].resources.requests[{GPU}]: {told}"
    yield gpu_pod(-1)["spec"], "must not be negative, but is -1"
    [container] = gpu_pod(700)["spec"]["containers"]
    second = {**container, "name": "second"}
    yield {"containers": [container, second]}, f"spec: {GPU}: 1400 {ODD}"
    by_limit = {**second, "resources": {"limits": {GPU: 2000}}}
    yield {"containers": [container, by_limit]}, f"spec: {GPU}: 2700 {ODD}"
    yield {"containers": [container], "initContainers": [by_limit | OF_1100]}, f"spec: {GPU}: 1100 {ODD}"
    yield {"containers": [container], "overhead": {GPU: 400}}, f"spec: {GPU}: 1100 {ODD}"


@pytest.mark.parametrize(("spec", "told"), [pytest.param(*each, id=each[1]) for each in odd_pods()])
def test_anything_else_is_refused_at_create_in_one_line(
    tenant_partition: Partition, spec: dict[str, Any], told: str
) -> None:
    with pytest.raises(Invalid) as refused:
        tenant_partition.create({**gpu_pod(1), "spec": spec})
    assert str(refused.value).endswith(told)
    assert len(refused.value.causes) == 1


@pytest.mark.parametrize(
    ("requests", "told"),
    [(None, "spec.containers: is required"), ({GPU: "many"}, "is no quantity"), ({GPU: []}, "is no")],
)
def test_of_a_spec_that_breaks_other_rules_only_these_are_told(
    tenant_partition: Partition, requests: Any, told: str
) -> None:
    container = {"name": "main", "image": "app", "resources": {"limits": {GPU: 1500}, "requests": requests}}
    spec = {"containers": [container]} if requests else {"overhead": {GPU: 1500}}
    with pytest.raises(Invalid, match=told) as refused:
        tenant_partition.create({**gpu_pod(1), "spec": spec})
    assert len(refused.value.causes) == 1


def test_what_the_partition_refuses_is_what_the_scheduler_refuses_in_the_same_words() -> None:
    for spec, told in odd_pods():
        if told.endswith(ODD):
            assert f"spec: {Templates().of(encode(spec)).error}" == told


def test_a_workload_whose_pods_would_ask_for_that_is_refused_too(tenant_partition: Partition) -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": gpu_pod(1500)["spec"]}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    metadata = {"name": "web", "tenant": "system", "namespace": "default"}
    for kind in ("ReplicaSet", "Deployment"):
        with pytest.raises(Invalid, match="ask for up to 1000"):
            tenant_partition.create({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec})


def bind(pod: Object, *devices: int) -> pb.Operation:
    return bind_operation(pod.key, uid=pod.uid, resource_partition="rp-1", node="n1", devices=devices)


def test_a_bind_writes_the_devices_into_the_pod(tenant_partition: Partition) -> None:
    pod = tenant_partition.create(gpu_pod(2000))
    tenant_partition.do(bind(pod, 3, 1))
    assert dict(tenant_partition.get("pods", "a").message.metadata.annotations) == {DEVICES_ANNOTATION: "3-1"}
    tenant_partition.do(bind(pod, 0, 2))  # It is bound to this node already, and stays as it is.
    assert dict(tenant_partition.get("pods", "a").message.metadata.annotations) == {DEVICES_ANNOTATION: "3-1"}


@pytest.mark.parametrize(
    ("milli", "devices", "problem"),
    [(500, (0, 1), "must name 1"), (2000, (1, 1), "names one twice"), (0, (0,), "must name 0")],
)
def test_a_bind_to_devices_that_the_pod_does_not_ask_for_is_refused(
    tenant_partition: Partition, milli: int, devices: tuple[int, ...], problem: str
) -> None:
    pod = tenant_partition.create(gpu_pod(milli))
    with pytest.raises(BadRequest, match=problem):
        tenant_partition.do(bind(pod, *devices))


def test_nobody_but_a_bind_says_which_devices_a_pod_holds(
    tenant_partition: Partition, resource_partition: Partition
) -> None:
    with pytest.raises(Invalid, match="is set by a binding; leave it out"):
        tenant_partition.create(gpu_pod(500, **{DEVICES_ANNOTATION: "0"}))
    resource_partition.create(gpu_node("n1", 2))
    own = gpu_daemon("own", 500)
    own["metadata"]["annotations"] = {DEVICES_ANNOTATION: "0"}
    with pytest.raises(Invalid, match="is set by a binding; leave it out"):
        resource_partition.create(own)
    pod = tenant_partition.create(gpu_pod(500))
    pod.message.metadata.annotations[DEVICES_ANNOTATION] = "0"
    with pytest.raises(Invalid, match="is set by a binding, and never changes"):
        tenant_partition.do(update_operation(pod))
    tenant_partition.do(bind(pod, 1))
    for other in ("0", ""):
        with pytest.raises(Invalid, match="is set by a binding, and never changes"):
            tenant_partition.do(patch_operation("pods", pod.key, annotate(DEVICES_ANNOTATION, other)))
    tenant_partition.do(patch_operation("pods", pod.key, annotate(DEVICES_ANNOTATION, None)))
    tenant_partition.do(patch_operation("pods", pod.key, annotate("note", "mine")))
    found = dict(tenant_partition.get("pods", "a").message.metadata.annotations)
    assert found == {DEVICES_ANNOTATION: "1", "note": "mine"}


def annotate(name: str, value: str | None) -> dict[str, Any]:
    return {"metadata": {"annotations": {name: value}}}


def gpu_daemon(name: str, milli: int) -> Any:
    manifest = daemon(name, "100m")
    manifest["spec"]["containers"][0]["resources"]["requests"][GPU] = milli
    return manifest


steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "claim", "release"]),
        st.integers(0, 11),
        st.integers(0, 1),
        st.sampled_from([0, 200, 300, 500, 700, 1000, 2000]),
        st.lists(st.integers(0, 3), min_size=1, max_size=2, unique=True),
    ),
    max_size=40,
)


@settings(max_examples=50, deadline=None)
@given(steps)
def test_no_device_is_over_committed_at_any_revision(asked: list[tuple[str, int, int, int, list[int]]]) -> None:
    partition = Partition(Role.RESOURCE)
    nodes = [partition.create(gpu_node(f"n{number}", 3)) for number in range(2)]
    for verb, pod, number, milli, devices in asked:
        try:
            if verb == "release":
                partition.do(release(f"p{pod}"))
            else:
                partition.create(
                    claim(f"p{pod}", nodes[number], milli, devices[: max(1, milli // 1000)] if milli else None)
                )
        except ApiError:
            continue
    held: dict[str, tuple[str, Any]] = {}
    for record in partition.store.log(0):
        if "/placements" not in record.key:
            continue
        message = pb.Object.FromString(record.value)
        held.pop(message.metadata.name, None)
        if not record.deleted:
            spec = decode(message.spec)
            held[message.metadata.name] = (spec["node"], held_devices(spec))
        used: dict[tuple[str, int], int] = {}
        for name, devices in held.values():
            for number in devices.numbers if devices else ():
                used[name, number] = used.get((name, number), 0) + devices.wanted.milli
        assert all(milli <= 1000 and number < 3 for (_, number), milli in used.items())
    partition.server.close()
