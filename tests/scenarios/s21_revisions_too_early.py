"""A revision that is told before it is committed: a list at N lacks N - 1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ursa.partitions.history import History
from ursa.partitions.reads import listing
from ursa.storage import Record
from ursa.tools.simulation import Swarm, Topology

from .registry import Scenario

SWARM = Swarm(Topology(1, 1, 2), seconds=30.0, workload=("registers",), faults=("slow-disk", "crash"))
ORIGIN = "k3s-io/kine#676, k3s-io/kine#82, k3s-io/kine#71, k3s-io/kine#759"


@contextmanager
def lists_say_what_is_staged() -> Iterator[None]:
    """A list of what is published says that it is of the newest revision that was given out."""

    def read(self: listing.Lister, query: listing.Query) -> Iterator[bytes | None]:
        return listing._from_cache(query, query.history.store.staged_head)

    with mock.patch.object(listing.Lister, "read", read):
        yield


@contextmanager
def a_change_is_passed_over() -> Iterator[None]:
    """Of a commit of several changes watches are told of the last one alone; the others came too late for it."""
    real = History._publish

    def publish(self: History, records: list[Record]) -> None:
        dispatch, last = self.dispatcher.dispatch, records[-1].revision if records else 0
        told = mock.patch.object(
            self.dispatcher, "dispatch", lambda change: change.revision == last and dispatch(change)
        )
        with told:
            real(self, records)

    with mock.patch.object(History, "_publish", publish):
        yield


SCENARIOS = (
    Scenario(
        "S21",
        "a list says a revision that is not committed yet",
        ORIGIN,
        "What is read at a revision has every change up to it.",
        SWARM,
        "a list bears the newest revision that was given out, committed or not",
        lists_say_what_is_staged,
        ("Listed", "Reads", "Linearizable"),
        2,
    ),
    Scenario(
        "S21b",
        "the feed of changes has a gap",
        ORIGIN,
        "A watch that is told of revision N was told of all it selects before.",
        SWARM,
        "of a commit of several changes watches are told of the last one alone",
        a_change_is_passed_over,
        ("Reliable", "Resumable"),
        1,
    ),
)
