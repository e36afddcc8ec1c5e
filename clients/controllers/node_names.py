"""Names the nodes that several resource partitions have under one name, once in a while and in one line.

Nothing goes wrong by it: a node is its partition, its name and its uid, everywhere. But whoever set them up may have
meant one machine, and a person who reads a name should know that it is not enough.
"""

from __future__ import annotations

import trio

from ..actor import Actor
from ..informer import Event, EventType
from ..metrics import gauge
from ..spanning import SpanningInformer

REPORT_SECONDS = 60.0
EXAMPLES_MAX = 3


class NodeNameController:
    """`nodes`: of all resource partitions."""

    def __init__(self, home: str, nodes: SpanningInformer, actor: Actor) -> None:
        self._nodes = nodes
        self._log = actor.log
        # By name: the partitions that have a node of it, where there are several.
        self._shared: dict[str, list[str]] = {}
        self._told: dict[str, list[str]] = {}
        self._gauge = gauge(
            actor.registry, "ursa_node_names_shared", "Node names in several resource partitions.", ["partition"]
        ).labels(home)
        nodes.add_handler(self._node_event)
        nodes.add_leave_handler(self._left)

    def _node_event(self, _: str, event: Event) -> None:
        if event.type is EventType.MODIFIED:
            return
        key = event.object.key
        having = sorted(name for name, informer in self._nodes.items() if key in informer.objects)
        if len(having) > 1:
            self._shared[key.name] = having
        else:
            self._shared.pop(key.name, None)

    def _left(self, partition: str) -> None:
        having = {name: [each for each in at if each != partition] for name, at in self._shared.items()}
        self._shared = {name: at for name, at in having.items() if len(at) > 1}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(REPORT_SECONDS)
            self._gauge.set(len(self._shared))
            if self._shared and self._shared != self._told:
                shown = ", ".join(f"{name} in {' and '.join(at)}" for name, at in self._examples())
                self._log.warning(
                    "%d node names are used in several resource partitions, which are told apart: %s",
                    len(self._shared),
                    shown,
                )
            self._told = dict(self._shared)

    def _examples(self) -> list[tuple[str, list[str]]]:
        return sorted(self._shared.items())[:EXAMPLES_MAX]
