"""The persistentvolume-binder: carries out the plans for claims and volumes, one step at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...proto.errors import NotFound, from_status
from ...proto.objects import Object, ObjectKey
from ...proto.volumes import CLAIMS, VOLUMES
from ..actor import Actor
from ..client import PartitionClient
from ..events import EventRecorder
from ..informer import Event, EventType, Informer
from ..spanning import SpanningInformer
from ..volumes.matching import is_free
from ..volumes.reading import Claim, NodePlace, Volume, read_claim, read_class, read_volume
from ..volumes.store import VolumeStore
from .reconciler import Reconciler
from .volume_plans import Plan, Told, lost_claim, plan_claim, plan_volume

# A step is a write that waits for its commit; others' steps travel in the same messages.
WORKERS = 16
# What is not in sight, though it should be, is looked for again after this.
LOOK_AGAIN_SECONDS = 1.0
# Claims of which it is remembered what was told last.
TOLD_MAX = 16_384
# A volume is made under a name that follows from its claim; what is gone needs no deletion.
_DONE_ALREADY = ("AlreadyExists", "NotFound")


class _Key(NamedTuple):
    """Of a claim or of a volume."""

    resource: str
    key: ObjectKey


class PersistentVolumeBinder:
    """Of one tenant partition. Its informers are run by the manager; `nodes` are those of all resource partitions."""

    def __init__(
        self,
        tenant_client: PartitionClient,
        claims: Informer,
        volumes: Informer,
        classes: Informer,
        nodes: SpanningInformer,
        events: EventRecorder,
        actor: Actor,
    ) -> None:
        self._tenant_client = tenant_client
        self._claims, self._nodes, self._events = claims, nodes, events
        self._informers = (claims, volumes, classes)
        self._store = VolumeStore()
        self._told: dict[str, Told] = {}  # By the uid of the claim.
        self._reconciler: Reconciler[_Key] = Reconciler(actor, "persistentvolume-binder", self._sync, WORKERS)
        claims.add_handler(self._claim_event)
        volumes.add_handler(self._volume_event)
        classes.add_handler(self._class_event)

    async def run(self) -> None:
        """Until cancelled. Nothing is decided before all views are complete."""
        for informer in self._informers:
            await informer.wait_synced()
        await self._reconciler.run()

    # ---------------------------------------------------------------------------------------------------- what is seen

    def _claim_event(self, event: Event) -> None:
        key = event.object.key
        if event.type is EventType.DELETED:
            self._store.drop_claim(key)
            self._told.pop(event.object.uid, None)
        else:
            self._store.put_claim(read_claim(event.object))
        self._look_at(CLAIMS, [key])
        self._look_at(VOLUMES, self._store.volumes_for(key))

    def _volume_event(self, event: Event) -> None:
        key = event.object.key
        before = self._store.volumes.get(key)
        if event.type is EventType.DELETED:
            self._store.drop_volume(key)
            self._store.unchoose(key)
            now = None
        else:
            now = read_volume(event.object)
            self._store.put_volume(now)
            self._look_at(VOLUMES, [key])
        for volume in (before, now):
            if volume is not None and volume.claim is not None:
                self._look_at(CLAIMS, [ObjectKey(key.tenant, volume.claim.namespace, volume.claim.name)])
        if now is not None and is_free(now) and not (before is not None and is_free(before)):
            self._look_at(CLAIMS, self._store.waiting_for(now))

    def _class_event(self, event: Event) -> None:
        if event.type is EventType.DELETED:
            self._store.classes.pop(event.object.name, None)
        else:
            self._store.classes[event.object.name] = read_class(event.object)
        self._look_at(CLAIMS, self._store.unbound_of(event.object.name))

    def _look_at(self, resource: str, keys: list[ObjectKey]) -> None:
        for key in keys:
            self._reconciler.queue.add(_Key(resource, key))

    # --------------------------------------------------------------------------------------------------- what is done

    async def _sync(self, which: _Key) -> float | None:
        if which.resource == CLAIMS:
            return await self._sync_claim(which.key)
        return await self._sync_volume(which.key)

    async def _sync_claim(self, key: ObjectKey) -> float | None:
        claim = self._store.claims.get(key)
        if claim is None:
            return None
        if claim.is_bound and ObjectKey(key.tenant, "", claim.volume_name) not in self._store.volumes:
            return await self._carry_out(await self._plan_without_volume(claim), claim)
        return await self._carry_out(plan_claim(claim, self._store, self._labels_of), claim)

    async def _plan_without_volume(self, claim: Claim) -> Plan:
        try:
            await self._tenant_client.get(VOLUMES, ObjectKey(claim.key.tenant, "", claim.volume_name))
        except NotFound:
            return lost_claim(claim, f"volume {claim.volume_name} is gone")
        return Plan(later=True)

    async def _sync_volume(self, key: ObjectKey) -> float | None:
        volume = self._store.volumes.get(key)
        if volume is None:
            return None
        claim = None
        if volume.claim is not None:
            known = self._store.claims.get(ObjectKey(key.tenant, volume.claim.namespace, volume.claim.name))
            if known is not None and volume.is_for(known):
                claim = known
            elif volume.claim.uid and await self._is_there(volume):
                return LOOK_AGAIN_SECONDS
        return await self._carry_out(plan_volume(volume, claim), claim)

    async def _is_there(self, volume: Volume) -> bool:
        """Whether the partition has the claim that a volume names, though the view does not show it."""
        assert volume.claim is not None
        try:
            there = await self._tenant_client.get(
                CLAIMS, ObjectKey(volume.key.tenant, volume.claim.namespace, volume.claim.name)
            )
        except NotFound:
            return False
        return there.uid == volume.claim.uid

    async def _carry_out(self, plan: Plan, claim: Claim | None) -> float | None:
        """Raises ApiError: the write was refused, as a rule because something has changed; LinkError: no answer."""
        if plan.told is not None and claim is not None:
            self._tell(claim, plan.told)
        if plan.operation is None:
            return LOOK_AGAIN_SECONDS if plan.later else None
        if plan.chosen is not None and claim is not None:
            self._store.choose(plan.chosen, claim)
        written = False
        try:
            [result] = await self._tenant_client.mutate([plan.operation])
            written = not result.HasField("error")
        finally:
            if plan.chosen is not None and not written:
                self._store.unchoose(plan.chosen.key, claim)
                self._look_at(CLAIMS, self._store.waiting_for(plan.chosen))  # Who has passed it over meanwhile.
        if not written and result.error.reason not in _DONE_ALREADY:
            raise from_status(result.error)
        return None

    def _tell(self, claim: Claim, told: Told) -> None:
        if self._told.get(claim.uid) == told:
            return
        if len(self._told) >= TOLD_MAX:
            del self._told[next(iter(self._told))]
        self._told[claim.uid] = told
        obj = self._claims.objects.get(claim.key)
        if obj is not None:
            self._events.event(obj, *told)

    def _labels_of(self, place: NodePlace) -> Mapping[str, str] | None:
        """Raises LookupError: the partition is none any more, or its complete view does not show the node."""
        name = place.partition
        if name in self._nodes.removed:
            raise LookupError(place)
        informer = self._nodes.get(name)
        if informer is None or not informer.synced:
            return None
        node: Object | None = informer.objects.get(ObjectKey("", "", place.node))
        if node is None:
            raise LookupError(place)
        return node.labels
