"""PrioritySort: pods of higher priority come first, and of equal ones the one that came first."""

from __future__ import annotations

from typing import Any, ClassVar

from ..framework.interface import QueueSortPlugin
from ..pending import PendingPod


class PrioritySort(QueueSortPlugin):
    name: ClassVar[str] = "PrioritySort"

    def sort_key(self, pod: PendingPod) -> tuple[Any, ...]:
        return (-pod.template.priority,)
