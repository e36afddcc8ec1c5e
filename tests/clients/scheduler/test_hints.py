"""What happens wakes those that it may help: nobody who fits is overlooked, and nobody is asked in vain."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.clients.scheduler.actions import Action, Bind, Claim
from ursa.clients.scheduler.core import SchedulingCore
from ursa.clients.scheduler.framework.interface import (
    ClusterEvent,
    Depends,
    EnqueuePlugin,
    EventAction,
    EventResource,
    NodeFilterPlugin,
)
from ursa.clients.scheduler.framework.node_view import NodeView
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.hints import NODE_ADDED, POD_GONE, ROOM_MADE, SLOTS_MAX, Happened, Refusers, with_room
from ursa.clients.scheduler.node_facts import read_node, what_changed
from ursa.clients.scheduler.pending import PendingPod, PodState
from ursa.clients.scheduler.plugins.volume_binding import CLAIM_CHANGED, CLASS_CHANGED, VOLUME_CHANGED
from ursa.clients.scheduler.pod_queue import PodQueue
from ursa.clients.scheduler.template import Template
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object

from .objects import node, placement, pod

TAINT = {"key": "dedicated", "value": "x", "effect": "NoSchedule"}
SHAPE = Shape(1, Template(1, {}), "acme", "default", {})
LABELS_CHANGED = ClusterEvent(EventResource.NODE, EventAction.UPDATE_LABELS)


class OfNode(NodeFilterPlugin):
    name = "OfNode"
    depends = Depends.NODE

    def filter_node(self, state: Any, pod: Shape, node: NodeView) -> str:
        return ""


class OfRoom(OfNode):
    name = "OfRoom"
    depends = Depends.ROOM


class OfVolumes(OfNode):
    name = "OfVolumes"
    depends = Depends.VOLUMES


class Exact(OfRoom, EnqueuePlugin):
    name = "Exact"
    helped_by = (ROOM_MADE,)

    def may_help(self, pod: Shape, event: ClusterEvent, slot: int) -> bool:
        return slot == 7


def helps(refusers: Any, *events: tuple[ClusterEvent | None, int]) -> bool:
    happened = Happened()
    for event, slot in events:
        happened.note(event, slot)
    return happened.may_help(SHAPE, refusers)


def test_what_a_plugin_depends_on_says_what_may_help_those_it_refused() -> None:
    assert not helps((OfNode(),), (ROOM_MADE, 0))
    assert helps((OfNode(),), (LABELS_CHANGED, 0))
    assert helps((OfRoom(),), (ROOM_MADE, 0))
    assert helps((OfNode(), OfRoom()), (ROOM_MADE, 0))
    assert helps(None, (ROOM_MADE, 0))


def test_a_plugin_that_says_more_exactly_what_helps_is_taken_at_its_word() -> None:
    assert helps((Exact(),), (ROOM_MADE, 7))
    assert not helps((Exact(),), (ROOM_MADE, 6))
    assert not helps((Exact(),), (LABELS_CHANGED, 7))
    assert helps((Exact(),), *((ROOM_MADE, 100 + number) for number in range(SLOTS_MAX + 1))), "too many to ask"


def test_a_new_node_may_help_everybody_but_a_pod_that_makes_no_sense() -> None:
    assert helps((Exact(),), (NODE_ADDED, 3))
    assert not helps((), (NODE_ADDED, 3))
    assert not helps((), (None, -1))


def test_after_room_was_not_enough_others_that_look_at_room_may_be_in_the_way() -> None:
    of_node, of_room, other = OfNode(), OfRoom(), OfNode()
    assert with_room((of_node,), [other, of_room]) == (of_node, of_room)
    assert with_room(None, [of_room]) is None


@pytest.mark.parametrize(
    ("change", "actions"),
    [
        ({"labels": {"a": "b"}}, EventAction.UPDATE_LABELS),
        ({"taints": [TAINT]}, EventAction.UPDATE_TAINTS),
        ({"unschedulable": True}, EventAction.UPDATE_TAINTS),
        ({"cpu": "9"}, EventAction.UPDATE_ALLOCATABLE),
        ({"ready": False}, EventAction.UPDATE_CONDITIONS),
        ({"cpu": "9", "labels": {"a": "b"}}, EventAction.UPDATE_ALLOCATABLE | EventAction.UPDATE_LABELS),
        ({"uid": "another"}, EventAction.ADD),
    ],
)
def test_news_of_a_node_say_what_has_changed(change: Mapping[str, Any], actions: EventAction) -> None:
    assert what_changed(read_node(node("n")), read_node(node("n", **change))) == actions
    assert what_changed(None, read_node(node("n"))) == EventAction.ADD


class World:
    """One scheduler, one partition of nodes, and whatever it answers."""

    def __init__(self) -> None:
        self.core = SchedulingCore("tp-1", ["tp-1"], ["rp-1"], Random(1))
        self.core.pods_synced()
        self.core.partition_synced("rp-1")
        self.now = 0.0
        self.revision = 0
        self.held: dict[str, Object] = {}
        self.made = 0
        self.picked: list[str] = []

    def pod(self, cpu: int, priority: int, picky: bool, tolerant: bool) -> None:
        self.made += 1
        spec: dict[str, Any] = {"priority": priority}
        if picky:
            spec["nodeSelector"] = {"disk": "ssd"}
        if tolerant:
            spec["tolerations"] = [{"key": "dedicated", "operator": "Exists"}]
        self.core.pod_seen(pod(f"p{self.made}", {"cpu": f"{cpu}m"}, **spec), self.now)

    def node(self, number: int, cpu: int, ssd: bool, tainted: bool, ready: bool) -> None:
        made = node(
            f"n{number}",
            cpu=f"{cpu}m",
            labels={"disk": "ssd"} if ssd else {},
            taints=[TAINT] if tainted else [],
            ready=ready,
        )
        self.core.node_seen("rp-1", made)

    def node_gone(self, number: int) -> None:
        self.core.node_gone("rp-1", f"n{number}")

    def other(self, number: int, cpu: int) -> None:
        self.made += 1
        held = placement(f"o{self.made}", f"n{number}", {"cpu": cpu, "pods": 1})
        self.held[held.name] = held
        self.core.placement_seen("rp-1", held.message)

    def leaves(self, which: int) -> None:
        if self.held:
            name = list(self.held)[which % len(self.held)]
            del self.held[name]
            self.core.placement_gone("rp-1", name)

    def settle(self, refuse: bool) -> None:
        """Some steps, long before everything is asked again. The first claim may be refused."""
        for _ in range(12):
            self.now += 0.06
            decisions = self.core.step(self.now)
            for action in decisions.actions.get("rp-1", []):
                assert isinstance(action, Claim)
                self.picked.append(action.pod.object.name)
                self.answer(action, refuse)
                refuse = False
            for bind in decisions.binds:
                self.answer(bind, False)

    def answer(self, action: Action, refuse: bool) -> None:
        self.revision += 1
        result = pb.Result(resource_version=self.revision)
        if refuse:
            result = pb.Result(error=pb.Status(reason="Conflict", message="no room"))
        elif isinstance(action, Claim):
            made = pb.Object(spec=action.spec)
            made.metadata.name, made.metadata.uid = action.pod.uid, f"p-{action.pod.uid}"
            result.uid = made.metadata.uid
            self.held[action.pod.uid] = Object(made)
            self.core.placement_seen("rp-1", made)
        assert isinstance(action, Claim | Bind)
        self.core.answered(action.partition, [action], [result], self.now)
        if isinstance(action, Bind):
            self.core.pod_gone(action.pod.uid)

    def overlooked(self) -> list[str]:
        """Pods that wait for something to happen although they fit."""
        core = self.core
        picker = core.pickers["default-scheduler"]
        return [
            pod.object.name
            for pod in core.pods.values()
            if pod.state is PodState.UNSCHEDULABLE and picker.fits_somewhere(pod.shape)
        ]


cpus, few = st.sampled_from([500, 1000, 2000]), st.integers(0, 2)
happenings = st.one_of(
    st.tuples(st.just("pod"), cpus, few, st.booleans(), st.booleans()),
    st.tuples(st.just("node"), few, cpus, st.booleans(), st.booleans(), st.booleans()),
    st.tuples(st.just("node_gone"), few),
    st.tuples(st.just("other"), few, cpus),
    st.tuples(st.just("leaves"), few),
)


@given(st.lists(st.tuples(happenings, st.booleans()), max_size=12))
def test_nobody_who_fits_is_overlooked(story: list[tuple[tuple[Any, ...], bool]]) -> None:
    world = World()
    for (what, *arguments), refuse in story:
        getattr(world, what)(*arguments)
        world.settle(refuse)
        assert world.now < 60.0
        assert not world.overlooked()


def test_room_on_a_node_wakes_those_who_lack_it() -> None:
    world = World()
    world.node(0, 1000, False, False, True)
    world.other(0, 1000)
    world.pod(500, 0, False, False)
    world.settle(False)
    assert not world.picked
    world.leaves(0)
    world.settle(False)
    assert world.picked == ["p2"]


def test_a_claim_that_is_refused_makes_room_for_who_was_parked_because_of_it() -> None:
    world = World()
    world.node(0, 1000, False, False, True)
    world.pod(1000, 5, False, True)
    world.pod(500, 0, False, False)
    world.settle(True)
    assert world.picked == ["p1", "p2"]


@pytest.mark.parametrize("news", [LABELS_CHANGED, CLAIM_CHANGED, VOLUME_CHANGED, CLASS_CHANGED])
def test_who_refuses_is_worked_out_anew_after_news_of_nodes_and_volumes_only(news: ClusterEvent) -> None:
    asked: list[Refusers] = []
    refusers = (OfVolumes(),)

    def refusers_of(shape: Shape, before: Refusers) -> Refusers:
        asked.append(before)
        return refusers

    queue = PodQueue(refusers_of)
    obj = pod("p")
    queue.park(PendingPod(obj, SHAPE, 1, 0.0))
    for turn, event in enumerate((ROOM_MADE, POD_GONE, news)):
        queue.help(event, 0)
        queue.move(float(turn), lambda _: False)
    assert [before is None for before in asked] == [True, False, False, True]


def test_one_that_fits_nowhere_holds_nobody_up_whatever_its_priority() -> None:
    world = World()
    world.node(0, 1000, False, False, True)
    world.pod(2000, 9, False, False)
    world.pod(500, 0, False, False)
    world.settle(False)
    assert world.picked == ["p2"]


def test_room_on_a_node_wakes_nobody_whom_the_nodes_themselves_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.node(0, 1000, False, False, True)
    world.other(0, 1000)
    world.pod(500, 0, True, False)
    world.settle(False)
    asked: list[Shape] = []
    monkeypatch.setattr(world.core._cycles, "_fits_somewhere", lambda shape: bool(asked.append(shape)))
    world.leaves(0)
    world.settle(False)
    assert not asked
    world.node(0, 1000, True, False, True)
    world.settle(False)
    assert len(asked) == 1


def test_a_pod_is_queued_when_its_last_gate_is_gone() -> None:
    world = World()
    world.node(0, 1000, False, False, True)
    gated = pod("gated", {"cpu": "1m"}, schedulingGates=[{"name": "a"}])
    world.core.pod_seen(gated, 0.0)
    world.settle(False)
    assert (world.core.queue.gated, world.picked) == (1, [])
    world.core.pod_seen(gated.with_spec({**gated.spec, "schedulingGates": []}), world.now)
    world.settle(False)
    assert (world.core.queue.gated, world.picked) == (0, ["gated"])


def test_a_gated_pod_that_goes_is_forgotten() -> None:
    world = World()
    world.core.pod_seen(pod("gated", {"cpu": "1m"}, schedulingGates=[{"name": "a"}]), 0.0)
    world.core.pod_gone("uid-gated")
    assert (world.core.queue.gated, len(world.core.pods)) == (0, 0)
