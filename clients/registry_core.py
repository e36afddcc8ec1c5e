"""What the partitions of a cluster say of one another, and whom to believe, without I/O.

Every partition stores an object for every partition, its own included: TenantPartition tp-1, ResourcePartition rp-2.
There is no one place where the truth is. An entry carries an `epoch`, which whoever changes it raises; of two entries
for one name the one with the higher epoch is the newer, and the newer one wins everywhere. (Of two with one epoch, made
at once at two places, all believe the same one: that which goes further, Removed before Draining before Active, then
that with the greater address.)

    tp-1 has:  rp-2  epoch 4  Active   10.0.0.7:7001        rp-2  epoch 5  Removed
    tp-2 has:  rp-2  epoch 5  Removed                   ->  rp-2  epoch 5  Removed
    rp-1 has:  nothing of rp-2 (it was set back)            rp-2  epoch 5  Removed

Nothing is concluded from an entry that is missing: a partition set back to an older snapshot knows fewer, and an
unreachable one tells none. A partition ends by an entry that says Removed, which stays.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..proto.kinds import BY_KIND, URSA_GROUP, Role
from ..proto.objects import Object, ObjectKey

ACTIVE: Final = "Active"
DRAINING: Final = "Draining"  # Nothing new is placed on it.
REMOVED: Final = "Removed"
STATES: Final = (ACTIVE, DRAINING, REMOVED)

KIND_OF: Final = {Role.TENANT: "TenantPartition", Role.RESOURCE: "ResourcePartition"}
RESOURCE_OF: Final = {role: BY_KIND[kind].resource for role, kind in KIND_OF.items()}


class Entry(NamedTuple):
    """What is known of one partition. The fields are in the order in which entries are compared."""

    epoch: int
    state: str
    address: str
    role: Role
    name: str

    @property
    def key(self) -> ObjectKey:
        return ObjectKey("", "", self.name)

    def supersedes(self, other: Entry | None) -> bool:
        """Whether this is the newer one of two for one name."""
        return other is None or self.rank > other.rank

    @property
    def rank(self) -> tuple[int, int, str]:
        return self.epoch, STATES.index(self.state), self.address

    def changed(self, *, state: str | None = None, address: str | None = None) -> Entry:
        """The next entry of this partition."""
        return self._replace(
            epoch=self.epoch + 1,
            state=self.state if state is None else state,
            address=self.address if address is None else address,
        )


def read_entry(obj: Object) -> Entry:
    """What an object says. One without an epoch is of epoch 0, one without a known state is Active."""
    role = Role.TENANT if obj.message.kind == KIND_OF[Role.TENANT] else Role.RESOURCE
    spec = obj.spec
    epoch, state = spec.get("epoch"), spec.get("state")
    return Entry(
        epoch if isinstance(epoch, int) else 0,
        state if state in STATES else ACTIVE,
        str(spec.get("address") or ""),
        role,
        obj.name,
    )


def entry_object(entry: Entry) -> Object:
    return Object.from_dict(
        {
            "apiVersion": f"{URSA_GROUP}/v1",
            "kind": KIND_OF[entry.role],
            "metadata": {"name": entry.name},
            "spec": {"address": entry.address, "state": entry.state, "epoch": entry.epoch},
        }
    )


class Registry:
    """The newest entry of each partition, whoever told of it."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def learn(self, entry: Entry) -> bool:
        """Take in what somebody says; whether it is news.

        A name is used once, over both roles: an entry in the other role is not believed.
        """
        known = self.entries.get(entry.name)
        if known is not None and (known.role is not entry.role or not entry.supersedes(known)):
            return False
        self.entries[entry.name] = entry
        return True
