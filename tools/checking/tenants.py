"""Tenants are isolated."""

from __future__ import annotations

from collections.abc import Iterator

from ..recording.records import Selection
from .changes import OBJECTS_PREFIX
from .recorded import History, Recording
from .violations import Violation

TENANTS = "Tenants isolated"


def tenants_are_isolated(recording: Recording) -> Iterator[Violation]:
    """**Who asks for the objects of one tenant, or of one namespace, is told of no other's**; and an object that a
    controller made is in the tenant and the namespace of its owner, if that is in any: a Node owns the mirrors of what
    runs on it."""
    for listed in recording.lists:
        what = f"{listed.client} listed the {listed.selection.resource}"
        yield from _strangers(listed.selection, (key for key, _, _ in listed.items), what, listed.ret)
    for given in recording.watches:
        selection = given.started.selection
        what = f"{given.started.client} watched the {selection.resource}"
        yield from _strangers(selection, (item[0] for item in given.initial), what, given.time)
        yield from _strangers(selection, (event[1] for event in given.events), what, given.time)
    for history in recording.histories.values():
        yield from _owners(history)


def _strangers(selection: Selection, keys: Iterator[str], what: str, time: float) -> Iterator[Violation]:
    tenant, namespace = selection.tenant, selection.namespace
    if not (tenant or namespace):
        return
    for key in keys:
        _, _, _, of_tenant, of_namespace, _ = key.split("/", 5)
        if tenant not in ("", of_tenant) or namespace not in ("", of_namespace):
            asked = f"{tenant or 'any tenant'}/{namespace or 'any namespace'}"
            yield Violation(TENANTS, f"{what} of {asked}, and was told of {key}", key, time)


def _owners(history: History) -> Iterator[Violation]:
    homes: dict[str, str] = {}  # by uid
    for change in history.changes:
        if change.key.startswith(OBJECTS_PREFIX):
            homes.setdefault(change.uid, _home(change.key))
    for change in history.changes:
        if change.deleted or change.previous_revision or not change.key.startswith(OBJECTS_PREFIX):
            continue
        for owner in change.message.metadata.owner_references:
            home = homes.get(owner.uid)
            if home not in (None, "/") and home != _home(change.key):
                text = f"{change.key} of {history.partition} belongs to {owner.kind} {owner.name}, which is in {home}"
                yield Violation(TENANTS, text, change.key, change.time)


def _home(key: str) -> str:
    _, _, _, tenant, namespace, _ = key.split("/", 5)
    return f"{tenant}/{namespace}"
