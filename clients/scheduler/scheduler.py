"""The scheduler of a tenant partition: informers, the core that decides, and one sender for each partition.

Informers feed the core as events come; one task lets it decide after each burst, and hands what it decided to the
senders. There is no task and no wake-up for a single pod.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import LinkError
from ...proto.kinds import BY_KIND
from ..actor import Actor
from ..client import ClientSet, PartitionClient
from ..events import EventRecorder
from ..feed import FeedKeeper
from ..informer import Event, EventType, Informer
from ..nurseries import run_all
from .actions import PODS, Action, Bind
from .binding_cycles import run_cycle
from .core import SchedulingCore
from .decisions import Counts, Decisions
from .explanation import Explanation
from .feeds import NodeFeed, PlacementFeed, VolumeFeed
from .options import SchedulerOptions
from .scheduler_metrics import SchedulerMetrics
from .sender import Sender
from .volume_news import FOLLOWED

UNBOUND: Final = "spec.nodeName=,status.phase!=Succeeded,status.phase!=Failed"
BOUND: Final = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
NAMESPACES: Final = "namespaces"
BUDGETS: Final = BY_KIND["PodDisruptionBudget"].resource
# Bound pods that say something of others; what most pods fail comes first.
SAYING: Final = tuple(f"spec.affinity.{field}=true,{BOUND}" for field in ("podAffinity", "podAntiAffinity"))


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
        self._clients = clients
        home_client = clients.for_partition(home)
        self._core = SchedulingCore(
            home, list(clients.tenant_clients), list(clients.resource_clients), actor.random, options
        )
        self._metrics = SchedulerMetrics(actor.registry, options.scheduler_name)
        self._events = EventRecorder(home_client, actor, options.scheduler_name) if options.events else None
        self._work = trio.Event()
        self._next_step_at = math.inf
        self._senders = {home: Sender(home_client, self._answered, self._unanswered)}
        self._pods = Informer(home_client, PODS, field_selector=UNBOUND)
        self._pods.add_handler(self._pod_event)
        self._pods_history = ""
        self._pods.add_burst_handler(self._pods_burst)
        self._saying = [
            Informer(home_client, PODS, field_selector=selector, metadata_only=True)
            for selector in SAYING
            if self._core.looks_at_pods
        ]
        for informer in self._saying:
            informer.add_handler(lambda _: self._core.bound_pods_say_something())
            informer.add_burst_handler(self._pods_burst)
        self._bound: Informer | None = None  # From the moment that bound pods are needed.
        self._volumes: list[VolumeFeed] = []  # The same of volumes.
        self._nodes: dict[str, NodeFeed] = {}
        self._placements: dict[str, PlacementFeed] = {}

    @property
    def counts(self) -> Counts:
        """What it has done since it began."""
        return self._core.counts

    def explain(self, pod_uid: str) -> Explanation | None:
        """Why a pod that waits, or has lately been given a node, goes there or nowhere, as things are now. None: it is
        neither.

        Raises:
            PluginError
        """
        return self._core.explain(pod_uid)

    def ready(self) -> dict[str, bool]:
        """Whether it sees its pods, and nodes to put them on. A lost resource partition does not make it unready."""
        usable = any(view.synced for view in self._core.views.values())
        return {f"pods of {self.home} seen": self._pods.synced, "nodes of a resource partition seen": usable}

    async def run(self) -> None:
        """Until cancelled. Its clients must outlive it."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pods.run)
                for informer in self._saying:
                    nursery.start_soon(informer.run)
                nursery.start_soon(self._senders[self.home].run)
                nursery.start_soon(self._clients.resource_clients.serve_each, self._span)
                nursery.start_soon(self._clients.tenant_clients.serve_each, self._share)
                nursery.start_soon(self._heed_draining)
                if self._events is not None:
                    nursery.start_soon(self._events.run)
                await self._decide(nursery)
        finally:
            for feed in self._volumes:
                feed.stop()
            self._metrics.close()

    # ------------------------------------------------------------------------------------------- what it spans

    async def _span(self, client: PartitionClient) -> None:
        """One resource partition, for as long as it is one."""
        name = client.partition
        if name not in self._core.views:
            self._core.partition_added(name)
        keeper, burst = FeedKeeper(client, self._actor), partial(self._partition_burst, name)
        nodes = self._nodes[name] = NodeFeed(keeper, self._core, burst)
        placements = self._placements[name] = PlacementFeed(keeper, self._core, burst)
        sender = self._senders[name] = Sender(client, self._answered, self._unanswered)
        try:
            nodes.open()
            placements.open()
            await run_all([keeper.run, sender.run])
        finally:
            nodes.stop()
            placements.stop()
            del self._nodes[name], self._placements[name], self._senders[name]
            self._core.partition_removed(name, trio.current_time())
            self._work.set()

    async def _heed_draining(self) -> None:
        members = self._clients.resource_clients
        while True:
            self._core.draining_are(members.draining)
            self._work.set()
            await members.wait_changed()

    async def _share(self, client: PartitionClient) -> None:
        """One tenant partition: its scheduler has its share of the nodes, for as long as it is one."""
        try:
            self._share_out()
            await trio.sleep_forever()
        finally:
            self._share_out()

    def _share_out(self) -> None:
        if self.home in self._clients.tenant_clients:
            self._core.tenant_partitions_are(list(self._clients.tenant_clients))

    # -------------------------------------------------------------------------------------------- what informers say

    def _pod_event(self, event: Event) -> None:
        if self._pods.incarnation != self._pods_history:
            self._pods_history = self._pods.incarnation
            self._core.home_set_back(self._pods_history)
        if event.type is EventType.DELETED:
            self._core.pod_gone(event.object.uid)
        else:
            self._core.pod_seen(event.object, trio.current_time())

    def _pods_burst(self) -> None:
        if self._pods.synced and all(informer.synced for informer in self._saying):
            self._core.pods_synced()
        self._work.set()

    def _follow_bound_pods(self, nursery: trio.Nursery) -> None:
        home_client = self._clients.for_partition(self.home)
        bound = self._bound = Informer(home_client, PODS, field_selector=BOUND)
        bound.add_handler(self._bound_pod_event)
        namespaces = Informer(home_client, NAMESPACES)
        namespaces.add_handler(self._namespace_event)
        budgets = Informer(home_client, BUDGETS)
        budgets.add_handler(self._budget_event)
        informers = (bound, namespaces, budgets)

        def burst() -> None:
            if all(informer.synced for informer in informers):
                self._core.bound_pods_seen_up_to(bound.revision)
            self._work.set()

        for informer in informers:
            informer.add_burst_handler(burst)
            nursery.start_soon(informer.run)

    def _follow_volumes(self, nursery: trio.Nursery) -> None:
        keeper = FeedKeeper(self._clients.for_partition(self.home), self._actor)
        self._volumes = [VolumeFeed(keeper, self._core.volumes, each, self._volumes_burst) for each in FOLLOWED]
        for feed in self._volumes:
            feed.open()
        nursery.start_soon(keeper.run)

    def _volumes_burst(self) -> None:
        self._core.volumes.settled(all(feed.synced for feed in self._volumes))
        self._work.set()

    def _bound_pod_event(self, event: Event) -> None:
        if event.type is EventType.DELETED:
            self._core.bound_pod_gone(event.object.uid)
        else:
            self._core.bound_pod_seen(event.object)

    def _namespace_event(self, event: Event) -> None:
        if event.type is EventType.DELETED:
            self._core.namespace_gone(event.object)
        else:
            self._core.namespace_seen(event.object)

    def _budget_event(self, event: Event) -> None:
        if event.type is EventType.DELETED:
            self._core.budget_gone(event.object)
        else:
            self._core.budget_seen(event.object)

    def _partition_burst(self, partition: str) -> None:
        placements = self._placements[partition]
        if placements.synced:
            self._core.placements_seen_up_to(placements.seen_up_to)
            if self._nodes[partition].synced:
                self._core.partition_synced(partition)
        # Most news are of what other schedulers did, and come when no pod of ours waits.
        if self._core.would_act_before(self._next_step_at):
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

    async def _decide(self, nursery: trio.Nursery) -> None:
        core = self._core
        while True:
            now = trio.current_time()
            self._notice_stalls(now)
            decisions = core.step(now)
            self._metrics.step_taken(decisions, trio.current_time() - now)
            self._hand_out(decisions)
            for bind in decisions.cycles:
                nursery.start_soon(self._run_cycle, bind)
            if core.needs_bound_pods and self._bound is None:
                self._follow_bound_pods(nursery)
            if core.volumes.wanted and not self._volumes:
                self._follow_volumes(nursery)
            self._metrics.count(core.counts, core.queue)
            if core.has_more:
                await trio.lowlevel.checkpoint()
                continue
            stalls_at = min(sender.stalls_at for sender in self._senders.values())
            self._next_step_at = min(core.next_deadline(), stalls_at)
            with trio.move_on_at(self._next_step_at):
                await self._work.wait()
            self._work = trio.Event()

    def _hand_out(self, decisions: Decisions) -> None:
        for partition, actions in decisions.actions.items():
            self._senders[partition].add(actions)
        if decisions.volumes:
            self._senders[self.home].add(decisions.volumes)
        if decisions.binds:
            self._senders[self.home].add(decisions.binds)
        if decisions.evictions:
            self._senders[self.home].add(decisions.evictions)
        if self._events is not None:
            for report in decisions.reports:
                self._events.event(report.pod, report.type, report.reason, report.message)

    async def _run_cycle(self, bind: Bind) -> None:
        plugins = self._core.binding_plugins(bind.pod)
        end = await run_cycle(plugins, bind, self._clients)
        self._core.cycle_ended(bind, end, trio.current_time())
        self._work.set()

    def _notice_stalls(self, now: float) -> None:
        for partition, sender in self._senders.items():
            if now >= sender.stalls_at:
                sender.stalls_at = float("inf")
                self._actor.log.info("%s has not answered a batch of writes for a while", partition)
                self._core.stalled(partition)
                self._core.recalled(sender.take_back(), now)
