"""Where a tenant lives, judged from what several partitions say of it. No I/O.

What a partition says is its own Tenant object (`proto/tenants.py` has the states). Of copies of one tenant, which share
its uid, the one with the highest epoch is the newest; what is still being filled is none yet. Two tenants of one name,
or two copies of which neither is the older, are a mistake that no program decides: it is named, and left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...proto.objects import Object
from ...proto.tenants import ACTIVE, ARRIVING, LEAVING, LEFT, MOVED, PENDING, Record, record_of

# Of two copies of one epoch, the one that the tenant belongs to.
_RANK = (PENDING, LEAVING, LEFT, ACTIVE)


class Sight(NamedTuple):
    """What one partition says of a tenant."""

    partition: str
    tenant: Object

    @property
    def record(self) -> Record:
        return record_of(self.tenant)

    @property
    def rank(self) -> tuple[int, int]:
        record = self.record
        return record.epoch, _RANK.index(record.state)


class Whereabouts(NamedTuple):
    """`home`: what the partition says in which the tenant lives; None: none does, or several. `problem`: one line,
    where that is wrong. `others`: more than signposts, in other partitions."""

    home: Sight | None
    problem: str = ""
    others: tuple[Sight, ...] = ()


def judge(sights: Iterable[Sight]) -> Whereabouts:
    """From what is said of one name."""
    present = [each for each in sights if each.record.state != MOVED]
    holding = [each for each in present if each.record.state not in (ARRIVING, PENDING)]
    if not holding:
        # Claims, of which none may prevail; or a tenant whose source is not in sight.
        home = present[0] if len(present) == 1 else None
        return Whereabouts(home, others=tuple(each for each in present if each is not home))
    newest = max(holding, key=lambda each: each.rank)
    for each in holding:
        if each is not newest and (each.tenant.uid != newest.tenant.uid or each.rank == newest.rank):
            return Whereabouts(None, _duplicate(each, newest), tuple(present))
    return Whereabouts(newest, others=tuple(each for each in present if each is not newest))


def is_older_copy(own: Sight, other: Sight) -> bool:
    """Whether `own` is what a partition has that was set back to before the tenant moved on, to `other`."""
    return (
        own.tenant.uid == other.tenant.uid
        and own.record.state in (ACTIVE, LEAVING, LEFT)
        and other.record.state in (ACTIVE, LEAVING, LEFT)
        and own.rank < other.rank
    )


def _duplicate(one: Sight, other: Sight) -> str:
    first, second = sorted((one, other), key=lambda each: each.partition)
    return (
        f"tenant {first.tenant.name!r} is in {first.partition} and in {second.partition}: nothing is done about "
        f"either; choose one with `ursa tenant resolve {first.tenant.name} --keep PARTITION`"
    )
