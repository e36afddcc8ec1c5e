"""A process that hosts many hollow kubelets: the shell around their cores.

Each kubelet has a watch of its own at every tenant partition, as real ones have, and one at its resource partition, for
daemons; all on the client's one stream. What the cores of a burst want done gathers in one outbox; one task per
partition sends it, one batch in flight, and hands the answers back. Another writes what the nodes owe their resource
partition. There is no task per kubelet.

A partition that cannot be reached delays what belongs to it and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

import trio

from ...proto.errors import InputError, LinkError, Unreachable, UrsaError
from ...proto.objects import Object, ObjectKey
from ..actor import Actor
from ..backoff import Backoff
from ..client import ClientSet, PartitionClient
from ..feed import FeedKeeper
from ..nurseries import run_all
from ..tenants.following import Found, find
from ..wake import Wake
from .core import Kubelet
from .feeds import NodeFeed, PodFeed
from .hollow_metrics import HollowMetrics
from .isolation import Isolation
from .options import HollowNodesOptions
from .pod import PODS_RESOURCE, Outbox, Question, Timer
from .registrar import Registrar, Write
from .static_pods import StaticPod
from .telling import Telling
from .timers import Timers

# The most that one message carries; see `clients.mutations`.
BATCH_OPERATIONS_MAX = 256
# About pods that may have moved: a burst of them shall not crowd out the other readers of a partition.
QUESTIONS_AT_ONCE_MAX = 16


class InstanceObserver(Protocol):
    """Is told which instances of pods start, or are adopted, and stop. `pod_partition` is empty for static pods."""

    def __call__(
        self, node_partition: str, node: str, pod_partition: str, key: ObjectKey, uid: str, *, started: bool
    ) -> None: ...


class HollowNodes:
    """The hollow nodes of one process, all of one resource partition.

    Args:
        clients: must have a client of `home`; pods are taken from it and from all tenant partitions.
        home: the resource partition in which the nodes register.
        nodes: manifests, as `hollow_node` makes them; more can be added later.
        observer: of the instances of pods on these nodes.
        static_pods: manifests of pods that each of the nodes runs whatever any partition says, and shows in `home`.

    Raises:
        InputError: two nodes of one name. NotFound: there is no client of `home`.
    """

    def __init__(
        self,
        clients: ClientSet,
        home: str,
        actor: Actor,
        nodes: Sequence[Object] = (),
        options: HollowNodesOptions | None = None,
        observer: InstanceObserver | None = None,
        static_pods: Sequence[Object] = (),
    ) -> None:
        self.home = home
        self._actor = actor
        self._options = options or HollowNodesOptions()
        self._tenant_clients = clients.tenant_clients
        self._resource_client = clients.for_partition(home)
        self._observer = observer
        self._static_pods = static_pods
        self._outbox = Outbox((home,), tells_instances=observer is not None)
        self._registrar = Registrar(actor.random, self._options)
        self._kubelets: dict[str, Kubelet] = {}
        self._feeds: dict[str, dict[str, PodFeed]] = {}  # by node, then by the pods' partition
        self._pod_writes: dict[str, Wake] = {}  # by the pods' partition, as the next
        self._sending: dict[str, trio.CancelScope] = {}
        self._node_writes = Wake()
        self._lost = Wake()
        self._timers = Timers(actor.clock, self._fire)
        self._pod_keepers: dict[str, FeedKeeper] = {}
        self._resource_keeper = FeedKeeper(self._resource_client, actor)
        self._node_feed = NodeFeed(self._resource_keeper, self._registrar, actor.clock.now, self._node_seen)
        self._telling = Telling(
            self._resource_client,
            self._registrar,
            self._kubelets,
            lambda: self._node_feed.incarnation,
            self._sees_all,
            actor,
        )
        self._heard_at: dict[str, float] = {}
        self._isolation = Isolation(self._kubelets, self._hear, self._settle, self._options.fence_seconds, actor.log)
        self._metrics = HollowMetrics(actor, self._kubelets, self._registrar)
        self._running = False
        self.add_nodes(nodes)

    async def run(self) -> None:
        """Until cancelled. Its clients must outlive it."""
        self._running = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tenant_clients.serve_each, self._span)
                nursery.start_soon(self._span, self._resource_client)
                nursery.start_soon(self._resource_keeper.run)
                nursery.start_soon(self._write_nodes)
                nursery.start_soon(self._telling.run)
                nursery.start_soon(self._isolation.run)
                nursery.start_soon(self._ask_about_lost)
                nursery.start_soon(self._timers.run)
                self._node_feed.open()
                self._start_static(self._kubelets.values())
        finally:
            self._running = False
            self._node_feed.stop()
            self._metrics.close()

    def ready(self) -> dict[str, bool]:
        """Whether all nodes are registered, and whether each partition has told of all their pods."""
        conditions = {
            f"nodes registered in {self.home}": all(node.registered for node in self._registrar.nodes.values())
        }
        for partition in (self.home, *self._tenant_clients):
            conditions[f"pods of {partition} seen"] = partition in self._pod_keepers and all(
                feeds[partition].synced for feeds in self._feeds.values()
            )
        return {condition: self._running and holds for condition, holds in conditions.items()}

    @property
    def node_names(self) -> list[str]:
        return list(self._kubelets)

    def add_nodes(self, nodes: Iterable[Object]) -> None:
        """Host more nodes, before or while it runs.

        Raises:
            InputError: a node of that name is hosted already; none of them is added.
        """
        nodes = list(nodes)
        names = dict.fromkeys(self._kubelets)
        for node in nodes:
            if node.name in names:
                raise InputError(f"there is a hollow node {node.name!r} already: give each its own name")
            names[node.name] = None
        for node in nodes:
            self._registrar.add(node)
            partitions = list(self._pod_keepers)
            kubelet = Kubelet(node, self.home, partitions, self._outbox, self._actor.random, self._options)
            self._kubelets[node.name] = kubelet
            self._feeds[node.name] = {}
            for keeper in self._pod_keepers.values():
                self._feed(kubelet, keeper)
        if self._running:
            self._start_static(self._kubelets[node.name] for node in nodes)
        self._node_writes.ring()

    def remove_nodes(self, names: Iterable[str]) -> None:
        """Stop hosting nodes, as if their machines were switched off: their Node objects stay, nothing renews them.

        Raises:
            InputError: a node of that name is not hosted; none of them is removed.
        """
        names = list(dict.fromkeys(names))
        for name in names:
            if name not in self._kubelets:
                raise InputError(f"there is no hollow node {name!r} here: it is hosted elsewhere, or not at all")
        for name in names:
            self._registrar.remove(name)
            for feed in self._feeds.pop(name).values():
                feed.stop()
            self._kubelets.pop(name).close()
        # What they wanted written may still wait for a link; the next kubelet of the node may see it otherwise.
        for scope in self._sending.values():
            scope.cancel()
        self._tell_instances()

    # ---------------------------------------------------------------------------------------------- partitions

    async def _span(self, client: PartitionClient) -> None:
        """One partition, for as long as it is one: all kubelets watch it, and what they tell it is written."""
        partition = client.partition
        keeper = self._pod_keepers[partition] = FeedKeeper(client, self._actor)
        self._outbox.add_partition(partition)
        self._pod_writes[partition] = Wake()
        for kubelet in self._kubelets.values():
            kubelet.partition_added(partition)
            self._feed(kubelet, keeper)
        try:
            await run_all([keeper.run, partial(self._write_pods, partition, client)])
        finally:
            for feeds in self._feeds.values():
                feeds.pop(partition).stop()
            if partition in self._tenant_clients.removed:
                for kubelet in self._kubelets.values():
                    kubelet.partition_removed(partition, self._actor.clock.now())
                self._tell_instances()
                self._outbox.remove_partition(partition)
            del self._pod_keepers[partition], self._pod_writes[partition]
            self._sending.pop(partition, None)

    def _feed(self, kubelet: Kubelet, keeper: FeedKeeper) -> None:
        feed = PodFeed(keeper, kubelet, self._actor.clock.now, self._settle)
        self._feeds[kubelet.name][keeper.client.partition] = feed
        feed.open()

    def _sees_all(self, node: str) -> bool:
        """Whether every tenant partition has told of all pods of this node."""
        feeds = self._feeds[node]
        return all(partition in feeds and feeds[partition].synced for partition in self._tenant_clients)

    def _hear(self) -> dict[str, float]:
        """When each tenant partition last said anything; one that never did has told of no pods."""
        for feeds in self._feeds.values():
            for partition, feed in feeds.items():
                self._heard_at[partition] = max(feed.heard_at, self._heard_at.get(partition, -math.inf))
            break  # The watches of a client share one stream: each is heard of with the others.
        tenants = self._tenant_clients
        return {name: at for name, at in self._heard_at.items() if name in tenants and name in self._pod_keepers}

    # ---------------------------------------------------------------------------------------------- static pods

    def _start_static(self, kubelets: Iterable[Kubelet]) -> None:
        """They wait for no partition; their mirrors do."""
        now = self._actor.clock.now()
        for kubelet in kubelets if self._static_pods else ():
            kubelet.static.start(self._static_pods, now)
        self._carry_on()

    def _node_seen(self) -> None:
        self._node_writes.ring()
        self._telling.look()
        if not self._static_pods:
            return
        for name, kubelet in self._kubelets.items():
            kubelet.static.node_seen(self._registrar.nodes[name].uid)
        if self.home in self._pod_writes:
            self._settle(self.home)

    # ---------------------------------------------------------------------------------------------- pods

    async def _write_pods(self, partition: str, client: PartitionClient) -> None:
        backoff = Backoff(self._actor.random)
        wanted = self._pod_writes[partition]
        while True:
            batch = self._outbox.take(partition, BATCH_OPERATIONS_MAX)
            if not batch:
                await wanted.wait()
                continue
            try:
                with trio.CancelScope() as self._sending[partition]:
                    results = await client.mutate([sent.operation for sent in batch])
            except LinkError as error:
                # Whether it happened or not: these writes may be repeated, each names its pod's uid.
                self._actor.log.info("the writes of %d pods are repeated: %s", len(batch), error)
                self._outbox.put_back(batch)
                await trio.sleep(backoff.next_seconds())
                continue
            except trio.Cancelled:
                self._outbox.put_back(batch)  # The partition may be elsewhere now.
                raise
            if self._sending[partition].cancelled_caught:
                self._outbox.put_back(batch)
                continue
            backoff.reset()
            now = self._actor.clock.now()
            for sent, result in zip(batch, results, strict=True):
                sent.pod.kubelet.write_answered(sent, result, now)
            self._settle(partition)
            self._metrics.take(self._outbox)

    async def _ask_about_lost(self) -> None:
        """Pods that their partitions do not have any more, and that may have moved."""
        backoff = Backoff(self._actor.random)
        limit = trio.CapacityLimiter(QUESTIONS_AT_ONCE_MAX)
        outbox = self._outbox
        while True:
            await self._lost.wait()
            while outbox.questions:
                questions, outbox.questions = outbox.questions, []
                await run_all([partial(self._ask, question, limit) for question in questions])
                for partition in self._pod_writes:
                    self._settle(partition)
                if outbox.questions:
                    await trio.sleep(backoff.next_seconds())
                else:
                    backoff.reset()

    async def _ask(self, question: Question, limit: trio.CapacityLimiter) -> None:
        pod = question.pod
        async with limit:
            try:
                found = await find(self._tenant_clients, question.partition, PODS_RESOURCE, pod.key)
            except UrsaError as error:
                if not (isinstance(error, LinkError) and error.partition in self._tenant_clients.removed):
                    self._outbox.questions.append(question)
                    self._actor.log.info("pod %s runs on, whoever has it: %s", pod.key, error)
                    return
                found = Found(question.partition, None)
        message = None if found.object is None else found.object.message
        pod.kubelet.pod_found(pod, found.partition, message, self._actor.clock.now())

    def _fire(self, due: list[Timer]) -> None:
        now = self._actor.clock.now()
        for timer in due:
            timer.pod.kubelet.timer_fired(timer, now)
        for partition in self._pod_writes:
            self._settle(partition)

    def _settle(self, partition: str) -> None:
        """Carry on what the cores have left in the outbox after news of a partition."""
        self._carry_on()
        self._ring_for(partition)

    def _carry_on(self) -> None:
        """What is to be written apart."""
        outbox = self._outbox
        self._tell_instances()
        if outbox.timers:
            self._timers.add(outbox.timers)
            outbox.timers.clear()
        if outbox.questions:
            self._lost.ring()
        for partition in outbox.take_handed_over():
            self._ring_for(partition)

    def _ring_for(self, partition: str) -> None:
        if self._outbox.writes.get(partition) and partition in self._pod_writes:
            self._pod_writes[partition].ring()

    def _tell_instances(self) -> None:
        if self._observer is None or not self._outbox.instances:
            return
        for pod, started in self._outbox.instances:
            node = pod.kubelet.name
            partition = "" if isinstance(pod, StaticPod) else pod.partition
            self._observer(self.home, node, partition, pod.key, pod.uid, started=started)
        self._outbox.instances.clear()

    # ---------------------------------------------------------------------------------------------- nodes

    async def _write_nodes(self) -> None:
        backoff = Backoff(self._actor.random)
        while True:
            writes = self._registrar.due(self._actor.clock.now())
            if not writes:
                with trio.move_on_after(max(0.0, self._registrar.next_due() - self._actor.clock.now())):
                    await self._node_writes.wait()
                continue
            try:
                for start in range(0, len(writes), BATCH_OPERATIONS_MAX):
                    await self._write_node_batch(writes[start : start + BATCH_OPERATIONS_MAX])
                backoff.reset()
            except LinkError as error:
                self._actor.log.info("the writes of %d nodes are repeated: %s", len(writes), error)
                await trio.sleep(backoff.next_seconds())

    async def _write_node_batch(self, writes: Sequence[Write]) -> None:
        # A renewal that has waited for a whole interval tells an old time: better a new one.
        sent_at = trio.current_time()
        with trio.move_on_after(self._options.lease_renew_seconds):
            results = await self._resource_client.mutate([write.operation for write in writes])
            now = self._actor.clock.now()
            for write, result in zip(writes, results, strict=True):
                self._registrar.answered(write, result, now)
            taken = zip(writes, results, strict=True)
            self._isolation.renewed((each.node.name for each, it in taken if not it.HasField("error")), sent_at)
            return
        raise Unreachable(self.home, f"no answer within {self._options.lease_renew_seconds:g} s")
