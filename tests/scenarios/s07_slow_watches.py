"""A watch that is too slow for what is kept must be told so, and not go on as if nothing had been missed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from ursa.clients.transport import _memory_stream
from ursa.partitions.cache import window
from ursa.partitions.watches import lane, sharing
from ursa.tools.simulation import Swarm, Topology

from .plans import aimed_at_the_observer
from .registry import Scenario


@contextmanager
def little_is_kept() -> Iterator[None]:
    """A reader that stands still for seconds is outrun."""
    with (
        mock.patch.object(window, "WINDOW_CHANGES_MAX", 8),
        mock.patch.object(window, "PAGES", 4),
        mock.patch.object(sharing, "SHARED_COMMITS_MAX", 3),
        mock.patch.object(lane, "REPLY_BYTES", 400),
        mock.patch.object(_memory_stream, "INBOUND_BYTES_MAX", 800),
    ):
        yield


@contextmanager
def the_gap_is_passed_over() -> Iterator[None]:
    """A watch that has fallen out of the window goes on with the oldest change that is there."""
    real = lane.Lane._missed

    def missed(self: lane.Lane, watch: lane.Watch, group: Any, room: int) -> Any:
        watch.position = max(watch.position, self._history.cache.floor)
        return real(self, watch, group, room)

    with mock.patch.object(lane.Lane, "_missed", missed):
        yield


SCENARIOS = (
    Scenario(
        "S7",
        "a slow watch silently loses events",
        "etcd-io/etcd#17529, kubernetes/kubernetes#24091, kubernetes/kubernetes#38670",
        "A slow watch gets every event, or an explicit end with a revision to go on from.",
        aimed_at_the_observer(
            Swarm(
                Topology(1, 1, 2),
                seconds=30.0,
                operations_a_second=(3.0, 6.0),
                workload=("registers",),
                faults=("silence-replies", "delay"),
            )
        ),
        "a watch that has fallen out of the window goes on with the oldest change that is still there",
        the_gap_is_passed_over,
        ("Reliable", "Resumable"),
        66,
        little_is_kept,
    ),
)
