"""What many judges ask of a pod's changes, read once for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...proto.objects import decode, decode_shared
from ..load.checks import FINISHED_PHASES
from .changes import Change

_FINISHED = tuple(phase.encode() for phase in FINISHED_PHASES)


class Owner(NamedTuple):
    """Of a pod: what it names as its owner, and whether that is its controller."""

    kind: str
    uid: str
    controller: bool


class PodFacts(NamedTuple):
    """A pod as a change leaves it; of a deletion its last state."""

    node: str  # Empty: it is not bound.
    resource_partition: str
    finished: bool
    owners: tuple[Owner, ...]

    def controller(self, kind: str) -> Owner | None:
        """The controlling owner, if it is of this kind."""
        return next((owner for owner in self.owners if owner.controller and owner.kind == kind), None)


def read_pods(changes: Iterable[Change]) -> dict[int, PodFacts]:
    """By the revision of each of these changes of pods."""
    shared: dict[tuple[Owner, ...], tuple[Owner, ...]] = {}  # The pods of a set have the same.
    return {change.revision: _facts(change, shared) for change in changes}


def _facts(change: Change, shared: dict[tuple[Owner, ...], tuple[Owner, ...]]) -> PodFacts:
    message = change.message
    spec = decode_shared(message.spec)
    owners = tuple(Owner(each.kind, each.uid, each.controller) for each in message.metadata.owner_references)
    return PodFacts(
        spec.get("nodeName", ""),
        spec.get("resourcePartition", ""),
        _is_finished(message.status),
        shared.setdefault(owners, owners),
    )


def _is_finished(status: bytes) -> bool:
    # A status of a running pod is unlike any other, and rarely worth decoding.
    return any(phase in status for phase in _FINISHED) and decode(status).get("phase") in FINISHED_PHASES
