"""Moving a tenant from one tenant partition to another; `proto/tenants.py` says by which steps.

The mover follows all that the tenant has at the source, so it holds it in memory before it freezes anything. Frozen
is the tenant only for as long as it takes to see the last changes and to write at the target what was not written yet.
Then the target is asked for what it has, and only if that is all, the source lets go.

Whatever fails before that undoes the move: the source opens again, the target forgets. After it the move only goes on.
A mover that dies leaves a tenant that somebody else can move on, or back: each run has a name of its own, and the
target takes nothing more from an earlier one. The controllers of the partitions do so, too (`controllers/tenants.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import NamedTuple

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import Conflict, InputError, LinkError, NotFound, ServiceUnavailable, Unreachable, UrsaError
from ...proto.kinds import Kind
from ...proto.objects import Object, ObjectKey
from ...proto.tenants import ACTIVE, ARRIVING, LEAVING, LEFT, MOVED, TENANTS, Record, record_of, with_record
from ..informer import Informer
from ..nurseries import open_background, run_all
from ..operations import raise_for_error, update_operation
from ..partition_client import PartitionClient
from .copying import EARLY, Copy, arrival, moved_kinds

# Until all that the tenant has is in sight.
VIEW_SECONDS_MAX = 120.0
# A tenant that cannot be brought over in this time is opened again where it was.
FREEZE_SECONDS_MAX = 30.0
UNDO_SECONDS_MAX = 10.0
# Until the target has forgotten what the tenant had there when it was there last.
FORGET_SECONDS_MAX = 60.0
LOOK_AGAIN_SECONDS = 0.1
# A call's messages follow one another without a pause; what it holds is in memory twice.
BATCH_OPERATIONS = 2048


class Moved(NamedTuple):
    """`frozen_seconds`: for how long nothing of the tenant could be written."""

    tenant: str
    source: str
    target: str
    objects: int
    frozen_seconds: float
    seconds: float


async def move_tenant(source: PartitionClient, target: PartitionClient, name: str) -> Moved:
    """Move a tenant that is Active at the source, or go on with a move to this target that was begun.

    Raises:
        InputError: it cannot be moved there, and nothing was begun.
        Conflict: somebody else has done something about it meanwhile.
        LinkError: a partition did not answer. The tenant stays where it was, or the message says what is left to do.
    """
    return await _Move(source, target, name).run()


async def undo_move(source: PartitionClient, target: PartitionClient | None, tenant: Object) -> None:
    """Open a tenant again that is Leaving its source, as `tenant` says, and let the target forget what it got.

    `target`: None: it is none any more.

    Raises:
        Conflict: it is not Leaving any more. LinkError: the source does not answer.
    """
    record = record_of(tenant)
    await step(source, tenant, record, Record(ACTIVE, record.epoch + 1))
    if target is not None:
        with suppress(UrsaError):  # Its controllers see that it was given up.
            await abandon(target, tenant, record.epoch, source.partition)


async def abandon(target: PartitionClient, tenant: Object, epoch: int, source: str, *, move: str = "") -> None:
    """Let a partition forget what it got of a tenant that does not come; with `move`, by this one.

    Raises:
        Conflict: it has become something else meanwhile. LinkError: it does not answer.
    """
    with suppress(NotFound):
        there = await target.get(TENANTS, tenant.key)
        record = record_of(there)
        ours = there.uid == tenant.uid and record.epoch <= epoch and move in ("", record.move)
        if record.state == ARRIVING and ours:
            await step(target, there, record, Record(MOVED, record.epoch, source))


async def step(client: PartitionClient, tenant: Object, old: Record, new: Record, *, history: str = "") -> Object:
    """Take a Tenant from what it says to what it shall say; whatever else of it has changed meanwhile.

    Raises:
        Conflict: it says something else by now. NotFound. LinkError: the partition does not answer, or has another
            history than the given one.
    """
    while True:
        operation = update_operation(with_record(tenant, new), return_object=True)
        [result] = await client.mutate([operation], history=history)
        try:
            raise_for_error(result)
        except Conflict:
            uid, tenant = tenant.uid, await client.get(TENANTS, tenant.key)
            if record_of(tenant) != old or tenant.uid != uid:
                raise Conflict(
                    f"tenant {tenant.name!r} is {record_of(tenant).state} in {client.partition} by now: look again"
                ) from None
            continue
        return Object(result.object, client.partition)


class _Move:
    def __init__(self, source: PartitionClient, target: PartitionClient, name: str) -> None:
        self._source, self._target, self._name = source, target, name
        self._log = source.actor.log
        self._move = source.actor.uid()
        self._copy = Copy(self._move)
        self._key = ObjectKey("", "", name)
        self._histories = ("", "")
        self._frozen_at = self._frozen_seconds = 0.0

    async def run(self) -> Moved:
        began = trio.current_time()
        self._histories = await _history(self._source), await _history(self._target)
        tenant = await self._read()
        kinds = await self._kinds()
        tenant, epoch = await self._with_epoch(tenant)
        arrived = await self._arrive(tenant, epoch)
        try:
            async with self._views(kinds) as views:
                left = await self._bring(tenant, epoch, views)
        except BaseException as error:
            if await self._undo(tenant, epoch):
                self._log.info("the move of tenant %s to %s was undone: %s", self._name, self._target.partition, error)
            raise
        await self._settle(left, arrived)
        now = trio.current_time()
        return Moved(
            self._name,
            self._source.partition,
            self._target.partition,
            self._copy.count,
            self._frozen_seconds,
            now - began,
        )

    # --------------------------------------------------------------------------------------------------- to begin with

    async def _read(self) -> Object:
        tenant = await self._source.get(TENANTS, self._key)
        record, where = record_of(tenant), self._source.partition
        if tenant.deletion_ms:
            raise InputError(f"tenant {self._name!r} is being deleted: there is nothing to move")
        if record.state in (LEAVING, LEFT) and record.partition != self._target.partition:
            raise InputError(
                f"tenant {self._name!r} is on its way from {where} to {record.partition}: move it there first, or back"
            )
        if record.state not in (ACTIVE, LEAVING, LEFT):
            raise InputError(f"tenant {self._name!r} is {record.state} in {where}: it cannot be moved from there")
        return tenant

    async def _kinds(self) -> list[Kind]:
        """What the tenant may have. Raises InputError: the target does not serve what it has."""
        kinds = moved_kinds((await self._source.kinds()).custom)
        served = await self._target.kinds()
        lacking = []
        for kind in kinds:
            there = served.get(kind.resource)
            if there is not None and (there.api_version, there.scope) == (kind.api_version, kind.scope):
                continue
            if (await self._source.list(kind.resource, tenant=self._name, limit=1, metadata_only=True)).items:
                lacking.append(f"{kind.resource} ({kind.version})")
        if lacking:
            raise InputError(
                f"tenant {self._name!r} has objects of kinds that {self._target.partition} does not serve: "
                f"{', '.join(lacking)}; apply their definitions there first"
            )
        return [kind for kind in kinds if served.get(kind.resource) is not None]

    async def _with_epoch(self, tenant: Object) -> tuple[Object, int]:
        """The epoch of this move; a tenant that is on its way already is of it by then, too."""
        record = record_of(tenant)
        known = record.epoch + (record.state == ACTIVE)
        with suppress(NotFound):
            there = record_of(await self._target.get(TENANTS, self._key))
            known = max(known, there.epoch + (there.state == MOVED))
        if record.state != ACTIVE and known > record.epoch:
            # Somebody else has tried in between, and given up.
            tenant = await step(self._source, tenant, record, record._replace(epoch=known), history=self._histories[0])
        return tenant, known

    async def _arrive(self, tenant: Object, epoch: int) -> Object:
        record = Record(ARRIVING, epoch, self._source.partition, self._move)
        operation = arrival(with_record(tenant, record))
        with trio.move_on_after(FORGET_SECONDS_MAX):
            while True:
                [result] = await self._target.mutate([operation], history=self._histories[1])
                try:
                    raise_for_error(result)
                except ServiceUnavailable as error:
                    await trio.sleep(max(LOOK_AGAIN_SECONDS, error.retry_after_ms / 1000))
                except Conflict as error:
                    raise InputError(
                        f"tenant {self._name!r} cannot be moved to {self._target.partition}: {error}"
                    ) from None
                else:
                    return Object(result.object, self._target.partition)
        raise Unreachable(
            self._target.partition, f"after {FORGET_SECONDS_MAX:g} s tenant {self._name!r} is not forgotten there yet"
        )

    @asynccontextmanager
    async def _views(self, kinds: Sequence[Kind]) -> AsyncIterator[dict[str, Informer]]:
        """Complete views of all that the tenant has at the source, by resource, in the order of bringing."""
        views = {kind.resource: Informer(self._source, kind.resource, tenant=self._name) for kind in kinds}
        async with open_background() as nursery:
            # With word that the tenant is frozen, all views on its stream are told up to where they are complete.
            nursery.start_soon(Informer(self._source, TENANTS, field_selector=f"metadata.name={self._name}").run)
            for view in views.values():
                nursery.start_soon(view.run)
            with trio.move_on_after(VIEW_SECONDS_MAX) as waiting:
                for view in views.values():
                    await view.wait_synced()
            if waiting.cancelled_caught:
                raise Unreachable(
                    self._source.partition, f"not all of tenant {self._name!r} was seen in {VIEW_SECONDS_MAX:g} s"
                )
            yield views

    # ---------------------------------------------------------------------------------------------------- the move

    async def _bring(self, tenant: Object, epoch: int, views: dict[str, Informer]) -> Object:
        """Until the source has let go; returns what it says then."""
        for resource in views:
            there = await self._target.list(resource, tenant=self._name, metadata_only=True)
            self._copy.found(resource, there.items)
        record, source_history = record_of(tenant), self._histories[0]
        if record.state == ACTIVE:
            for resource in EARLY:
                await self._write(self._copy.wanted(resource, views[resource].objects))
        self._frozen_at = trio.current_time()
        with trio.move_on_after(FREEZE_SECONDS_MAX) as frozen:
            leaving = Record(LEAVING, epoch, self._target.partition)
            if record.state == ACTIVE:
                tenant = await step(self._source, tenant, record, leaving, history=source_history)
            await self._caught_up(views, tenant.resource_version)
            for resource, view in views.items():
                await self._write(self._copy.wanted(resource, view.objects))
            await self._verify(views)
            if record_of(tenant).state == LEAVING:
                left = leaving._replace(state=LEFT)
                tenant = await step(self._source, tenant, leaving, left, history=source_history)
        if frozen.cancelled_caught:
            raise Unreachable(
                self._target.partition,
                f"tenant {self._name!r} could not be brought there within {FREEZE_SECONDS_MAX:g} s",
            )
        return tenant

    async def _caught_up(self, views: dict[str, Informer], revision: int) -> None:
        """Until the views show all that was written before the tenant was frozen. Raises Unreachable: they never will,
        of this history."""
        history = self._histories[0]
        while True:
            for view in views.values():
                if view.incarnation != history:
                    raise Unreachable(self._source.partition, "it has begun another history: the move begins anew")
            if all(view.history == history and view.resource_version >= revision for view in views.values()):
                return
            await trio.sleep(LOOK_AGAIN_SECONDS / 10)

    async def _write(self, operations: Sequence[pb.Operation]) -> None:
        """Raises ApiError: the target refused one."""
        for start in range(0, len(operations), BATCH_OPERATIONS):
            batch = operations[start : start + BATCH_OPERATIONS]
            for result in await self._target.mutate(batch, history=self._histories[1]):
                raise_for_error(result)
            self._copy.carried_out(batch)

    async def _verify(self, views: dict[str, Informer]) -> None:
        """Raises Conflict: the target does not have what was brought."""

        async def look(resource: str) -> None:
            there = await self._target.list(resource, tenant=self._name, metadata_only=True)
            wrong.extend(f"{resource} {key}" for key in self._copy.missing(resource, there.items))

        wrong: list[str] = []
        await run_all([partial(look, resource) for resource in views])
        if wrong:
            raise Conflict(
                f"{self._target.partition} lacks {len(wrong)} objects that were brought, {wrong[0]} among them: "
                "move it again"
            )

    async def _settle(self, left: Object, arrived: Object) -> None:
        """There is no way back. Raises LinkError, Conflict: somebody must go on."""
        record, coming = record_of(left), record_of(arrived)
        active = Record(ACTIVE, coming.epoch)
        try:
            await step(self._target, arrived, coming, active, history=self._histories[1])
        except LinkError as error:
            raise Unreachable(
                self._target.partition,
                f"tenant {self._name!r} belongs there now, but could not be opened ({error}): its controllers open it "
                "as soon as it answers, or move it again",
            ) from None
        self._frozen_seconds = trio.current_time() - self._frozen_at
        with suppress(UrsaError):  # Its controllers see that the target has it.
            await step(self._source, left, record, record._replace(state=MOVED))

    async def _undo(self, tenant: Object, epoch: int) -> bool:
        """Unless the source has let go, or nobody can say."""
        with trio.move_on_after(UNDO_SECONDS_MAX, shield=True), suppress(UrsaError):
            there = await self._source.get(TENANTS, tenant.key)
            record = record_of(there)
            if record.state == LEAVING and record.epoch == epoch and there.uid == tenant.uid:
                await undo_move(self._source, self._target, there)
                return True
            if record.state == ACTIVE:
                await abandon(self._target, tenant, epoch, self._source.partition, move=self._move)
                return True
        return False


async def _history(client: PartitionClient) -> str:
    return (await client.status()).stores[0].incarnation
