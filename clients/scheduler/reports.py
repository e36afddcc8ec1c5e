"""When to say of a pod that it cannot be scheduled.

The first time, and again when the reason has changed, but then at most once a minute: a reason counts nodes, and
changes with every one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .columns import NodeColumns
from .decisions import Report
from .explain import explain
from .pending import PendingPod
from .template import Template

REPORT_SECONDS_MIN: Final = 60.0


class Reporter:
    """`unseen` says of which partitions nothing is known yet. Reasons of `templates_max` templates are kept."""

    def __init__(self, nodes: NodeColumns, unseen: Callable[[], list[str]], templates_max: int) -> None:
        self._nodes, self._unseen, self._templates_max = nodes, unseen, templates_max
        self._reasons: dict[int, tuple[tuple[int, int], str]] = {}

    def does_not_fit(self, pod: PendingPod, now: float) -> Report | None:
        if not _due(pod, now):
            return None
        return self.say(pod, self._why(pod.template), now)

    def say(self, pod: PendingPod, message: str, now: float) -> Report | None:
        if message == pod.reported or not _due(pod, now):
            return None
        pod.reported, pod.reported_at = message, now
        return Report(pod.object, message)

    def _why(self, template: Template) -> str:
        """`explain`, kept for the other pods of the template as long as no node changes."""
        changes = (self._nodes.changes.end, self._nodes.static_changes.end)
        known_at, reason = self._reasons.pop(template.id, ((-1, -1), ""))
        if known_at != changes:
            reason = explain(self._nodes, template, self._unseen())
            if len(self._reasons) >= self._templates_max:
                del self._reasons[next(iter(self._reasons))]
        self._reasons[template.id] = (changes, reason)
        return reason


def _due(pod: PendingPod, now: float) -> bool:
    return not pod.reported or now - pod.reported_at >= REPORT_SECONDS_MIN
