"""A plugin that raises or answers nonsense, at any point, costs the pods that it fails with, and nobody else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.framework.interface import (
    Allow,
    ClusterEvent,
    Deny,
    Depends,
    EnqueuePlugin,
    EventAction,
    EventResource,
    FilterPlugin,
    Normalize,
    PermitPlugin,
    Plugin,
    PostBindPlugin,
    PreBindPlugin,
    PreEnqueuePlugin,
    PreFilterPlugin,
    PreScorePlugin,
    QueueSortPlugin,
    ReservePlugin,
    ScorePlugin,
    Slots,
    Wait,
)
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.pending import PendingPod
from ursa.clients.scheduler.profiles import profiles_of
from ursa.proto.objects import Object

from ..objects import node, pod
from ..preemption import test_preemptor as preemption
from ..rig import HOME, Rig

# Which method fails, with bad pods, and what it answers, or raises.
FAULT: list[Any] = ["", None]


def usually(pod: Any, method: str, answer: Any) -> Any:
    labels = pod.object.labels if isinstance(pod, PendingPod) else pod.labels
    if FAULT[0] != method or labels.get("bad") != "yes":
        return answer
    if isinstance(FAULT[1], Exception):
        raise FAULT[1]
    return FAULT[1]


def count_of(nodes: NodeColumns, slots: Slots) -> int:
    return len(nodes.present[: nodes.high][slots])


class Everywhere(
    PreEnqueuePlugin,
    PreFilterPlugin,
    FilterPlugin,
    PreScorePlugin,
    ScorePlugin,
    ReservePlugin,
    PermitPlugin,
    PreBindPlugin,
    PostBindPlugin,
    EnqueuePlugin,
):
    name = "Everywhere"
    depends = Depends.ROOM
    normalize = Normalize.OWN
    helped_by = (ClusterEvent(EventResource.NODE, EventAction.UPDATE),)

    def needs_bound_pods(self, pod: Any) -> Any:
        return usually(pod, "needs_bound_pods", False)

    def pre_enqueue(self, pod: Any) -> Any:
        return usually(pod, "pre_enqueue", "")

    def pre_filter(self, pod: Any, nodes: Any) -> Any:
        return usually(pod, "pre_filter", None)

    def filter(self, state: Any, pod: Any, nodes: Any, slots: Any) -> Any:
        # Pods that are refused are those of which `reasons` and `may_help` are asked.
        fits = FAULT[0] not in ("reasons", "may_help") or pod.labels.get("bad") != "yes"
        return usually(pod, "filter", np.full(count_of(nodes, slots), fits))

    def slot_filter(self, state: Any, pod: Any, nodes: Any) -> Any:
        return usually(pod, "slot_filter", None)

    def reasons(self, state: Any, pod: Any, nodes: Any, slots: Any) -> Any:
        return usually(pod, "reasons", {"refused": len(slots)})

    def pre_score(self, pod: Any, nodes: Any, feasible: Any) -> Any:
        return usually(pod, "pre_score", None)

    def skips(self, pod: Any, nodes: Any) -> Any:
        return usually(pod, "skips", False)

    def score(self, state: Any, pod: Any, nodes: Any, slots: Any) -> Any:
        return usually(pod, "score", np.full(count_of(nodes, slots), 50))

    def slot_score(self, state: Any, pod: Any, nodes: Any) -> Any:
        return usually(pod, "slot_score", None)

    def normalize_scores(self, state: Any, pod: Any, scores: Any) -> Any:
        return usually(pod, "normalize_scores", scores)

    def reserve(self, pod: Any, slot: int) -> Any:
        return usually(pod, "reserve", "")

    def unreserve(self, pod: Any, slot: int) -> Any:
        return usually(pod, "unreserve", None)

    def permit(self, pod: Any, slot: int) -> Any:
        return usually(pod, "permit", Allow())

    def allows(self, pod: Any) -> Any:
        return usually(pod, "allows", ())

    def gives_up(self, pod: Any) -> Any:
        return usually(pod, "gives_up", ())

    def pre_bind(self, pod: Any, slot: int) -> Any:
        return usually(pod, "pre_bind", "")

    def post_bind(self, pod: Any, slot: int) -> Any:
        return usually(pod, "post_bind", None)

    def may_help(self, pod: Any, event: Any, slot: int) -> Any:
        return usually(pod, "may_help", True)


class LooksAtPods(Everywhere):
    """The same, asked anew for each pod."""

    name = "LooksAtPods"
    depends = Depends.PODS
    normalize = Normalize.MAX

    def needs_bound_pods(self, pod: Any) -> Any:
        return usually(pod, "needs_bound_pods", True)


class Sorts(QueueSortPlugin):
    name = "Sorts"

    def sort_key(self, pod: PendingPod) -> Any:
        return usually(pod, "sort_key", (1, pod.object.name))


METHODS = [name for name, method in vars(Everywhere).items() if callable(method)]
# What is asked in another way where it is asked for each pod.
LIVE_METHODS = ["needs_bound_pods", "filter", "reasons", "skips", "score", "may_help"]
ANSWERS = [RuntimeError("broken"), None, "5", math.nan]


def labelled(name: str, bad: str, cpu: str = "1") -> Object:
    made = pod(name, {"cpu": cpu})
    made.message.metadata.labels["bad"] = bad
    return made


def run(plugin: type[Plugin], method: str, answer: Any) -> Rig:
    """Bad pods between good ones, while nodes come and change."""
    FAULT[:] = [method, answer]
    plugins = {
        "multiPoint": {"enabled": [{"name": plugin.name}]},
        "queueSort": {"disabled": [{"name": "*"}], "enabled": [{"name": "Sorts"}]},
    }
    rig = Rig(SchedulerOptions(profiles=({"plugins": plugins},), plugins=(plugin, Sorts)))
    rig.add_node("rp-1", node("a", cpu="4"))
    for name, bad, cpu in (
        ("first", "no", "1"),
        ("bad", "yes", "1"),
        ("bad-large", "yes", "64"),
        ("second", "no", "1"),
    ):
        rig.add_pod(labelled(name, bad, cpu))
    rig.settle(8)
    [changed] = rig.partitions["rp-1"].objects("nodes")
    changed.message.metadata.labels["news"] = "some"
    rig.core.node_seen("rp-1", changed)
    rig.settle(4)
    rig.add_node("rp-2", node("b", cpu="4"))
    rig.add_pod(labelled("third", "no"))
    rig.settle(8)
    return rig


def where(rig: Rig) -> list[str]:
    return sorted(pod.name for pod in rig.pods().values() if pod.spec.get("nodeName"))


@pytest.mark.parametrize("answer", ANSWERS, ids=["raises", "None", "a text", "NaN"])
@pytest.mark.parametrize(
    ("plugin", "method"),
    [
        *((Everywhere, method) for method in (*METHODS, "sort_key")),
        *((LooksAtPods, method) for method in LIVE_METHODS),
    ],
)
def test_whatever_fails_good_pods_run_and_a_pod_that_waits_has_been_told(
    plugin: type[Plugin], method: str, answer: Any
) -> None:
    rig = run(plugin, method, answer)
    running = where(rig)
    assert [name for name in running if not name.startswith("bad")] == ["first", "second", "third"]
    # Gated by an answer that is right, or refused by Filter as it is meant to be.
    waits_rightly = (method, answer) == ("pre_enqueue", "5") or method in ("reasons", "may_help")
    if "bad" not in running and not waits_rightly:
        assert any(report.startswith(f"plugin {plugin.name}") for report in rig.reports)
    assert all("\n" not in report for report in rig.reports)
    FAULT[:] = ["", None]
    rig.now += 70.0  # All are asked again every minute.
    rig.settle(15)
    assert "bad" in where(rig) or rig.core.queue.gated, "once the plugin is mended the pod runs"


@pytest.mark.parametrize(
    ("method", "answer", "says"),
    [
        ("permit", None, "must answer permit with Allow, Wait or Deny, not with None"),
        ("permit", Wait(math.nan), "must have a pod wait for a number of seconds, from 0 on, not for nan"),
        ("permit", Wait(math.inf), "must have a pod wait for a number of seconds, from 0 on, not for inf"),
        ("permit", Wait("5"), "must have a pod wait for a number of seconds, from 0 on, not for '5'"),  # type: ignore[arg-type]
        ("reserve", None, "must answer reserve with a text, not with None"),
        ("pre_bind", 5, "must answer pre_bind with a text, not with 5"),
        ("pre_enqueue", 5, "must answer pre_enqueue with a text, not with 5"),
        ("reasons", {"few": "many"}, "must answer reasons with how many nodes for each text, not with {'few': 'many'}"),
        ("allows", 5, "raised TypeError: 'int' object is not iterable"),
    ],
)
def test_what_it_should_have_answered_is_said(method: str, answer: Any, says: str) -> None:
    rig = run(Everywhere, method, answer)
    assert f"plugin Everywhere {says}" in rig.reports


def test_why_permit_denies_is_said() -> None:
    assert "plugin Everywhere: not on a Monday" in run(Everywhere, "permit", Deny("not on a Monday")).reports


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (5, "must answer sort_key with a tuple of numbers and texts, not with 5"),
        ((1, math.nan), "must answer sort_key with a tuple of numbers and texts, not with (1, nan)"),
        ((1, [2]), "must answer sort_key with a tuple of numbers and texts, not with (1, [2])"),
        (("a", 1), "must answer sort_key with (number, text) for every pod, not with ('a', 1)"),
        ((1,), "must answer sort_key with (number, text) for every pod, not with (1,)"),
    ],
)
def test_a_pod_without_a_place_in_the_order_comes_last(answer: Any, says: str) -> None:
    rig = run(Everywhere, "sort_key", answer)
    assert f"plugin Sorts {says}" in rig.reports
    assert "bad" in where(rig)


class BySlot(ScorePlugin):
    name = "BySlot"
    depends = Depends.ROOM

    def score(self, state: Any, pod: Any, nodes: Any, slots: Any) -> Any:
        return np.full(count_of(nodes, slots), 50)

    def slot_score(self, state: Any, pod: Any, nodes: Any) -> Any:
        return lambda _slot: usually(pod, "slot_score", 50)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("5", "must answer score with a whole number, not with '5'"),
        (None, "must answer score with a whole number, not with None"),
        (math.nan, "must answer score with a whole number, not with nan"),
        (101, "must score from 0 to 100, not 101"),
    ],
)
def test_the_score_of_a_slot_that_is_none(answer: Any, says: str) -> None:
    FAULT[:] = ["slot_score", answer]
    rig = Rig(
        SchedulerOptions(profiles=({"plugins": {"score": {"enabled": [{"name": "BySlot"}]}}},), plugins=(BySlot,))
    )
    rig.add_node("rp-1", node("a", cpu="8"))
    for number in range(3):  # The first has all nodes scored, others those that have changed.
        rig.add_pod(labelled(f"bad-{number}", "yes"))
        rig.add_pod(labelled(f"good-{number}", "no"))
    rig.settle(8)
    assert f"plugin BySlot {says}" in rig.reports
    assert [name for name in where(rig) if name.startswith("good")] == ["good-0", "good-1", "good-2"]


def test_scores_beyond_what_is_exact_are_refused_and_do_not_wrap_around() -> None:
    rig = run(LooksAtPods, "score", np.full(1, 2**62))
    assert any(report.startswith("plugin LooksAtPods must not score above 9007199254740992") for report in rig.reports)


def free_cpu(rig: Rig, partition: str, name: str) -> int:
    """As the scheduler sees it."""
    nodes = rig.core.nodes
    slot = nodes.find(partition, name)
    assert slot is not None
    return int(nodes.free[nodes.resource_columns["cpu"], slot])


@pytest.mark.parametrize("nominated", [True, False])
def test_room_that_is_held_stays_held_once_where_a_plugin_fails(nominated: bool) -> None:
    """Of the pod that the room is held for, or of one of higher priority that would take it."""
    FAULT[:] = ["", None]
    profile = {"plugins": {"multiPoint": {"enabled": [{"name": "Everywhere"}]}}}
    rig = Rig(SchedulerOptions(profiles=(profile,), plugins=(Everywhere,)))
    rig.add_node("rp-1", node("a", cpu="2"))
    for name in ("low-1", "low-2"):
        rig.add_pod(pod(name, {"cpu": "1"}))
    preemption.run(rig)
    high = labelled("high", "yes" if nominated else "no", "2")
    rig.add_pod(high.with_spec({**high.spec, "priority": 5}))
    preemption.run(rig)
    assert preemption.leaving(rig) == ["low-1", "low-2"]
    if not nominated:
        higher = labelled("higher", "yes", "2")
        rig.add_pod(higher.with_spec({**higher.spec, "priority": 9}))
    FAULT[:] = ["filter", RuntimeError("broken")]
    rig.apply(HOME, preemption.force_delete("low-1"))
    rig.collect_garbage()
    for _ in range(3):
        rig.add_node("rp-2", node(f"tiny-{rig.now}", cpu="1"))  # So all nodes are asked about anew.
        preemption.run(rig, 30)
    assert "plugin Everywhere raised RuntimeError: broken" in rig.reports
    assert free_cpu(rig, "rp-1", "a") == 1000 - 2000, "one is gone, and the room of two is held"
    FAULT[:] = ["", None]
    rig.settle(30)
    assert where(rig) == ["high" if nominated else "higher"]
    assert free_cpu(rig, "rp-1", "a") == 0


def test_a_plugin_that_cannot_be_made_is_refused_in_one_line() -> None:
    class Unmade(Sorts):
        name = "Unmade"

        def __init__(self, args: Any = None) -> None:
            raise KeyError("host")

    profile = {"plugins": {"queueSort": {"disabled": [{"name": "*"}], "enabled": [{"name": "Unmade"}]}}}
    with pytest.raises(ValueError, match=r"profiles\[0\].pluginConfig: Unmade cannot be made: KeyError: 'host'"):
        profiles_of(SchedulerOptions(profiles=(profile,), plugins=(Unmade,)))
