"""Objects that come from another partition, and objects that are forgotten because their tenant went to one.

Neither is a write of a user: no rule of the kind is asked, no quota, no webhook, for all that was when the object was
written where it comes from; and nobody's finalizers or grace count for what only goes from here.
"""

from __future__ import annotations

from ...proto import ursa_pb2 as pb
from ...proto.errors import BadRequest
from ...proto.kinds import BY_KIND, Kind
from ...proto.objects import require_kind
from ...proto.tenants import MOVED_TO
from ..admission.strategy import Strategy
from ..admission.validation import Causes
from ..entries import Entry
from .plans import Plan, Write

_TENANT = BY_KIND["Tenant"]


def plan_transfer(kind: Kind, strategy: Strategy, key: str, existing: Entry | None, transfer: pb.Transfer) -> Plan:
    """For a tenant that arrives by this very move.

    Raises:
        BadRequest: it is no object as a partition has it.
    """
    message = transfer.object
    metadata = message.metadata
    if transfer.gone:
        if existing is None:
            return Plan((), message)
        last = existing.message()
        return Plan((Write(kind, key, last, existing, deleted=True),), last)
    require_kind(message, kind.kind, kind.api_version)
    if not metadata.uid or not metadata.name:
        raise BadRequest("an object is brought with its name and its uid")
    if existing is not None:
        if existing.uid != metadata.uid and kind is not _TENANT:  # Of which only a signpost can be there.
            raise BadRequest(f"{key} is another object here, with uid {existing.uid}: bring word that it is gone first")
        present = existing.message()
        metadata.resource_version, metadata.request_id = existing.revision, present.metadata.request_id
        if message.SerializeToString(deterministic=True) == existing.data:
            return Plan((), message)
    if kind is _TENANT:
        strategy.check_object(message, Causes())  # Its phase.
    return Plan((Write(kind, key, message, existing),), message)


def forgotten(kind: Kind, entry: Entry, moved_to: str) -> Write:
    """Gone from here. Who watches sees where to: what hangs on the object goes on there."""
    last = entry.message()
    last.metadata.annotations[MOVED_TO] = moved_to
    return Write(kind, entry.key, last, entry, deleted=True)
