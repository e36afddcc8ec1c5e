"""What a store has left to do when nothing is written to it.

Sweeps and checkpoints go on with the commits, a step each. A store that has gone quiet in the middle of one would stay
there: its garbage would not be erased, its next opening would read the whole log. So whenever nothing was written for a
while, all that is left is done, a step at a time, until it is done or somebody writes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..proto.errors import StoreError
from ..storage import Store
from .pacing import Runtime

# How long a store must have been quiet, at least.
QUIET_SECONDS = 10.0
# Between two steps, each a millisecond of the loop or a short transaction.
STEP_PAUSE_SECONDS = 0.005


class Maintenance:
    """Runs on the runtime's timers from the moment it is made until it is stopped."""

    def __init__(self, stores: Mapping[str, Store], runtime: Runtime) -> None:
        self._stores = stores
        self._runtime = runtime
        self._heads = {name: store.staged_head for name, store in stores.items()}
        self._stopped = False
        runtime.call_later(QUIET_SECONDS, self._look)

    def stop(self) -> None:
        self._stopped = True

    def _look(self) -> None:
        if self._stopped:
            return
        for name, store in self._stores.items():
            head, self._heads[name] = self._heads[name], store.staged_head
            self._step(store, head)
        self._runtime.call_later(QUIET_SECONDS, self._look)

    def _step(self, store: Store, head: int) -> None:
        """Unless something was written since `head`."""
        if self._stopped or store.staged_head != head:
            return
        try:
            more = store.sweep_step()
        except StoreError:
            return  # A commit has failed; whoever opened the store has been told, and ends the partition.
        if more:
            self._runtime.call_later(STEP_PAUSE_SECONDS, partial(self._step, store, head))
