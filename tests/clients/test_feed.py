"""How a feed opens its watch again, against a client that does what the test says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock
from ursa.clients.feed import CALM_SECONDS, Feed, FeedKeeper
from ursa.proto import ursa_pb2 as pb

from .kubelet.cluster import actor
from .scripted_watches import ScriptedClient


class Recorder(Feed):
    def __init__(self, keeper: FeedKeeper) -> None:
        super().__init__(keeper, pb.Selection(resource="pods"))
        self.heard: list[str | int] = []
        self.settlements: list[int] = []  # How much had been heard by then.

    def view_started(self) -> None:
        self.heard.append("view")

    def view_complete(self) -> None:
        self.heard.append("complete")

    def resumed(self) -> None:
        self.heard.append("resumed")

    def caught_up(self) -> None:
        self.heard.append("caught up")

    def take(self, batch: pb.WatchBatch) -> None:
        self.heard.extend(event.resource_version for event in batch.events)

    def settled(self) -> None:
        self.settlements.append(len(self.heard))


VIEW = (True, 0, "")


def run(main: Callable[[ScriptedClient, Recorder], Awaitable[None]]) -> None:
    async def opened() -> None:
        client = ScriptedClient()
        keeper = FeedKeeper(client, actor("test"))  # type: ignore[arg-type]
        feed = Recorder(keeper)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run)
            feed.open()
            await main(client, feed)
            nursery.cancel_scope.cancel()

    trio.run(opened, clock=MockClock(autojump_threshold=0))


def test_a_view_comes_first_and_a_lost_link_is_resumed_behind_it() -> None:
    async def main(client: ScriptedClient, feed: Recorder) -> None:
        assert client.asked() == VIEW
        client.send(3, 5)
        assert not feed.synced
        client.send(bookmark=9, end=True)
        assert feed.synced
        feed.on_lost()
        assert client.asked() == (False, 9, "one")
        assert feed.heard == ["view", 3, 5, "complete", "resumed"]

    run(main)


def test_what_was_missed_comes_between_two_words_for_it() -> None:
    async def main(client: ScriptedClient, feed: Recorder) -> None:
        client.send(bookmark=9, end=True)
        feed.on_lost()
        client.send(11)
        feed.on_lost()
        client.send(12)
        client.send(13, bookmark=14)
        client.send(15, bookmark=15)
        client.send(error="TooManyRequests")
        await trio.sleep(1)
        client.send(bookmark=15)
        news = [11, "resumed", 12, 13, "caught up", 15, "resumed", "caught up"]
        assert feed.heard == ["view", "complete", "resumed", *news]
        assert feed.settlements[-1] == len(feed.heard), "what has come of it is seen to"

    run(main)


def test_a_lost_link_is_resumed_behind_the_last_event_or_bookmark() -> None:
    async def main(client: ScriptedClient, feed: Recorder) -> None:
        client.send(bookmark=9, end=True)
        client.send(11, 12)  # More is queued behind them: no bookmark yet.
        feed.on_lost()
        assert client.asked() == (False, 12, "one")
        client.last.bookmark = 40  # The stream's own, of which nobody is told.
        feed.on_lost()
        assert client.asked() == (False, 40, "one")
        feed.on_lost()  # Nothing was heard on this one.
        assert client.asked() == (False, 40, "one")

    run(main)


def test_half_a_view_is_taken_again() -> None:
    async def main(client: ScriptedClient, feed: Recorder) -> None:
        client.send(3, 5)
        feed.on_lost()
        assert client.asked() == VIEW
        client.send(3, end=True)  # Its end is known, its revision is not.
        feed.on_lost()
        assert client.asked() == VIEW
        assert feed.heard == ["view", 3, 5, "view", 3, "complete", "view"]

    run(main)


def test_expired_is_answered_with_a_full_view_after_a_pause() -> None:
    async def main(client: ScriptedClient, feed: Recorder) -> None:
        client.send(bookmark=9, end=True)
        client.send(error="Expired")
        assert len(client.watches) == 1
        await trio.sleep(1)
        assert client.asked() == VIEW
        assert 0 < client.opened_at[-1] < 1

    run(main)


def test_another_refusal_is_answered_by_trying_again_where_it_was() -> None:
    async def main(client: ScriptedClient, feed: Recorder) -> None:
        client.send(bookmark=9, end=True)
        client.send(error="TooManyRequests")
        await trio.sleep(1)
        assert client.asked() == (False, 9, "one")

    run(main)


def test_pauses_grow_while_refusals_go_on_and_shrink_when_there_was_peace() -> None:
    async def main(client: ScriptedClient, feed: Recorder) -> None:
        pauses = []
        for _ in range(8):
            refused_at = trio.current_time()
            client.send(error="ServiceUnavailable")
            await trio.sleep(6)
            pauses.append(client.opened_at[-1] - refused_at)
        assert pauses[0] <= 0.1
        assert pauses[-1] >= 2.5
        await trio.sleep(CALM_SECONDS)
        refused_at = trio.current_time()
        client.send(error="ServiceUnavailable")
        await trio.sleep(6)
        assert client.opened_at[-1] - refused_at <= 0.1

    run(main)


def test_a_view_older_than_what_was_seen_is_thrown_away() -> None:
    async def main(client: ScriptedClient, feed: Recorder) -> None:
        client.send(bookmark=90, end=True)
        client.send(error="Expired")
        await trio.sleep(1)
        stale = client.last
        client.send(50, bookmark=50, end=True)
        assert stale.stopped
        assert feed.heard == ["view", "complete", "view", 50, "view"]
        await trio.sleep(1)
        assert client.last is not stale
        assert client.asked() == VIEW
        client.send(91, bookmark=91, end=True)
        assert feed.heard[-2:] == [91, "complete"]

    run(main)


def test_a_view_of_another_incarnation_may_be_younger_in_number() -> None:
    async def main(client: ScriptedClient, feed: Recorder) -> None:
        client.send(bookmark=90, end=True)
        client.send(error="Expired")
        await trio.sleep(1)
        client.send(bookmark=5, end=True, incarnation="two")
        feed.on_lost()
        assert client.asked() == (False, 5, "two")

    run(main)


def test_a_stopped_feed_is_not_opened_again() -> None:
    async def main(client: ScriptedClient, feed: Recorder) -> None:
        client.send(error="Expired")
        feed.stop()
        await trio.sleep(10)
        assert len(client.watches) == 1

    run(main)
