"""When to say of a pod that it cannot be scheduled.

The first time, and again when the reason has changed, but then at most once a minute: a reason counts nodes, and
changes with every one of them. What has gone wrong does not wait for that minute, if no such thing was said last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from .decisions import Report
from .explain import explain
from .framework.interface import PluginError
from .framework.picker import Picker
from .framework.shape import Shape
from .pending import PendingPod

REPORT_SECONDS_MIN: Final = 60.0


class Reporter:
    """`unseen` says of which partitions nothing is known yet. Reasons of `shapes_max` shapes are kept."""

    def __init__(self, pickers: Mapping[str, Picker], unseen: Callable[[], list[str]], shapes_max: int) -> None:
        self._pickers, self._unseen, self._shapes_max = pickers, unseen, shapes_max
        self._reasons: dict[int, tuple[tuple[int, ...], str]] = {}

    def does_not_fit(self, pod: PendingPod, now: float) -> Report | None:
        if not _due(pod, now):
            return None
        return _said(pod, self._why(pod.shape), now, problem=False)

    def went_wrong(self, pod: PendingPod, message: str, now: float) -> Report | None:
        if pod.reported_problem and not _due(pod, now):
            return None
        return _said(pod, message, now, problem=True)

    def _why(self, shape: Shape) -> str:
        """`explain`, kept for the other pods of the shape as long as nothing that it may depend on changes."""
        picker = self._pickers[shape.template.scheduler_name]
        nodes = picker.nodes
        changes = (nodes.changes.end, nodes.static_changes.end, nodes.volumes.changes if shape.template.claims else 0)
        known_at, reason = self._reasons.pop(shape.id, ((), ""))
        if known_at != changes:
            try:
                reason = explain(picker.nodes, picker.algorithm, shape, self._unseen())
            except PluginError as error:
                reason = str(error)
            if len(self._reasons) >= self._shapes_max:
                del self._reasons[next(iter(self._reasons))]
        self._reasons[shape.id] = (changes, reason)
        return reason


def _said(pod: PendingPod, message: str, now: float, *, problem: bool) -> Report | None:
    if message == pod.reported:
        return None
    pod.reported, pod.reported_at, pod.reported_problem = message, now, problem
    return Report(pod.object, message)


def _due(pod: PendingPod, now: float) -> bool:
    return not pod.reported or now - pod.reported_at >= REPORT_SECONDS_MIN
