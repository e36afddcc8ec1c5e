from __future__ import annotations

import pytest
import trio
from ursa.clients import events
from ursa.clients.events import EventRecorder
from ursa.proto.kinds import Role
from ursa.proto.objects import Object

from .worlds import World, pod, run


async def listed(world: World) -> list[Object]:
    return (await world.writer.list("events")).items


def dropped(world: World) -> float | None:
    return world.actor.registry.get_sample_value("ursa_client_events_dropped_total", {"component": "tester"})


def test_an_event_is_written_with_what_it_is_about() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            recorder = EventRecorder(world.client, world.actor, "tester")
            nursery.start_soon(recorder.run)
            created = await world.client.create(pod("a"))
            recorder.event(created, "Normal", "Scheduled", "to node n-1")
            await trio.sleep(5)
            [event] = await listed(world)
            assert event.name.startswith("a.")
            assert (event.tenant, event.namespace) == ("system", "default")
            rest = dict(event.rest)
            assert rest.pop("firstTimestamp") == rest.pop("lastTimestamp")
            assert rest == {
                "involvedObject": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "namespace": "default",
                    "name": "a",
                    "uid": created.uid,
                },
                "type": "Normal",
                "reason": "Scheduled",
                "message": "to node n-1",
                "count": 1,
                "source": {"component": "tester"},
            }
            nursery.cancel_scope.cancel()

    run(main)


def test_repeats_raise_the_count_of_one_event_before_and_after_it_was_written() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            recorder = EventRecorder(world.client, world.actor, "tester")
            nursery.start_soon(recorder.run)
            for _ in range(3):
                recorder.event(pod("a"), "Warning", "FailedScheduling", "no room")
            await trio.sleep(10)
            for _ in range(2):
                recorder.event(pod("a"), "Warning", "FailedScheduling", "no room")
            recorder.event(pod("a"), "Warning", "FailedScheduling", "no node at all")
            await trio.sleep(10)
            counts = {event.rest["message"]: event.rest["count"] for event in await listed(world)}
            assert counts == {"no room": 5, "no node at all": 1}
            [event] = [event for event in await listed(world) if event.rest["count"] == 5]
            assert event.rest["lastTimestamp"] > event.rest["firstTimestamp"]
            nursery.cancel_scope.cancel()

    run(main)


def test_events_of_a_node_live_in_the_system_tenant() -> None:
    async def main() -> None:
        async with World(Role.RESOURCE).open() as world, trio.open_nursery() as nursery:
            recorder = EventRecorder(world.client, world.actor, "tester")
            nursery.start_soon(recorder.run)
            node = Object.from_dict({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n-1"}})
            recorder.event(await world.writer.create(node), "Normal", "RegisteredNode", "hello")
            await trio.sleep(5)
            [event] = await listed(world)
            assert (event.tenant, event.namespace) == ("system", "default")
            nursery.cancel_scope.cancel()

    run(main)


def test_events_wait_for_a_partition_that_is_away_and_are_written_once() -> None:
    async def main() -> None:
        async with World().open(latency_seconds=(0.5, 0.5)) as world, trio.open_nursery() as nursery:
            recorder = EventRecorder(world.client, world.actor, "tester")
            nursery.start_soon(recorder.run)
            recorder.event(pod("a"), "Normal", "Started", "a")
            # The batch goes out after a second of gathering and another of opening the stream; its answer is lost.
            await trio.sleep(2.75)
            world.transport.cut()
            assert world.stored("events")
            recorder.event(pod("a"), "Normal", "Started", "a")
            recorder.event(pod("b"), "Normal", "Started", "b")
            await trio.sleep(100)
            world.transport.heal()
            await trio.sleep(100)
            counts = sorted((event.rest["message"], event.rest["count"]) for event in await listed(world))
            assert counts == [("a", 2), ("b", 1)]
            assert dropped(world) == 0
            nursery.cancel_scope.cancel()

    run(main)


def test_what_waits_is_bounded_and_the_oldest_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WAITING_EVENTS_MAX", 600)

    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            recorder = EventRecorder(world.client, world.actor, "tester")
            for number in range(events.WAITING_EVENTS_MAX + 7):
                recorder.event(pod("a"), "Normal", "Started", str(number))
            assert dropped(world) == 7
            nursery.start_soon(recorder.run)
            await trio.sleep(60)
            messages = [int(event.rest["message"]) for event in await listed(world)]
            assert len(messages) == events.WAITING_EVENTS_MAX
            assert min(messages) == 7
            nursery.cancel_scope.cancel()

    run(main)


def test_an_event_a_partition_refuses_is_dropped_and_counted() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            recorder = EventRecorder(world.client, world.actor, "tester")
            nursery.start_soon(recorder.run)
            recorder.event(pod("a", namespace="nowhere"), "Normal", "Started", "a")
            recorder.event(pod("b"), "Normal", "Started", "b")
            await trio.sleep(10)
            assert [event.rest["message"] for event in await listed(world)] == ["b"]
            assert dropped(world) == 1
            nursery.cancel_scope.cancel()

    run(main)
