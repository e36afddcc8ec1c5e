"""The garbage collector: carries out what its core decides, and asks the partition before it believes an owner gone.

What is due is looked at in rounds: the owners in question are asked about once a round, however many dependents they
have, and what is decided leaves in one call. Owners in other partitions are asked about meanwhile: no round waits for
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import LinkError, NotFound, UrsaError
from ...proto.kinds import BY_KIND, Kind, Role
from ...proto.objects import Object, ObjectKey
from ...proto.tenants import TENANTS
from ..actor import Actor
from ..client import ClientSet
from ..informer import Informer
from ..metrics import counter
from ..spanning import SpanningInformer
from ..tenants.arrivals import all_in_sight
from ..work_queue import WorkQueue
from .foreign_owners import ForeignOwners
from .foreign_owners_core import Fate, fate_of
from .garbage_collector_core import Decision, GarbageCollectorCore
from .owner_kinds import CustomInformers, OwnerKinds, owned_resources
from .owners import Item
from .reconciler import RETRY_SECONDS_MAX

# One call holds two of the largest messages: the second fills up while the first is on its way.
ROUND_ITEMS = 512
# Questions at once: a round with hundreds of owners shall not crowd out other readers.
QUESTIONS_AT_ONCE_MAX = 16

_DEFINITIONS = BY_KIND["CustomResourceDefinition"].resource


class GarbageCollector:
    """Of the partition `home`. `informers` are those that the manager has; the others are made and run here.

    `foreign` are informers over the partitions of the other role: an owner that they show needs no questions.
    """

    def __init__(
        self,
        clients: ClientSet,
        home: str,
        informers: Sequence[Informer],
        actor: Actor,
        foreign: Sequence[SpanningInformer] = (),
    ) -> None:
        self._client = client = clients.for_partition(home)
        role = Role.TENANT if home in clients.tenant_clients else Role.RESOURCE
        self._log = actor.log
        known = {informer.resource: informer for informer in informers}
        self._made = {
            resource: Informer(client, resource, metadata_only=resource != _DEFINITIONS)
            for resource in owned_resources(role)
            if resource not in known
        }
        self._informers = {**known, **self._made}
        self._views: dict[str, Mapping[ObjectKey, Object]] = {}
        self._custom = CustomInformers(client, self._follow, self._forget)
        kinds = OwnerKinds(role, self._informers[_DEFINITIONS], self._kind_changed)
        self._foreign = ForeignOwners(clients, home, role, self._answered, actor)
        self._core = GarbageCollectorCore(
            role, self._views, kinds, {spanning.resource: spanning for spanning in foreign}, self._foreign.is_free
        )
        self._queue: WorkQueue[Item] = WorkQueue(actor, "garbage_collector")
        writes = counter(actor.registry, "ursa_garbage_collector_writes_total", "Objects written.", ["verb"])
        self._writes = {verb: writes.labels(verb) for verb in ("delete", "patch")}
        for informer in self._informers.values():
            self._follow(informer)
        for spanning in foreign:
            spanning.add_handler(lambda _, event: self._core.foreign_event(event))
            spanning.add_burst_handler(lambda _: self._enqueue())
            spanning.add_leave_handler(partial(self._foreign_left, spanning.resource))

    def _foreign_left(self, resource: str, _partition: str) -> None:
        self._core.foreign_partition_left(resource)
        self._enqueue()

    def _answered(self, owner: Item) -> None:
        self._core.answered(owner)
        self._enqueue()

    def _follow(self, informer: Informer) -> None:
        self._views[informer.resource] = informer.objects
        informer.add_handler(partial(self._core.observe, informer.resource))
        informer.add_history_handler(lambda: self._core.history_began(informer.resource, informer.objects.values()))
        informer.add_burst_handler(self._enqueue)

    def _forget(self, informer: Informer) -> None:
        del self._views[informer.resource]
        self._core.forget(informer.resource, list(informer.objects.values()))

    def _kind_changed(self, resource: str, kind: Kind | None) -> None:
        self._custom.kind_changed(resource, kind)
        self._core.kinds_changed()

    def _enqueue(self) -> None:
        for item in self._core.take_due():
            self._queue.add(item)

    async def run(self) -> None:
        """Until cancelled. Nothing is decided before the views of all built-in kinds are complete."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._queue.run)
            nursery.start_soon(self._custom.run)
            nursery.start_soon(self._foreign.run)
            for informer in self._made.values():
                nursery.start_soon(informer.run)
            for informer in self._informers.values():
                await informer.wait_synced()
            while True:
                items = [await self._queue.get()]
                while len(self._queue) and len(items) < ROUND_ITEMS:
                    items.append(await self._queue.get())
                await self._round(items)

    async def _round(self, items: Sequence[Item]) -> None:
        # Before anything is asked: what is said to be gone while a tenant arrives may just not be there yet.
        settled = dict.fromkeys(item for item in items if self._is_settled(item))
        asked = dict.fromkeys(owner for item in settled for owner in self._core.questions(item))
        fates = await self._fates(list(asked))
        complete_up_to = self._complete_up_to()
        decisions = [(item, self._core.decide(item, fates, complete_up_to)) for item in settled]
        retried = await self._write([(item, made) for item, made in decisions if made.operation is not None])
        retried.update((item, None) for item, made in decisions if made.again)
        retried.update(dict.fromkeys(item for item in items if item not in settled))
        for item in items:
            if item in retried:
                self._queue.add_rate_limited(item)
                self._queue.add_after(item, RETRY_SECONDS_MAX)
            else:
                self._queue.forget(item)
            self._queue.done(item)

    def _is_settled(self, item: Item) -> bool:
        obj = self._views.get(item.resource, {}).get(item.key)
        return obj is None or all_in_sight(self._informers.get(TENANTS), obj, self._complete_up_to)

    async def _fates(self, owners: Sequence[Item]) -> dict[Item, Fate]:
        """In the words of the partitions. What they did not answer about is left out."""
        elsewhere = [owner for owner in owners if owner.elsewhere]
        fates = self._foreign.fates(elsewhere)
        limit = trio.CapacityLimiter(QUESTIONS_AT_ONCE_MAX)

        async def ask(owner: Item) -> None:
            async with limit:
                try:
                    fates[owner] = fate_of(owner, await self._client.get(owner.resource, owner.key))
                except NotFound:
                    fates[owner] = Fate.GONE
                except UrsaError as error:
                    self._log.info("garbage collector: dependents of %s kept: %s", owner, error)

        async with trio.open_nursery() as nursery:
            for owner in owners:
                if not owner.elsewhere:
                    nursery.start_soon(ask, owner)
        return fates

    def _complete_up_to(self) -> int:
        """All dependents that there were at this revision are in sight. 0: the views are not of one history, and
        revisions of two say nothing about each other."""
        informers = [*self._informers.values(), *self._custom.running.values()]
        history = informers[0].history
        if not history or any(informer.history != history for informer in informers):
            return 0
        return min(informer.resource_version if informer.synced else 0 for informer in informers)

    async def _write(self, decisions: Sequence[tuple[Item, Decision]]) -> dict[Item, None]:
        """Returns what must be tried again: it has changed since, or was refused, or there was no answer.

        An answer that was lost does no harm: all writes name the revision they were decided on.
        """
        operations = [made.operation for _, made in decisions if made.operation is not None]
        if not operations:
            return {}
        try:
            results = await self._client.mutate(operations)
        except LinkError as error:
            self._log.info("garbage collector: %s; it will be tried again", error)
            return dict.fromkeys(item for item, _ in decisions)
        failed: dict[Item, None] = {}
        for (item, _), operation, result in zip(decisions, operations, results, strict=True):
            if not result.HasField("error"):
                self._writes[_verb(operation)].inc()
            elif result.error.reason != NotFound.reason:
                failed[item] = None
        return failed


def _verb(operation: pb.Operation) -> str:
    return operation.WhichOneof("verb") or ""
