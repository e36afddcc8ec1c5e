"""Compaction forgets what nobody can ask for any more, and nothing else, whenever it is cut off."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from unittest import mock

from ursa.partitions.entries import Change, Entry
from ursa.partitions.history import History
from ursa.proto.kinds import Kind
from ursa.storage import Record, index, sweep
from ursa.tools.simulation import Fault, Swarm, Topology

from .plans import OBSERVER, with_episodes
from .registry import Scenario

SWARM = Swarm(Topology(1, 1, 2), seconds=60.0, workload=("registers",), faults=("compact", "crash", "crash-at"))


@contextmanager
def small_steps() -> Iterator[None]:
    """A crash finds a sweep half done."""
    with mock.patch.multiple(sweep, SWEEP_KEYS=8, SWEEP_RECORDS=1):
        yield


@contextmanager
def what_holds_is_compacted() -> Iterator[None]:
    """The newest change of a key that lives goes with those before it."""

    def drop(self: index.KeyIndex, keys: Sequence[str], floor: int) -> list[int]:
        garbage: list[int] = []
        for key in keys:
            entry = self._entries.get(key)
            end = bisect_right(entry, floor * 2 + 1, 1) if isinstance(entry, array) else 0
            if end > 1:
                garbage.extend(change >> 1 for change in entry[1:end])
                self._keep(key, entry, end)
        return garbage

    with mock.patch.object(index.KeyIndex, "drop_garbage", drop):
        yield


@contextmanager
def deletions_go_first() -> Iterator[None]:
    """A sweep erases the newest changes first: cut off, it leaves older ones behind whose deletion is gone."""
    real = sweep.Sweep.look

    def look(self: sweep.Sweep) -> bool:
        if self._garbage is None and real(self):
            self._garbage = iter(sorted(self._garbage, reverse=True))
        return self._garbage is not None

    with mock.patch.object(sweep.Sweep, "look", look):
        yield


@contextmanager
def the_window_has_a_hole() -> Iterator[None]:
    """An apiserver that starts takes watches from below the floor, of which it has no changes any more."""
    real = History.load

    def load(self: History, entries: Iterator[tuple[Kind, Entry]], changed: Callable[[Record], Change]) -> None:
        real(self, entries, changed)
        self.cache._window.floor = 0

    with mock.patch.object(History, "load", load):
        yield


def _compacted_while_away(random: Random, at: float, partition: str) -> Sequence[Fault]:
    away = random.uniform(6.0, 10.0)
    return (
        Fault(at, "cut", OBSERVER, partition, away),
        Fault(at + away - 2.0, "compact", partition),
        Fault(at + away - 1.0, "crash", partition, seconds=random.uniform(0.1, 2.0)),
    )


def _cut_off(random: Random, at: float, partition: str) -> Sequence[Fault]:
    """A compaction, and a crash behind one of the first steps of its sweep."""
    return (
        Fault(at, "compact", partition),
        Fault(at + random.uniform(0.0, 3.0), "crash-at", partition, "sweep-after", random.uniform(1.0, 4.0)),
    )


ORIGIN = "etcd-io/etcd#18089, #19179, #17780, #18667"

SCENARIOS = (
    Scenario(
        "S6",
        "compaction takes what still holds",
        ORIGIN,
        "The newest change of a key that lives is never compacted.",
        SWARM,
        "the change that holds at the floor is swept with those before it",
        what_holds_is_compacted,
        ("Log", "Reads", "Listed", "Initial", "Informer equals server"),
        4,
        small_steps,
    ),
    Scenario(
        "S6b",
        "a crash in a compaction loses a deletion",
        ORIGIN,
        "Whenever a sweep is cut off, what was deleted stays deleted.",
        with_episodes(
            Swarm(Topology(1, 1, 2), seconds=40.0, workload=("registers",), faults=()), _cut_off, seconds=6.0
        ),
        "a sweep erases the newest changes first, and is cut off before the older ones",
        deletions_go_first,
        ("Log", "Reads", "Listed", "Initial", "Informer equals server", "Runs"),
        2,
        small_steps,
    ),
    Scenario(
        "S6c",
        "a watch from below the floor goes on behind the gap",
        ORIGIN,
        "A watch is told of every change behind where it begins, or refused as compacted.",
        with_episodes(
            Swarm(Topology(1, 1, 2), seconds=40.0, operations_a_second=(2.0, 4.0), workload=("registers",), faults=()),
            _compacted_while_away,
            seconds=12.0,
        ),
        "an apiserver that starts takes watches from below the floor of its store",
        the_window_has_a_hole,
        ("Reliable", "Resumable"),
        2,
    ),
)
