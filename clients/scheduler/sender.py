"""Carries what was decided to one partition: one batch on its way, and what is decided meanwhile is the next.

So the partition's own pace sets the size of the batches, and the scheduler goes on deciding while it waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import LinkError
from ..client import PartitionClient
from .actions import Action

# The most that one message carries; see `clients.mutations`.
BATCH_ACTIONS_MAX: Final = 256
# A partition answers a batch within tens of milliseconds, or seconds on a slow disk under load. One that takes longer
# gets no new work until it answers; the pods go elsewhere.
STALL_SECONDS: Final = 5.0


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

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if not self._outbox:
                self._filled = trio.Event()
                await self._filled.wait()
                continue
            batch = self._outbox[:BATCH_ACTIONS_MAX]
            del self._outbox[:BATCH_ACTIONS_MAX]
            self.stalls_at = trio.current_time() + STALL_SECONDS
            try:
                results = await self._client.mutate([action.operation() for action in batch])
            except LinkError as error:
                self._unanswered(self.partition, batch, error, trio.current_time())
            else:
                self._answered(self.partition, batch, results, trio.current_time())
            finally:
                self.stalls_at = math.inf
