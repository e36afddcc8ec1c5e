"""Whether who writes still leads: a fence is compared with its Lease as the next operation will find it.

A lease alone keeps nobody from writing late: a leader may sleep for a minute between looking at its clock and sending,
or its message may travel that long. So a write says in which term it was decided on, and it is here, where writes have
an order, that it comes before or behind the next term. What is staged counts: the grant of a term refuses what comes
behind it before it is durable, too, for nothing behind it can be durable without it.

Terms are compared for equality. One that is newer than the Lease's was granted by another one, or in a history that
this partition was set back from; it is as wrong as an older one.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...proto import ursa_pb2 as pb
from ...proto.errors import FENCED_OFF, Cause, Conflict
from ...proto.kinds import BY_KIND
from ...proto.leases import holding
from ...proto.objects import decode
from ..entries import Entry

_LEASE = BY_KIND["Lease"]


class Fences:
    """`latest`: the newest state of each object, by key."""

    def __init__(self, latest: Mapping[str, Entry]) -> None:
        self._latest = latest
        # What is asked about again for each operation of a batch.
        self._entry: Entry | None = None
        self._granted = ("", 0, "")

    def check(self, fence: pb.Fence) -> None:
        """Raises Conflict, see `errors.was_fenced_off`: the writer does not lead, or no longer."""
        key = _LEASE.key(fence.tenant, fence.namespace, fence.name)
        entry = self._latest.get(key)
        if entry is None:
            raise Conflict(
                f"{key} does not exist, by which {fence.holder or 'nobody'} would lead: nothing was written",
                key=key,
                causes=[Cause("fence", "there is no such lease", FENCED_OFF)],
            )
        if entry is not self._entry:
            held = holding(decode(entry.message().spec))
            self._entry, self._granted = entry, (entry.uid, held.term, held.holder)
        uid, term, holder = self._granted
        if (fence.uid, fence.term, fence.holder) == self._granted and holder:
            return
        same = "" if fence.uid == uid else f" of another lease ({fence.uid})"
        raise Conflict(
            f"{fence.holder or 'nobody'} does not lead in term {fence.term}{same}: {key} is held by "
            f"{holder or 'nobody'} in term {term}; nothing was written",
            key=key,
            resource_version=entry.revision,
            causes=[Cause("fence", f"the term is {term}", FENCED_OFF)],
        )
