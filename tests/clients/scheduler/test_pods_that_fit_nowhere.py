"""A pod that no node can ever take is told so once, in one line, and holds nobody up."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from ursa.clients.revisions import Revision
from ursa.clients.scheduler.core import SchedulingCore
from ursa.proto.quantities import GPU_MILLI

from .objects import node, pod

ZONE_A = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
NOT_A = {"key": "zone", "operator": "NotIn", "values": ["a"]}


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def pods(kind: str, selector: dict[str, Any]) -> dict[str, Any]:
    term = {"topologyKey": "zone", "labelSelector": selector}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


RUNNING = {"matchLabels": {"app": "runs"}}
NOT_1 = {"key": "a", "operator": "NotIn", "values": ["1"]}
UNMATCHED = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
NEVER: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "larger than any node": ({"cpu": "65"}, {}, "0/2 nodes are available: 2 Insufficient cpu."),
    "a resource of no node": ({"a.b/c": 1}, {}, "0/2 nodes are available: 2 Insufficient a.b/c."),
    "beyond what a float holds exactly": (
        {"memory": 2**53 + 1},
        {},
        "it requests 9007199254740993 of memory, and no node has more than 9007199254740992",
    ),
    "the largest quantity": ({"memory": "9E999"}, {}, "it requests 9223372036854775807 of memory"),
    "contradictory expressions": (
        {},
        {"affinity": affinity({"matchExpressions": [*ZONE_A["matchExpressions"], NOT_A]})},
        UNMATCHED,
    ),
    "a selector against the affinity": ({}, {"nodeSelector": {"zone": "b"}, "affinity": affinity(ZONE_A)}, UNMATCHED),
    "a term that says nothing": ({}, {"affinity": affinity({})}, UNMATCHED),
    "no term": ({}, {"affinity": affinity()}, "nodeSelectorTerms must have a term"),
    "an operator that is none": (
        {},
        {"affinity": affinity({"matchExpressions": [{"key": "zone", "operator": "Is"}]})},
        "matchExpressions[0].operator must be one of In, NotIn, Exists, DoesNotExist, Gt, Lt, not 'Is'",
    ),
    "a comparison with no number": (
        {},
        {"affinity": affinity({"matchExpressions": [{"key": "zone", "operator": "Gt", "values": ["a"]}]})},
        "values must be one whole number, as a text where the operator is Gt",
    ),
    "near pods that there can be none of": (
        {},
        {"affinity": pods("podAffinity", {"matchLabels": {"a": "1"}, "matchExpressions": [NOT_1]})},
        "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.",
    ),
    "near and away from the same pods": (
        {},
        {"affinity": {**pods("podAffinity", RUNNING), **pods("podAntiAffinity", RUNNING)}},
        (
            "0/2 nodes are available: 1 node(s) didn't match pod affinity rules, "
            "1 node(s) didn't match pod anti-affinity rules."
        ),
    ),
    "a selector of pods that is none": (
        {},
        {"affinity": pods("podAffinity", {"matchExpressions": [{"key": "a", "operator": "Like"}]})},
        "labelSelector.matchExpressions[0].operator must be one of In, NotIn, Exists, DoesNotExist, not 'Like'",
    ),
    "a spread over nothing": (
        {},
        {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]},
        "topologySpreadConstraints[0].maxSkew must be a whole number from 1 to 2147483647, not 0",
    ),
    "GPUs that are no whole ones": ({GPU_MILLI: 1500}, {}, "1500 is more than one device and not whole ones"),
    "GPUs beyond counting": ({GPU_MILLI: 2**53 + 1}, {}, "it requests 9007199254740993 of ursa.dev/gpu-milli"),
}


@pytest.mark.parametrize(("requests", "spec", "says"), NEVER.values(), ids=list(NEVER))
def test_it_is_told_once_and_others_go_on(requests: dict[str, Any], spec: dict[str, Any], says: str) -> None:
    core = SchedulingCore("tp-1", ["tp-1"], ["rp-1"], Random(1))
    for name in "ab":
        core.node_seen("rp-1", node(name, cpu="64", labels={"zone": name}))
    core.partition_synced("rp-1")
    core.pods_synced()
    running = pod("runs", {}, nodeName="a", resourcePartition="rp-1").with_metadata(labels={"app": "runs"})
    core.bound_pod_seen(running)
    core.bound_pods_seen_up_to(Revision("tp-1", 1))
    core.pod_seen(pod("never", requests, **spec), 0.0)
    core.pod_seen(pod("good", {"cpu": "1"}), 0.0)
    decisions = core.step(0.0)
    assert [claim.pod.object.name for claim in decisions.for_partition("rp-1")] == ["good"]  # type: ignore[attr-defined]
    [report] = decisions.reports
    assert report.pod.name == "never"
    assert says in report.message
    assert core.queue.unschedulable == 1
    told = core.explain("uid-never")
    assert told is not None
    assert told.feasible == 0
    for _ in range(3):
        assert core.step(30.0).reports == [], "it has been said"


def test_a_node_that_has_more_than_can_be_counted_exactly_counts_as_if_it_had_that() -> None:
    core = SchedulingCore("tp-1", ["tp-1"], ["rp-1"], Random(1))
    core.node_seen("rp-1", node("huge", memory="100P"))
    core.partition_synced("rp-1")
    core.pods_synced()
    core.pod_seen(pod("p", {"memory": 2**53 - 1}), 0.0)
    assert len(core.step(0.0).for_partition("rp-1")) == 1
    core.pod_seen(pod("q", {"memory": 2}), 0.0)
    [report] = core.step(0.0).reports
    assert report.message == "0/1 nodes are available: 1 Insufficient memory."


def test_the_last_decisions_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ursa.clients.scheduler.explanation.DECISIONS_MAX", 2)
    core = SchedulingCore("tp-1", ["tp-1"], ["rp-1"], Random(1))
    core.node_seen("rp-1", node("n"))
    core.partition_synced("rp-1")
    core.pods_synced()
    for name in ("a", "b", "c"):
        core.pod_seen(pod(name, {"cpu": "1"}), 0.0)
    core.step(0.0)
    for name in ("a", "b", "c"):
        del core.pods[f"uid-{name}"]
    assert core.explain("uid-a") is None
    told = core.explain("uid-c")
    assert told is not None
    assert told.chosen is not None
    assert (told.chosen.partition, told.chosen.node) == ("rp-1", "n")
