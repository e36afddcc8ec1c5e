"""What one Watch stream tells many watches, seen from the client's side of it."""

from __future__ import annotations

from collections.abc import Callable

import trio
from ursa.clients.sightings import Sightings
from ursa.clients.watches import SILENCE_SECONDS_MAX, STARTS_PER_MESSAGE_MAX, Watch, Watches, WatchSink
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Expired

from .scripted import LOST, ScriptedTransport, accept
from .worlds import World, actor, run


class Recording(WatchSink):
    def __init__(self) -> None:
        self.revisions: list[int] = []
        self.bookmarks: list[tuple[int, int]] = []  # As given, and as the watch said at that moment.
        self.watch: Watch | None = None
        self.lost = 0
        self.errors: list[str] = []
        self.covered: list[list[int]] = []  # What it had been told of when it was.

    def on_batch(self, batch: pb.WatchBatch, resource_version: int, incarnation: str) -> None:
        assert incarnation == "one"
        self.revisions += [event.resource_version for event in batch.events]
        assert self.watch is not None
        self.bookmarks.append((resource_version, self.watch.resource_version))
        if batch.HasField("error"):
            self.errors.append(batch.error.reason)

    def on_covered(self) -> None:
        self.covered.append(list(self.revisions))

    def on_lost(self) -> None:
        self.lost += 1


def opened(watches: Watches, resource_version: int = 0) -> tuple[Watch, Recording]:
    sink = Recording()
    sink.watch = watches.watch(pb.WatchStart(resource_version=resource_version), sink)
    return sink.watch, sink


def batch(watch: Watch, *revisions: int) -> pb.WatchBatch:
    return pb.WatchBatch(id=watch.id, events=[pb.WatchEvent(resource_version=revision) for revision in revisions])


def reply(resource_version: int, *batches: pb.WatchBatch) -> pb.WatchReply:
    return pb.WatchReply(resource_version=resource_version, batches=batches, incarnation="one")


def in_trio(test: Callable[[], None]) -> None:
    """Run a plain function where trio's clock is."""

    async def main() -> None:
        test()

    run(main)


def test_the_story_of_the_module_holds() -> None:
    def story() -> None:
        watches = Watches(ScriptedTransport(accept), actor())
        first, _ = opened(watches)
        watches._receive(reply(90, batch(first, 88)))
        assert first.resource_version == 90
        second, sink = opened(watches, 80)
        watches._receive(reply(95))
        assert (first.resource_version, second.resource_version) == (95, 0)
        watches._receive(reply(0, batch(second, 81, 83)))
        assert (first.resource_version, second.resource_version) == (95, 0)
        watches._receive(reply(97, batch(second, 92)))
        assert (first.resource_version, second.resource_version) == (97, 97)
        assert sink.revisions == [81, 83, 92]

    in_trio(story)


def test_what_came_before_its_bookmark_was_seen_all_the_same() -> None:
    """A burst too large for one message comes in several, and only the last one has a bookmark: a read between them
    must not go back behind the events that were there already."""

    def story() -> None:
        sightings = Sightings()
        watches = Watches(ScriptedTransport(accept), actor(), sightings)
        watch, _ = opened(watches, 80)
        watches._receive(reply(80, batch(watch)))
        watches._receive(reply(0, batch(watch, 81, 83)))
        assert sightings.not_older("main") == ("83", "one")
        watches._receive(reply(0))
        watches._receive(reply(85, batch(watch, 84)))
        assert sightings.not_older("main") == ("85", "one")

    in_trio(story)


def test_a_watch_is_told_once_that_it_has_been_told_of_all_that_had_happened() -> None:
    def story() -> None:
        watches = Watches(ScriptedTransport(accept), actor())
        late, late_sink = opened(watches, 80)
        ended, ended_sink = opened(watches, 80)
        refused, refused_sink = opened(watches, 80)
        watches._receive(reply(95))  # It is of before they were accepted.
        watches._receive(reply(0, batch(late, 81, 83), batch(ended, 81)))
        ended.stop()
        refusal = batch(refused)
        refusal.error.reason = "Expired"
        assert late_sink.covered == []
        watches._receive(reply(97, refusal, batch(late, 92)))
        watches._receive(reply(98, batch(late, 98)))
        assert late_sink.covered == [[81, 83, 92]]
        assert ended_sink.covered == refused_sink.covered == []

    in_trio(story)


def test_no_watch_takes_a_bookmark_before_all_events_of_its_message_are_delivered() -> None:
    def story() -> None:
        watches = Watches(ScriptedTransport(accept), actor())
        first, first_sink = opened(watches)
        second, second_sink = opened(watches)
        watches._receive(reply(10, batch(first), batch(second)))
        watches._receive(reply(12, batch(first, 11), batch(second, 12)))
        assert first_sink.bookmarks == [(10, 0), (12, 10)]
        assert second_sink.bookmarks == [(10, 0), (12, 10)]
        assert first.resource_version == second.resource_version == 12

    in_trio(story)


def test_a_thousand_watches_learn_a_bookmark_without_being_called() -> None:
    def story() -> None:
        watches = Watches(ScriptedTransport(accept), actor())
        opens = [opened(watches) for _ in range(1000)]
        watches._receive(reply(10, *(batch(watch) for watch, _ in opens)))
        watches._receive(reply(20))
        assert all(watch.resource_version == 20 for watch, _ in opens)
        assert all(len(sink.bookmarks) == 1 for _, sink in opens)

    in_trio(story)


def test_a_lost_stream_keeps_what_it_has_told_and_tells_each_watch_once() -> None:
    def story() -> None:
        watches = Watches(ScriptedTransport(accept), actor())
        watch, sink = opened(watches)
        assert watches._next_message() is not None
        watches._receive(reply(10, batch(watch)))
        unsent, unsent_sink = opened(watches)
        watches._lost(LOST)
        watches._lost(LOST)
        assert (sink.lost, unsent_sink.lost) == (1, 0)
        assert watch.resource_version == 10
        assert watch.heard_at == trio.current_time()
        request = watches._next_message()
        assert request is not None
        assert [start.id for start in request.start] == [unsent.id]
        watches._receive(reply(20, batch(unsent, 19)))
        assert unsent_sink.revisions == [19]
        assert watch.resource_version == 10

    in_trio(story)


def test_what_one_stream_began_is_not_covered_by_the_next() -> None:
    def story() -> None:
        watches = Watches(ScriptedTransport(accept), actor())
        watch, _ = opened(watches)
        stopped, _ = opened(watches)
        watches._next_message()
        watches._receive(reply(0, batch(watch, 8)))
        stopped.stop()
        watches._lost(LOST)
        watches._receive(reply(50))
        assert watch.resource_version == 0
        assert watches._next_message() is None

    in_trio(story)


def test_a_watch_opened_by_the_loss_of_another_goes_on_the_next_stream() -> None:
    def story() -> None:
        watches = Watches(ScriptedTransport(accept), actor())

        class Reopening(Recording):
            def on_lost(self) -> None:
                super().on_lost()
                watches.watch(pb.WatchStart(), self)

        sink = Reopening()
        watches.watch(pb.WatchStart(), sink)
        watches._next_message()
        watches._lost(LOST)
        assert sink.lost == 1
        assert watches._wanted()

    in_trio(story)


def test_a_stopped_watch_hears_nothing_and_the_partition_is_told_if_it_knew() -> None:
    def story() -> None:
        watches = Watches(ScriptedTransport(accept), actor())
        known, sink = opened(watches)
        watches._next_message()
        unknown, _ = opened(watches)
        for watch in (known, unknown, known):
            watch.stop()
        request = watches._next_message()
        assert request is not None
        assert [stop.id for stop in request.stop] == [known.id]
        assert not request.start
        assert watches._next_message() is None
        watches._receive(reply(10, batch(known, 9)))
        assert sink.revisions == []

    in_trio(story)


def test_a_watch_that_ended_with_an_error_is_over() -> None:
    def story() -> None:
        watches = Watches(ScriptedTransport(accept), actor())
        watch, sink = opened(watches)
        watches._next_message()
        ended = pb.WatchBatch(id=watch.id, error=Expired("list again").status)
        watches._receive(reply(10, ended))
        watches._receive(reply(11, batch(watch, 11)))
        watch.stop()
        watches._lost(LOST)
        assert (sink.errors, sink.revisions, sink.lost) == (["Expired"], [], 0)
        assert watches._next_message() is None

    in_trio(story)


def test_many_starts_go_in_few_messages() -> None:
    def story() -> None:
        watches = Watches(ScriptedTransport(accept), actor())
        for _ in range(STARTS_PER_MESSAGE_MAX + 5):
            opened(watches)
        counts = []
        while (request := watches._next_message()) is not None:
            counts.append(len(request.start))
        assert counts == [STARTS_PER_MESSAGE_MAX, 5]

    in_trio(story)


def test_starts_of_one_burst_go_in_one_message() -> None:
    async def main() -> None:
        async with World().open() as world:
            for _ in range(50):
                world.client.watch(pb.WatchStart(selection=pb.Selection(resource="pods")), Ignoring())
            await trio.sleep(1)
            assert len([line for line in world.trace if "Watch >" in line]) == 1
            assert (await world.client.status()).watches == 50

    run(main)


class Ignoring(WatchSink):
    def on_batch(self, batch: pb.WatchBatch, resource_version: int, incarnation: str) -> None:
        pass

    def on_lost(self) -> None:
        pass


def test_a_stream_that_has_fallen_silent_is_taken_for_lost() -> None:
    async def main() -> None:
        watches = Watches(ScriptedTransport(lambda _: None), actor())
        sink = Recording()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watches.run)
            await trio.sleep(500)  # No watch, no stream, nothing to fall silent.
            sink.watch = watches.watch(pb.WatchStart(), sink)
            await trio.sleep(SILENCE_SECONDS_MAX - 1)
            assert sink.lost == 0
            await trio.sleep(2)
            assert sink.lost == 1
            nursery.cancel_scope.cancel()

    run(main)


def test_silence_counts_from_what_was_heard_last() -> None:
    async def main() -> None:
        watches = Watches(ScriptedTransport(lambda _: None), actor())
        sink = Recording()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watches.run)
            sink.watch = watches.watch(pb.WatchStart(), sink)
            for _ in range(1000):
                await trio.sleep(0.25)
                watches._receive(reply(5))
            await trio.sleep(SILENCE_SECONDS_MAX - 2)
            assert sink.lost == 0
            await trio.sleep(3)
            assert sink.lost == 1
            nursery.cancel_scope.cancel()

    run(main)
