"""Slices say exactly the pods of their Service, each once; none is too large; and what happens to one pod changes one.

The cores work against a real apiserver, over views that lag behind it, each kind by itself. What is expected is worked
out from the objects as they are, by the words of Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.controllers import endpoint_slices
from ursa.clients.controllers.endpoint_slices import MANAGER_LABEL, SERVICE_LABEL, SLICE
from ursa.clients.controllers.endpoints_object import ENDPOINTS, OVER_CAPACITY
from ursa.clients.operations import delete_operation, patch_operation

from .endpoints_world import PER_SLICE, World, key


@pytest.fixture(autouse=True, scope="module")
def small_slices() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(endpoint_slices, "ENDPOINTS_PER_SLICE", PER_SLICE)
        yield


# ---------------------------------------------------------------------------------------------------------- properties

PODS = st.sampled_from(["p1", "p2", "p3", "p4", "p5", "p6", "p7"])
POD_ACTS = st.tuples(
    st.sampled_from(["run", "run", "run", "unready", "finish", "relabel", "back", "stop", "end"]), PODS, st.booleans()
)
SERVICE_ACTS = st.tuples(
    st.sampled_from(["make", "number", "name", "publish", "hide", "reselect", "delete"]),
    st.sampled_from(["s1", "s2"]),
    st.booleans(),
)
LAGS = st.tuples(st.sampled_from(["deliver services", "deliver pods", "sync"]), st.just(""), st.booleans())


def do(world: World, act: str, name: str, odd: bool) -> None:
    """What cannot be done, as it was not made or is made already, is left."""
    pods = {each.name: each for each in world.listed("pods")}
    services = [each.name for each in world.listed("services")]
    if act.startswith("deliver "):
        world.deliver(act.removeprefix("deliver "), 1 if odd else 3)
    elif act == "sync":
        world.sync()
    elif act == "run":
        if name not in pods:
            world.pod(name, port=9090 if odd else 8080)
        world.run(name)
    elif act == "make" and name not in services:
        world.service(name)
    elif name in services and act != "make":
        if act in ("number", "name"):
            target = 8080 if act == "number" else "http"
            world.patch_service(name, ports=[{"port": 80, "protocol": "TCP", "targetPort": target}])
        elif act in ("publish", "hide"):
            world.patch_service(name, publishNotReadyAddresses=act == "publish")
        elif act == "reselect":
            world.patch_service(name, selector={"app": "db" if odd else "web"})
        else:
            world.partition.do(delete_operation("services", key(name)))
    elif name in pods:
        {
            "unready": lambda: world.run(name, ready=False),
            "finish": lambda: world.run(name, ready=False, phase="Succeeded"),
            "relabel": lambda: world.label(name, "db"),
            "back": lambda: world.label(name, "web"),
            "stop": lambda: world.stop(name),
            "end": lambda: world.end(name),
        }[act]()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(POD_ACTS, POD_ACTS, SERVICE_ACTS, LAGS), max_size=30))
def test_after_whatever_has_happened_slices_say_exactly_the_pods_each_once(
    acts: list[tuple[str, str, bool]],
) -> None:
    world = World()
    world.service("s1")
    for act in acts:
        do(world, *act)
    world.settle()
    world.check()


@settings(max_examples=60, deadline=None)
@given(st.lists(POD_ACTS, max_size=15), POD_ACTS)
def test_what_happens_to_one_pod_changes_one_slice_at_most(
    acts: list[tuple[str, str, bool]], last: tuple[str, str, bool]
) -> None:
    world = World()
    world.service("s1")
    for act in acts:
        do(world, *act)
    world.settle()
    world.changed.clear()
    do(world, *last)
    world.settle()
    assert world.changed["s1"] <= 1
    world.check()


# ------------------------------------------------------------------------------------------------------------ examples


def test_a_rolling_update_fills_the_room_that_it_makes() -> None:
    world = World()
    world.service("s1")
    for number in range(9):
        world.pod(f"old{number}")
        world.run(f"old{number}")
    world.settle()
    before = {each.uid for each in world.slices("s1")}
    assert len(before) == 3
    for number in range(9):
        world.end(f"old{number}")
        world.pod(f"new{number}")
        world.run(f"new{number}")
        world.settle()
    assert {each.uid for each in world.slices("s1")} == before, "no slice was made and none deleted"
    world.check()


def test_what_is_new_fills_slices_that_change_anyway_before_it_makes_others() -> None:
    world = World()
    world.service("s1")
    for number in range(6):
        world.pod(f"p{number}")
        world.run(f"p{number}")
    world.settle()
    world.changed.clear()
    for one in world.slices("s1"):
        world.end(one.rest["endpoints"][0]["targetRef"]["name"])
    for name in ("q1", "q2"):
        world.pod(name)
        world.run(name)
    world.settle()
    assert world.changed["s1"] == 2
    world.check()


def test_what_is_new_alone_fills_the_fullest_slice_that_takes_it() -> None:
    world = World()
    world.service("s1")
    for number in range(4):
        world.pod(f"p{number}")
        world.run(f"p{number}")
        world.settle()
    world.end("p0")
    world.settle()
    sizes = [len(each.rest["endpoints"]) for each in world.slices("s1")]
    world.pod("p9")
    world.run("p9")
    world.settle()
    assert sorted(sizes) == [1, 2]
    assert sorted(len(each.rest["endpoints"]) for each in world.slices("s1")) == [1, 3]


def test_a_service_may_publish_pods_whatever_they_are() -> None:
    world = World()
    world.service("s1", publishNotReadyAddresses=True)
    for name, ready in (("p1", False), ("p2", True)):
        world.pod(name)
        world.run(name, ready=ready)
    world.stop("p2")
    world.settle()
    conditions = {
        e["targetRef"]["name"]: e["conditions"] for each in world.slices("s1") for e in each.rest["endpoints"]
    }
    assert conditions["p1"] == {"ready": True, "serving": False, "terminating": False}
    assert conditions["p2"] == {"ready": True, "serving": True, "terminating": True}
    world.check()


def test_a_slice_that_somebody_changed_is_mended_and_one_that_was_deleted_is_made_again() -> None:
    world = World()
    world.service("s1")
    for number in range(5):
        world.pod(f"p{number}")
        world.run(f"p{number}")
    world.settle()
    first, second = world.slices("s1")
    world.partition.do(patch_operation(SLICE.resource, first.key, {"endpoints": second.rest["endpoints"]}))
    world.partition.do(delete_operation(SLICE.resource, second.key))
    world.core._due[key("s1")] = None
    world.settle()
    world.check()


def test_what_a_service_of_the_same_name_has_left_goes() -> None:
    world = World()
    world.service("s1")
    world.pod("p1")
    world.run("p1")
    world.settle()
    world.partition.do(delete_operation("services", key("s1")))
    world.service("s1")
    world.settle()
    world.check()
    assert len(world.listed(SLICE.resource)) == 1


def test_a_service_without_a_selector_is_left_to_its_user() -> None:
    world = World()
    world.service("s1", selector=None)
    world.service("s2", type="ExternalName", externalName="example.com")
    world.pod("p1")
    world.run("p1")
    world.settle()
    assert (world.listed(SLICE.resource), world.listed(ENDPOINTS.resource)) == ([], [])


def test_a_pod_that_has_no_such_port_is_an_endpoint_without_it() -> None:
    world = World()
    world.service(
        "s1", ports=[{"port": 80, "name": "a", "targetPort": "http"}, {"port": 81, "name": "b", "targetPort": "no"}]
    )
    world.pod("p1")
    world.run("p1")
    world.settle()
    [obj] = world.slices("s1")
    assert obj.rest["ports"] == [{"name": "a", "port": 8080, "protocol": "TCP"}]


def test_labels_follow_the_service_and_tell_whose_they_are() -> None:
    world = World()
    world.service("s1", clusterIP="None")
    world.settle()
    world.partition.do(patch_operation("services", key("s1"), {"metadata": {"labels": {"a": "b"}}}))
    world.settle()
    [obj] = world.slices("s1")
    own = {SERVICE_LABEL: "s1", MANAGER_LABEL: "endpointslice-controller.k8s.io", "service.kubernetes.io/headless": ""}
    assert dict(obj.labels) == {"a": "b", **own}
    assert "service.kubernetes.io/headless" in world.partition.get(ENDPOINTS.resource, "s1").labels


def test_a_pod_with_a_name_in_its_services_domain_is_told_by_it() -> None:
    world = World()
    world.service("s1")
    world.pod("p1", hostname="h", subdomain="s1")
    world.pod("p2", hostname="h", subdomain="other")
    for name in ("p1", "p2"):
        world.run(name)
    world.settle()
    [obj] = world.slices("s1")
    assert [endpoint.get("hostname") for endpoint in obj.rest["endpoints"]] == ["h", None]


def test_endpoints_have_a_thousand_addresses_at_most_those_that_are_ready_first_and_say_so() -> None:
    world = World()
    world.service("s1")
    for number in range(4):
        world.pod(f"p{number}")
        world.run(f"p{number}", ready=number != 1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ursa.clients.controllers.endpoints_object.ADDRESSES_MAX", 3)
        world.settle()
    endpoints = world.partition.get(ENDPOINTS.resource, "s1")
    [subset] = endpoints.rest["subsets"]
    assert [each["targetRef"]["name"] for each in subset["addresses"]] == ["p0", "p2", "p3"]
    assert "notReadyAddresses" not in subset
    assert endpoints.annotations[OVER_CAPACITY] == "truncated"
    world.end("p0")
    world.settle()
    assert OVER_CAPACITY not in world.partition.get(ENDPOINTS.resource, "s1").annotations
    world.check()


def test_endpoints_that_were_there_before_are_taken_over() -> None:
    world = World()
    metadata = {"name": "s1", "tenant": "system", "namespace": "default", "annotations": {"a": "b"}}
    subsets = [{"addresses": [{"ip": "10.0.0.1"}]}]
    world.partition.create({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets})
    world.service("s1")
    world.settle()
    taken = world.partition.get(ENDPOINTS.resource, "s1")
    assert (taken.rest["subsets"], taken.annotations["a"]) == ([], "b")
    assert taken.controller is not None
