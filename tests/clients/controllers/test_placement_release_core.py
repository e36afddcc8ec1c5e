"""Placements are released only on the word of the pod's own tenant partition, and in the end all of them are."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from ursa.clients.controllers.placement_release_core import PlacementReleaseCore, Question, is_of_partition, is_over
from ursa.clients.informer import Event, EventType
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, ObjectKey, encode

from .controllers_model import ModelPartition, ModelView, copy_of, make, refused

HOME = "rp-1"
GRACE_SECONDS = 30.0
TENANT_PARTITIONS = ("tp-1", "tp-2")


def pod(name: str, node: str = "", partition: str = HOME, phase: str = "Pending", uid: str = "") -> Object:
    spec = {"containers": []}
    if node:
        spec |= {"nodeName": node, "resourcePartition": partition}
    return make("Pod", name, uid=uid, spec=spec, status={"phase": phase})


def placement(of: Object, tenant_partition: str, node: str = "n1", uid: str = "") -> Object:
    spec = {
        "node": node,
        "tenantPartition": tenant_partition,
        "pod": {"tenant": of.tenant, "namespace": of.namespace, "name": of.name, "uid": of.uid},
    }
    found = make("Placement", of.uid, tenant="", namespace="", uid=uid, spec=spec)
    found.partition = HOME
    return found


def is_alive(placed: Object, found: Object | None) -> bool:
    """The pod that a placement was made for may run, or come to run, where it was placed."""
    if found is None or found.uid != placed.spec["pod"]["uid"] or found.status["phase"] in ("Succeeded", "Failed"):
        return False
    bound_to = found.spec.get("nodeName"), found.spec.get("resourcePartition")
    return bound_to in ((None, None), (placed.spec["node"], HOME))


class PlacementsEndWithTheirPods(RuleBasedStateMachine):
    """Two tenant partitions, one ledger, views that lag, questions that are lost."""

    @initialize()
    def start(self) -> None:
        self.now = 0.0
        self.ledger = ModelPartition()
        self.tenants = {name: ModelPartition() for name in TENANT_PARTITIONS}
        self.ledger_view = ModelView(self.ledger, lambda event: self.core.placement_event(event, self.now))
        self.core = PlacementReleaseCore(self.ledger_view.objects, GRACE_SECONDS)
        self.views = {
            name: ModelView(
                self.tenants[name],
                lambda event, name=name: self.core.pod_event(name, event),
                lambda obj: obj.spec.get("resourcePartition") == HOME,
            )
            for name in TENANT_PARTITIONS
        }
        self.count = 0
        self.questions: list[tuple[Question, Object | None]] = []
        self.in_flight: list[pb.Operation] = []

    # What schedulers, kubelets and users do.

    def truth(self, placed: Object) -> Object | None:
        named = placed.spec["pod"]
        key = ObjectKey(named["tenant"], named["namespace"], named["name"])
        return self.tenants[placed.spec["tenantPartition"]].objects.get(key)

    def pods(self) -> list[tuple[str, Object]]:
        return [(name, obj) for name, tenant in self.tenants.items() for obj in tenant.objects.values()]

    @rule(tenant=st.sampled_from(TENANT_PARTITIONS), name=st.sampled_from(["a", "b", "c"]))
    def create(self, tenant: str, name: str) -> None:
        if ObjectKey("acme", "default", name) not in self.tenants[tenant].objects:
            self.count += 1
            self.tenants[tenant].put(pod(name, uid=f"pod-{self.count}"))

    @precondition(lambda self: self.pods())
    @rule(data=st.data(), node=st.sampled_from(["n1", "n2"]))
    def claim(self, data: st.DataObject, node: str) -> None:
        tenant, chosen = data.draw(st.sampled_from(self.pods()))
        if chosen.spec.get("nodeName") or ObjectKey("", "", chosen.uid) in self.ledger.objects:
            return
        made = placement(chosen, tenant, node)
        self.ledger.put(made)
        self.ledger.objects[made.key].partition = HOME

    @precondition(lambda self: self.ledger.objects)
    @rule(data=st.data(), elsewhere=st.booleans())
    def bind(self, data: st.DataObject, elsewhere: bool) -> None:
        placed = data.draw(st.sampled_from(list(self.ledger.objects.values())))
        found = self.truth(placed)
        if found is None or found.uid != placed.name or found.spec.get("nodeName"):
            return
        partition = "rp-2" if elsewhere else HOME
        self.tenants[placed.spec["tenantPartition"]].put(pod(found.name, placed.spec["node"], partition, uid=found.uid))

    @precondition(lambda self: self.pods())
    @rule(data=st.data(), phase=st.sampled_from(["Running", "Failed", "Succeeded", "gone"]))
    def pod_changes(self, data: st.DataObject, phase: str) -> None:
        tenant, chosen = data.draw(st.sampled_from(self.pods()))
        if phase == "gone":
            self.tenants[tenant].remove(chosen.key)
            return
        if chosen.status["phase"] in ("Failed", "Succeeded"):
            return
        changed = copy_of(chosen)
        changed.message.status = encode({"phase": phase, "message": "not Failed"})
        self.tenants[tenant].put(changed)

    @precondition(lambda self: self.ledger.objects)
    @rule(data=st.data())
    def scheduler_gives_its_claim_back(self, data: st.DataObject) -> None:
        placed = data.draw(st.sampled_from(list(self.ledger.objects.values())))
        found = self.truth(placed)
        if found is not None and found.uid == placed.name and not found.spec.get("nodeName"):
            self.ledger.remove(placed.key)

    # What the controller sees and does.

    @rule(view=st.sampled_from([*TENANT_PARTITIONS, HOME]), count=st.integers(1, 4), relist=st.booleans())
    def deliver(self, view: str, count: int, relist: bool) -> None:
        chosen = self.ledger_view if view == HOME else self.views[view]
        if relist:
            chosen.relist()
        else:
            chosen.deliver(count)
        for each in self.ledger_view.objects.values():
            each.partition = HOME

    @rule(seconds=st.sampled_from([1.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(answering=st.sets(st.sampled_from(TENANT_PARTITIONS)))
    def ask(self, answering: set[str]) -> None:
        for question in self.core.questions(self.now, sorted(answering), 10):
            assert question.tenant_partition in answering
            self.questions.append((question, self.tenants[question.tenant_partition].objects.get(question.pod)))

    @precondition(lambda self: self.questions)
    @rule(lost=st.booleans())
    def answer(self, lost: bool) -> None:
        question, found = self.questions.pop(0)
        if not lost:
            self.core.answer(question, found)

    @precondition(lambda self: not self.in_flight)
    @rule(most=st.integers(1, 3))
    def send(self, most: int) -> None:
        self.in_flight = self.core.take_releases(most)

    @precondition(lambda self: self.in_flight)
    @rule(how=st.sampled_from(["answered", "refused", "lost before", "lost after"]))
    def release(self, how: str) -> None:
        operations, self.in_flight = self.in_flight, []
        if how == "refused":
            self.core.settle(operations, [refused("TooManyRequests") for _ in operations], self.now)
        elif how == "lost before":
            self.core.give_back(operations)
        else:
            results = [self.apply(operation) for operation in operations]
            if how == "answered":
                self.core.settle(operations, results, self.now)
            else:
                self.core.give_back(operations)

    def apply(self, operation: pb.Operation) -> pb.Result:
        placed = self.ledger.objects.get(ObjectKey("", "", operation.delete.target.name))
        result = self.ledger.apply(operation)
        if placed is not None and not result.HasField("error"):
            assert not is_alive(placed, self.truth(placed)), f"{placed} was released while its pod was there"
        return result

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        if self.in_flight:
            self.core.give_back(self.in_flight)
        for _ in range(4):
            self.now += GRACE_SECONDS
            for view in (self.ledger_view, *self.views.values()):
                view.deliver()
            for each in self.ledger_view.objects.values():
                each.partition = HOME
            for question in self.core.questions(self.now, TENANT_PARTITIONS, 100):
                self.core.answer(question, self.tenants[question.tenant_partition].objects.get(question.pod))
            operations = self.core.take_releases(100)
            self.core.settle(operations, [self.apply(operation) for operation in operations], self.now)
        left = [placed for placed in self.ledger.objects.values() if not is_alive(placed, self.truth(placed))]
        assert not left


TestPlacementsEndWithTheirPods = PlacementsEndWithTheirPods.TestCase
TestPlacementsEndWithTheirPods.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# --------------------------------------------------------------------------------------------------------- behaviours


class Bench:
    def __init__(self) -> None:
        self.placements: dict[ObjectKey, Object] = {}
        self.core = PlacementReleaseCore(self.placements, GRACE_SECONDS)

    def place(self, of: Object, tenant_partition: str = "tp-1", now: float = 0.0) -> Object:
        made = placement(of, tenant_partition, uid=f"own-{of.uid}")
        self.placements[made.key] = made
        self.core.placement_event(Event(EventType.ADDED, made, None), now)
        return made

    def see(self, kind: EventType, of: Object, tenant_partition: str = "tp-1", *, vanished: bool = False) -> None:
        self.core.pod_event(tenant_partition, Event(kind, of, None, vanished))

    def released(self) -> list[str]:
        return [operation.delete.target.name for operation in self.core.take_releases(100)]


def test_a_pod_that_is_deleted_releases_its_placement_by_the_placements_own_uid() -> None:
    bench, web = Bench(), pod("web", "n1", uid="u1")
    bench.place(web)
    bench.see(EventType.ADDED, web)
    assert not bench.core.has_releases
    bench.see(EventType.DELETED, web)
    (operation,) = bench.core.take_releases(100)
    assert operation.resource == "placements.ursa.dev"
    assert (operation.delete.target.name, operation.delete.preconditions.uid) == ("u1", "own-u1")


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_pod_releases_its_placement(phase: str) -> None:
    bench, web = Bench(), pod("web", "n1", uid="u1")
    bench.place(web)
    bench.see(EventType.ADDED, web)
    bench.see(EventType.MODIFIED, pod("web", "n1", phase=phase, uid="u1"))
    assert bench.released() == ["u1"]


def test_another_tenant_partition_cannot_end_a_placement() -> None:
    bench, web = Bench(), pod("web", "n1", uid="u1")
    bench.place(web, "tp-1")
    bench.see(EventType.DELETED, web, "tp-2")
    assert bench.released() == []


def test_a_placement_whose_pod_was_not_seen_is_asked_about_after_the_grace_period_and_again_after_another() -> None:
    bench, web = Bench(), pod("web", uid="u1")
    bench.place(web, now=100.0)
    ask = bench.core.questions
    assert ask(129.0, ["tp-1"], 10) == []
    question = Question("tp-1", web.key, "u1")
    assert ask(130.0, ["tp-1"], 10) == [question]
    assert not bench.core.answer(question, web), "it is not bound yet: the bind may be on its way"
    assert ask(159.0, ["tp-1"], 10) == []
    assert ask(160.0, ["tp-1"], 10) == [question]


def test_no_partition_is_asked_that_cannot_answer() -> None:
    bench = Bench()
    bench.place(pod("web", uid="u1"), "tp-2")
    assert bench.core.questions(1000.0, ["tp-1"], 10) == []
    assert bench.released() == []


@pytest.mark.parametrize(
    ("found", "over"),
    [
        (None, True),
        (pod("web", uid="another"), True),
        (pod("web", uid="u1"), False),
        (pod("web", "n1", uid="u1"), False),
        (pod("web", "n2", uid="u1"), True),
        (pod("web", "n1", "rp-2", uid="u1"), True),
        (pod("web", "n1", phase="Failed", uid="u1"), True),
    ],
    ids=["gone", "reborn", "not bound", "bound here", "bound to another node", "in another partition", "failed"],
)
def test_what_the_tenant_partition_says_ends_a_placement_or_not(found: Object | None, over: bool) -> None:
    assert is_over(placement(pod("web", uid="u1"), "tp-1"), found) is over


def test_an_answer_that_comes_after_the_pod_was_seen_is_void() -> None:
    bench, web = Bench(), pod("web", uid="u1")
    bench.place(web)
    (question,) = bench.core.questions(100.0, ["tp-1"], 10)
    bench.see(EventType.ADDED, pod("web", "n1", uid="u1"))
    assert not bench.core.answer(question, None)
    assert bench.released() == []


def test_a_release_whose_end_is_not_seen_is_asked_about_again_as_the_partition_may_have_been_set_back() -> None:
    bench, web = Bench(), pod("web", "n1", uid="u1")
    bench.place(web)
    bench.see(EventType.ADDED, web)
    bench.see(EventType.DELETED, web)
    operations = bench.core.take_releases(100)
    assert bench.core.settle(operations, [pb.Result(resource_version=9)], 10.0) == 1
    assert bench.core.questions(39.0, ["tp-1"], 10) == []
    (question,) = bench.core.questions(40.0, ["tp-1"], 10)
    assert bench.core.answer(question, None)
    assert bench.released() == ["u1"]


def test_a_pod_that_vanished_with_its_history_is_asked_about_at_once_and_keeps_its_placement_if_it_lives() -> None:
    bench, web = Bench(), pod("web", "n1", uid="u1")
    bench.place(web)
    bench.see(EventType.ADDED, web)
    bench.see(EventType.DELETED, web, vanished=True)
    assert bench.released() == []
    assert bench.core.questions(1.0, ["tp-2"], 10) == []
    (question,) = bench.core.questions(2.0, ["tp-1"], 10)
    assert not bench.core.answer(question, pod("web", uid="u1")), "it is not bound any more, and will be again"
    assert bench.core.questions(3.0, ["tp-1"], 10) == []
    assert bench.core.questions(2.0 + GRACE_SECONDS, ["tp-1"], 10) == [question]
    assert bench.core.answer(question, None)
    assert bench.released() == ["u1"]


@pytest.mark.parametrize("how", ["shown", "vanished"])
@pytest.mark.parametrize("sent", [False, True])
def test_a_release_is_withdrawn_when_the_end_of_its_pod_is_undone(how: str, sent: bool) -> None:
    bench, web = Bench(), pod("web", "n1", uid="u1")
    bench.place(web)
    bench.see(EventType.ADDED, web)
    bench.see(EventType.MODIFIED, pod("web", "n1", phase="Failed", uid="u1"))
    operations = bench.core.take_releases(100) if sent else []
    if how == "shown":
        bench.see(EventType.MODIFIED, web)
    else:
        bench.see(EventType.DELETED, web, vanished=True)
    bench.core.give_back(operations)
    assert bench.released() == []


def test_a_pod_that_vanished_and_is_shown_again_is_not_asked_about() -> None:
    bench, web = Bench(), pod("web", "n1", uid="u1")
    bench.place(web)
    bench.see(EventType.ADDED, web)
    bench.see(EventType.DELETED, web, vanished=True)
    bench.see(EventType.ADDED, web)
    assert bench.core.questions(1000.0, ["tp-1"], 10) == []


def test_a_pod_that_vanished_and_whose_placement_has_gone_is_forgotten() -> None:
    bench, web = Bench(), pod("web", "n1", uid="u1")
    placed = bench.place(web)
    bench.see(EventType.ADDED, web)
    bench.see(EventType.DELETED, web, vanished=True)
    del bench.placements[placed.key]
    bench.core.placement_event(Event(EventType.DELETED, placed, placed), 1.0)
    assert bench.core.questions(2.0, ["tp-1"], 10) == []


def test_placements_of_a_partitions_own_pods_are_told_from_those_of_tenants() -> None:
    def placement_of(tenant_partition: str, node: str) -> Object:
        spec = {"node": node, "tenantPartition": tenant_partition}
        return Object.from_dict({"kind": "Placement", "metadata": {"name": "u"}, "spec": spec})

    assert is_of_partition(placement_of("rp-1", "n1"), "rp-1")
    assert not is_of_partition(placement_of("tp-1", "n1"), "rp-1")
    assert not is_of_partition(placement_of("tp-1", "rp-1"), "rp-1")
