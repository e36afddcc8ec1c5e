"""The pods that wait."""

from __future__ import annotations

import math
from typing import Any

from ursa.clients.scheduler.framework.shape import Shape, Shapes
from ursa.clients.scheduler.pending import PendingPod, PodState
from ursa.clients.scheduler.pod_queue import MOVE_PODS_MAX, MOVE_SECONDS_MIN, MOVE_SHAPES_MAX, PodQueue
from ursa.clients.scheduler.template import Templates

from .objects import pod

TEMPLATES, SHAPES = Templates(), Shapes()


class Pods:
    def __init__(self) -> None:
        self.queue = PodQueue()
        self.made = 0

    def make(self, cpu: str = "1", **spec: Any) -> PendingPod:
        self.made += 1
        obj = pod(f"p{self.made}", {"cpu": cpu}, **spec)
        return PendingPod(obj, SHAPES.of(obj, TEMPLATES.of(obj.message.spec)), self.made, 0.0)

    def popped(self) -> list[str]:
        names = []
        while (found := self.queue.pop()) is not None:
            names.append(found.object.name)
        return names


def test_pods_come_by_priority_and_then_in_the_order_of_arrival() -> None:
    pods = Pods()
    for priority in (0, 5, 0, 5, 9):
        pods.queue.push(pods.make(priority=priority))
    assert pods.queue.active == 5
    assert pods.popped() == ["p5", "p2", "p4", "p1", "p3"]
    assert pods.queue.active == 0


def test_a_pod_pushed_again_keeps_its_place() -> None:
    pods = Pods()
    first, second = pods.make(), pods.make()
    pods.queue.push(first)
    pods.queue.push(second)
    assert pods.queue.pop() is first
    pods.queue.push(first)
    assert pods.popped() == ["p1", "p2"]


def test_a_pod_taken_out_never_comes() -> None:
    pods = Pods()
    active, waiting, parked = pods.make(), pods.make(), pods.make()
    pods.queue.push(active)
    pods.queue.back_off(waiting, 1.0)
    pods.queue.park(parked)
    for taken in (active, waiting, parked):
        pods.queue.remove(taken)
    assert (pods.queue.active, pods.queue.backing_off, pods.queue.unschedulable) == (0, 0, 0)
    pods.queue.help()
    pods.queue.release_due(10.0)
    pods.queue.move(10.0, lambda _: True)
    assert pods.popped() == []
    assert pods.queue.next_deadline() == math.inf


def test_backoff_ends_at_its_time() -> None:
    pods = Pods()
    pods.queue.back_off(pods.make(), 2.0)
    pods.queue.back_off(pods.make(), 1.0)
    assert pods.queue.next_deadline() == 1.0
    pods.queue.release_due(1.5)
    assert pods.popped() == ["p2"]
    assert pods.queue.next_deadline() == 2.0
    pods.queue.release_due(2.0)
    assert pods.popped() == ["p1"]


def test_parked_pods_are_only_looked_at_when_something_helps_and_they_fit() -> None:
    pods = Pods()
    small, large = pods.make("1"), pods.make("2")
    pods.queue.park(small)
    pods.queue.park(large)
    asked: list[int] = []

    def fits(shape: Shape) -> bool:
        asked.append(shape.id)
        return shape is small.shape

    pods.queue.move(0.0, fits)
    assert not asked
    pods.queue.help()
    pods.queue.move(0.0, fits)
    assert asked == [small.shape.id, large.shape.id]
    assert pods.popped() == ["p1"]
    assert large.state is PodState.UNSCHEDULABLE


def test_however_many_pods_and_events_a_template_is_asked_once_in_a_while() -> None:
    pods = Pods()
    for _ in range(10_000):
        pods.queue.park(pods.make())
    asked = 0

    def fits(shape: Shape) -> bool:
        nonlocal asked
        asked += 1
        return False

    for event in range(1000):
        pods.queue.help()
        pods.queue.move(event * 0.001, fits)
    assert 19 <= asked <= 21, "every 50 ms of one second"
    assert pods.queue.unschedulable == 10_000


def test_many_pods_of_one_template_come_back_in_batches_and_in_order() -> None:
    pods = Pods()
    count = MOVE_PODS_MAX + 10
    for _ in range(count):
        pods.queue.park(pods.make())
    pods.queue.help()
    pods.queue.move(0.0, lambda _: True)
    assert pods.popped() == [f"p{number}" for number in range(1, MOVE_PODS_MAX + 1)]
    assert pods.queue.next_deadline() == MOVE_SECONDS_MIN
    pods.queue.move(MOVE_SECONDS_MIN, lambda _: True)
    assert pods.popped() == [f"p{number}" for number in range(MOVE_PODS_MAX + 1, count + 1)]
    assert pods.queue.next_deadline() == math.inf


def test_more_templates_than_one_go_are_all_asked_in_turn() -> None:
    pods = Pods()
    parked = [pods.make(f"{number}m") for number in range(1, MOVE_SHAPES_MAX + 6)]
    for each in parked:
        pods.queue.park(each)
    asked: list[int] = []

    def fits(shape: Shape) -> bool:
        asked.append(shape.id)
        return False

    for turn in range(2):
        pods.queue.help()
        pods.queue.move(turn * MOVE_SECONDS_MIN, fits)
    assert {each.shape.id for each in parked} == set(asked)
