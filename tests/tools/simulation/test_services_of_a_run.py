"""Some seeds have Services; at rest, what their slices say is held against the pods."""

from __future__ import annotations

from typing import Any

from ursa.proto.objects import Object
from ursa.tools.simulation.drawing import draw_plan
from ursa.tools.simulation.services import unsettled_services, with_services


def obj(kind: str, name: str, **fields: Any) -> Object:
    metadata = {"name": name, "tenant": "t", "namespace": "default", "uid": f"u-{name}", **fields.pop("metadata", {})}
    return Object.from_dict({"kind": kind, "metadata": metadata, **fields}, "tp-1")


def pod(name: str, app: str = "a", phase: str = "Running", ip: str = "fd00::1") -> Object:
    return obj("Pod", name, metadata={"labels": {"app": app}}, status={"phase": phase, "podIP": ip})


def endpoint_slice(*pods: str) -> Object:
    labels = {"kubernetes.io/service-name": "s"}
    return obj("EndpointSlice", "x", metadata={"labels": labels}, endpoints=[{"targetRef": ref(name)} for name in pods])


def endpoints(*pods: str) -> Object:
    return obj("Endpoints", "s", subsets=[{"addresses": [{"targetRef": ref(name)} for name in pods]}])


def ref(name: str) -> dict[str, str]:
    return {"uid": f"u-{name}"}


def test_slices_and_endpoints_say_just_the_pods_that_are_selected_each_once() -> None:
    service = obj("Service", "s", spec={"selector": {"app": "a"}})
    pods = [pod("p"), pod("q", app="b"), pod("r", phase="Failed"), pod("s", ip="")]

    def wrong(slices: list[Object], whole: list[Object]) -> int:
        return len(list(unsettled_services([service], slices, whole, pods)))

    assert wrong([endpoint_slice("p")], [endpoints("p")]) == 0
    assert wrong([], []) == 2
    assert wrong([endpoint_slice("p"), endpoint_slice("p")], [endpoints("p")]) == 1
    assert wrong([endpoint_slice("p", "q")], [endpoints("p", "r")]) == 2
    assert list(unsettled_services([], [], [], pods)) == []


def test_services_are_drawn_beside_what_a_seed_draws_anyway() -> None:
    plans = [draw_plan(seed) for seed in range(1, 21)]
    verbs = ("service", "delete-service")
    having = [plan for plan in plans if any(each.verb in verbs for each in plan.operations)]
    assert 0 < len(having) < len(plans)
    for plan in having:
        others = plan.with_(operations=tuple(each for each in plan.operations if each.verb not in verbs))
        assert with_services(others) == plan
