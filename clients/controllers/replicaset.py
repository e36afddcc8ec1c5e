"""The ReplicaSet controller: carries out the plans of its core.

Keys are taken from the queue in batches, planned one after the other, and written in one call: three hundred
ReplicaSets that each want a few pods share messages and commits. While a batch is on its way the next one is planned.
"""

from __future__ import annotations

import trio

from ...proto.errors import LinkError, OutcomeUnknown
from ...proto.objects import ObjectKey
from ..actor import Actor
from ..client import PartitionClient
from ..informer import Informer
from ..metrics import counter
from ..tenants.arrivals import all_in_sight
from ..work_queue import WorkQueue
from .replicaset_core import STATUS_DELAY_SECONDS, Plan, ReplicaSetCore

# One call holds about this many operations: two of the largest messages, so that the second fills up while the first
# is on its way.
BATCH_OPERATIONS = 512
# Calls on their way at once: one being answered, one waiting behind it.
BATCHES_MAX = 2
# After a lost link. Writing waits for the link by itself; this only keeps a link that flaps from spinning.
RETRY_SECONDS = 0.5
# How often expectations that no event has ended are compared with the informer's revision. Rarely needed: a pod that
# came and went while the link was down.
RESYNC_SECONDS = 5.0


class ReplicaSetController:
    """Of one tenant partition. Its informers are run by the manager."""

    def __init__(
        self,
        tenant_client: PartitionClient,
        replicasets: Informer,
        pods: Informer,
        actor: Actor,
        tenants: Informer | None = None,
    ) -> None:
        """`tenants`: where tenants move."""
        self._tenant_client = tenant_client
        self._tenants = tenants
        self._replicasets, self._pods = replicasets, pods
        self._clock = actor.clock
        self._log = actor.log
        self._core = ReplicaSetCore(actor.random, pods.objects)
        self._queue: WorkQueue[ObjectKey] = WorkQueue(actor, "replicaset")
        self._slots = trio.Semaphore(BATCHES_MAX)
        self._planned = ""  # The history that was planned for last.
        created = counter(
            actor.registry, "ursa_replicaset_pod_writes_total", "Pods created and deleted for ReplicaSets.", ["verb"]
        )
        self._created, self._deleted = created.labels("create"), created.labels("delete")
        replicasets.add_handler(self._core.replicaset_event)
        replicasets.add_burst_handler(self._enqueue)
        pods.add_handler(self._core.pod_event)
        pods.add_burst_handler(self._enqueue)

    async def run(self) -> None:
        """Until cancelled. Nothing is planned before both views are complete."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._queue.run)
            await self._replicasets.wait_synced()
            await self._pods.wait_synced()
            nursery.start_soon(self._resync)
            await self._plan_batches(nursery)

    def has_unfinished_pods(self, uid: str) -> bool:
        """Whether pods of the ReplicaSet of this uid run, may run, or are on their way."""
        return self._core.has_unfinished_pods(uid)

    def _enqueue(self) -> None:
        for key in self._core.take_due():
            self._queue.add(key)
        for key in self._core.take_status_due():
            self._queue.add_after(key, STATUS_DELAY_SECONDS)

    async def _resync(self) -> None:
        while True:
            self._core.resync(self._pods.resource_version, self._pods.incarnation)
            self._enqueue()
            await trio.sleep(RESYNC_SECONDS)

    async def _plan_batches(self, nursery: trio.Nursery) -> None:
        """The only consumer of the queue: a key that waits is there to be taken."""
        while True:
            await self._slots.acquire()
            first = await self._queue.get()
            history = self._begun_history()
            plans = [self._plan(first, history)]
            operations = len(plans[0].operations)
            while len(self._queue) and operations < BATCH_OPERATIONS:
                plans.append(self._plan(await self._queue.get(), history))
                operations += len(plans[-1].operations)
            nursery.start_soon(self._write, [plan for plan in plans if plan.operations], history)
            for plan in plans:
                if not plan.operations:
                    self._finish(plan)

    def _history(self) -> str:
        """That both views are of. Empty, while there is none: what the sets of one ask for says nothing about the pods
        of another, in a partition that was set back."""
        history = self._pods.history
        return history if history == self._replicasets.history else ""

    def _begun_history(self) -> str:
        """The same, after the core has been told that it has begun: until then it counts on what it did in another."""
        history = self._history()
        if history and history != self._planned:
            self._planned = history
            self._core.resync(self._pods.resource_version, history)
        return history

    def _plan(self, key: ObjectKey, history: str) -> Plan:
        if not history or history != self._history():
            return Plan(key, "", again_seconds=RETRY_SECONDS)
        replicaset = self._replicasets.objects.get(key)
        if replicaset is not None and not all_in_sight(self._tenants, replicaset, lambda: self._pods.resource_version):
            return Plan(key, "", again_seconds=RETRY_SECONDS)
        return self._core.plan(key, self._clock.now_ms())

    async def _write(self, plans: list[Plan], history: str) -> None:
        operations = [operation for plan in plans for operation in plan.operations]
        try:
            results = await self._tenant_client.mutate(operations, history=history)
        except LinkError as error:
            self._log.info("replicasets: %s; they will be tried again", error)
            for plan in plans:
                if isinstance(error, OutcomeUnknown) and self._history() in (history, ""):
                    self._core.outcome_unknown(plan)
                else:
                    self._core.not_sent(plan)
                plan.look_again(RETRY_SECONDS)
        else:
            now_ms, position = self._clock.now_ms(), 0
            for plan in plans:
                end = position + len(plan.operations)
                self._core.settle(plan, results[position:end], now_ms)
                position = end
                self._created.inc(len(plan.creates))
                self._deleted.inc(len(plan.deletes))
        finally:
            self._slots.release()
        for plan in plans:
            self._finish(plan)

    def _finish(self, plan: Plan) -> None:
        self._queue.done(plan.key)
        if plan.again_seconds is not None:
            self._queue.add_after(plan.key, plan.again_seconds)
