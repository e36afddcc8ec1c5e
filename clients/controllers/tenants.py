"""Ends what creators and movers of tenants have left standing: carries out what its core decides.

Before anything is changed the other partition is asked: a view may be old. A partition that does not answer decides
nothing, and is asked again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio

from ...proto.errors import Conflict, NotFound, Unreachable, UrsaError
from ...proto.kinds import SYSTEM_TENANT
from ...proto.objects import Object, ObjectKey, format_time
from ...proto.tenants import ACTIVE, ARRIVING, LEAVING, LEFT, MOVED, TENANTS, Record
from ..actor import Actor
from ..client import ClientSet, PartitionClient
from ..events import EventRecorder
from ..spanning import SpanningInformer
from ..tenants.moving import abandon, move_tenant, step, undo_move
from ..tenants.whereabouts import Sight, is_older_copy, judge
from .options import TenantControllerOptions
from .tenants_core import CONDITION, Act, Decision, TenantsCore, has_let_go

# How often tenants are looked at that say nothing new, and how long after one does.
LOOK_SECONDS = 5.0
GATHER_SECONDS = 0.5


class TenantController:
    """Of the tenant partition `home`."""

    def __init__(self, clients: ClientSet, home: str, options: TenantControllerOptions, actor: Actor) -> None:
        self._clients = clients.tenant_clients
        self._home = clients.tenant_clients[home]
        self._options = options
        self._log, self._clock = actor.log, actor.clock
        self._views = SpanningInformer(clients.tenant_clients, TENANTS)
        self._core = TenantsCore()
        self._events = EventRecorder(self._home, actor, "tenant-controller")
        self._news = trio.Event()
        self._views.add_burst_handler(lambda _: self._news.set())

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._views.run)
            nursery.start_soon(self._events.run)
            while True:
                with trio.move_on_after(LOOK_SECONDS):
                    await self._news.wait()
                await trio.sleep(GATHER_SECONDS)
                self._news = trio.Event()
                await self._look()

    async def _look(self) -> None:
        fresh = self._views.fresh(self._options.staleness_seconds_max)
        own = fresh.get(self._home.partition)
        if own is None:
            return
        for key, tenant in list(own.objects.items()):
            if tenant.name == SYSTEM_TENANT:
                continue
            sight = Sight(own.partition, tenant)
            others = [
                Sight(name, view.objects[key])
                for name, view in fresh.items()
                if name != own.partition and key in view.objects
            ]
            decision = self._core.decide(sight, others, trio.current_time())
            if decision is None:
                continue
            try:
                await self._carry_out(sight, decision)
            except UrsaError as error:
                self._log.info("tenant %s: %s: %s; it will be tried again", tenant.name, decision.act.value, error)

    async def _carry_out(self, own: Sight, decision: Decision) -> None:
        """Raises UrsaError: not now."""
        tenant, act = own.tenant, decision.act
        if act is Act.GIVE_UP_CLAIM:
            with suppress(NotFound, Conflict):
                key, revision = tenant.key, tenant.resource_version
                await self._home.delete(TENANTS, key, uid=tenant.uid, resource_version=revision)
        elif act is Act.STEP_ASIDE and decision.other is not None:
            await self._step_aside(own, decision.other)
        elif act is Act.SETTLE_LEAVING:
            await self._settle_leaving(own)
        elif act is Act.SETTLE_LEFT:
            await self._settle_left(own)
        elif act is Act.SETTLE_ARRIVING:
            await self._settle_arriving(own)
        elif act in (Act.TELL, Act.TELL_NO_MORE):
            await self._tell(own)

    # --------------------------------------------------------------------------------------------------- what stalls

    async def _settle_leaving(self, own: Sight) -> None:
        target = await self._ask(own.record.partition, own)
        if target is not None and is_older_copy(own, target):
            await self._step_aside(own, target)
            return
        await undo_move(self._home, self._clients.get(own.record.partition), own.tenant)
        self._log.warning(
            "tenant %s stays here: its move to %s had come to a halt", own.tenant.name, own.record.partition
        )

    async def _settle_left(self, own: Sight) -> None:
        record = own.record
        target = await self._ask(record.partition, own)
        if record.partition in self._clients.removed:
            await step(self._home, own.tenant, record, Record(ACTIVE, record.epoch + 1))
        elif target is not None and _has_it(target, own):
            await step(self._home, own.tenant, record, record._replace(state=MOVED))
        else:
            await move_tenant(self._home, self._clients[record.partition], own.tenant.name)
            self._log.warning("tenant %s was brought to %s: its mover had stopped", own.tenant.name, record.partition)

    async def _settle_arriving(self, own: Sight) -> None:
        record = own.record
        source = await self._ask(record.partition, own)
        if source is None or source.tenant.uid != own.tenant.uid:
            # What is here may be all there is of it.
            self._log.warning("tenant %s does not arrive: %s does not have it", own.tenant.name, record.partition)
            return
        there = source.record
        coming = there.state in (LEAVING, LEFT) and there.partition == own.partition
        if has_let_go(own, source):
            await step(self._home, own.tenant, record, Record(ACTIVE, there.epoch + 1))
            self._log.warning(
                "tenant %s is opened with what is here of it: it had moved here, and the partition was set back",
                own.tenant.name,
            )
        elif not coming:
            await abandon(self._home, own.tenant, record.epoch, record.partition, move=record.move)

    async def _step_aside(self, own: Sight, other: Sight) -> None:
        """Our partition was set back: the tenant has moved on since. We forget it, as we had."""
        newest = await self._ask(other.partition, own)
        if newest is None or not is_older_copy(own, newest):
            return
        there = newest.record
        to = there.partition if there.state == LEFT and there.partition != own.partition else newest.partition
        self._log.warning("tenant %s has moved to %s: what is here is an older copy", own.tenant.name, to)
        tenant, record = own.tenant, own.record
        if record.state == LEAVING:
            left = record._replace(state=LEFT, partition=to)
            tenant, record = await step(self._home, tenant, record, left), left
        epoch = record.epoch if record.state == LEFT else max(there.epoch, record.epoch + 1)
        await step(self._home, tenant, record, Record(MOVED, epoch, to))

    # ------------------------------------------------------------------------------------------------- several of one

    async def _tell(self, own: Sight) -> None:
        """In the status, by an Event and in the log: one line that names the partitions."""
        sights = [own]
        for partition in self._clients:
            if partition != own.partition and (other := await self._ask(partition, own)) is not None:
                sights.append(other)
        problem = judge(sights).problem
        conditions = [each for each in own.tenant.status.get("conditions") or () if each.get("type") != CONDITION]
        condition = {
            "type": CONDITION,
            "status": "False" if problem else "True",
            "reason": "InSeveralPartitions" if problem else "InOnePartition",
            "message": problem,
            "lastTransitionTime": format_time(self._clock.now_ms()),
        }
        status: dict[str, Any] = {**own.tenant.status, "conditions": [*conditions, condition]}
        with suppress(Conflict, NotFound):
            await self._home.update_status(own.tenant.with_status(status))
            if problem:
                self._log.error("%s", problem)
                self._events.event(own.tenant, "Warning", "InSeveralPartitions", problem)

    # --------------------------------------------------------------------------------------------------------- details

    async def _ask(self, partition: str, own: Sight) -> Sight | None:
        """What another partition says of the tenant now; None: it has none, or is a partition no more.

        Raises:
            LinkError: it does not answer.
        """
        client: PartitionClient | None = self._clients.get(partition)
        if client is None:
            if partition in self._clients.removed:
                return None
            raise Unreachable(partition, "there is no client of it")
        try:
            found: Object = await client.get(TENANTS, ObjectKey("", "", own.tenant.name))
        except NotFound:
            return None
        return Sight(partition, found)


def _has_it(target: Sight, own: Sight) -> bool:
    """The tenant has come, and may have gone on since."""
    record = target.record
    if target.tenant.uid != own.tenant.uid or record.epoch < own.record.epoch or record.state == ARRIVING:
        return False
    return not (record.state == MOVED and record.partition == own.partition)
