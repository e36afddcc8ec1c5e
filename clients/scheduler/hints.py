"""What has happened, and whether it may help pods that fitted nowhere: Kubernetes' queueing hints, for whole shapes.

A shape that fits nowhere remembers which plugins refused it. Something that happens wakes it only if one of those may
answer otherwise now. What a plugin `depends` on says so already:

    it depends on NODE    nodes that came or changed
    on ROOM, too          and what went from a node
    on PODS, too          and pods that came, went, or have other labels
    on VOLUMES, too       and claims, volumes and classes that came or changed

A plugin that is an EnqueuePlugin says it more exactly, by `helped_by` and, of this very event, `may_help`.

While only room has been made, refusals that depend on the nodes alone stand as they did; but another plugin that looks
at room may be the one in the way now. So all of these then count as refusing, and who does is only worked out again
after news of nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from .columns import NodeColumns
from .explain import judge
from .framework.calls import asked
from .framework.interface import (
    ClusterEvent,
    Depends,
    EnqueuePlugin,
    EventAction,
    EventResource,
    FilterPlugin,
    NodeFilterPlugin,
    Plugin,
    PluginError,
)
from .framework.node_view import NodeView
from .framework.profile import Algorithm
from .framework.shape import Shape

# Who refused a shape. None: it is not known, or it was no plugin; then whatever happens may help.
Refusers = tuple[Plugin, ...] | None

# A node that nobody has refused yet.
NODE_ADDED: Final = ClusterEvent(EventResource.NODE, EventAction.ADD)
ROOM_MADE: Final = ClusterEvent(EventResource.PLACEMENT, EventAction.DELETE)
POD_SEEN: Final = ClusterEvent(EventResource.POD, EventAction.ADD | EventAction.UPDATE_LABELS)
POD_GONE: Final = ClusterEvent(EventResource.POD, EventAction.DELETE)
# Slots of one kind of event that are told apart; where there are more, it is taken to be of any.
SLOTS_MAX: Final = 16
# Events that are told apart; where there are more, what they are about is left out.
EVENTS_MAX: Final = 256
_LEAST_DEPENDENCE: Final = {
    EventResource.NODE: Depends.NODE,
    EventResource.PLACEMENT: Depends.ROOM,
    EventResource.POD: Depends.PODS,
    EventResource.CLAIM: Depends.VOLUMES,
    EventResource.VOLUME: Depends.VOLUMES,
    EventResource.STORAGE_CLASS: Depends.VOLUMES,
}


class _Own(NodeFilterPlugin):
    """What the scheduler itself knows of a node: whether it is ready, in reach, has refused such a pod."""

    name: ClassVar[str] = "Scheduler"
    depends: ClassVar[Depends] = Depends.ROOM

    def filter_node(self, state: object, pod: Shape, node: NodeView) -> str:
        raise NotImplementedError("it is asked by nobody")


OWN: Final = _Own()


# What makes room, or takes it: a plugin that looks at nodes alone answers as before.
_OF_ROOM: Final = (EventResource.PLACEMENT, EventResource.POD)


class Happened:
    """Since it was last cleared."""

    def __init__(self) -> None:
        self.anything = False  # Something that may help whomever.
        self._events: dict[ClusterEvent, dict[int, None]] = {}

    def __bool__(self) -> bool:
        return self.anything or bool(self._events)

    @property
    def of_nodes(self) -> bool:
        """Not only room has been made: what refuses a shape may be another plugin now."""
        return self.anything or any(event.resource not in _OF_ROOM for event in self._events)

    def note(self, event: ClusterEvent | None, slot: int) -> None:
        """`slot`: of the node concerned; -1: none. No `event`: something that may help whomever."""
        if event is None:
            self.anything = True
            return
        if len(self._events) >= EVENTS_MAX and event not in self._events:
            event = event._replace(about=None)
        slots = self._events.setdefault(event, {})
        if len(slots) <= SLOTS_MAX:
            slots[slot] = None

    def clear(self) -> None:
        self.anything = False
        self._events.clear()

    def may_help(self, shape: Shape, refusers: Refusers) -> bool:
        if not refusers:
            return refusers is None
        if self.anything or any(event == NODE_ADDED for event in self._events):
            return True
        return any(
            _may_help(plugin, shape, event, slots) for plugin in refusers for event, slots in self._events.items()
        )


def _may_help(plugin: Plugin, shape: Shape, event: ClusterEvent, slots: dict[int, None]) -> bool:
    if isinstance(plugin, EnqueuePlugin):
        try:
            return asked(plugin.name, _hinted, plugin, shape, event, slots)
        except PluginError:
            return True  # Whoever cannot tell has not ruled it out.
    least = _LEAST_DEPENDENCE.get(event.resource)
    return least is None or not isinstance(plugin, FilterPlugin | NodeFilterPlugin) or plugin.depends >= least


def _hinted(plugin: EnqueuePlugin, shape: Shape, event: ClusterEvent, slots: dict[int, None]) -> bool:
    if not any(hint.resource is event.resource and hint.actions & event.actions for hint in plugin.helped_by):
        return False
    return len(slots) > SLOTS_MAX or any(plugin.may_help(shape, event, slot) for slot in slots)


def refusers_of(nodes: NodeColumns, algorithm: Algorithm, shape: Shape) -> Refusers:
    """Who keeps a shape from each of the nodes; nobody, where its spec makes no sense: nothing will help."""
    if shape.template.error:
        return ()
    try:
        refused = judge(nodes, algorithm, shape).refused
    except PluginError:
        return None
    filters = {plugin.name: plugin for plugin in algorithm.profile.points.get("filter", ())}
    return tuple(filters.get(each.plugin, OWN) for each in refused) or (OWN,)


def with_room(refusers: Refusers, filters: Sequence[Plugin]) -> Refusers:
    """After room has been made that was not enough: those, and all of a profile's `filters` that look at room."""
    if refusers is None:
        return None
    others = (
        plugin
        for plugin in filters
        if isinstance(plugin, FilterPlugin | NodeFilterPlugin) and plugin.depends is not Depends.NODE
    )
    return tuple(dict.fromkeys((*refusers, *others)))
