"""PostFilter: what plugins do for a pod that fits nowhere, in a profile's order, up to the first that helps. No I/O.

`DefaultPreemption` is one of them; what it chooses, and what becomes of nominations, is in `preemption/`. Those of
one's own choose among the pods that are seen bound, too, so they are asked once all of these are known, which is asked
for when the first pod fits nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from .columns import NodeColumns
from .decisions import Decisions
from .framework.calls import asked
from .framework.interface import MadeRoom, Nominated, PluginError, PostFilterPlugin
from .framework.picker import Picker
from .pending import PendingPod
from .plugins.default_preemption import DefaultPreemption
from .preemption.preemptor import Preemptor


class PostFilters:
    """`pickers`: by the name that pods give."""

    def __init__(self, pickers: Mapping[str, Picker], nodes: NodeColumns, preemptor: Preemptor) -> None:
        self._nodes, self._preemptor = nodes, preemptor
        self._plugins = {
            name: [
                plugin
                for plugin in picker.algorithm.profile.points["postFilter"]
                if isinstance(plugin, PostFilterPlugin)
            ]
            for name, picker in pickers.items()
        }

    def make_room(self, pod: PendingPod, decisions: Decisions, history: str) -> None:
        """Have room made for a pod that fits nowhere, unless it waits for some already.

        Raises:
            PluginError
        """
        preemptor = self._preemptor
        if pod.uid in preemptor.nominations or pod.template.error:
            return
        asked_own = False
        for plugin in self._plugins[pod.template.scheduler_name]:
            if isinstance(plugin, DefaultPreemption):
                if preemptor.preempt(pod, plugin, decisions, history):
                    return
            elif not preemptor.knows_bound_pods():
                return  # Once they are known, all that fit nowhere are looked at again.
            else:
                asked_own = True
                answer: object = asked(plugin.name, plugin.post_filter, pod, self._nodes)
                if isinstance(answer, Nominated):
                    preemptor.nominate(pod, plugin.name, answer, decisions, history)
                    return
                if isinstance(answer, MadeRoom):
                    return
                if answer is not None:
                    expected = "Nominated, MadeRoom or None"
                    raise PluginError(plugin.name, f"must answer post_filter with {expected}, not with {answer!r}")
        if asked_own:
            preemptor.nothing_helps(pod)
