"""A scheduling core between real apiservers, with every message in the hands of a test.

Two tenant and two resource partitions run as they do in production, but synchronously and in memory. What they tell
waits in feeds until it is delivered; what the core asks waits in an outbox, then goes out as a batch, is carried out,
and is answered, each when the test says so. An answer can be lost, before or after the batch was carried out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from ursa.clients.object_cache import Event, EventType, ObjectCache
from ursa.clients.revisions import Revision
from ursa.clients.scheduler.actions import Action, Bind, Claim, Release
from ursa.clients.scheduler.core import SchedulingCore
from ursa.clients.scheduler.hooks import CycleEnd
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.scheduler import BOUND, BUDGETS, NAMESPACES, UNBOUND
from ursa.clients.scheduler.volume_news import FOLLOWED
from ursa.partitions import ApiServer
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, LinkError, OutcomeUnknown, Unreachable
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey
from ursa.proto.quantities import resource_list
from ursa.proto.sessions import Caller
from ursa.proto.volumes import CLAIMS
from ursa.storage import MemoryStore, Record

HOME = "tp-1"
TENANT_PARTITIONS = ["tp-1", "tp-2"]
RESOURCE_PARTITIONS = ["rp-1", "rp-2"]


class HandRuntime:
    """Time passes whenever somebody looks, so that every commit is due at once; no timer ever fires."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now

    def wall_ms(self) -> int:
        return 1_790_000_000_000 + round(self.now * 1000)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        pass


class Partition:
    """A real apiserver."""

    def __init__(self, name: str, role: Role) -> None:
        self.name, self.role = name, role
        self.serve(MemoryStore(incarnation=name))

    def serve(self, store: MemoryStore) -> None:
        self.store = store
        self.server = ApiServer(self.name, self.role, store, HandRuntime(), Random(store.incarnation))

    def set_back(self, records: dict[int, Record], incarnation: str) -> None:
        """Go on with what the store held then, in another history."""
        store = MemoryStore(incarnation=incarnation)
        store._records = dict(records)
        store._restore(store._records.values(), self.store.compacted)
        self.serve(store)

    def write(self, operations: list[pb.Operation]) -> list[pb.Result]:
        answers: list[bytes | ApiError] = []
        request = pb.MutateRequest(operations=operations, batch=1)
        self.server.call("Write", request.SerializeToString(), Caller("test"), answers.append)
        [answer] = answers
        assert isinstance(answer, bytes), answer
        return list(pb.MutateReply.FromString(answer).results)

    def apply(self, operation: pb.Operation) -> pb.Result:
        [result] = self.write([operation])
        return result

    def objects(self, resource: str) -> list[Object]:
        stream = self.server.open("List", Caller("test"), lambda: None)
        stream.receive(pb.ListRequest(selection=pb.Selection(resource=resource)).SerializeToString())
        found = []
        while (data := stream.take()) is not None:
            found.extend(Object(item, self.name) for item in pb.ListReply.FromString(data).items)
        return found


class Feed:
    """What an informer would tell, delivered a message at a time."""

    def __init__(self, partition: Partition, selection: pb.Selection, emit: Callable[[Event], None]) -> None:
        self.synced = False
        self.revision = 0
        self._cache = ObjectCache(emit)
        self._waiting: deque[pb.WatchReply] = deque()
        self._stream = partition.server.open("Watch", Caller("test"), lambda: None)
        start = pb.WatchStart(id=1, selection=selection, initial_events=True)
        self._cache.begin_view("x")
        self._stream.receive(pb.WatchRequest(start=[start]).SerializeToString())

    def deliver(self) -> bool:
        """One message; False: there is none."""
        while (data := self._stream.take()) is not None:
            self._waiting.append(pb.WatchReply.FromString(data))
        if not self._waiting:
            return False
        reply = self._waiting.popleft()
        for batch in reply.batches:
            for event in batch.events:
                self._cache.apply(event.type, Object(event.object), event.resource_version)
            if batch.initial_events_end:
                self._cache.end_view()
                self.synced = True
        if self.synced:
            self.revision = max(self.revision, reply.resource_version)
        return True

    def close(self) -> None:
        self._stream.close()


class InFlight:
    """A batch on its way. `results` once it has been carried out."""

    def __init__(self, actions: list[Action]) -> None:
        self.actions = actions
        self.results: list[pb.Result] | None = None


class Rig:
    def __init__(self, options: SchedulerOptions | None = None, *, batch_max: int = 4) -> None:
        self.now = 0.0
        self.options = options or SchedulerOptions()
        self.batch_max = batch_max
        self.partitions = {name: Partition(name, Role.TENANT) for name in TENANT_PARTITIONS}
        self.partitions |= {name: Partition(name, Role.RESOURCE) for name in RESOURCE_PARTITIONS}
        self.apply(HOME, _create("ursa.dev/v1", "Tenant", "acme"))
        self.bound: dict[str, tuple[str, str]] = {}  # by the home partition, at the moment it happened
        self.reports: list[str] = []
        self.resource_partitions = list(RESOURCE_PARTITIONS)
        self.lost: list[list[Action]] = []  # batches of dead schedulers that may still be carried out
        self.generation = 0
        self.start_scheduler()

    # ------------------------------------------------------------------------------------------------ the scheduler

    def start_scheduler(self) -> None:
        """A new process: it knows nothing."""
        self.generation += 1
        self.core = SchedulingCore(
            HOME, TENANT_PARTITIONS, self.resource_partitions, Random(self.generation), self.options
        )
        self.outbox: dict[str, list[Action]] = {name: [] for name in [HOME, *self.resource_partitions]}
        self.in_flight: dict[str, InFlight] = {}
        self.cycles: list[Bind] = []  # Binding cycles that go on.
        core = self.core
        self.feeds: dict[tuple[str, str], Feed] = {
            (HOME, "pods"): Feed(
                self.partitions[HOME], pb.Selection(resource="pods", field_selector=UNBOUND), self._pod_event
            )
        }
        for name in self.resource_partitions:

            def node_event(event: Event, name: str = name) -> None:
                if event.type is EventType.DELETED:
                    core.node_gone(name, event.object.name)
                else:
                    core.node_seen(name, event.object)

            def placement_event(event: Event, name: str = name) -> None:
                if event.type is EventType.DELETED:
                    core.placement_gone(name, event.object.name)
                else:
                    core.placement_seen(name, event.object.message)

            self.feeds[name, "nodes"] = Feed(self.partitions[name], pb.Selection(resource="nodes"), node_event)
            self.feeds[name, "placements"] = Feed(
                self.partitions[name], pb.Selection(resource="placements.ursa.dev"), placement_event
            )

    def _follow_bound_pods(self) -> None:
        """Once the core asks for it, as the scheduler does."""
        core, home = self.core, self.partitions[HOME]
        if not core.needs_bound_pods or (HOME, "bound") in self.feeds:
            return

        def bound(event: Event) -> None:
            if event.type is EventType.DELETED:
                core.bound_pod_gone(event.object.uid)
            else:
                core.bound_pod_seen(event.object)

        def namespace(event: Event) -> None:
            if event.type is EventType.DELETED:
                core.namespace_gone(event.object)
            else:
                core.namespace_seen(event.object)

        def budget(event: Event) -> None:
            if event.type is EventType.DELETED:
                core.budget_gone(event.object)
            else:
                core.budget_seen(event.object)

        self.feeds[HOME, "bound"] = Feed(home, pb.Selection(resource="pods", field_selector=BOUND), bound)
        self.feeds[HOME, "namespaces"] = Feed(home, pb.Selection(resource=NAMESPACES), namespace)
        self.feeds[HOME, "budgets"] = Feed(home, pb.Selection(resource=BUDGETS), budget)

    def _follow_volumes(self) -> None:
        core, home = self.core, self.partitions[HOME]
        if not core.volumes.wanted or (HOME, CLAIMS) in self.feeds:
            return
        for resource in FOLLOWED:

            def changed(event: Event, resource: str = resource) -> None:
                if event.type is EventType.DELETED:
                    core.volumes.gone(resource, event.object.key)
                else:
                    core.volumes.seen(resource, event.object)

            self.feeds[HOME, resource] = Feed(home, pb.Selection(resource=resource), changed)

    def restart_scheduler(self) -> None:
        """Kill it. What it had sent may still be carried out."""
        self.lost += [batch.actions for batch in self.in_flight.values() if batch.results is None]
        for feed in self.feeds.values():
            feed.close()
        self.start_scheduler()

    def remove_partition(self, name: str) -> None:
        """It is a partition no more: what is on its way there never arrives, and nobody answers."""
        if name not in self.resource_partitions:
            return
        self.resource_partitions.remove(name)
        for resource in ("nodes", "placements"):
            self.feeds.pop((name, resource)).close()
        del self.outbox[name]
        self.in_flight.pop(name, None)
        self.core.partition_removed(name, self.now)

    def _pod_event(self, event: Event) -> None:
        if event.type is EventType.DELETED:
            self.core.pod_gone(event.object.uid)
        else:
            self.core.pod_seen(event.object, self.now)

    def deliver(self, partition: str, resource: str) -> bool:
        """One message of one feed."""
        feed = self.feeds[partition, resource]
        if not feed.deliver():
            return False
        if resource == "pods":
            if feed.synced:
                self.core.pods_synced()
            return True
        if resource in ("bound", "namespaces", "budgets"):
            if all(self.feeds[HOME, each].synced for each in ("bound", "namespaces", "budgets")):
                self.core.bound_pods_seen_up_to(Revision(HOME, self.feeds[HOME, "bound"].revision))
            return True
        if resource in FOLLOWED:
            self.core.volumes.settled(all(self.feeds[HOME, each].synced for each in FOLLOWED))
            return True
        placements = self.feeds[partition, "placements"]
        if placements.synced:
            self.core.placements_seen_up_to(Revision(partition, placements.revision))
            if self.feeds[partition, "nodes"].synced:
                self.core.partition_synced(partition)
        return True

    def deliver_all(self) -> None:
        for name in list(self.feeds):
            while self.deliver(*name):
                pass

    def step(self) -> None:
        decisions = self.core.step(self.now)
        for name, actions in decisions.actions.items():
            self.outbox[name] += actions
        self.outbox[HOME] += decisions.volumes
        self.outbox[HOME] += decisions.binds
        self.outbox[HOME] += decisions.evictions
        self.cycles += decisions.cycles
        self.reports += [report.message for report in decisions.reports]
        self._follow_bound_pods()
        self._follow_volumes()

    # --------------------------------------------------------------------------------------------------- messages

    def send(self, partition: str) -> bool:
        """Put a batch on its way."""
        if partition not in self.outbox or partition in self.in_flight or not self.outbox[partition]:
            return False
        self.in_flight[partition] = InFlight(self.outbox[partition][: self.batch_max])
        del self.outbox[partition][: self.batch_max]
        return True

    def carry_out(self, partition: str) -> bool:
        batch = self.in_flight.get(partition)
        if batch is None or batch.results is not None:
            return False
        batch.results = [self._do(partition, action) for action in batch.actions]
        return True

    def answer(self, partition: str) -> bool:
        batch = self.in_flight.get(partition)
        if batch is None or batch.results is None:
            return False
        del self.in_flight[partition]
        self.core.answered(partition, batch.actions, batch.results, self.now)
        return True

    def lose_answer(self, partition: str) -> bool:
        """The link breaks. A batch that was not carried out may still be, later."""
        batch = self.in_flight.pop(partition, None)
        if batch is None:
            return False
        if batch.results is None:
            self.lost.append(batch.actions)
        self._unanswered(partition, batch.actions, OutcomeUnknown(partition, "the link was lost"))
        return True

    def refuse_link(self, partition: str) -> bool:
        """The batch never leaves."""
        batch = self.in_flight.get(partition)
        if batch is None or batch.results is not None:
            return False
        del self.in_flight[partition]
        self._unanswered(partition, batch.actions, Unreachable(partition, "no link"))
        return True

    def stall(self, partition: str) -> bool:
        """The batch has been on its way for too long."""
        if partition not in self.in_flight:
            return False
        self.core.stalled(partition)
        self._recall(partition)
        return True

    def end_cycle(self, number: int, how: str) -> bool:
        """One of the binding cycles ends, and a plugin has done with the pod what `how` says."""
        if not self.cycles:
            return False
        bind = self.cycles.pop(number % len(self.cycles))
        match how:
            case "fails":
                end = CycleEnd("a plugin says no")
            case "binds":
                end = CycleEnd(result=self._do(HOME, bind))
            case "asked to bind":
                self.lost.append([bind])  # It may arrive yet.
                end = CycleEnd("time is up", in_doubt=True)
            case _:
                end = CycleEnd()
        self.core.cycle_ended(bind, end, self.now)
        return True

    def carry_out_lost(self) -> bool:
        """A batch of a broken link arrives after all."""
        if not self.lost:
            return False
        for action in self.lost.pop(0):
            if action.partition in self.outbox:
                self._do(action.partition, action)
        return True

    def _unanswered(self, partition: str, actions: list[Action], error: LinkError) -> None:
        self.core.unanswered(partition, actions, error, self.now)
        self._recall(partition)

    def _recall(self, partition: str) -> None:
        actions, self.outbox[partition] = self.outbox[partition], []
        self.core.recalled(actions, self.now)

    def _do(self, partition: str, action: Action) -> pb.Result:
        """Carry out an action, and check what must hold at that very moment."""
        if isinstance(action, Release):
            held = self.placement(partition, action.pod_uid)
            result = self.apply(partition, action.operation())
            if held is not None and not result.HasField("error"):
                assert self.bound.get(action.pod_uid) != (partition, held), "the claim of a bound pod is released"
            return result
        known = isinstance(action, Claim) and self.placement(partition, action.pod.uid)
        result = self.apply(partition, action.operation())
        if isinstance(action, Bind) and not result.HasField("error"):
            pod = action.pod
            if pod.uid not in self.bound and pod.partition in self.resource_partitions:
                assert self.placement(pod.partition, pod.uid) == pod.node, "a pod is bound without a claim"
            assert self.bound.setdefault(pod.uid, (pod.partition, pod.node)) == (pod.partition, pod.node)
        if isinstance(action, Claim) and not known and not result.HasField("error"):
            left = self.free(partition)[action.pod.node]
            assert min(left.values()) >= 0, f"{action.pod.node} is over-committed: {left}"
        return result

    def settle(self, rounds: int = 300) -> None:
        """No more faults: deliver and answer everything, and let time pass."""
        for _ in range(rounds):
            while self.carry_out_lost():
                pass
            self.deliver_all()
            self.finish_deleted()
            self.collect_garbage()
            self.step()
            for name in self.outbox:
                self.send(name)
                self.carry_out(name)
                self.answer(name)
            while self.end_cycle(0, "succeeds"):
                pass
            if not any(self.outbox.values()) and not self.core.has_more:
                self.now += 1.0
        self.deliver_all()

    # -------------------------------------------------------------------------------------------------- the world

    def apply(self, partition: str, operation: pb.Operation) -> pb.Result:
        return self.partitions[partition].apply(operation)

    def add_node(self, partition: str, node: Object) -> None:
        node.message.metadata.uid = ""
        operation = pb.Operation(resource="nodes", create=pb.Create(object=node.message))
        result = self.apply(partition, operation)
        assert not result.HasField("error"), result

    def remove_node(self, partition: str, name: str) -> None:
        self.apply(partition, _delete("nodes", ObjectKey("", "", name)))

    def add_pod(self, pod: Object) -> str:
        pod.message.metadata.uid = ""
        result = self.apply(HOME, pb.Operation(resource="pods", create=pb.Create(object=pod.message)))
        assert not result.HasField("error"), result
        return result.uid

    def delete_pod(self, name: str) -> None:
        self.apply(HOME, _delete("pods", ObjectKey("acme", "default", name)))

    def place_for_other(self, partition: str, placement: Object) -> bool:
        """Another scheduler's claim."""
        nodes = {node.name: node.uid for node in self.partitions[partition].objects("nodes")}
        spec = dict(placement.spec)
        spec["nodeUID"] = nodes.get(spec["node"], "none")
        operation = pb.Operation(
            resource="placements.ursa.dev", create=pb.Create(object=placement.with_spec(spec).message)
        )
        operation.create.object.metadata.uid = ""
        return not self.apply(partition, operation).HasField("error")

    def remove_placement(self, partition: str, name: str) -> None:
        self.apply(partition, _delete("placements.ursa.dev", ObjectKey("", "", name)))

    def pods(self) -> dict[str, Object]:
        """By uid."""
        return {pod.uid: pod for pod in self.partitions[HOME].objects("pods")}

    def placement(self, partition: str, pod_uid: str) -> str | None:
        """The node that a pod holds a claim of."""
        for placement in self.partitions[partition].objects("placements.ursa.dev"):
            if placement.name == pod_uid:
                return str(placement.spec["node"])
        return None

    def claims(self, pod_uid: str) -> list[tuple[str, str]]:
        found = [(name, self.placement(name, pod_uid)) for name in self.resource_partitions]
        return [(name, node) for name, node in found if node is not None]

    def free(self, partition: str) -> dict[str, dict[str, int]]:
        """What the partition has left, by node."""
        free = {
            node.name: resource_list(node.status["allocatable"]) for node in self.partitions[partition].objects("nodes")
        }
        for placement in self.partitions[partition].objects("placements.ursa.dev"):
            left = free.get(placement.spec["node"])
            if left is not None:
                for resource, units in placement.spec["requests"].items():
                    left[resource] = left.get(resource, 0) - units
        return free

    def end_deleted(self) -> list[str]:
        """What kubelets do: pods that are being deleted have ended, and are gone. Their names."""
        ended = [pod.name for pod in self.partitions[HOME].objects("pods") if pod.deletion_ms]
        for name in ended:
            operation = _delete("pods", ObjectKey("acme", "default", name))
            operation.delete.grace_seconds = 0
            self.apply(HOME, operation)
        return ended

    def finish_deleted(self) -> None:
        """What kubelets do: pods that are to go have gone."""
        for pod in self.pods().values():
            if pod.deletion_ms:
                operation = _delete("pods", pod.key)
                operation.delete.grace_seconds = 0
                self.apply(HOME, operation)

    def collect_garbage(self) -> None:
        """What a resource partition's controller does: release what the home partition says is gone."""
        alive = self.pods()
        for name in self.resource_partitions:
            for placement in self.partitions[name].objects("placements.ursa.dev"):
                if placement.spec["tenantPartition"] == HOME and placement.name not in alive:
                    self.remove_placement(name, placement.name)


def _create(api_version: str, kind: str, name: str) -> pb.Operation:
    message = pb.Object(api_version=api_version, kind=kind)
    message.metadata.name = name
    return pb.Operation(resource="tenants.ursa.dev", create=pb.Create(object=message))


def _delete(resource: str, key: ObjectKey) -> pb.Operation:
    target = pb.GetRequest(resource=resource, tenant=key.tenant, namespace=key.namespace, name=key.name)
    return pb.Operation(resource=resource, delete=pb.Delete(target=target))
