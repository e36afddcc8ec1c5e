"""What a partition's controllers do about tenants that stand still between two states, without I/O.

Who creates or moves a tenant may die at any step. What he leaves is of no use, or frozen, and somebody must end it. It
has not been seen to change for longer than whoever works on it would need; no clock is compared with another, and
nothing depends on the time being right: each step names the revision that it was decided on.

    Pending                     taken away
    Leaving                     opened again here, unless the target has it
    Left                        brought to its target; if that has it, forgotten here
    Arriving                    forgotten here, if its source has it still and does not let it go; opened with what is
                                here, if its source has let it go and forgotten it: it had come, and this partition was
                                set back to before that
    an older copy, in a partition that was set back     forgotten here: the partition had done that before
    in two partitions, and neither is the older one     named in its status; both stay as they are
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple

from ...proto.tenants import ACTIVE, ARRIVING, LEAVING, LEFT, MOVED, PENDING
from ..tenants.moving import FREEZE_SECONDS_MAX, UNDO_SECONDS_MAX
from ..tenants.whereabouts import Sight, is_older_copy, judge

# A claim takes a few round trips, of at most ten seconds each.
CLAIM_SECONDS_MAX = 60.0
# A mover that lives has opened it, or let go, by then.
LEAVING_SECONDS_MAX = FREEZE_SECONDS_MAX + 2 * UNDO_SECONDS_MAX
# A mover's next step is under way.
LEFT_SECONDS_MAX = 10.0
# The source is not frozen while much is brought, so nobody is in a hurry.
ARRIVING_SECONDS_MAX = 600.0


class Act(enum.Enum):
    GIVE_UP_CLAIM = "take the claim away"
    SETTLE_LEAVING = "open it again"
    SETTLE_LEFT = "bring it to its target"
    SETTLE_ARRIVING = "forget what has come of it, or open it"
    STEP_ASIDE = "forget this older copy"
    TELL = "say that it is in several partitions"
    TELL_NO_MORE = "say that it is in one"


class Decision(NamedTuple):
    act: Act
    other: Sight | None = None  # Of STEP_ASIDE: the newer one.
    problem: str = ""


_PATIENCE = {
    PENDING: (CLAIM_SECONDS_MAX, Act.GIVE_UP_CLAIM),
    LEAVING: (LEAVING_SECONDS_MAX, Act.SETTLE_LEAVING),
    LEFT: (LEFT_SECONDS_MAX, Act.SETTLE_LEFT),
    ARRIVING: (ARRIVING_SECONDS_MAX, Act.SETTLE_ARRIVING),
}
CONDITION = "Unique"


class TenantsCore:
    """Of one tenant partition. Times are in seconds of the caller's clock."""

    def __init__(self) -> None:
        # By name: the uid and revision that were seen last, and since when.
        self._seen: dict[str, tuple[str, int, float]] = {}

    def forget(self, name: str) -> None:
        self._seen.pop(name, None)

    def decide(self, own: Sight, others: Iterable[Sight], now: float) -> Decision | None:
        """`others`: what partitions that answer say of the name."""
        tenant, record = own.tenant, own.record
        uid, revision, since = self._seen.get(tenant.name, ("", 0, now))
        if (uid, revision) != (tenant.uid, tenant.resource_version):
            since = now
            self._seen[tenant.name] = tenant.uid, tenant.resource_version, now
        if tenant.deletion_ms or record.state == MOVED:
            return None
        others = list(others)
        newer = [other for other in others if is_older_copy(own, other)]
        if newer:
            return Decision(Act.STEP_ASIDE, max(newer, key=lambda each: each.rank))
        if record.state in _PATIENCE:
            seconds, act = _PATIENCE[record.state]
            if record.state == ARRIVING and any(_gave_up(own, other) or has_let_go(own, other) for other in others):
                seconds = LEFT_SECONDS_MAX
            return Decision(act) if now - since >= seconds else None
        return self._problem(own, others)

    def _problem(self, own: Sight, others: list[Sight]) -> Decision | None:
        problem = judge([own, *others]).problem
        told = told_of(own)
        if problem and problem != told:
            return Decision(Act.TELL, problem=problem)
        return Decision(Act.TELL_NO_MORE) if told and not problem else None


def told_of(own: Sight) -> str:
    """What its status says of it being in several partitions; empty: that it is not."""
    for condition in own.tenant.status.get("conditions") or ():
        if condition.get("type") == CONDITION and condition.get("status") == "False":
            return str(condition.get("message") or "")
    return ""


def _gave_up(own: Sight, other: Sight) -> bool:
    """The source of what arrives has begun another chapter."""
    record = other.record
    same = other.partition == own.record.partition and other.tenant.uid == own.tenant.uid
    return same and record.state == ACTIVE and record.epoch > own.record.epoch


def has_let_go(own: Sight, source: Sight) -> bool:
    """What arrives had come already, and its source has nothing of it any more."""
    record = source.record
    same = source.partition == own.record.partition and source.tenant.uid == own.tenant.uid
    return same and record.state == MOVED and record.partition == own.partition and record.epoch >= own.record.epoch
