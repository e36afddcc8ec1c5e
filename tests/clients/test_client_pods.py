from __future__ import annotations

from typing import Any

import pytest
from ursa.clients import pods
from ursa.proto.objects import Object

from .worlds import pod


def container(requests: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"name": "c", "image": "app:1", "resources": {"requests": requests or {}}, **fields}


def test_requests_are_summed_over_containers_in_exact_units() -> None:
    spec = {
        "containers": [
            container({"cpu": "100m", "memory": "200Mi", "ursa.dev/gpu-milli": 500}),
            container({"cpu": 1, "memory": "1Gi"}),
        ]
    }
    assert pods.pod_requests(spec) == {
        "cpu": 1100,
        "memory": (200 + 1024) * 2**20,
        "ursa.dev/gpu-milli": 500,
        "pods": 1,
    }


def test_a_pod_that_requests_nothing_takes_one_of_pods() -> None:
    assert pods.pod_requests({"containers": [{"name": "c"}]}) == {"pods": 1}
    assert pods.pod_requests({}) == {"pods": 1}


def test_an_init_container_counts_where_it_needs_more_than_all_others() -> None:
    spec = {
        "containers": [container({"cpu": "100m", "memory": "1Gi"})],
        "initContainers": [container({"cpu": "2"}), container({"cpu": "1", "memory": "100Mi"})],
        "overhead": {"cpu": "10m"},
    }
    assert pods.pod_requests(spec) == {"cpu": 2010, "memory": 2**30, "pods": 1}


def test_a_sidecar_counts_beside_the_containers_and_beside_later_init_containers() -> None:
    sidecar = container({"cpu": "300m"}, restartPolicy="Always")
    before = {"containers": [container({"cpu": "1"})], "initContainers": [container({"cpu": "2"}), sidecar]}
    after = {"containers": [container({"cpu": "1"})], "initContainers": [sidecar, container({"cpu": "2"})]}
    assert pods.pod_requests(before)["cpu"] == 2000
    assert pods.pod_requests(after)["cpu"] == 2300


def test_a_limit_without_a_request_is_the_request() -> None:
    resources = {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}
    assert pods.pod_requests({"containers": [{"resources": resources}]}) == {"cpu": 1000, "memory": 2**30, "pods": 1}


def test_what_is_no_quantity_is_an_error() -> None:
    with pytest.raises(ValueError, match="lots"):
        pods.pod_requests({"containers": [container({"cpu": "lots"})]})


def test_requests_of_equal_specs_are_computed_once() -> None:
    assert pods.requests_of(pod("a")) is pods.requests_of(pod("b"))
    assert pods.requests_of(pod("a", overhead={"cpu": "1"}))["cpu"] == 1000


def test_the_state_of_a_pod_is_read_from_its_status_and_spec() -> None:
    new = pod("a")
    assert pods.phase(new) == "Pending"
    assert [test(new) for test in (pods.is_bound, pods.is_finished, pods.is_ready, pods.is_deleting)] == [False] * 4
    bound = pod("a", nodeName="n-1", resourcePartition="rp-1")
    assert pods.is_bound(bound)
    assert (pods.node_name(bound), pods.resource_partition(bound)) == ("n-1", "rp-1")
    ready = new.with_status({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
    assert pods.is_ready(ready)
    assert not pods.is_ready(new.with_status({"conditions": [{"type": "Ready", "status": "False"}]}))
    assert [pods.is_finished(new.with_status({"phase": phase})) for phase in ("Running", "Succeeded", "Failed")] == [
        False,
        True,
        True,
    ]
    going = Object.from_dict({"kind": "Pod", "metadata": {"name": "a", "deletionTimestamp": "2026-11-23T08:00:00Z"}})
    assert pods.is_deleting(going)
