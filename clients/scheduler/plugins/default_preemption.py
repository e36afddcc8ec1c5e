"""DefaultPreemption: a pod that fits nowhere may have pods of lower priority evicted.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/. The plugin is what a configuration
says of it; the choice is in `preemption/`, which needs to know of all bound pods and budgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..columns import NodeColumns
from ..framework.interface import PostFilterPlugin
from ..pending import PendingPod
from ..preemption.choice import PreemptionArgs


class DefaultPreemption(PostFilterPlugin):
    name: ClassVar[str] = "DefaultPreemption"

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        self.args = PreemptionArgs.read(args or {})

    def post_filter(self, pod: PendingPod, nodes: NodeColumns) -> None:
        raise NotImplementedError("the scheduler's `PostFilters` ask its `Preemptor`, which knows who runs where")
