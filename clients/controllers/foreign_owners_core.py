"""Judges owners that live in the partitions of the other role, as a Node that owns a pod, without I/O.

Such an owner may be in any partition of that role, so it is gone only when each of them has said that it has no object
of its uid. "Each" is by the registry, which is brought up to date here and there and nowhere at once: so it is read
where the owner would be, too, and an owner must have been missing everywhere for a while, asked about again and again.
A partition that is silent, or of which there is no client yet, may have it. One that was removed has nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ...proto.objects import Object
from ...proto.propagation import FOREGROUND, ORPHAN
from .owners import Item, waits_for

# A partition that was added is known everywhere long before this, and one that is away begins the time anew.
QUARANTINE_SECONDS = 40.0
# Between two questions about an owner. Who has not asked for longer has not seen it missing all the time.
GAP_SECONDS_MAX = 60.0


class Fate(enum.Enum):
    """What is said of an owner."""

    GONE = "gone"
    WAITS = "waits"  # For its dependents, which are to be deleted.
    ORPHANS = "orphans"  # It is to go, and its dependents are to forget it.
    LIVES = "lives"


_FATE_OF = {FOREGROUND: Fate.WAITS, ORPHAN: Fate.ORPHANS}


def fate_of(owner: Item, found: Object | None) -> Fate:
    """`found` is what a partition has under the owner's name, None if there is nothing."""
    if found is None or found.uid != owner.uid:
        return Fate.GONE
    return _FATE_OF.get(waits_for(found), Fate.LIVES)


class _Missing(NamedTuple):
    since: float
    asked_at: float


class ForeignOwnersCore:
    """Times are trio's, in seconds."""

    def __init__(self) -> None:
        self._missing: dict[Item, _Missing] = {}

    def judge(self, owner: Item, answers: Mapping[str, Fate], partitions: Collection[str], now: float) -> Fate | None:
        """What is to be believed of an owner; None: it cannot be told.

        Args:
            answers: by partition, of those that answered.
            partitions: all that may have it.
        """
        for fate in answers.values():
            if fate is not Fate.GONE:
                self._missing.pop(owner, None)
                return fate
        if any(name not in answers for name in partitions):
            self._missing.pop(owner, None)
            return None
        known = self._missing.get(owner)
        since = known.since if known is not None and now - known.asked_at <= GAP_SECONDS_MAX else now
        self._missing[owner] = _Missing(since, now)
        return Fate.GONE if now - since >= QUARANTINE_SECONDS else Fate.LIVES

    def tidy(self, now: float) -> None:
        """Forget what nobody has asked about for long."""
        for owner, known in list(self._missing.items()):
            if now - known.asked_at > GAP_SECONDS_MAX:
                del self._missing[owner]
