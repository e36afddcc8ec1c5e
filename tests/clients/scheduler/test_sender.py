"""When a partition that does not answer is left alone: after several times of what it usually takes, within bounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import trio
from trio.testing import MockClock
from ursa.clients.client import PartitionClient
from ursa.clients.scheduler.actions import Probe
from ursa.clients.scheduler.sender import (
    STALL_FACTOR,
    STALL_SECONDS_MAX,
    STALL_SECONDS_MIN,
    UNSENT_SECONDS_MAX,
    Sender,
)
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Unreachable


class Partition:
    """Answers each batch after `seconds`, as long as there is a link to it."""

    partition = "rp-1"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.has_link = True

    async def mutate(
        self, operations: Sequence[pb.Operation], *, unsent_seconds_max: float, **_: Any
    ) -> list[pb.Result]:
        if not self.has_link:
            await trio.sleep(unsent_seconds_max)
            raise Unreachable("rp-1", "no link in time")
        await trio.sleep(self.seconds)
        return [pb.Result() for _ in operations]


def play(seconds: float, story: Callable[[Sender, Partition], Awaitable[None]]) -> None:
    async def main() -> None:
        partition = Partition(seconds)
        sender = Sender(cast("PartitionClient", partition), _ignore, _ignore)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.run)
            await story(sender, partition)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def _ignore(*_: Any) -> None: ...


async def answered(sender: Sender, batches: int) -> None:
    for _ in range(batches):
        sender.add([Probe("rp-1")])
        await trio.testing.wait_all_tasks_blocked()
        while sender.stalls_at < float("inf"):  # noqa: ASYNC110 - it tells nobody
            await trio.sleep(0.001)


def test_nothing_is_hurried_before_anything_is_known() -> None:
    async def story(sender: Sender, partition: Partition) -> None:
        assert sender.stall_seconds == STALL_SECONDS_MAX

    play(0.02, story)


def test_a_quick_partition_is_missed_soon_and_never_at_once() -> None:
    async def story(sender: Sender, partition: Partition) -> None:
        await answered(sender, 60)
        assert sender.stall_seconds == STALL_SECONDS_MIN
        began = trio.current_time()
        sender.add([Probe("rp-1")])
        await trio.testing.wait_all_tasks_blocked()
        assert abs(sender.stalls_at - began - STALL_SECONDS_MIN) < 1e-6

    play(0.002, story)


def test_a_slow_partition_is_given_several_times_what_it_usually_takes() -> None:
    async def story(sender: Sender, partition: Partition) -> None:
        await answered(sender, 60)
        assert abs(sender.stall_seconds - STALL_FACTOR * 0.3) < 0.1
        partition.seconds = 4.0
        await answered(sender, 60)
        assert sender.stall_seconds == STALL_SECONDS_MAX, "however slow it usually is"

    play(0.3, story)


async def taken(sender: Sender) -> float:
    """How long the next batch is waited for."""
    began = trio.current_time()
    await answered(sender, 1)
    return trio.current_time() - began


def test_what_cannot_be_sent_to_a_quick_partition_is_given_up_when_its_answer_would_be_missed() -> None:
    async def story(sender: Sender, partition: Partition) -> None:
        await answered(sender, 60)
        partition.has_link = False
        assert abs(await taken(sender) - STALL_SECONDS_MIN) < 0.01

    play(0.002, story)


def test_a_link_that_takes_long_to_open_is_given_longer_each_time() -> None:
    async def story(sender: Sender, partition: Partition) -> None:
        await answered(sender, 60)
        partition.has_link = False
        waits = [await taken(sender) for _ in range(8)]
        for wait, following in pairwise(waits):
            assert abs(following - min(2 * wait, UNSENT_SECONDS_MAX)) < 0.01
        assert abs(waits[-1] - UNSENT_SECONDS_MAX) < 0.01
        partition.has_link = True
        await answered(sender, 1)
        assert sender.unsent_seconds == sender.stall_seconds

    play(0.002, story)
