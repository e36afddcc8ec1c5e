"""Plugins of one's own: written either way they choose alike, and one that fails costs its own pods their turn."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ursa.clients.revisions import Revision
from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.core import SchedulingCore
from ursa.clients.scheduler.framework.interface import (
    Bools,
    Depends,
    FilterPlugin,
    NodeFilterPlugin,
    NodeScorePlugin,
    Normalize,
    PluginError,
    PreFilterPlugin,
    ScorePlugin,
    Scores,
    Slots,
    Unresolvable,
)
from ursa.clients.scheduler.framework.node_view import NodeView
from ursa.clients.scheduler.framework.picker import Picker
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.profiles import profiles_of
from ursa.proto.objects import Object

from ..objects import node, pod
from ..plugins.cases import CASES, Case


class ArrayRoom(FilterPlugin, ScorePlugin):
    """Half of the cpu stays free; the more memory is free, the better."""

    name: ClassVar[str] = "ArrayRoom"
    depends: ClassVar[Depends] = Depends.ROOM
    normalize: ClassVar[Normalize] = Normalize.MAX

    def filter(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        return np.asarray(nodes.free[0][slots] * 2 >= nodes.scale[0][slots])

    def reasons(self, state: Any, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        return {"node(s) were half full": len(slots)}

    def score(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        return np.maximum(nodes.free[1][slots], 0).astype(np.int64) // 1000


class PlainRoom(NodeFilterPlugin, NodeScorePlugin):
    """The same, in plain Python."""

    name: ClassVar[str] = "PlainRoom"
    depends: ClassVar[Depends] = Depends.ROOM
    normalize: ClassVar[Normalize] = Normalize.MAX

    def filter_node(self, state: Any, pod: Shape, node: NodeView) -> str:
        return "" if node.free("cpu") * 2 >= (node.allocatable["cpu"] or 1) else "node(s) were half full"

    def score_node(self, state: Any, pod: Shape, node: NodeView) -> int:
        return max(node.free("memory"), 0) // 1000


def keys_under(plugin: type[Any], case: Case, spare: Random) -> list[list[int]]:
    """Keys at first, and after something has been placed."""
    profile = {"plugins": {"multiPoint": {"enabled": [{"name": plugin.name, "weight": 7}]}}}
    [made] = profiles_of(SchedulerOptions(profiles=(profile,), plugins=(plugin,)))
    picker = Picker(case.columns, Random(1), 10, made)
    first = picker.keys(case.shape).tolist()
    slot = spare.randrange(case.columns.high)
    charges = case.columns.charges({"cpu": 300, "memory": 2**30, "pods": 1})
    case.columns.hold(slot, charges)
    second = picker.keys(case.shape).tolist()
    return [first, second]


@settings(max_examples=max(CASES // 5, 200), deadline=None)
@given(st.integers(0, 2**48))
def test_a_plugin_over_arrays_and_one_over_a_node_choose_alike(seed: int) -> None:
    arrays, plain = (keys_under(plugin, Case(seed), Random(seed)) for plugin in (ArrayRoom, PlainRoom))
    assert arrays == plain


class Faulty(NodeFilterPlugin, NodeScorePlugin, PreFilterPlugin):
    """Does what the pod's label says."""

    name: ClassVar[str] = "Faulty"
    depends: ClassVar[Depends] = Depends.ROOM

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        if pod.labels.get("fault") == "unresolvable":
            return Unresolvable("this pod fits nowhere at all")
        return 1 // (pod.labels.get("fault") != "prepares badly")

    def filter_node(self, state: Any, pod: Shape, node: NodeView) -> str:
        if pod.labels.get("fault") == "filter raises":
            raise KeyError("gone")
        return None if pod.labels.get("fault") == "filter answers None" else ""  # type: ignore[return-value]

    def score_node(self, state: Any, pod: Shape, node: NodeView) -> int:
        answers: dict[str, Any] = {"score 101": 101, "score -1": -1, "score NaN": float("nan"), "score text": "5"}
        return answers.get(pod.labels.get("fault", ""), 50)  # type: ignore[no-any-return]


class FaultyArrays(FilterPlugin, ScorePlugin):
    name: ClassVar[str] = "FaultyArrays"
    depends: ClassVar[Depends] = Depends.PODS

    def filter(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        fits = nodes.present[slots]
        match pod.labels.get("fault"):
            case "short":
                return fits[:-1]
            case "numbers":
                return fits.astype(np.int64)  # type: ignore[return-value]
        return fits

    def reasons(self, state: Any, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        return {}

    def score(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        scores = np.full(len(nodes.present[slots]), 50)
        match pod.labels.get("fault"):
            case "list":
                return scores.tolist()  # type: ignore[return-value]
            case "NaN":
                return scores + float("nan")  # type: ignore[return-value]
            case "too much":
                return scores + 51
        return scores


FAULTS = [
    (Faulty, "prepares badly", "plugin Faulty raised ZeroDivisionError"),
    (Faulty, "filter raises", "plugin Faulty raised KeyError: 'gone'"),
    (Faulty, "filter answers None", "plugin Faulty must answer filter_node with a text, not with None"),
    (Faulty, "score 101", "plugin Faulty must score from 0 to 100"),
    (Faulty, "score -1", "plugin Faulty must score from 0 to 100"),
    (Faulty, "score NaN", "plugin Faulty must answer score_node with a whole number, not with nan"),
    (Faulty, "score text", "plugin Faulty must answer score_node with a whole number, not with '5'"),
    (FaultyArrays, "short", "plugin FaultyArrays answered filter with an array of shape (1,) for 2 nodes"),
    (FaultyArrays, "numbers", "plugin FaultyArrays must answer filter with true or false, not with int64"),
    (FaultyArrays, "list", "plugin FaultyArrays must answer score with an array, not with list"),
    (FaultyArrays, "NaN", "not with float64, some of them NaN"),
    (FaultyArrays, "too much", "plugin FaultyArrays must score from 0 to 100, not from 101 to 101"),
]


def labelled(name: str, fault: str) -> Object:
    made = pod(name, {"cpu": "1"})
    made.message.metadata.labels["fault"] = fault
    return made


def core_with(plugin: type[Any]) -> SchedulingCore:
    profile = {"plugins": {"multiPoint": {"enabled": [{"name": plugin.name}]}}}
    options = SchedulerOptions(profiles=(profile,), plugins=(plugin,))
    core = SchedulingCore("tp-1", ["tp-1"], ["rp-1"], Random(1), options)
    for number in range(2):
        core.node_seen("rp-1", node(f"n{number}", cpu="64"))
    core.partition_synced("rp-1")
    core.pods_synced()
    core.bound_pods_seen_up_to(Revision("tp-1", 1))  # There are none.
    return core


@pytest.mark.parametrize(("plugin", "fault", "says"), FAULTS, ids=[fault for _, fault, _ in FAULTS])
def test_a_plugin_that_fails_is_named_and_the_pod_backs_off_while_others_go_on(
    plugin: type[Any], fault: str, says: str
) -> None:
    core = core_with(plugin)
    core.pod_seen(labelled("bad", fault), 0.0)
    core.pod_seen(labelled("good", "none"), 0.0)
    decisions = core.step(0.0)
    assert [claim.pod.object.name for claim in decisions.for_partition("rp-1")] == ["good"]  # type: ignore[attr-defined]
    [report] = decisions.reports
    assert report.pod.name == "bad"
    assert says in report.message
    assert "\n" not in report.message
    assert core.queue.backing_off == 1
    assert 0.0 < core.next_deadline() <= 2.0, "it is tried again"
    assert core.counts.errors == 1


def test_a_column_that_a_plugin_left_half_done_is_not_used_again() -> None:
    core = core_with(Faulty)
    [picker] = core.pickers.values()
    core.pod_seen(labelled("bad", "none"), 0.0)
    shape = core.pods["uid-bad"].shape
    assert picker.pick(shape) >= 0
    shape.labels["fault"] = "filter raises"  # type: ignore[index]
    core.nodes.hold(0, core.nodes.charges({"cpu": 1}))
    with pytest.raises(PluginError):
        picker.pick(shape)
    core.nodes.hold(0, core.nodes.charges({"cpu": 64_000}))
    shape.labels["fault"] = "none"  # type: ignore[index]
    assert picker.pick(shape) == 1, "the other node has no room"


def test_a_plugin_may_say_that_a_pod_fits_nowhere() -> None:
    core = core_with(Faulty)
    core.pod_seen(labelled("p", "unresolvable"), 0.0)
    [report] = core.step(0.0).reports
    assert report.message == "0/2 nodes are available: 2 this pod fits nowhere at all."
    assert core.queue.unschedulable == 1
