"""Each put of a plan has a value of its own, so the log tells how often it was carried out, whatever it was called.

An id keeps a request from being carried out twice. One that is sent again under another id is another request, to the
partition and to its judges; only who asked for it knows that it is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ...proto.objects import Object
from ..checking.changes import Change
from ..checking.recorded import History, Recording, describe
from ..checking.violations import Violation
from .plan import Plan

ONCE = "Once"
_CONFIGMAPS = "configmaps"


def values_are_put_once(plan: Plan, recording: Recording) -> Iterator[Violation]:
    """**What a user asked for once happens once, or not at all**, however often his client has sent it."""
    asked = Counter(
        (each.arguments["tenant"], each.arguments["name"], each.arguments["value"])
        for each in plan.operations
        if each.verb in ("put", "overwrite")
    )
    brought = {write.request_id: None for write in recording.writes if write.verb == "transfer"}
    for history in recording.histories.values():
        for (tenant, name, value), revisions in _puts(history, brought).items():
            if len(revisions) > asked.get((tenant, name, value), len(revisions)):
                times = ", ".join(map(str, revisions))
                text = f"{value} was put into {name} of {tenant} at revisions {times} of {describe(history)}"
                yield Violation(ONCE, text, history.by_revision[revisions[-1]].key)


def _puts(history: History, brought: Mapping[bytes, None]) -> dict[tuple[str, str, Any], list[int]]:
    """The revisions at which a key got a value that it did not have, and that was not brought with its tenant."""
    found: dict[tuple[str, str, Any], list[int]] = {}
    newest: dict[str, Any] = {}
    for change in history.by_resource.get(_CONFIGMAPS, ()):
        value = None if change.deleted else _value(change)
        if value is not None and newest.get(change.key) != value and change.request_id not in brought:
            _, _, _, tenant, _, name = change.key.split("/", 5)
            found.setdefault((tenant, name, value), []).append(change.revision)
        newest[change.key] = value
    return found


def _value(change: Change) -> Any:
    return (Object(change.message).to_dict().get("data") or {}).get("value")
