"""The scheduler's decisions, without I/O: events go in, what to ask of which partition comes out.

    pod seen unbound  -> in the queue
    step              -> `SchedulingCycles`: a node is picked for each, on all that is known of all partitions;
                         `Binder` does the rest
                      -> or it fits nowhere: parked until something changes

Here events are taken in, and each is handed to whom it concerns.

A wrong view of a node costs a refused claim and no more: see `binder.py` for what holds whatever happens. `now` is
trio's time; nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.errors import LinkError
from ...proto.objects import Object
from ..revisions import Revision
from .actions import Action, Bind
from .binder import Binder
from .bound_pods import BoundPods
from .columns import NodeColumns, Shard
from .decisions import Counts, Decisions
from .entrance import Entrance
from .explanation import Explanation, explain_shape
from .framework.interface import ClusterEvent, EventResource, QueueSortPlugin
from .framework.picker import Picker
from .framework.profile import Profile
from .framework.shape import Shape, Shapes
from .hints import POD_GONE, POD_SEEN, ROOM_MADE, Refusers, refusers_of, with_room
from .hooks import CycleEnd, CyclePlugins, Hooks
from .node_facts import read_node, what_changed
from .options import SchedulerOptions
from .partition_view import PartitionView, unseen_partitions
from .pending import QUEUED, PendingPod, PodState
from .plugins.gpu_share import device_choice
from .plugins.priority_sort import PrioritySort
from .plugins.volume_binding import VolumeBinding
from .plugins.volume_zone import VolumeZone
from .pod_queue import PodQueue, by_priority
from .preemption.preemptor import Preemptor
from .profiles import profiles_of
from .queue_order import QueueOrder
from .reports import Reporter
from .scheduling_cycles import SchedulingCycles
from .template import Templates
from .volume_binder import VolumeBinder
from .volume_news import SeenVolumes


class SchedulingCore:
    """The scheduler of the tenant partition `home`. Methods ending in `_seen`, `_gone`, `_synced` take in events.

    Raises (the constructor):
        ValueError: the options' profiles make no sense; one line that names the field.
    """

    def __init__(
        self,
        home: str,
        tenant_partitions: Sequence[str],
        resource_partitions: Sequence[str],
        random: Random,
        options: SchedulerOptions = SchedulerOptions(),  # noqa: B008  # immutable
    ) -> None:
        assert home not in resource_partitions, f"{home} is both a tenant and a resource partition"
        self.home, self.options = home, options
        self.nodes = NodeColumns(random.getrandbits(32), _shard(home, tenant_partitions))
        columns_max = options.template_columns_max
        # By the name that pods give in `spec.schedulerName`.
        self.pickers = {
            profile.scheduler_name: Picker(self.nodes, random, columns_max, profile) for profile in profiles_of(options)
        }
        choices = {name: device_choice(picker.algorithm.profile) for name, picker in self.pickers.items()}
        profiles = {name: picker.algorithm.profile for name, picker in self.pickers.items()}
        self.queue = PodQueue(self._refusers_of, self._order_of(next(iter(profiles.values()))))
        self.views = {name: PartitionView(name, home, self.nodes) for name in resource_partitions}
        reporter = Reporter(self.pickers, lambda: unseen_partitions(self.views), columns_max)
        self.binder = Binder(home, self.nodes, self.views, self.queue, reporter, options, choices, Hooks(profiles))
        self.bindings = self.binder.bindings
        self.pods = self.bindings.pods
        self._bound_pods = BoundPods(home, self.nodes.pods, self.pickers, self.queue, self.pods)
        self.preemptor = Preemptor(home, self.nodes, self.views, self.pickers, self.queue, self._bound_pods)
        self.binder.stays = self.preemptor.stays
        self.volumes = SeenVolumes(
            self.nodes.volumes, self.pickers, self.queue, self.pods, self.bindings.pre_binds.news
        )
        _give_volumes(profiles, self.binder.volumes)
        self._entrance = Entrance(profiles, self.queue, self.bindings, self._bound_pods, options, random)
        self._cycles = SchedulingCycles(
            self.nodes,
            self.views,
            self.pickers,
            self.queue,
            self.binder,
            self.preemptor,
            self._bound_pods,
            self.volumes,
            self._entrance,
            reporter,
            options,
        )
        self._templates, self._shapes = Templates(), Shapes()
        self._draining: dict[str, None] = {}
        self._arrivals = 0
        self._now = 0.0

    @property
    def counts(self) -> Counts:
        return self.bindings.counts

    # ------------------------------------------------------------------------------------------------ pods seen

    def pod_seen(self, obj: Object, now: float) -> None:
        """An unbound, unfinished pod of the home partition has been added, or has changed."""
        uid = obj.uid
        pod = self.pods.get(uid)
        if obj.deletion_ms:
            if pod is not None:
                pod.deleting = True
                self.pod_gone(uid)
            return
        template = self._templates.of(obj.message.spec)
        if template.scheduler_name not in self.pickers:
            return
        shape = self._shapes.of(obj, template)
        if pod is None:
            self._arrivals += 1
            pod = self.pods[uid] = PendingPod(obj, shape, self._arrivals, now)
            self._entrance.arrived(pod, now)
        else:
            self._pod_changed(pod, obj, shape, now)

    def _pod_changed(self, pod: PendingPod, obj: Object, shape: Shape, now: float) -> None:
        pod.object, pod.gone = obj, False
        if shape is not pod.shape or pod.state is PodState.GATED:
            queued = pod.state in QUEUED
            if queued:
                self.queue.remove(pod)
            pod.shape, pod.template = shape, shape.template
            if queued:
                self._entrance.enqueue(pod, now)

    def pod_gone(self, uid: str) -> None:
        """A pod has left the unbound ones: bound (by us or another), finished or deleted."""
        pod = self.pods.get(uid)
        if pod is None:
            return
        if pod.state in QUEUED:
            self.queue.remove(pod)
            del self.pods[uid]
            self.preemptor.forget(uid)
            self._entrance.left(uid)
        elif pod.state is PodState.BOUND:
            del self.pods[uid]
        else:
            # Its claim must be settled first: the answer to its Bind will say what has become of it.
            pod.gone = True
            if pod.state is PodState.WAITING:
                self.bindings.waiting_gone(pod, self._now)

    def home_set_back(self, history: str = "") -> None:
        """The home partition begins a history, or goes on from an older snapshot in another. What was bound may be
        unbound in it: whoever is seen again is looked at as by a new process."""
        self.binder.home_set_back(history)
        for uid in [uid for uid, pod in self.pods.items() if pod.state is PodState.BOUND]:
            del self.pods[uid]
        self.nodes.pods.set_back()

    def pods_synced(self) -> None:
        """All unbound pods have been seen once. Idempotent."""
        self._cycles.pods_synced = True

    # ------------------------------------------------------------------------------------------- bound pods seen

    @property
    def looks_at_pods(self) -> bool:
        """Whether pods on nodes can matter at all. Then tell it, by `bound_pods_say_something`, of those that do."""
        return self._bound_pods.can_matter()

    @property
    def needs_bound_pods(self) -> bool:
        """A pod says something of others, might preempt, or is of a group, or one did. Once it is True it stays so, and
        all bound, unfinished pods of the home partition, its namespaces and PodDisruptionBudgets are to be told of."""
        return self.nodes.pods.wanted

    def bound_pods_say_something(self) -> None:
        """A bound pod of the home partition has affinity or anti-affinity to others. Idempotent."""
        self._bound_pods.say_something()

    def bound_pod_seen(self, obj: Object) -> None:
        """A bound, unfinished pod has been added, or has changed."""
        if self.nodes.pods.seen(obj):
            self.queue.help(POD_SEEN)
        self.preemptor.running.seen(obj.uid)
        self._entrance.runs(obj)

    def bound_pod_gone(self, uid: str) -> None:
        """It has finished, or is gone."""
        self.nodes.pods.gone(uid)
        self.queue.help(POD_GONE)
        self.preemptor.running.gone(uid)
        self._entrance.ended(uid)

    def bound_pods_seen_up_to(self, revision: Revision) -> None:
        """All bound pods up to this revision of the home partition, the namespaces and budgets have been told of."""
        if self.nodes.pods.seen_up_to(revision):
            self.queue.help(POD_GONE)
        self._bound_pods.synced()
        self._entrance.ask_again(self._now)

    def namespace_seen(self, namespace: Object) -> None:
        self.nodes.pods.tallies.namespace_seen(namespace.tenant, namespace.name, dict(namespace.labels))
        self.queue.help()

    def namespace_gone(self, namespace: Object) -> None:
        self.nodes.pods.tallies.namespace_gone(namespace.tenant, namespace.name)
        self.queue.help()

    def budget_seen(self, budget: Object) -> None:
        self.preemptor.running.budget_seen(budget)

    def budget_gone(self, budget: Object) -> None:
        self.preemptor.running.budget_gone(budget)

    # ------------------------------------------------------------------------------------------- partitions change

    def partition_added(self, partition: str) -> None:
        """A resource partition, of which nothing has been seen yet."""
        assert partition != self.home, f"{partition} is both a tenant and a resource partition"
        self.views[partition] = PartitionView(partition, self.home, self.nodes)

    def partition_removed(self, partition: str, now: float) -> None:
        """A resource partition is none any more; it has not merely been lost. Its claims are void."""
        view = self.views.pop(partition)
        self.nodes.clear_partition(partition)
        view.ledger.clear()
        self.bindings.partition_removed(partition, now)

    def draining_are(self, partitions: Collection[str]) -> None:
        """Resource partitions that are to be empty soon: their nodes are not chosen."""
        self._draining = dict.fromkeys(partitions)
        for view in self.views.values():
            self._set_open(view)

    def tenant_partitions_are(self, tenant_partitions: Sequence[str]) -> None:
        """All of them, the home partition among them: their schedulers share the nodes out between them."""
        self.nodes.set_shard(_shard(self.home, tenant_partitions))

    # ------------------------------------------------------------------------------------ nodes and placements seen

    def node_seen(self, partition: str, node: Object) -> None:
        slot, facts = self.nodes.find(partition, node.name), read_node(node)
        before = None if slot is None else self.nodes.facts[slot]
        if self.nodes.set_node(partition, node.name, facts):
            event = ClusterEvent(EventResource.NODE, what_changed(before, facts))
            self.queue.help(event, self.nodes.slot(partition, node.name))

    def node_gone(self, partition: str, name: str) -> None:
        slot = self.nodes.find(partition, name)
        if slot is not None:
            self.nodes.clear_node(slot)

    def placement_seen(self, partition: str, placement: pb.Object) -> None:
        view = self.views[partition]
        hold = view.ledger.see(placement)
        if hold.home:
            self.preemptor.running.held(placement.metadata.name, hold.charges)
            self.bindings.placement_found(view, placement.metadata.name, hold)

    def placement_gone(self, partition: str, pod_uid: str) -> None:
        hold = self.views[partition].ledger.observed.get(pod_uid)
        if hold is not None and self.views[partition].ledger.lose(pod_uid):
            self.queue.help(ROOM_MADE, hold.slot)
            self.preemptor.room_is_free(pod_uid)

    def placements_seen_up_to(self, revision: Revision) -> None:
        """All placements up to this revision of their partition have been reported."""
        if self.views[revision.partition].ledger.seen_up_to(revision):
            self.queue.help(ROOM_MADE)

    def partition_synced(self, partition: str) -> None:
        """The nodes and the placements of a resource partition are known: its nodes may be used. Idempotent."""
        view = self.views[partition]
        if not view.synced:
            view.synced = True
            self._set_open(view)
            self.bindings.adopt_all(view)

    # ------------------------------------------------------------------------------------------------- answers

    def answered(self, partition: str, actions: Sequence[Action], results: Sequence[pb.Result], now: float) -> None:
        """A partition has answered a batch of actions."""
        if partition == self.home:
            self.binder.home_gate.answered()
        else:
            self.views[partition].gate.answered()
            self._set_open(self.views[partition])
        self.binder.answered(actions, results, now)

    def binding_plugins(self, pod: PendingPod) -> CyclePlugins:
        """Those that are asked in the binding cycle of one of the decisions' `cycles`."""
        return self.bindings.hooks.cycles[pod.template.scheduler_name]

    def cycle_ended(self, bind: Bind, end: CycleEnd, now: float) -> None:
        """The binding cycle of `bind`, one of the decisions' `cycles`, has ended."""
        self.bindings.cycle_ended(bind, end, now)

    def unanswered(self, partition: str, actions: Sequence[Action], error: LinkError, now: float) -> None:
        """A batch got no answer: nothing of it was done (Unreachable), or it is not known (OutcomeUnknown)."""
        if partition == self.home:
            if any(action.history in ("", self.bindings.history) for action in actions):
                self.binder.home_gate.failed(now)
        else:
            self.views[partition].gate.failed(now)
            self._set_open(self.views[partition])
        self.binder.unanswered(actions, error, now)

    def stalled(self, partition: str) -> None:
        """A batch has been on its way for too long. The partition is left alone until its fate is known."""
        if partition == self.home:
            self.binder.home_gate.stalled()
        else:
            self.views[partition].gate.stalled()
            self._set_open(self.views[partition])

    def recalled(self, actions: Sequence[Action], now: float) -> None:
        """Actions decided on were not sent after all, because their partition does not answer."""
        self.binder.unanswered(actions, None, now)

    # --------------------------------------------------------------------------------------------------- deciding

    def step(self, now: float) -> Decisions:
        """Decide on at most `options.batch_pods` pods, and hand out all that is to be done by now."""
        self._now = now
        return self._cycles.step(now)

    @property
    def has_more(self) -> bool:
        """Whether another `step` would find pods to decide on right away."""
        return self._cycles.has_more

    def next_deadline(self) -> float:
        """When `step` next has something to do if nothing happens; infinity: never."""
        return self._cycles.next_deadline()

    def would_act_before(self, deadline: float) -> bool:
        """Whether a `step` might have something to do by then, after news of nodes or placements alone."""
        return bool(self.queue) or self.binder.decisions.anything or self.next_deadline() < deadline

    def explain(self, uid: str, partition: str = "", node: str = "") -> Explanation | None:
        """Why a pod that waits, or has lately been given a node, goes there or nowhere, as things are now; None: it
        does neither. `partition` and `node`: where it is, if the caller knows better.

        Raises:
            PluginError
        """
        pod, recent = self.pods.get(uid), self._cycles.recent.of(uid)
        if pod is None and recent is None:
            return None
        shape = pod.shape if pod is not None else recent[0] if recent is not None else None
        assert shape is not None
        if not node and recent is not None:
            _, partition, node = recent
        slot = self.nodes.find(partition, node) if node else None
        with self.nodes.pods.without(uid):
            return explain_shape(self.pickers[shape.template.scheduler_name], shape, slot)

    def _refusers_of(self, shape: Shape, before: Refusers) -> Refusers:
        algorithm = self.pickers[shape.template.scheduler_name].algorithm
        if before is None:
            return refusers_of(self.nodes, algorithm, shape)
        return with_room(before, algorithm.profile.points.get("filter", ()))

    def _order_of(self, profile: Profile) -> Callable[[PendingPod], Any]:
        """All profiles have the same."""
        for plugin in profile.points["queueSort"]:
            if isinstance(plugin, QueueSortPlugin) and not isinstance(plugin, PrioritySort):
                return QueueOrder(plugin, lambda pod, problem: self.bindings.complain(pod, problem, self._now))
        return by_priority

    def _set_open(self, view: PartitionView) -> None:
        is_open = view.synced and view.gate.is_open and view.partition not in self._draining
        if is_open != self.nodes.is_open(view.partition):
            self.nodes.set_open(view.partition, is_open)
            if is_open:
                self.queue.help()


def _give_volumes(profiles: Mapping[str, Profile], binder: VolumeBinder) -> None:
    """Those plugins work on what the scheduler knows and assumes of volumes, at whichever points they take part in."""
    for profile in profiles.values():
        for plugin in (plugin for plugins in profile.points.values() for plugin in plugins):
            if isinstance(plugin, VolumeBinding):
                plugin.binder = binder
            elif isinstance(plugin, VolumeZone):
                plugin.volumes = binder.volumes


def _shard(home: str, tenant_partitions: Sequence[str]) -> Shard:
    return Shard(sorted(tenant_partitions).index(home), len(tenant_partitions))
