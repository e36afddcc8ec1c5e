"""What the scheduler knows of a resource partition, over lost links and full views."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import trio
from ursa.clients.feed import FeedKeeper
from ursa.clients.revisions import Revision
from ursa.clients.scheduler.core import SchedulingCore
from ursa.clients.scheduler.feeds import NodeFeed, PlacementFeed
from ursa.proto import ursa_pb2 as pb

from ..kubelet.cluster import actor
from ..scripted_watches import ScriptedClient
from .objects import node, placement


class Followed:
    def __init__(self) -> None:
        self.core = SchedulingCore("tp-1", ["tp-1"], ["rp-1"], Random(1))
        self.client = ScriptedClient()
        self.client.partition = "rp-1"
        self.bursts = 0
        keeper = FeedKeeper(self.client, actor("test"))  # type: ignore[arg-type]
        self.feed = PlacementFeed(keeper, self.core, self._burst)
        self.feed.open()

    def _burst(self) -> None:
        self.bursts += 1

    @property
    def held(self) -> list[str]:
        return sorted(self.core.views["rp-1"].ledger.observed)


def run(story: Callable[[Followed], None]) -> None:
    async def main() -> None:
        await trio.lowlevel.checkpoint()
        story(Followed())

    trio.run(main)


def event(pod_uid: str, revision: int, kind: pb.WatchEvent.Type = pb.WatchEvent.ADDED) -> pb.WatchEvent:
    return pb.WatchEvent(type=kind, resource_version=revision, object=placement(pod_uid, "n", {"cpu": 100}).message)


def test_what_a_full_view_does_not_show_any_more_is_not_held() -> None:
    def story(followed: Followed) -> None:
        followed.client.send(event("a", 1), event("b", 2), bookmark=5, end=True)
        followed.client.send(error="Expired")
        followed.feed.open()
        assert followed.held == ["a", "b"], "what is not known to be gone is held"
        followed.client.send(event("b", 2), event("c", 7), bookmark=9, end=True)
        assert followed.held == ["b", "c"]

    run(story)


def test_a_view_that_is_cut_short_takes_nothing_away() -> None:
    def story(followed: Followed) -> None:
        followed.client.send(event("a", 1), event("b", 2), bookmark=5, end=True)
        followed.client.send(error="Expired")
        followed.feed.open()
        followed.client.send(event("a", 1))
        followed.feed.on_lost()
        assert followed.held == ["a", "b"]
        followed.client.send(event("b", 2), bookmark=9, end=True)
        assert followed.held == ["b"], "it counts by the view that was completed"

    run(story)


def test_events_after_the_view_are_told_once_and_say_how_far_they_reach() -> None:
    def story(followed: Followed) -> None:
        followed.client.send(event("a", 1), bookmark=5, end=True)
        followed.client.send(event("a", 6, pb.WatchEvent.DELETED), event("b", 7))
        assert followed.held == ["b"]
        assert followed.feed.seen_up_to == Revision("rp-1", 7, "one")
        followed.client.last.bookmark = 12  # Of its stream: nothing for this watch up to there.
        assert followed.feed.seen_up_to == Revision("rp-1", 12, "one")
        assert followed.bursts == 2

    run(story)


def test_a_view_that_is_being_taken_reaches_as_far_as_the_one_before() -> None:
    def story(followed: Followed) -> None:
        followed.client.send(event("a", 1), bookmark=5, end=True)
        followed.client.send(error="Expired")
        followed.feed.open()
        followed.client.send(event("a", 1), event("b", 9))
        followed.client.last.bookmark = 20
        assert followed.feed.seen_up_to == Revision("rp-1", 5, "one")

    run(story)


def test_nodes_that_a_full_view_does_not_show_are_gone_and_those_of_other_partitions_are_not() -> None:
    def story(followed: Followed) -> None:
        core = followed.core
        core.partition_added("rp-2")
        core.node_seen("rp-2", node("elsewhere"))
        nodes = NodeFeed(FeedKeeper(followed.client, actor("test")), core, followed._burst)  # type: ignore[arg-type]
        nodes.open()
        both = [pb.WatchEvent(type=pb.WatchEvent.ADDED, object=node(name).message) for name in ("a", "b")]
        followed.client.send(*both, bookmark=5, end=True)
        followed.client.send(error="Expired")
        nodes.open()
        assert core.nodes.names_of("rp-1") == ["a", "b"]
        followed.client.send(both[1], bookmark=9, end=True)
        assert core.nodes.names_of("rp-1") == ["b"]
        followed.client.send(pb.WatchEvent(type=pb.WatchEvent.DELETED, resource_version=10, object=node("b").message))
        assert core.nodes.names_of("rp-1") == []
        assert core.nodes.names_of("rp-2") == ["elsewhere"]

    run(story)
