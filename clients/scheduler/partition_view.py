"""What the scheduler knows of a partition: whether it answers, and of a resource partition, what is held in it.

An unreachable partition is not an empty one: its nodes keep what is held on them and are merely not chosen, until it
answers again. Nobody waits for it: pods go to the nodes of the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from .columns import NodeColumns
from .ledger import Ledger

# How long a partition that did not answer is left alone before it is tried again; doubles up to the second. A partition
# that restarts is back within a second or two.
SHUT_SECONDS_MIN: Final = 0.2
SHUT_SECONDS_MAX: Final = 5.0


def retry_seconds(failures: int) -> float:
    """The wait before something without an answer is repeated, after so many failures in a row (1 or more)."""
    return min(SHUT_SECONDS_MIN * 2.0 ** min(failures - 1, 16), SHUT_SECONDS_MAX)


class Gate:
    """Open to new work, or shut because the partition did not answer; then it is probed until it does."""

    def __init__(self) -> None:
        self.is_open = True
        # When to probe it next; infinity: not, because it is open, or because something is on its way anyhow.
        self.probe_at = math.inf
        self._failures = 0

    def answered(self) -> None:
        self.is_open, self.probe_at, self._failures = True, math.inf, 0

    def failed(self, now: float) -> None:
        self._failures += 1
        self.is_open, self.probe_at = False, now + retry_seconds(self._failures)

    def stalled(self) -> None:
        """A request has been on its way for too long: nothing new until its fate is known."""
        self.is_open, self.probe_at = False, math.inf

    def probe_due(self, now: float) -> bool:
        """Whether to send a probe now."""
        if now < self.probe_at:
            return False
        self.probe_at = math.inf
        return True


class PartitionView:
    """Of one resource partition."""

    def __init__(self, partition: str, home: str, nodes: NodeColumns) -> None:
        self.partition = partition
        self.ledger = Ledger(partition, home, nodes)
        self.gate = Gate()
        # Its nodes and its placements have both been seen completely once. Before, a node might look empty.
        self.synced = False
        # Claims on their way.
        self.outstanding = 0


def unseen_partitions(views: Mapping[str, PartitionView]) -> list[str]:
    """Of which not everything has been seen yet."""
    return [name for name, view in views.items() if not view.synced]
