"""What a StatefulSet or a DaemonSet once was: a ControllerRevision for each pod template, numbered as they were used.

A template that is taken up again finds its old revision, which gets the newest number. The data has the form of a
strategic merge patch, as in Kubernetes: applied to its owner it brings the template back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.kinds import BY_KIND, Kind
from ...proto.objects import Object, encode
from ..operations import create_operation, delete_operation, update_operation
from .template_hash import template_hash

REVISION = BY_KIND["ControllerRevision"]
HASH_LABEL = "controller.kubernetes.io/hash"
# Of pods: which revision they were made of.
POD_LABEL = "controller-revision-hash"
HISTORY_LIMIT = 10


class History:
    """The revisions of one owner. `update` is the one of its present template, None while there is none."""

    def __init__(self, kind: Kind, owner: Object, revisions: Sequence[Object]) -> None:
        self._kind, self._owner = kind, owner
        self._template: Mapping[str, Any] = owner.spec.get("template") or {}
        self._hash = template_hash(self._template, owner.status.get("collisionCount") or 0)
        self._revisions = sorted(revisions, key=_order)
        self.update = self._find_update()

    @property
    def hash(self) -> str:
        """Of the revision of the present template. Empty while there is none."""
        return self.update.labels.get(HASH_LABEL, "") if self.update is not None else ""

    def named(self, name: str) -> Object | None:
        return next((each for each in self._revisions if each.name == name), None)

    def changes(self) -> list[pb.Operation]:
        """What makes the present template's revision there, and the newest."""
        newest = number_of(self._revisions[-1]) if self._revisions else 0
        if self.update is None:
            return [create_operation(self._made(newest + 1))]
        if self.update is not self._revisions[-1]:
            return [update_operation(self.update.with_rest({**self.update.rest, "revision": newest + 1}))]
        return []

    def surplus(self, in_use: Callable[[Object], bool], limit: int | None) -> list[pb.Operation]:
        """Deletes of the oldest that nobody uses, as far as they are more than the limit."""
        limit = HISTORY_LIMIT if limit is None else int(limit)
        unused = [each for each in self._revisions if each is not self.update and not in_use(each)]
        return [
            delete_operation(REVISION.resource, each.key, uid=each.uid, resource_version=each.resource_version)
            for each in unused[: max(len(unused) - limit, 0)]
        ]

    def _find_update(self) -> Object | None:
        """By its hash, too: should a partition change templates as it stores them, there would be no end of them."""
        same = [each for each in self._revisions if template_of(each) == self._template]
        same = same or [each for each in self._revisions if each.labels.get(HASH_LABEL) == self._hash]
        return same[-1] if same else None

    def _made(self, number: int) -> Object:
        owner, kind = self._owner, self._kind
        data = {"spec": {"template": {**self._template, "$patch": "replace"}}}
        message = pb.Object(api_version=REVISION.api_version, kind=REVISION.kind)
        message.rest = encode({"data": data, "revision": number})
        metadata = message.metadata
        metadata.tenant, metadata.namespace = owner.tenant, owner.namespace
        metadata.name = f"{owner.name}-{self._hash}"
        metadata.labels.update((self._template.get("metadata") or {}).get("labels") or {})
        metadata.labels[HASH_LABEL] = self._hash
        metadata.owner_references.add(
            api_version=kind.api_version,
            kind=kind.kind,
            name=owner.name,
            uid=owner.uid,
            controller=True,
            block_owner_deletion=True,
        )
        return Object(message)


def template_of(revision: Object) -> dict[str, Any]:
    """The pod template that it keeps."""
    spec = (revision.rest.get("data") or {}).get("spec") or {}
    return {field: value for field, value in (spec.get("template") or {}).items() if field != "$patch"}


def number_of(revision: Object) -> int:
    return int(revision.rest.get("revision") or 0)


def _order(revision: Object) -> tuple[int, int, str]:
    return number_of(revision), revision.creation_ms, revision.name
