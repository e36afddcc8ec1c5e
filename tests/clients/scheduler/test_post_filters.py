"""PostFilter plugins of one's own, beside DefaultPreemption: in order, and up to the first that helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.framework.interface import MadeRoom, Nominated, PostFilterPlugin
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.pending import PendingPod

from .objects import node, pod
from .preemption.test_preemptor import add, end, force_delete, leaving, run, status_of, where
from .rig import HOME, Rig

Answer = Callable[[PendingPod, NodeColumns], Any]
ANSWER: list[Answer] = []
ASKED: list[str] = []


class Own(PostFilterPlugin):
    name = "Own"

    def post_filter(self, pod: PendingPod, nodes: NodeColumns) -> Any:
        ASKED.append(pod.object.name)
        return ANSWER[0](pod, nodes)


def evicts_the_youngest(pod: PendingPod, nodes: NodeColumns) -> Any:
    """Whatever its priority."""
    on = [(each.object.name, each.uid, slot) for slot in range(nodes.high) for each in nodes.pods.on(slot)]
    _, uid, slot = max(on)
    return Nominated(np.intp(slot), (uid,))  # type: ignore[arg-type]


def nothing(pod: PendingPod, nodes: NodeColumns) -> Any:
    return None


def made(pod: PendingPod, nodes: NodeColumns) -> Any:
    return MadeRoom()


def breaks(pod: PendingPod, nodes: NodeColumns) -> Any:
    raise RuntimeError("broken")


def full_rig(answer: Answer, *plugins: str) -> Rig:
    """Two nodes that are full, of pods of priority 1 and 2."""
    ANSWER[:], ASKED[:] = [answer], []
    enabled = [{"name": name} for name in plugins]
    profile = {"plugins": {"postFilter": {"disabled": [{"name": "*"}], "enabled": enabled}}}
    rig = Rig(SchedulerOptions(profiles=(profile,), plugins=(Own,)))
    for partition, name in (("rp-1", "a"), ("rp-2", "b")):
        rig.add_node(partition, node(name, cpu="1"))
    add(rig, "p1", "1", 1)
    add(rig, "p2", "1", 2)
    run(rig)
    assert len(where(rig)) == 2
    return rig


def test_a_plugin_chooses_node_and_victim_by_its_own_rules() -> None:
    rig = full_rig(evicts_the_youngest, "Own", "DefaultPreemption")
    uid = add(rig, "late", "1", 0)
    run(rig)
    there = where(rig)["p2"]
    assert leaving(rig) == ["p2"], "the lowest priority would be p1, and preempts nobody itself"
    assert status_of(rig, uid)["nominatedNodeName"] == there
    assert ASKED == ["late"]
    add(rig, "thief", "1", 0)
    ANSWER[0] = nothing
    assert end(rig) == ["p2"]
    assert where(rig) == {"p1": where(rig)["p1"], "late": there}, "the room was held for it"


def test_nobody_is_asked_while_victims_are_leaving() -> None:
    rig = full_rig(nothing, "Own")
    rig.add_node("rp-1", node("c", cpu="2"))
    for name in ("c1", "c2"):
        add(rig, name, "1", 1)
    run(rig)
    ANSWER[0] = lambda _pod, nodes: Nominated(
        slot := nodes.find("rp-1", "c"), tuple(each.uid for each in nodes.pods.on(slot))
    )
    add(rig, "large", "2", 0)
    run(rig)
    assert leaving(rig) == ["c1", "c2"]
    rig.apply(HOME, force_delete("c1"))
    rig.collect_garbage()
    run(rig)
    assert ASKED == ["large"], "it was looked at again, and waits for the other one"
    end(rig)
    assert where(rig)["large"] == "c"


def test_the_first_that_helps_is_the_last_that_is_asked() -> None:
    rig = full_rig(made, "Own", "DefaultPreemption")
    add(rig, "high", "1", 9)
    run(rig)
    assert (ASKED, leaving(rig)) == (["high"], [])
    rig.add_node("rp-1", node("c", cpu="1"))
    run(rig)
    assert where(rig)["high"] == "c", "it waited for what was done"


def test_where_one_does_not_help_the_next_is_asked() -> None:
    rig = full_rig(nothing, "Own", "DefaultPreemption")
    add(rig, "high", "1", 9)
    run(rig)
    assert (ASKED, leaving(rig)) == (["high"], ["p1"])
    rig = full_rig(evicts_the_youngest, "DefaultPreemption", "Own")
    add(rig, "high", "1", 9)
    run(rig)
    assert (ASKED, leaving(rig)) == ([], ["p1"])
    add(rig, "low", "1", 0)
    run(rig)
    assert (ASKED[:1], leaving(rig)) == (["low"], ["p1", "p2"])


def test_without_default_preemption_nobody_is_preempted() -> None:
    rig = full_rig(nothing, "Own")
    add(rig, "high", "1", 9)
    run(rig)
    assert (ASKED, leaving(rig)) == (["high"], [])


def test_a_pod_that_nothing_has_helped_is_asked_about_again_when_others_run() -> None:
    rig = full_rig(nothing, "Own")
    add(rig, "high", "1", 9)
    run(rig)
    assert ASKED == ["high"]
    rig.add_node("rp-1", node("tiny", cpu="500m"))
    add(rig, "small", "500m", 0)
    run(rig, 30)
    assert "small" in where(rig)
    assert ASKED.count("high") > 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (breaks, "plugin Own raised RuntimeError: broken"),
        (lambda _pod, _nodes: "a", "plugin Own must answer post_filter with Nominated, MadeRoom or None, not with 'a'"),
        (lambda _pod, _nodes: Nominated(2), "plugin Own has nominated slot 2: there are 0 to 1"),
        (lambda _pod, _nodes: Nominated("a"), "plugin Own has nominated slot 'a': there are 0 to 1"),  # type: ignore[arg-type]
        (
            lambda _pod, _nodes: Nominated(0, ("nobody",)),
            "plugin Own would evict pod nobody, which does not run on node",
        ),
    ],
)
def test_one_that_fails_is_named_and_the_pod_backs_off_while_others_go_on(answer: Answer, says: str) -> None:
    rig = full_rig(answer, "Own", "DefaultPreemption")
    add(rig, "bad", "1", 9)
    rig.add_pod(pod("good", {"memory": "1Mi"}))
    run(rig)
    assert "good" in where(rig)
    assert any(report.startswith(says) for report in rig.reports)
    assert leaving(rig) == []
    assert rig.core.queue.backing_off == 1
    rig.add_node("rp-1", node("c", cpu="2"))
    run(rig, 40)
    assert where(rig)["bad"] == "c", "and is tried again"


def test_a_node_that_is_gone_cannot_be_nominated() -> None:
    rig = full_rig(lambda _pod, nodes: Nominated(nodes.find("rp-1", "a")), "Own")
    rig.remove_node("rp-1", "a")
    add(rig, "bad", "1", 9)
    run(rig)
    assert any("where there is no node any more" in report for report in rig.reports)
