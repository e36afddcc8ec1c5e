"""A store that is full must still let go, or it stays full."""

from __future__ import annotations

from collections.abc import Iterator

from ...proto.tenants import TENANTS
from .recorded import Recording
from .violations import Violation

FULL = "Full"

_UNAVAILABLE = 503
_LEASES = "leases.coordination.k8s.io"
# As the simulator notes it when the room of a partition is taken away.
_FULL = "full "
_TENANT = f"/registry/{TENANTS}/"


def full_stores_let_go(recording: Recording) -> Iterator[Violation]:
    """**A full store takes deletions, and the renewals of leases**: else nobody could make room, and all nodes would
    seem to be lost. (partitions/state.py.) Judged of partitions that were made full: one that stops refuses in the same
    words."""
    full = {note.what.split()[1]: None for note in recording.happened if note.what.startswith(_FULL)}
    for write in recording.writes:
        must_go_on = write.verb == "delete" or write.resource == _LEASES
        moving = write.found_key.startswith(_TENANT)  # Nothing of its tenant is written at the moment.
        if write.partition in full and must_go_on and write.code == _UNAVAILABLE and not moving:
            text = f"the {write.verb} of {write.key} by {write.client} was refused by {write.partition}, which was full"
            yield Violation(FULL, text, write.key, write.ret)
