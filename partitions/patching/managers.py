"""Who manages which fields of an object: `metadata.managedFields`, as server-side apply has it.

Each entry is a manager, the way it writes (Apply or Update, of the object or of a subresource), and a set of fields:

    kubectl     Apply             .spec.replicas .spec.template.spec.containers[name="app"].image ...
    autoscaler  Update  scale     .spec.replicas

**Apply** says everything that a manager wants, and that becomes its. Where a field of another manager would get another
value, it is a conflict, unless it is forced, and then the field changes hands; fields with the same value are shared.
What the manager said before and no longer says goes, unless someone else owns it too.

**Update** takes what it changes, from whoever owned it. Objects are tracked from their first apply on: until then they
have no entries and cost nothing. What was there before the first apply then belongs to `before-first-apply`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.errors import Cause, Conflict
from .field_sets import FieldSet, difference, fields_of, from_fields_v1, text_of, to_fields_v1, within
from .merging import merged, pruned
from .shapes import Shape

APPLY = "Apply"
UPDATE = "Update"
BEFORE_FIRST_APPLY = "before-first-apply"
# As Kubernetes: of more that update an object, the oldest are counted as one, so that programs whose names differ
# with every start do not fill it.
UPDATERS_MAX = 10
ANCIENT_CHANGES = "ancient-changes"
FIELD_MANAGER_CONFLICT = "FieldManagerConflict"


class Manager(NamedTuple):
    """What tells entries apart."""

    name: str
    operation: str
    subresource: str
    api_version: str

    def __str__(self) -> str:
        subresource = f" with subresource {self.subresource!r}" if self.subresource else ""
        return f'"{self.name}"{subresource} using {self.api_version}'


class Managers:
    """The entries of one object, changed in place."""

    def __init__(self, entries: Iterable[pb.ManagedFields] = ()) -> None:
        self._fields: dict[Manager, FieldSet] = {}
        self._times: dict[Manager, int] = {}
        self._stored_bytes: dict[Manager, bytes] = {}
        for entry in entries:
            manager = Manager(entry.manager, entry.operation, entry.subresource, entry.api_version)
            self._fields[manager] = from_fields_v1(entry.fields_v1)
            self._times[manager] = entry.time_ms
            self._stored_bytes[manager] = entry.fields_v1
        self._stored = dict(self._fields)

    def __bool__(self) -> bool:
        return bool(self._fields)

    def fields(self, manager: Manager) -> FieldSet:
        return self._fields.get(manager, {})

    @property
    def changed(self) -> bool:
        return {m: fields for m, fields in self._fields.items() if fields} != self._stored

    def adopt(self, live: Any, shape: Shape, api_version: str) -> None:
        """Give everything that an object has, and nobody manages, to one manager."""
        fields = fields_of(live, shape)
        if fields:
            self._fields[Manager(BEFORE_FIRST_APPLY, UPDATE, "", api_version)] = fields

    def apply(self, manager: Manager, live: Any, config: Any, shape: Shape, *, force: bool) -> Any:
        """The object after `manager` has applied `config` to it.

        Raises:
            Conflict: others own what it would change; its causes say which fields and who. Nothing was changed.
        """
        said_before = self.fields(manager)
        says = fields_of(config, shape)
        result = merged(live, config, shape)
        owned = {path: None for other, fields in self._fields.items() if other != manager for path in fields}
        given_up = {path: None for path in said_before if path not in says}
        if given_up:
            result = pruned(result, shape, given_up, owned | says)
        found = difference(live, result, shape)
        lost = {
            other: taken
            for other, fields in self._fields.items()
            if other != manager and (taken := within(fields, found.changed))
        }
        if lost and not force:
            raise _conflict(lost)
        for other, taken in lost.items():
            self._take(other, taken)
        self._forget_removed(found.removed)
        self._fields[manager] = says
        return result

    def update(self, manager: Manager, live: Any, new: Any, shape: Shape) -> None:
        """`manager` has changed an object that is tracked."""
        found = difference(live, new, shape)
        if not found.changed and not found.removed:
            return
        for other, fields in list(self._fields.items()):
            if other != manager:
                self._take(other, within(fields, found.changed))
        self._forget_removed(found.removed)
        owned = {**self.fields(manager), **found.changed}
        if owned:
            self._fields[manager] = owned

    def write_to(self, metadata: pb.ObjectMeta, now_ms: int) -> None:
        """Store the entries. An entry whose fields have not changed keeps its time, an empty one is left out."""
        for manager, fields in self._fields.items():
            if self._stored.get(manager) != fields:
                self._times[manager] = now_ms
        self._bound_updaters()
        del metadata.managed_fields[:]
        for manager, fields in sorted(self._fields.items(), key=lambda item: (self._times[item[0]], item[0])):
            if fields:
                kept = self._stored.get(manager) == fields
                metadata.managed_fields.add(
                    manager=manager.name,
                    operation=manager.operation,
                    api_version=manager.api_version,
                    time_ms=self._times[manager],
                    fields_v1=self._stored_bytes[manager] if kept else to_fields_v1(fields),
                    subresource=manager.subresource,
                )

    def _take(self, manager: Manager, taken: FieldSet) -> None:
        if taken:
            self._fields[manager] = {path: None for path in self._fields[manager] if path not in taken}

    def _forget_removed(self, removed: FieldSet) -> None:
        if removed:
            for manager, fields in list(self._fields.items()):
                self._take(manager, within(fields, removed))

    def _bound_updaters(self) -> None:
        updaters = [manager for manager, fields in self._fields.items() if fields and manager.operation == UPDATE]
        excess = len(updaters) - UPDATERS_MAX
        if excess <= 0:
            return
        oldest = sorted(updaters, key=lambda manager: (self._times[manager], manager))[: excess + 1]
        ancient = Manager(ANCIENT_CHANGES, UPDATE, "", oldest[-1].api_version)
        fields = {path: None for manager in oldest for path in self._fields.pop(manager)}
        self._fields[ancient] = {**self.fields(ancient), **fields}
        self._times[ancient] = max(self._times[manager] for manager in oldest)


def _conflict(lost: dict[Manager, FieldSet]) -> Conflict:
    causes = [
        Cause(text_of(path), f"conflict with {manager}", FIELD_MANAGER_CONFLICT)
        for manager, fields in lost.items()
        for path in fields
    ]
    many = "1 conflict" if len(causes) == 1 else f"{len(causes)} conflicts"
    told = "; ".join(f"conflict with {manager}: {', '.join(map(text_of, fields))}" for manager, fields in lost.items())
    return Conflict(
        f"Apply failed with {many}: {told}. Leave these fields to their managers, say the same values, or force it",
        causes=causes,
    )
