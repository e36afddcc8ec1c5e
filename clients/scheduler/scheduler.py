"""The scheduler of a tenant partition: informers, the core that decides, and one sender for each partition.

Informers feed the core as events come; one task lets it decide after each burst, and hands what it decided to the
senders. There is no task and no wake-up for a single pod.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import LinkError
from ..actor import Actor
from ..client import ClientSet
from ..events import EventRecorder
from ..informer import Event, EventType, Informer
from .actions import PLACEMENTS, PODS, Action
from .core import SchedulingCore
from .decisions import Counts, Decisions
from .options import SchedulerOptions
from .scheduler_metrics import SchedulerMetrics
from .sender import Sender

UNBOUND: Final = "spec.nodeName=,status.phase!=Succeeded,status.phase!=Failed"


class Scheduler:
    """Schedules the pods of the tenant partition `home` on the nodes of all resource partitions.

    Args:
        clients: must have a client of `home`. How many tenant partitions there are, and which of them is `home`, says
            which nodes this scheduler prefers.

    Raises:
        NotFound: there is no client of `home`.
    """

    def __init__(
        self,
        clients: ClientSet,
        home: str,
        actor: Actor,
        options: SchedulerOptions = SchedulerOptions(),  # noqa: B008  # immutable
    ) -> None:
        self.home, self._actor, self._options = home, actor, options
        home_client = clients.for_partition(home)
        self._core = SchedulingCore(
            home, list(clients.tenant_clients), list(clients.resource_clients), actor.random, options
        )
        self._metrics = SchedulerMetrics(actor.registry, options.scheduler_name)
        self._events = EventRecorder(home_client, actor, options.scheduler_name) if options.events else None
        self._work = trio.Event()
        self._senders = {
            client.partition: Sender(client, self._answered, self._unanswered)
            for client in (home_client, *clients.resource_clients.values())
        }
        self._pods = Informer(home_client, PODS, field_selector=UNBOUND)
        self._pods.add_handler(self._pod_event)
        self._pods.add_burst_handler(self._pods_burst)
        self._nodes: dict[str, Informer] = {}
        self._placements: dict[str, Informer] = {}
        for name, resource_client in clients.resource_clients.items():
            nodes = self._nodes[name] = Informer(resource_client, "nodes")
            nodes.add_handler(partial(self._node_event, name))
            nodes.add_burst_handler(partial(self._partition_burst, name))
            placements = self._placements[name] = Informer(resource_client, PLACEMENTS)
            placements.add_handler(partial(self._placement_event, name))
            placements.add_burst_handler(partial(self._partition_burst, name))

    @property
    def counts(self) -> Counts:
        """What it has done since it began."""
        return self._core.counts

    def ready(self) -> dict[str, bool]:
        """Whether it sees its pods, and nodes to put them on. A lost resource partition does not make it unready."""
        usable = any(view.synced for view in self._core.views.values())
        return {f"pods of {self.home} seen": self._pods.synced, "nodes of a resource partition seen": usable}

    async def run(self) -> None:
        """Until cancelled. Its clients must outlive it."""
        try:
            async with trio.open_nursery() as nursery:
                for informer in (*self._nodes.values(), *self._placements.values(), self._pods):
                    nursery.start_soon(informer.run)
                for sender in self._senders.values():
                    nursery.start_soon(sender.run)
                if self._events is not None:
                    nursery.start_soon(self._events.run)
                await self._decide()
        finally:
            self._metrics.close()

    # -------------------------------------------------------------------------------------------- what informers say

    def _pod_event(self, event: Event) -> None:
        if event.type is EventType.DELETED:
            self._core.pod_gone(event.object.uid)
        else:
            self._core.pod_seen(event.object, trio.current_time())

    def _pods_burst(self) -> None:
        if self._pods.synced:
            self._core.pods_synced()
        self._work.set()

    def _node_event(self, partition: str, event: Event) -> None:
        if event.type is EventType.DELETED:
            self._core.node_gone(partition, event.object.name)
        else:
            self._core.node_seen(partition, event.object)

    def _placement_event(self, partition: str, event: Event) -> None:
        if event.type is EventType.DELETED:
            self._core.placement_gone(partition, event.object.name)
        else:
            self._core.placement_seen(partition, event.object)

    def _partition_burst(self, partition: str) -> None:
        placements = self._placements[partition]
        if placements.synced:
            self._core.placements_seen_up_to(partition, placements.resource_version)
            if self._nodes[partition].synced:
                self._core.partition_synced(partition)
        self._work.set()

    # ------------------------------------------------------------------------------------------- what partitions say

    def _answered(self, partition: str, actions: Sequence[Action], results: Sequence[pb.Result], now: float) -> None:
        self._core.answered(partition, actions, results, now)
        self._work.set()

    def _unanswered(self, partition: str, actions: Sequence[Action], error: LinkError, now: float) -> None:
        self._actor.log.info("%d writes have no answer: %s", len(actions), error)
        self._core.unanswered(partition, actions, error, now)
        self._core.recalled(self._senders[partition].take_back(), now)
        self._work.set()

    # --------------------------------------------------------------------------------------------------- deciding

    async def _decide(self) -> None:
        core = self._core
        while True:
            now = trio.current_time()
            self._notice_stalls(now)
            decisions = core.step(now)
            self._metrics.step_taken(decisions, trio.current_time() - now)
            self._hand_out(decisions)
            self._metrics.count(core.counts, core.queue)
            if core.has_more:
                await trio.lowlevel.checkpoint()
                continue
            stalls_at = min(sender.stalls_at for sender in self._senders.values())
            with trio.move_on_at(min(core.next_deadline(), stalls_at)):
                await self._work.wait()
            self._work = trio.Event()

    def _hand_out(self, decisions: Decisions) -> None:
        for partition, actions in decisions.actions.items():
            self._senders[partition].add(actions)
        if decisions.binds:
            self._senders[self.home].add(decisions.binds)
        if self._events is not None:
            for report in decisions.reports:
                self._events.event(report.pod, "Warning", "FailedScheduling", report.message)

    def _notice_stalls(self, now: float) -> None:
        for partition, sender in self._senders.items():
            if now >= sender.stalls_at:
                sender.stalls_at = float("inf")
                self._actor.log.info("%s has not answered a batch of writes for a while", partition)
                self._core.stalled(partition)
                self._core.recalled(sender.take_back(), now)
