"""Carries what was decided to one partition: one batch on its way, and what is decided meanwhile is the next.

So the partition's own pace sets the size of the batches, and the scheduler goes on deciding while it waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Final

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import LinkError, Unreachable
from ..client import PartitionClient
from .actions import Action

# The most that one message carries; see `clients.mutations`.
BATCH_ACTIONS_MAX: Final = 256
# A partition that takes several times as long as it usually does to answer a batch gets no new work until it answers,
# and what has not been sent goes elsewhere. Usual are tens of milliseconds, or seconds on a slow disk under load; the
# sooner a lost one is noticed, the fewer pods have waited for it in vain.
STALL_FACTOR: Final = 6.0
STALL_SECONDS_MIN: Final = 0.2
STALL_SECONDS_MAX: Final = 5.0
# What cannot even be sent, because there is no link, is decided on anew as soon as an answer would be missed: its pods
# go elsewhere. A link that is given up while it opens is never there, so each batch in a row is given twice as long, up
# to this.
UNSENT_SECONDS_MAX: Final = 5.0
# The weight of the newest answer in what is usual.
USUAL_WEIGHT: Final = 1 / 8


class Sender:
    """`answered` and `unanswered` are called once for each batch, with what it consisted of."""

    def __init__(
        self,
        client: PartitionClient,
        answered: Callable[[str, Sequence[Action], Sequence[pb.Result], float], None],
        unanswered: Callable[[str, Sequence[Action], LinkError, float], None],
    ) -> None:
        self.partition = client.partition
        # When the batch on its way is to be taken for stalled; infinity: there is none, or it has been.
        self.stalls_at = math.inf
        self._usual_seconds = STALL_SECONDS_MAX / STALL_FACTOR  # Of an answer; nothing is known of it yet.
        self._unsent = 0  # Batches in a row for which there was no link.
        self._client = client
        self._answered, self._unanswered = answered, unanswered
        self._outbox: list[Action] = []
        self._filled = trio.Event()

    def add(self, actions: Sequence[Action]) -> None:
        """To be sent, in this order."""
        self._outbox.extend(actions)
        self._filled.set()

    def take_back(self) -> list[Action]:
        """What has not been sent yet, and now never will be."""
        actions, self._outbox = self._outbox, []
        return actions

    @property
    def stall_seconds(self) -> float:
        """How long the next batch may be on its way before the partition is left alone."""
        return min(max(STALL_FACTOR * self._usual_seconds, STALL_SECONDS_MIN), STALL_SECONDS_MAX)

    @property
    def unsent_seconds(self) -> float:
        """How long the next batch may wait for a link."""
        return min(self.stall_seconds * 2.0 ** min(self._unsent, 16), UNSENT_SECONDS_MAX)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if not self._outbox:
                self._filled = trio.Event()
                await self._filled.wait()
                continue
            batch = self._next_batch()
            del self._outbox[: len(batch)]
            sent_at = trio.current_time()
            self.stalls_at = sent_at + self.stall_seconds
            try:
                operations = [action.operation() for action in batch]
                results = await self._client.mutate(
                    operations, history=batch[0].history, unsent_seconds_max=self.unsent_seconds
                )
            except LinkError as error:
                self._unsent += isinstance(error, Unreachable)
                self._unanswered(self.partition, batch, error, trio.current_time())
            else:
                now, self._unsent = trio.current_time(), 0
                self._usual_seconds += USUAL_WEIGHT * (now - sent_at - self._usual_seconds)
                self._answered(self.partition, batch, results, now)
            finally:
                self.stalls_at = math.inf

    def _next_batch(self) -> list[Action]:
        """As many as one message takes; those of one history, which are all but for a moment."""
        batch = self._outbox[:BATCH_ACTIONS_MAX]
        history = batch[0].history
        if batch[-1].history == history and all(action.history == history for action in batch):
            return batch
        return list(takewhile(lambda action: action.history == history, batch))
