"""What an informer promises, against a real apiserver: its view becomes the partition's, and never goes back."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.client import PartitionClient
from ursa.clients.informer import Event, EventType, Informer
from ursa.clients.object_cache import GARBAGE_OBJECTS_MIN
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, Expired
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey
from ursa.storage import Change, MemoryStore, Store

from .scripted import ScriptedTransport, accept
from .worlds import SEEDS, World, actor, key, pod, run

# More than a link's and an informer's longest backoff, and several bookmarks.
SETTLE_SECONDS = 60


class Follower:
    """Replays an informer's events, and checks that each is possible where it comes."""

    def __init__(self, informer: Informer) -> None:
        self.informer = informer
        self.view: dict[ObjectKey, Object] = {}
        self.events: list[tuple[str, str]] = []
        self.vanished: list[str] = []
        self._revisions: dict[str, int] = {}
        informer.add_handler(self.on_event)
        informer.add_burst_handler(self.on_burst)

    def on_event(self, event: Event) -> None:
        obj = event.object
        self.events.append((event.type.value, obj.name))
        if event.vanished:
            self.vanished.append(obj.name)
        cached = self.informer.objects.get(obj.key)
        if event.type is EventType.ADDED:
            assert event.old is None
            assert obj.key not in self.view
            assert cached is obj
            self.view[obj.key] = obj
        elif event.type is EventType.MODIFIED:
            assert event.old is self.view[obj.key]
            assert event.old.uid == obj.uid
            assert cached is obj
            self.view[obj.key] = obj
        else:
            assert event.old is self.view.pop(obj.key)
            assert event.old.uid == obj.uid
            assert cached is None
        self.note_revision()

    def on_burst(self) -> None:
        self.note_revision()

    def note_revision(self) -> None:
        incarnation = self.informer.incarnation
        assert self.informer.resource_version >= self._revisions.get(incarnation, 0), "a view never goes back"
        self._revisions[incarnation] = self.informer.resource_version


async def assert_equal_to_partition(follower: Follower, world: World, label_selector: str = "") -> None:
    listed = await world.writer.list("pods", label_selector=label_selector)
    state = {each.key: each.message for each in listed.items}
    informer = follower.informer
    assert {each: obj.message for each, obj in informer.objects.items()} == state
    assert {each: obj.message for each, obj in follower.view.items()} == state
    assert informer.resource_version == listed.resource_version
    for phase in ("odd", "even"):
        wanted = [obj for obj in informer.objects.values() if phase in parity(obj)]
        assert sorted(informer.by_index("parity", phase), key=key_of) == sorted(wanted, key=key_of)


def key_of(obj: Object) -> ObjectKey:
    return obj.key


def parity(obj: Object) -> list[str]:
    return ["odd" if int(obj.labels.get("step", "0")) % 2 else "even"]


# ---------------------------------------------------------------------------------------------------------- examples


def test_it_takes_a_full_view_then_follows_events() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            await world.writer.create(pod("a"))
            informer = Informer(world.client, "pods")
            follower = Follower(informer)
            assert not informer.synced
            assert informer.staleness_seconds == float("inf")
            nursery.start_soon(informer.run)
            await informer.wait_synced()
            assert list(informer.objects) == [key("a")]
            created = await world.writer.create(pod("b"))
            await world.writer.update(created.with_metadata(labels={"app": "web"}))
            await world.writer.delete("pods", key("a"))
            await trio.sleep(1)
            assert follower.events == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]
            assert informer.objects[key("b")].partition == "p-1"
            nursery.cancel_scope.cancel()

    run(main)


def test_after_a_lost_link_it_resumes_without_a_new_view() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            for name in ("a", "b"):
                await world.writer.create(pod(name))
            informer = Informer(world.client, "pods")
            follower = Follower(informer)
            nursery.start_soon(informer.run)
            await informer.wait_synced()
            world.transport.cut()
            await trio.sleep(20)
            assert informer.synced
            assert informer.staleness_seconds >= 20
            await world.writer.delete("pods", key("a"))
            await world.writer.create(pod("c"))
            world.transport.heal()
            await trio.sleep(10)
            assert follower.events == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a"), ("ADDED", "c")]
            assert informer.staleness_seconds < 10
            assert views_taken(world) == 1
            nursery.cancel_scope.cancel()

    run(main)


def views_taken(world: World) -> float | None:
    return world.actor.registry.get_sample_value("reflector_lists_total", {"name": "pods"})


def test_bookmarks_of_a_quiet_kind_keep_it_resumable_past_compaction() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            informer = Informer(world.client, "pods")
            nursery.start_soon(informer.run)
            await informer.wait_synced()
            for number in range(10):
                await world.writer.create(config_map(f"map-{number}"))
            await trio.sleep(SETTLE_SECONDS)
            assert informer.resource_version == world.store.head
            world.store.compact(world.store.head)
            await world.restart()
            await trio.sleep(SETTLE_SECONDS)
            assert views_taken(world) == 1
            nursery.cancel_scope.cancel()

    run(main)


def config_map(name: str) -> Object:
    metadata = {"name": name, "namespace": "default", "tenant": "system"}
    return Object.from_dict({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


def test_when_its_revision_has_been_compacted_it_reports_what_vanished_and_what_was_replaced() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            for name in ("gone", "kept", "replaced"):
                await world.writer.create(pod(name))
            informer = Informer(world.client, "pods")
            follower = Follower(informer)
            nursery.start_soon(informer.run)
            await informer.wait_synced()
            follower.events.clear()
            world.transport.cut()
            await world.writer.delete("pods", key("gone"))
            await world.writer.delete("pods", key("replaced"))
            await world.writer.create(pod("new"))
            await world.writer.create(pod("replaced"))
            world.store.compact(world.store.head)
            await world.restart()
            await trio.sleep(SETTLE_SECONDS)
            assert follower.events == [
                ("ADDED", "new"),
                ("DELETED", "replaced"),
                ("ADDED", "replaced"),
                ("DELETED", "gone"),
            ]
            assert follower.vanished == [], "it was deleted, in this very history"
            assert views_taken(world) == 2
            nursery.cancel_scope.cancel()

    run(main)


def test_another_incarnation_is_viewed_anew_although_its_revisions_are_lower() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            for name in ("a", "b"):
                await world.writer.create(pod(name))
            informer = Informer(world.client, "pods")
            follower = Follower(informer)
            nursery.start_soon(informer.run)
            await informer.wait_synced()
            follower.events.clear()
            before = informer.resource_version
            await world.restart(restored(world.store, "second", lambda name: name == "a"))
            await trio.sleep(SETTLE_SECONDS)
            assert follower.events == [("MODIFIED", "a"), ("DELETED", "b")]
            assert follower.vanished == ["b"], "nobody has said that it was deleted"
            assert informer.resource_version < before
            assert informer.incarnation == "second"
            nursery.cancel_scope.cancel()

    run(main)


def test_it_is_of_no_history_until_its_view_is_complete() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            informer = Informer(world.client, "pods")
            assert informer.history == ""
            seen: list[str] = []
            informer.add_handler(lambda _: seen.append(informer.history))
            await world.writer.create(pod("a"))
            nursery.start_soon(informer.run)
            await informer.wait_synced()
            assert informer.history == informer.incarnation != ""
            await world.restart(restored(world.store, "second", lambda _: True))
            await trio.sleep(SETTLE_SECONDS)
            assert seen == ["", ""]
            assert informer.history == "second"
            nursery.cancel_scope.cancel()

    run(main)


def test_it_tells_when_its_view_is_of_another_history_after_the_events_and_never_for_the_first() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            for name in ("a", "b"):
                await world.writer.create(pod(name))
            informer = Informer(world.client, "pods")
            told: list[str] = []
            informer.add_handler(lambda event: told.append(event.type.value))
            informer.add_history_handler(lambda: told.append(informer.history))
            informer.add_burst_handler(lambda: told.append("burst"))
            nursery.start_soon(informer.run)
            await informer.wait_synced()
            world.transport.cut()
            world.store.compact(world.store.head)
            await world.restart()
            await trio.sleep(SETTLE_SECONDS)
            assert informer.incarnation not in told, "it has lost its link, and the partition nothing"
            told.clear()
            await world.restart(restored(world.store, "second", lambda name: name == "a"))
            await trio.sleep(SETTLE_SECONDS)
            assert [each for each in told if each != "burst"] == ["MODIFIED", "DELETED", "second"]
            assert told[-1] == "burst"
            nursery.cancel_scope.cancel()

    run(main)


def test_a_history_rolled_back_under_its_name_is_viewed_anew() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            created = await world.writer.create(pod("a"))
            await world.writer.create(pod("b"))
            backup = restored(world.store, world.store.incarnation, lambda _: True)
            informer = Informer(world.client, "pods")
            begun: list[str] = []
            informer.add_history_handler(lambda: begun.append(informer.incarnation))
            nursery.start_soon(informer.run)
            await informer.wait_synced()
            changed = await world.writer.update(created.with_metadata(labels={"app": "web"}))
            await world.writer.delete("pods", key("b"))
            await world.writer.create(pod("c"))
            await trio.sleep(1)
            await world.restart(backup)
            await trio.sleep(SETTLE_SECONDS)
            assert sorted(obj.name for obj in informer.objects.values()) == ["a", "b"]
            assert informer.objects[key("a")].resource_version < changed.resource_version
            assert not informer.objects[key("a")].labels
            assert begun == [world.store.incarnation]
            nursery.cancel_scope.cancel()

    run(main)


def test_it_outlives_refusals() -> None:
    async def main() -> None:
        async with World(Role.RESOURCE).open() as world, trio.open_nursery() as nursery:
            informer = Informer(world.client, "deployments.apps")  # Not of this role.
            nursery.start_soon(informer.run)
            await trio.sleep(1000)
            assert not informer.synced
            opened = world.actor.registry.get_sample_value("reflector_watches_total", {"name": "deployments.apps"})
            assert opened is not None
            assert 100 < opened < 1000
            nursery.cancel_scope.cancel()

    run(main)


def test_an_empty_partition_loses_nothing_over_a_lost_link() -> None:
    """The revision of its Events is 0, and a watch from 0 would begin at the newest."""

    async def main() -> None:
        events = MemoryStore(incarnation="events")
        async with World(events_store=events).open() as world, trio.open_nursery() as nursery:
            informer = Informer(world.client, "events")
            nursery.start_soon(informer.run)
            await informer.wait_synced()
            assert informer.resource_version == 0
            world.transport.cut()
            where = {"name": "e-1", "namespace": "default", "tenant": "system"}
            event = {"apiVersion": "v1", "kind": "Event", "metadata": where, "involvedObject": {"kind": "Node"}}
            await world.writer.create(Object.from_dict(event))
            world.transport.heal()
            await trio.sleep(SETTLE_SECONDS)
            assert [obj.name for obj in informer.objects.values()] == ["e-1"]
            nursery.cancel_scope.cancel()

    run(main)


def test_a_stopped_informer_gets_nothing_more_and_leaves_the_watch_of_others_alone() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            first, second = Informer(world.client, "pods"), Informer(world.client, "pods")
            nursery.start_soon(second.run)
            async with trio.open_nursery() as inner:
                inner.start_soon(first.run)
                await first.wait_synced()
                inner.cancel_scope.cancel()
            await world.writer.create(pod("a"))
            await trio.sleep(1)
            assert not first.objects
            assert list(second.objects) == [key("a")]
            status = await world.client.status()
            assert status.watches == 1
            nursery.cancel_scope.cancel()

    run(main)


def test_handlers_are_added_before_it_runs() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            informer = Informer(world.client, "pods")
            nursery.start_soon(informer.run)
            await informer.wait_synced()
            with pytest.raises(AssertionError):
                informer.add_handler(print)
            nursery.cancel_scope.cancel()

    run(main)


# ------------------------------------------------------------------------------------------------ batch by batch


class ByHand:
    """An informer whose partition is the test."""

    def __init__(self) -> None:
        self.client = PartitionClient(ScriptedTransport(accept), actor())
        self.informer = Informer(self.client, "pods")
        self.events: list[tuple[str, str]] = []
        self.informer.add_handler(lambda event: self.events.append((event.type.value, event.object.name)))

    def reopen(self) -> pb.WatchStart:
        self.informer._open_watch()
        assert self.informer._watch is not None
        return self.informer._watch.start

    def send(
        self, *names: str, resource_version: int = 0, incarnation: str = "one", end: bool = False, first: int = 1
    ) -> None:
        batch = pb.WatchBatch(initial_events_end=end)
        for revision, name in enumerate(names, first):
            obj = pod(name).message
            obj.metadata.resource_version = revision
            batch.events.add(object=obj, resource_version=revision)
        self.informer.on_batch(batch, resource_version, incarnation)

    def names(self) -> list[str]:
        return [obj.name for obj in self.informer.objects.values()]


def test_a_view_cut_short_is_taken_again_as_a_whole() -> None:
    async def main() -> None:
        hand = ByHand()
        assert hand.reopen().initial_events
        hand.send("a", "b")
        assert not hand.informer.synced
        hand.informer.on_lost()
        assert hand.reopen().initial_events
        hand.send("b", first=2)
        hand.send(end=True, resource_version=9)
        assert hand.names() == ["b"]
        assert hand.events == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]
        assert hand.informer.resource_version == 9

    run(main)


def test_a_view_cut_short_by_another_history_keeps_nothing_of_the_first() -> None:
    async def main() -> None:
        hand = ByHand()
        hand.reopen()
        hand.send("a", first=90, end=True, resource_version=90)
        hand.informer.on_batch(pb.WatchBatch(error=Expired("list again").status), 90, "one")
        hand.reopen()
        hand.send("b", first=5, incarnation="two")
        hand.informer.on_lost()
        hand.reopen()
        # A later history still, or the first one again: `a` is older than what is cached, and yet replaces it.
        hand.send("a", first=3, incarnation="two", end=True, resource_version=6)
        assert hand.names() == ["a"]
        assert hand.informer.objects[key("a")].resource_version == 3
        assert hand.informer.resource_version == 6

    run(main)


def test_it_resumes_in_the_history_it_knows_and_trusts_no_events_of_another() -> None:
    async def main() -> None:
        hand = ByHand()
        hand.reopen()
        hand.send("a", end=True, resource_version=7)
        hand.informer.on_lost()
        start = hand.reopen()
        assert (start.initial_events, start.resource_version, start.incarnation) == (False, 7, "one")
        hand.send("b", first=8, incarnation="two")
        assert hand.names() == ["a"]
        assert hand.reopen().initial_events

    run(main)


def test_long_lived_objects_are_given_memory_of_their_own() -> None:
    async def main() -> None:
        hand = ByHand()
        hand.reopen()
        hand.send("old", "gone", end=True, resource_version=2)
        gone = hand.informer.objects[key("gone")]
        received = hand.informer.objects[key("old")].message
        deletion = pb.WatchEvent(type=pb.WatchEvent.DELETED, object=gone.message, resource_version=3)
        hand.informer.on_batch(pb.WatchBatch(events=[deletion]), 3, "one")
        for revision in range(4, 4 + 2 * GARBAGE_OBJECTS_MIN):
            hand.send("busy", first=revision)
        old = hand.informer.objects[key("old")]
        assert old.message == received
        assert old.message is not received
        assert hand.names() == ["old", "busy"]

    run(main)


# ---------------------------------------------------------------------------------------------------------- property


def restored(old: Store, incarnation: str, keep: Callable[[str], bool]) -> Store:
    """A store made from a backup: some of the objects, with the same uids, at other and lower revisions."""
    store = MemoryStore(incarnation=incarnation)
    for record in old.range("/registry/"):
        if "/pods/" in record.key and not keep(record.key.rsplit("/", 1)[1]):
            continue
        message = pb.Object.FromString(record.value)

        def value(revision: int, message: pb.Object = message) -> bytes:
            message.metadata.resource_version = revision
            return message.SerializeToString()

        store.stage([Change(record.key, value)])
    store.commit(lambda _: None)
    return store


class Chaos:
    """Draws what happens to a partition and to the link."""

    def __init__(self, world: World, random: Random) -> None:
        self.world = world
        self.random = random
        self._step = 0
        self._incarnations = 1

    async def act(self) -> None:
        self._step += 1
        random = self.random
        action = random.choices(
            (self.write, self.pause, self.cut, self.heal, self.restart, self.compact, self.restore),
            (30, 6, 3, 3, 1, 1, 1),
        )[0]
        await action()

    async def write(self) -> None:
        random, writer = self.random, self.world.writer
        name = f"pod-{random.randrange(6)}"
        labels = {"app": random.choice(("web", "db")), "step": str(self._step)}
        try:
            if random.random() < 0.4:
                await writer.create(pod(name).with_metadata(labels=labels))
            elif random.random() < 0.4:
                await writer.delete("pods", key(name))
            else:
                await writer.patch("pods", key(name), {"metadata": {"labels": labels}})
        except ApiError:
            pass

    async def pause(self) -> None:
        await trio.sleep(self.random.choice((0.001, 0.1, 3, 20)))

    async def cut(self) -> None:
        self.world.transport.cut()

    async def heal(self) -> None:
        self.world.transport.heal()

    async def restart(self) -> None:
        await self.world.restart(heal=self.random.random() < 0.5)

    async def compact(self) -> None:
        self.world.store.compact(self.random.randint(self.world.store.compacted, self.world.store.head))
        await self.restart()

    async def restore(self) -> None:
        self._incarnations += 1
        kept = [f"pod-{number}" for number in range(6) if self.random.random() < 0.7]
        await self.world.restart(restored(self.world.store, f"incarnation-{self._incarnations}", kept.__contains__))


@settings(deadline=None, max_examples=100)
@given(
    SEEDS,
    st.integers(5, 80),
    st.sampled_from(("", "app=web")),
    st.sampled_from(((0.0, 0.0), (0.001, 0.3))),
)
def test_over_any_history_and_any_losses_it_ends_with_the_partitions_state(
    seed: int, steps: int, label_selector: str, latency_seconds: tuple[float, float]
) -> None:
    async def main() -> None:
        async with World().open(latency_seconds=latency_seconds) as world, trio.open_nursery() as nursery:
            informer = Informer(world.client, "pods", label_selector=label_selector)
            informer.add_index("parity", parity)
            follower = Follower(informer)
            nursery.start_soon(informer.run)
            chaos = Chaos(world, Random(seed))
            for _ in range(steps):
                await chaos.act()
            world.transport.heal()
            await trio.sleep(SETTLE_SECONDS)
            await assert_equal_to_partition(follower, world, label_selector)
            nursery.cancel_scope.cancel()

    run(main)
