"""A process that hosts many hollow kubelets: the shell around their cores.

Each kubelet has a watch of its own at every tenant partition, as real ones have, all on the client's one stream. What
the cores of a burst want done gathers in one outbox; one task per tenant partition sends it, one batch in flight, and
hands the answers back. Another writes what the nodes owe their resource partition. There is no task per kubelet.

A partition that cannot be reached delays what belongs to it and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import trio

from ...proto.errors import InputError, LinkError, Unreachable
from ...proto.objects import Object
from ..actor import Actor
from ..backoff import Backoff
from ..client import ClientSet, PartitionClient
from .core import Kubelet
from .feed import FeedKeeper
from .feeds import NodeFeed, PodFeed
from .hollow_metrics import HollowMetrics
from .options import HollowNodesOptions
from .pod import Outbox, Timer
from .registrar import Registrar, Write
from .timers import Timers
from .wake import Wake

# The most that one message carries; see `clients.mutations`.
BATCH_OPERATIONS_MAX = 256


class HollowNodes:
    """The hollow nodes of one process, all of one resource partition.

    Args:
        clients: must have a client of `home`; pods are taken from all tenant partitions in it.
        home: the resource partition in which the nodes register.
        nodes: manifests, as `hollow_node` makes them; more can be added later.

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
    ) -> None:
        self.home = home
        self._actor = actor
        self._options = options or HollowNodesOptions()
        self._tenant_clients = clients.tenant_clients
        self._resource_client = clients.for_partition(home)
        self._outbox = Outbox(self._tenant_clients)
        self._registrar = Registrar(actor.random, self._options)
        self._kubelets: dict[str, Kubelet] = {}
        self._feeds: dict[str, list[PodFeed]] = {}  # by node, one per tenant partition
        self._pod_writes = {partition: Wake() for partition in self._tenant_clients}
        self._node_writes = Wake()
        self._timers = Timers(actor.clock.offset_seconds, self._fire)
        self._tenant_keepers = {name: FeedKeeper(client, actor) for name, client in self._tenant_clients.items()}
        self._resource_keeper = FeedKeeper(self._resource_client, actor)
        self._node_feed = NodeFeed(self._resource_keeper, self._registrar, actor.clock.now, self._node_writes.ring)
        self._metrics = HollowMetrics(actor, self._kubelets, self._registrar)
        self._running = False
        self.add_nodes(nodes)

    async def run(self) -> None:
        """Until cancelled. Its clients must outlive it."""
        self._running = True
        try:
            async with trio.open_nursery() as nursery:
                for partition, tenant_client in self._tenant_clients.items():
                    nursery.start_soon(self._write_pods, partition, tenant_client)
                    nursery.start_soon(self._tenant_keepers[partition].run)
                nursery.start_soon(self._resource_keeper.run)
                nursery.start_soon(self._write_nodes)
                nursery.start_soon(self._timers.run)
                self._node_feed.open()
                for feed in self._pod_feeds():
                    feed.open()
        finally:
            self._running = False
            self._node_feed.stop()
            for feed in self._pod_feeds():
                feed.stop()
            self._metrics.close()

    def ready(self) -> dict[str, bool]:
        """Whether all nodes are registered, and whether each tenant partition has told of all their pods."""
        conditions = {
            f"nodes registered in {self.home}": all(node.registered for node in self._registrar.nodes.values())
        }
        for number, partition in enumerate(self._tenant_clients):
            conditions[f"pods of {partition} seen"] = all(feeds[number].synced for feeds in self._feeds.values())
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
            kubelet = Kubelet(node, self.home, self._tenant_clients, self._outbox, self._actor.random, self._options)
            self._kubelets[node.name] = kubelet
            now, settle = self._actor.clock.now, self._settle
            feeds = [PodFeed(keeper, kubelet, now, settle) for keeper in self._tenant_keepers.values()]
            self._feeds[node.name] = feeds
            if self._running:
                for feed in feeds:
                    feed.open()
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
            for feed in self._feeds.pop(name):
                feed.stop()
            self._kubelets.pop(name).close()

    def _pod_feeds(self) -> list[PodFeed]:
        return [feed for feeds in self._feeds.values() for feed in feeds]

    # ---------------------------------------------------------------------------------------------- pods

    async def _write_pods(self, partition: str, tenant_client: PartitionClient) -> None:
        backoff = Backoff(self._actor.random)
        wanted = self._pod_writes[partition]
        while True:
            batch = self._outbox.take(partition, BATCH_OPERATIONS_MAX)
            if not batch:
                await wanted.wait()
                continue
            try:
                results = await tenant_client.mutate([sent.operation for sent in batch])
            except LinkError as error:
                # Whether it happened or not: these writes may be repeated, each names its pod's uid.
                self._actor.log.info("the writes of %d pods are repeated: %s", len(batch), error)
                self._outbox.put_back(batch)
                await trio.sleep(backoff.next_seconds())
                continue
            backoff.reset()
            now = self._actor.clock.now()
            for sent, result in zip(batch, results, strict=True):
                sent.pod.kubelet.write_answered(sent, result, now)
            self._settle(partition)
            self._metrics.take(self._outbox)

    def _fire(self, due: list[Timer]) -> None:
        now = self._actor.clock.now()
        for timer in due:
            timer.pod.kubelet.timer_fired(timer, now)
        for partition in self._pod_writes:
            self._settle(partition)

    def _settle(self, partition: str) -> None:
        """Carry on what the cores have left in the outbox after news of a partition."""
        outbox = self._outbox
        if outbox.timers:
            self._timers.add(outbox.timers)
            outbox.timers.clear()
        if outbox.writes[partition]:
            self._pod_writes[partition].ring()

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
        with trio.move_on_after(self._options.lease_renew_seconds):
            results = await self._resource_client.mutate([write.operation for write in writes])
            now = self._actor.clock.now()
            for write, result in zip(writes, results, strict=True):
                self._registrar.answered(write, result, now)
            return
        raise Unreachable(self.home, f"no answer within {self._options.lease_renew_seconds:g} s")
