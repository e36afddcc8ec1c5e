"""What a budget has to spare is never spent twice, however far its controller's views lag behind."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from ursa.clients.controllers.disruption_core import DELETION_TIMEOUT_MS, DisruptionCore
from ursa.clients.controllers.scales import Scales
from ursa.clients.informer import Event, EventType
from ursa.clients.operations import delete_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import TooManyRequests, from_status
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey

from ...partitions.conftest import Partition, pod
from ...partitions.test_evictions import BUDGETS, budget, eviction, running
from .lagging import View, complete_up_to

KEY = ObjectKey("system", "default", "b")
NAMES = st.integers(0, 5).map("p{}".format)


class EvictionsBesideTheirController(RuleBasedStateMachine):
    """A real apiserver that evicts, and the core that tells it what may be, over views that lag.

    Pods only ever start, and go only by evictions; so what is healthy never falls below what must be.
    """

    @initialize(least=st.integers(0, 3), pods=st.integers(3, 6))
    def begin(self, least: int, pods: int) -> None:
        self.least = least
        self.partition = Partition(Role.TENANT)
        self.pods = View(self.partition, "pods", lambda event: self.core.pod_event(event))
        self.budgets = View(self.partition, BUDGETS, lambda event: self.core.budget_event(event))
        self.core = DisruptionCore(self.pods.objects, Scales({}, {}, {}))
        self.partition.create(budget(minAvailable=least))
        self.planned: pb.Operation | None = None
        for number in range(pods):
            self.a_pod_starts(f"p{number}")
        self.the_controller_keeps_up()

    def healthy(self) -> list[str]:
        pods = [Object(each) for each in self.partition.list("pods").items]
        return [pod.name for pod in pods if not pod.deletion_ms]

    @rule(name=NAMES)
    def a_pod_starts(self, name: str) -> None:
        there = [each.metadata.name for each in self.partition.list("pods").items]
        if name not in there:
            running(self.partition, name)

    @rule(name=NAMES)
    def a_pod_is_evicted(self, name: str) -> None:
        before = self.healthy()
        [result] = self.partition.write(eviction(name))
        if result.HasField("error"):
            assert name not in before or isinstance(from_status(result.error), TooManyRequests)
        elif name in before:
            assert len(before) - 1 >= self.least

    @rule(name=NAMES)
    def a_kubelet_confirms(self, name: str) -> None:
        if name not in self.healthy():
            key = ObjectKey("system", "default", name)
            self.partition.write(delete_operation("pods", key, grace_seconds=0))

    @rule(which=st.sampled_from(["pods", "budgets"]), events=st.integers(1, 8))
    def a_view_goes_on(self, which: str, events: int) -> None:
        view: View = getattr(self, which)
        view.gather()
        for _ in range(min(events, len(view.pending))):
            view.deliver()

    @rule()
    def the_controller_works_out_a_status(self) -> None:
        for view in (self.pods, self.budgets):
            view.gather()
        self.planned = self.plan()

    @rule()
    def the_status_arrives(self) -> None:
        if self.planned is not None:
            self.partition.write(self.planned)
            self.planned = None

    @rule()
    def the_controller_keeps_up(self) -> None:
        see_all(self.pods, self.budgets)
        write_status(self)
        see_all(self.budgets)

    def plan(self, later_ms: int = 0) -> pb.Operation | None:
        now_ms = self.partition.runtime.wall_ms() + later_ms
        return self.core.plan(KEY, now_ms, complete_up_to(self.partition, self.pods)).operation

    @invariant()
    def in_the_end_the_status_says_what_is(self) -> None:
        """Of a core that has seen everything. It is asked, and does not write."""
        for view in (self.pods, self.budgets):
            view.gather()
        if self.pods.pending or self.budgets.pending:
            return
        operation = self.plan(DELETION_TIMEOUT_MS + 1)
        update = operation.update.object if operation is not None else self.partition.get(BUDGETS, "b").message
        status: dict[str, Any] = Object(update).status
        healthy = len(self.healthy())
        there = len(self.partition.list("pods").items)
        wanted = (max(healthy - self.least, 0) if there else 0, healthy, self.least, there)
        fields = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
        assert tuple(status[each] for each in fields) == wanted
        assert "disruptedPods" not in status


TestEvictionsBesideTheirController = EvictionsBesideTheirController.TestCase
TestEvictionsBesideTheirController.settings = settings(max_examples=40, stateful_step_count=50)


def two_pods_and_one_to_spare() -> EvictionsBesideTheirController:
    world = EvictionsBesideTheirController()
    world.begin(least=1, pods=2)
    return world


def see_all(*views: View) -> None:
    for view in views:
        view.gather()
        while view.pending:
            view.deliver()


def write_status(world: EvictionsBesideTheirController) -> None:
    world.the_controller_works_out_a_status()
    world.the_status_arrives()


def test_a_status_that_was_worked_out_before_an_eviction_does_not_give_back_what_it_spent() -> None:
    world = two_pods_and_one_to_spare()
    world.a_pod_starts("p2")
    see_all(world.pods)
    world.the_controller_works_out_a_status()
    world.a_pod_is_evicted("p0")
    world.the_status_arrives()
    for name in ("p1", "p2"):
        world.a_pod_is_evicted(name)
    assert world.healthy() == ["p1", "p2"]


def test_an_evicted_pod_that_the_view_of_pods_shows_late_is_not_taken_for_a_healthy_one() -> None:
    world = two_pods_and_one_to_spare()
    world.a_pod_starts("p2")
    world.a_pod_is_evicted("p2")
    see_all(world.budgets)
    write_status(world)
    see_all(world.budgets)
    world.pods.gather()
    while len(world.pods.pending) > 1:  # All but that it is being deleted.
        world.pods.deliver()
    write_status(world)
    for name in ("p0", "p1"):
        world.a_pod_is_evicted(name)
    assert len(world.healthy()) == 2


def test_a_budget_is_looked_at_again_when_the_controller_of_its_pods_is_seen_or_scaled() -> None:
    def replicaset(replicas: int, generation: int) -> Object:
        scope = {"name": "r", "tenant": "system", "namespace": "default", "uid": "u", "generation": generation}
        return Object.from_dict({"kind": "ReplicaSet", "metadata": scope, "spec": {"replicas": replicas}})

    replicasets: dict[ObjectKey, Object] = {}
    core = DisruptionCore({}, Scales(replicasets, {}, {}))
    guarding = Object.from_dict(budget(minAvailable=None, maxUnavailable="50%"))
    core.budget_event(Event(EventType.ADDED, guarding, None))
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
    owned = Object.from_dict(pod("a", labels={"app": "web"}, ownerReferences=[owner]))
    core.pod_event(Event(EventType.ADDED, owned, None))
    assert core.take_due() == [KEY]

    old = None
    for generation, replicas in ((1, 3), (2, 8)):
        new = replicasets[ObjectKey("system", "default", "r")] = replicaset(replicas, generation)
        core.controller_event(Event(EventType.MODIFIED if old else EventType.ADDED, new, old))
        old = new
        assert core.take_due() == [KEY]
        operation = core.plan(KEY, 0, 0).operation
        assert operation is not None
        assert Object(operation.update.object).status["expectedPods"] == replicas
    core.controller_event(Event(EventType.MODIFIED, new, new))  # Only its status.
    assert core.take_due() == []
