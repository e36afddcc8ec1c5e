"""A bookmark says that everything before it has come; where it overtakes events, who resumes behind it loses them.

And a watch of what is still to come must not be told of what was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ursa.partitions.watches import lane
from ursa.proto import ursa_pb2 as pb
from ursa.storage import snapshot
from ursa.tools.simulation import Swarm, Topology

from .registry import Scenario

# Little fits into a reply, so that there is often something queued behind it.
REPLY_BYTES = 200


@contextmanager
def bookmarks_overtake() -> Iterator[None]:
    """Every reply bears the newest revision, also when events before it are still queued."""
    real = lane.Lane._reply

    def reply(self: lane.Lane, pieces: list[bytes], bookmark: int) -> bytes:
        del bookmark
        return real(self, pieces, self._history.cache.head)

    with mock.patch.object(lane, "REPLY_BYTES", REPLY_BYTES), mock.patch.object(lane.Lane, "_reply", reply):
        yield


@contextmanager
def the_future_is_watched() -> Iterator[None]:
    """A watch behind a revision that is still to come begins at the newest there is."""
    real = lane.Lane._check_start

    def check(self: lane.Lane, start: pb.WatchStart) -> None:
        start.incarnation = ""
        start.resource_version = min(start.resource_version, self._history.cache.head)
        real(self, start)

    with mock.patch.object(lane.Lane, "_check_start", check):
        yield


@contextmanager
def restored_stores_count_on() -> Iterator[None]:
    """So that what clients have seen may be a revision that is still to come."""
    with mock.patch.object(snapshot, "REVISIONS_FORWARD", 0):
        yield


SCENARIOS = (
    Scenario(
        "S8",
        "a bookmark overtakes events",
        "etcd-io/etcd#15220, kubernetes/kubernetes#74022",
        "When a bookmark has come, nothing older will.",
        Swarm(Topology(1, 1, 2), seconds=30.0, workload=("registers",), faults=("cut", "delay")),
        "every reply bears the newest revision, also while older events are queued behind it",
        bookmarks_overtake,
        ("Bookmarkable", "Reliable"),
        1,
    ),
    Scenario(
        "S8b",
        "a watch of a future revision is told of what was before it",
        "etcd-io/etcd#20221, etcd-io/etcd#15271",
        "A watch behind a revision is never told of anything before it.",
        Swarm(Topology(1, 1, 2), seconds=40.0, workload=("registers",), faults=("restore", "cut", "crash")),
        "a watch behind a revision that is still to come begins at the newest there is",
        the_future_is_watched,
        ("Resumable",),
        11,
        restored_stores_count_on,
    ),
)
