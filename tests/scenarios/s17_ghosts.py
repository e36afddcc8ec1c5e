"""A deletion that the watch cache has swallowed leaves a ghost, which nobody notices until the next restart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ursa.partitions.cache.collection import Collection
from ursa.partitions.entries import Change
from ursa.partitions.watches.dispatching import Dispatcher
from ursa.tools.simulation import Swarm, Topology

from .registry import Scenario

SWARM = Swarm(Topology(1, 1, 2), seconds=30.0, workload=("registers", "pods"), faults=("cut", "crash"))
ORIGIN = "kubernetes/kubernetes#76624, kubernetes/kubernetes#123072, kubernetes/kubernetes#55587"


@contextmanager
def a_deleted_object_stays() -> Iterator[None]:
    """The cache keeps what was deleted; the deletion is told to watches."""
    real = Collection.apply

    def apply(self: Collection, change: Change) -> None:
        real(self, change)
        if change.new is None and change.old is not None:
            self.load(change.old)

    with mock.patch.object(Collection, "apply", apply):
        yield


@contextmanager
def a_deletion_is_not_told() -> Iterator[None]:
    """A deletion changes the cache, and no watch is told."""
    real = Dispatcher.dispatch

    def dispatch(self: Dispatcher, change: Change) -> int:
        return real(self, change) if change.new is not None else 0

    with mock.patch.object(Dispatcher, "dispatch", dispatch):
        yield


SCENARIOS = (
    Scenario(
        "S17",
        "a ghost in the watch cache",
        ORIGIN,
        "At every revision the watch cache holds what the store does.",
        SWARM,
        "a deletion leaves the object in the collection that lists and gets are answered from",
        a_deleted_object_stays,
        ("Reads", "Listed", "Initial"),
        3,
    ),
    Scenario(
        "S17b",
        "a deletion that no watch is told of",
        ORIGIN,
        "A watch is told of every deletion of what it selects.",
        SWARM,
        "a deletion changes the watch cache, but is not dispatched to watches",
        a_deletion_is_not_told,
        ("Reliable", "Informer equals server"),
        2,
    ),
)
