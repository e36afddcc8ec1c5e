"""Releases the placements of pods that are gone: carries out what its core decides."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from ...proto.errors import LinkError, UrsaError
from ..actor import Actor
from ..client import PartitionClient
from ..informer import Event, Informer
from ..metrics import counter, gauge
from ..spanning import SpanningInformer
from ..tenants.following import find
from .options import ResourceControllerOptions
from .placement_release_core import PlacementReleaseCore, Question, is_of_partition

# One call holds two of the largest messages: the second fills up while the first is on its way.
BATCH_OPERATIONS = 512
# After a lost link or a refusal. Writing waits for the link by itself; this only keeps a flapping one from spinning.
RETRY_SECONDS = 0.5
# How often the placements of pods that were never seen are gone through; short against their grace period.
ASK_SECONDS = 5.0
# Questions in one round, and at once. After a controller was down for long there may be thousands; they shall not
# crowd out the other readers of a tenant partition.
QUESTIONS_MAX = 512
QUESTIONS_AT_ONCE_MAX = 16


class PlacementReleaseController:
    """Of one resource partition. `pods` has, per tenant partition, an informer of the pods on our nodes."""

    def __init__(
        self,
        resource_client: PartitionClient,
        tenant_clients: Mapping[str, PartitionClient],
        placements: Informer,
        pods: SpanningInformer,
        options: ResourceControllerOptions,
        actor: Actor,
    ) -> None:
        self._resource_client = resource_client
        self._tenant_clients = tenant_clients
        self._placements, self._pods = placements, pods
        self._options = options
        self._log = actor.log
        self._core = PlacementReleaseCore(placements.objects, options.placement_grace_seconds, pods.showing)
        self._work = trio.Event()
        released = counter(
            actor.registry, "ursa_placements_released_total", "Placements released, as their pods ended.", ["partition"]
        )
        self._released = released.labels(resource_client.partition)
        self._orphans = gauge(
            actor.registry,
            "ursa_placements_orphaned",
            "Placements that hold room for pods which have not been seen here for long.",
            ["partition"],
        ).labels(resource_client.partition)
        placements.add_handler(self._placement_event)
        pods.add_handler(self._core.pod_event)
        pods.add_burst_handler(lambda _: self._wake())
        pods.add_leave_handler(self._left)

    def _placement_event(self, event: Event) -> None:
        if is_of_partition(event.object, self._resource_client.partition):
            return  # Our own pods' go with them, in one write.
        self._core.placement_event(event, trio.current_time())

    def _left(self, tenant_partition: str) -> None:
        self._core.partition_left(tenant_partition, trio.current_time())

    def _wake(self) -> None:
        if self._core.has_releases:
            self._work.set()

    async def run(self) -> None:
        """Until cancelled."""
        await self._placements.wait_synced()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._release)
            nursery.start_soon(self._ask)

    async def _release(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self._core.has_releases:
                operations = self._core.take_releases(BATCH_OPERATIONS)
                operations += self._core.take_moves(BATCH_OPERATIONS - len(operations))
                if not operations:
                    break
                try:
                    results = await self._resource_client.mutate(operations)
                except LinkError as error:
                    self._log.info("placements not released: %s; they will be tried again", error)
                    self._core.give_back(operations)
                    await trio.sleep(RETRY_SECONDS)
                    continue
                released = self._core.settle(operations, results, trio.current_time())
                self._released.inc(released)
                if not released:
                    await trio.sleep(RETRY_SECONDS)

    async def _ask(self) -> None:
        """Ask only partitions whose pods we have seen, and whose informer is fresh: the others would not answer."""
        asked_all = True
        while True:
            await trio.sleep(ASK_SECONDS if asked_all else RETRY_SECONDS)
            self._orphans.set(self._core.orphans(trio.current_time()))
            removed = self._pods.removed
            answering = [*self._pods.fresh(self._options.staleness_seconds_max), *removed]
            questions = self._core.questions(trio.current_time(), answering, QUESTIONS_MAX)
            asked_all = len(questions) < QUESTIONS_MAX
            limit = trio.CapacityLimiter(QUESTIONS_AT_ONCE_MAX)
            async with trio.open_nursery() as nursery:
                for question in questions:
                    if question.tenant_partition in removed:
                        self._core.answer(question, None)
                    else:
                        nursery.start_soon(self._ask_one, question, limit)
            self._wake()

    async def _ask_one(self, question: Question, limit: trio.CapacityLimiter) -> None:
        async with limit:
            try:
                found = await find(self._tenant_clients, question.tenant_partition, "pods", question.pod)
            except UrsaError as error:
                self._log.info("placement of pod %s kept: %s", question.pod, error)
                return
        self._core.answer(question, found.object, found.partition)
