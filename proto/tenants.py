"""What a Tenant says of where it lives, without I/O.

A tenant lives in one tenant partition. Its object there says so, and is what the partition goes by: which writes of the
tenant's objects it takes (`partitions/admission/tenants.py`). Nobody else is asked.

    at its birth      Pending ──nobody else has one of this name──> Active
                         └──somebody has──> deleted

    a move            at the source                          at the target
                      Active   epoch 4                       -
                      Active   4                             Arriving 5    filled with what does not change much
                      Leaving  5  nothing is written         Arriving 5    filled with all
                      Left     5  there is no way back       Arriving 5
                      Left     5                             Active   5
                      Moved    5  its objects are forgotten  Active   5
    given up          Active   6                             Moved    5    the same

The step from Leaving to Left decides: before it the tenant belongs to its source, and whoever finds a move that stands
still may undo it there, without asking the target; after it the tenant belongs to the target, and whoever finds it goes
on. Each step is one write of one object that names the revision it was decided on, so of two that want different things
one has to look again. **At no time is a tenant Active in two partitions**, unless one of them is set back to an older
snapshot; then the copy with the lower epoch is the older one, and goes.

A move has an epoch that is higher than all that source and target know of, also where an earlier one was given up.

What stays of a Moved tenant is a signpost: it says where to, at which epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from . import ursa_pb2 as pb
from .kinds import BY_KIND, SYSTEM_TENANT
from .objects import Object

TENANTS: Final = BY_KIND["Tenant"].resource

PENDING: Final = "Pending"  # Somebody asks all partitions whether the name is free.
ACTIVE: Final = "Active"
ARRIVING: Final = "Arriving"  # It is being filled with what the tenant has elsewhere.
LEAVING: Final = "Leaving"  # Frozen: it may still stay.
LEFT: Final = "Left"  # Frozen: it belongs to another partition.
MOVED: Final = "Moved"  # Another one has it, and nothing is left here.
STATES: Final = (PENDING, ACTIVE, ARRIVING, LEAVING, LEFT, MOVED)
# In which an object of another partition is meant.
_WITH_PEER: Final = (ARRIVING, LEAVING, LEFT, MOVED)
# From a state to those that may follow, where the epoch stays; and where it rises.
_SAME_EPOCH: Final[Mapping[str, tuple[str, ...]]] = {
    PENDING: (ACTIVE,),
    ARRIVING: (ACTIVE, MOVED),
    LEAVING: (LEFT,),
    LEFT: (MOVED,),
}
_NEXT_EPOCH: Final[Mapping[str, tuple[str, ...]]] = {
    ACTIVE: (LEAVING, MOVED, ACTIVE),
    LEAVING: (ACTIVE, LEAVING),
    LEFT: (ACTIVE, LEFT),
    ARRIVING: (ARRIVING, ACTIVE, MOVED),
    MOVED: (MOVED,),
}

# On the last state of what a partition has forgotten because its tenant moved: where to.
MOVED_TO: Final = "ursa.dev/moved-to"
# The cause of a refusal because the tenant is not open for writes here.
TENANT_NOT_HERE: Final = "TenantNotHere"


def is_not_here(status: pb.Status) -> bool:
    """A partition refused it because of where the tenant is."""
    return any(cause.reason == TENANT_NOT_HERE for cause in status.causes)


class Record(NamedTuple):
    """What a Tenant's spec says."""

    state: str = ACTIVE
    epoch: int = 0
    partition: str = ""  # The other one: where it goes, has gone, or comes from.
    move: str = ""  # Whose filling counts, while it arrives.

    @property
    def frozen(self) -> bool:
        """All is there, and nothing is written."""
        return self.state in (LEAVING, LEFT)

    @property
    def present(self) -> bool:
        """The name is taken in this partition: it is more than a signpost."""
        return self.state != MOVED

    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"state": self.state, "epoch": self.epoch}
        if self.partition:
            spec["partition"] = self.partition
        if self.move:
            spec["move"] = self.move
        return spec


def read_record(spec: Any) -> Record:
    """What a spec says that has been checked; one that says nothing is Active, of epoch 0."""
    return Record(
        str(spec.get("state") or ACTIVE),
        int(spec.get("epoch") or 0),
        str(spec.get("partition") or ""),
        str(spec.get("move") or ""),
    )


def record_of(tenant: Object) -> Record:
    return read_record(tenant.spec)


def with_record(tenant: Object, record: Record) -> Object:
    """A copy that says this, and all else that it said."""
    kept = {name: value for name, value in tenant.spec.items() if name not in Record._fields}
    return tenant.with_spec({**kept, **record.spec()})


def may_follow(old: Record, new: Record) -> bool:
    """Whether a Tenant may go from one to the other: see the module."""
    if old == new:
        return True
    if new.epoch == old.epoch:
        return new.state in _SAME_EPOCH.get(old.state, ())
    return new.epoch > old.epoch and new.state in _NEXT_EPOCH.get(old.state, ())


def problems(name: str, record: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with a spec, by field."""
    found: dict[str, str] = {}
    state, epoch = record.get("state", ACTIVE), record.get("epoch", 0)
    if state not in STATES:
        found["state"] = f"must be one of {', '.join(STATES)}"
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
        found["epoch"] = "must be a whole number, not negative"
    for field in ("partition", "move"):
        if not isinstance(record.get(field, ""), str):
            found[field] = "must be a string"
    if not found and state in _WITH_PEER and not record.get("partition"):
        found["partition"] = f"is required of a tenant that is {state}"
    if not found and name == SYSTEM_TENANT and state != ACTIVE:
        found["state"] = "of the tenant of the system is always Active: every partition has its own"
    return found
