"""The DaemonSet controller: carries out the plans of its core."""

from __future__ import annotations

from ...proto import ursa_pb2 as pb
from ...proto.objects import Object, ObjectKey, decode
from ..actor import Actor
from ..client import PartitionClient
from ..events import EventRecorder
from ..informer import Event, EventType, Informer
from .awaited import WAIT_SECONDS
from .daemonset_core import plan
from .daemonset_pods import DAEMONSET
from .failed_pods import FailedPods
from .plan_writer import PlanWriter, Refusal
from .pods import controller_of
from .reconciler import Reconciler
from .workload_plan import WRITES_MAX

WORKERS = 4
# Changes of pods that come together are one step. A step looks at all nodes, so with thousands there are fewer.
STEP_DELAY_SECONDS = 0.05
STEP_NODES_PER_SECOND = 5_000
# A node without room is tried again when a placement there has gone, and at least this often: it may have grown.
CROWDED_MS_MAX = 15_000

_BY_OWNER = "daemonset"


class DaemonSetController:
    """Of one resource partition. Its informers are run by the manager."""

    def __init__(
        self,
        resource_client: PartitionClient,
        daemonsets: Informer,
        revisions: Informer,
        pods: Informer,
        nodes: Informer,
        placements: Informer,
        events: EventRecorder,
        actor: Actor,
    ) -> None:
        self._daemonsets, self._revisions, self._pods, self._nodes = daemonsets, revisions, pods, nodes
        self._events = events
        self._clock = actor.clock
        self._failed, self._crowded = FailedPods(), FailedPods(CROWDED_MS_MAX)
        self._keys: dict[str, ObjectKey] = {}  # By uid.
        self._writer = PlanWriter(DAEMONSET, resource_client, daemonsets, pods, [revisions, nodes], events, WRITES_MAX)
        self._reconciler: Reconciler[ObjectKey] = Reconciler(actor, "daemonset", self._sync, WORKERS)
        daemonsets.add_handler(self._daemonset_event)
        nodes.add_handler(self._node_event)
        placements.add_handler(self._placement_event)
        for informer in (revisions, pods):
            informer.add_handler(self._dependent_event)
            informer.add_index(_BY_OWNER, _owner_uids)

    async def run(self) -> None:
        """Until cancelled. Nothing is planned before all views are complete."""
        for informer in (self._daemonsets, self._revisions, self._pods, self._nodes):
            await informer.wait_synced()
        await self._reconciler.run()

    # ------------------------------------------------------------------------------------------------------- events

    def _daemonset_event(self, event: Event) -> None:
        daemonset = event.object
        self._reconciler.queue.add(daemonset.key)
        if event.type is EventType.DELETED:
            self._keys.pop(daemonset.uid, None)
            self._failed.forget(daemonset.uid)
            self._crowded.forget(daemonset.uid)
        else:
            self._keys[daemonset.uid] = daemonset.key

    def _dependent_event(self, event: Event) -> None:
        owner = controller_of(event.object.message, DAEMONSET.kind)
        if owner is not None:
            self._later(ObjectKey(event.object.tenant, event.object.namespace, owner.name))

    def _node_event(self, event: Event) -> None:
        """Nodes say often that they live; what matters here seldom changes."""
        new, old = event.object.message, event.old.message if event.old is not None else None
        if old is not None and event.type is EventType.MODIFIED and _is_alike(new, old):
            return
        for key in self._keys.values():
            self._later(key)

    def _placement_event(self, event: Event) -> None:
        """The hot path: every pod of every tenant on our nodes."""
        if event.type is EventType.DELETED and self._keys:
            for uid in self._crowded.clear(decode(event.object.message.spec)["node"]):
                self._later(self._keys[uid])

    def _later(self, key: ObjectKey) -> None:
        delay = max(STEP_DELAY_SECONDS, len(self._nodes.objects) / STEP_NODES_PER_SECOND)
        self._reconciler.queue.add_after(key, delay)

    # -------------------------------------------------------------------------------------------------------- steps

    async def _sync(self, key: ObjectKey) -> float | None:
        history = self._writer.history()
        if not await self._writer.seen(key, history):
            return WAIT_SECONDS
        daemonset = self._daemonsets.objects.get(key)  # As it is now: nothing is waited for from here to the plan.
        if daemonset is None:
            self._writer.forget(key)
            return None
        if not self._writer.is_one_moment(daemonset, history):
            return WAIT_SECONDS
        uid, now_ms = daemonset.uid, self._clock.now_ms()
        made = plan(
            daemonset,
            self._revisions.by_index(_BY_OWNER, uid),
            self._pods.by_index(_BY_OWNER, uid),
            list(self._nodes.objects.values()),
            self._failed,
            self._crowded,
            now_ms,
            self._writer.creates_max(key),
        )
        for node in made.replaced:
            self._failed.replaced(uid, node, now_ms)
        for refusal in await self._writer.write(daemonset, made.operations, history):
            made.look_again(self._no_room(daemonset, refusal))
        return made.again_seconds

    def _no_room(self, daemonset: Object, refusal: Refusal) -> int:
        """Returns for how many milliseconds the node is left alone."""
        node, now_ms = refusal.wanted.spec["nodeName"], self._clock.now_ms()
        self._crowded.replaced(daemonset.uid, node, now_ms)
        self._events.event(daemonset, "Warning", "FailedPlacement", refusal.message)
        return self._crowded.wait_ms(daemonset.uid, node, now_ms)


def _owner_uids(obj: Object) -> tuple[str, ...]:
    owner = controller_of(obj.message, DAEMONSET.kind)
    return (owner.uid,) if owner is not None else ()


def _is_alike(new: pb.Object, old: pb.Object) -> bool:
    """As far as it matters whether a node wants a pod."""
    return new.spec == old.spec and bool(new.metadata.labels == old.metadata.labels)
