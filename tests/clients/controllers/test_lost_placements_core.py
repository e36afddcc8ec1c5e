"""A bound pod whose placement was lost gets it again, on the word of both partitions, and no other pod does."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from ursa.clients.controllers.lost_placements_core import LostPlacementsCore, Suspect, made
from ursa.clients.informer import Event, EventType
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, ObjectKey, decode

from .controllers_model import ModelPartition, ModelView, copy_of, make, refused
from .test_placement_release_core import GRACE_SECONDS, HOME, TENANT_PARTITIONS, placement, pod

NODES = {ObjectKey("", "", name): make("Node", name, tenant="", namespace="", uid=f"uid-{name}") for name in "xyz"}


def is_lost(tenant: ModelPartition, ledger: ModelPartition, uid: str) -> bool:
    """The truth: it lives on a node of ours, and has no placement there."""
    found = next((each for each in tenant.objects.values() if each.uid == uid), None)
    if found is None or found.status["phase"] in ("Succeeded", "Failed") or not found.spec.get("nodeName"):
        return False
    placed = ledger.objects.get(ObjectKey("", "", uid))
    return placed is None or placed.spec["node"] != found.spec["nodeName"]


class EveryBoundPodHasItsPlacement(RuleBasedStateMachine):
    """Two tenant partitions and a ledger, all of which may be set back; views that lag, questions that are lost."""

    @initialize()
    def start(self) -> None:
        self.now = 0.0
        self.ledger = ModelPartition()
        self.tenants = {name: ModelPartition() for name in TENANT_PARTITIONS}
        self.ledger_view = ModelView(self.ledger, lambda event: self.core.placement_event(event, self.now))
        self.core = LostPlacementsCore(HOME, self.ledger_view.objects, NODES, GRACE_SECONDS)
        self.views = {
            name: ModelView(
                self.tenants[name],
                lambda event, name=name: self.core.pod_event(name, event, self.now),
                lambda obj: obj.spec.get("resourcePartition") == HOME,
            )
            for name in TENANT_PARTITIONS
        }
        self.snapshots: list[tuple[ModelPartition, dict[ObjectKey, Object]]] = []
        self.count = 0
        self.operations: list[pb.Operation] = []

    @rule(tenant=st.sampled_from(TENANT_PARTITIONS), name=st.sampled_from("abc"), node=st.sampled_from("xy"))
    def create_claim_and_bind(self, tenant: str, name: str, node: str) -> None:
        if ObjectKey("acme", "default", name) in self.tenants[tenant].objects:
            return
        self.count += 1
        bound = pod(name, node, uid=f"pod-{self.count}")
        self.ledger.put(placement(bound, tenant, node))
        self.tenants[tenant].put(bound)

    def pods(self) -> list[tuple[ModelPartition, Object]]:
        return [(tenant, each) for tenant in self.tenants.values() for each in tenant.objects.values()]

    @precondition(lambda self: self.pods())
    @rule(data=st.data(), finished=st.booleans())
    def a_pod_ends(self, data: st.DataObject, finished: bool) -> None:
        tenant, chosen = data.draw(st.sampled_from(self.pods()))
        if finished:
            tenant.put(pod(chosen.name, chosen.spec["nodeName"], phase="Failed", uid=chosen.uid))
        else:
            tenant.remove(chosen.key)

    @precondition(lambda self: self.pods())
    @rule(data=st.data())
    def a_pod_is_bound_elsewhere_after_its_partition_was_set_back(self, data: st.DataObject) -> None:
        tenant, chosen = data.draw(st.sampled_from(self.pods()))
        if chosen.status["phase"] != "Failed":
            tenant.remove(chosen.key)
            tenant.put(pod(chosen.name, "z", uid=chosen.uid))

    @rule(data=st.data())
    def a_placement_is_released(self, data: st.DataObject) -> None:
        over = [each for each in self.ledger.objects.values() if not self.lives(each)]
        if over:
            self.ledger.remove(data.draw(st.sampled_from(over)).key)

    def lives(self, placed: Object) -> bool:
        tenant = self.tenants[placed.spec["tenantPartition"]]
        return any(each.uid == placed.name and each.status["phase"] != "Failed" for each in tenant.objects.values())

    @rule(which=st.sampled_from([*TENANT_PARTITIONS, HOME]))
    def snapshot(self, which: str) -> None:
        chosen = self.ledger if which == HOME else self.tenants[which]
        self.snapshots.append((chosen, dict(chosen.objects)))

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        chosen, objects = data.draw(st.sampled_from(self.snapshots))
        for key in [key for key, each in chosen.objects.items() if objects.get(key) is not each]:
            chosen.remove(key)
        for key, each in objects.items():
            if key not in chosen.objects:
                chosen.put(copy_of(each))
                chosen.objects[key] = each  # So that it is known when it is set back once more.

    @rule(view=st.sampled_from([*TENANT_PARTITIONS, HOME]), count=st.integers(1, 4))
    def deliver(self, view: str, count: int) -> None:
        (self.ledger_view if view == HOME else self.views[view]).deliver(count)

    @rule(without=st.sampled_from(["", *TENANT_PARTITIONS, HOME]))
    def relist(self, without: str) -> None:
        for name, view in ({HOME: self.ledger_view} | self.views).items():
            if name != without:
                view.relist()

    @rule(seconds=st.sampled_from([1.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(answering=st.sets(st.sampled_from(TENANT_PARTITIONS)), lost=st.booleans())
    def ask(self, answering: set[str], lost: bool) -> None:
        for suspect in self.core.suspects(self.now, sorted(answering), 10):
            assert suspect.tenant_partition in answering
            if not lost:
                self.answer(suspect)

    def answer(self, suspect: Suspect) -> None:
        tenant = self.tenants[suspect.tenant_partition]
        found, placed = tenant.objects.get(suspect.pod), self.ledger.objects.get(ObjectKey("", "", suspect.uid))
        operation = self.core.answer(suspect, found, placed)
        if operation is None:
            return
        assert is_lost(tenant, self.ledger, suspect.uid)
        if operation.HasField("create"):
            spec = decode(operation.create.object.spec)
            assert found is not None
            assert spec["node"] == found.spec["nodeName"]
            assert spec["nodeUID"] == f"uid-{spec['node']}"
            assert spec["pod"]["uid"] == operation.create.object.metadata.name == found.uid
        self.operations.append(operation)

    @precondition(lambda self: self.operations)
    @rule(lost=st.booleans())
    def carry_out(self, lost: bool) -> None:
        operations, self.operations = self.operations, []
        if not lost:
            made(operations, [self.ledger.apply(operation) for operation in operations])

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        for _ in range(4):
            self.now += GRACE_SECONDS
            for view in (self.ledger_view, *self.views.values()):
                view.deliver()
            for suspect in self.core.suspects(self.now, TENANT_PARTITIONS, 100):
                self.answer(suspect)
            for operation in self.operations:
                self.ledger.apply(operation)
            self.operations.clear()
        for tenant in self.tenants.values():
            for each in tenant.objects.values():
                assert not is_lost(tenant, self.ledger, each.uid), each
        for view in (self.ledger_view, *self.views.values()):
            view.deliver()
        assert self.core.lacking == 0


TestEveryBoundPodHasItsPlacement = EveryBoundPodHasItsPlacement.TestCase
TestEveryBoundPodHasItsPlacement.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# --------------------------------------------------------------------------------------------------------- behaviours

WEB = pod("web", "x", uid="u1")
ASKED = Suspect("tp-1", WEB.key, "u1")


class Bench:
    def __init__(self) -> None:
        self.placements: dict[ObjectKey, Object] = {}
        self.core = LostPlacementsCore(HOME, self.placements, NODES, GRACE_SECONDS)

    def see(self, kind: EventType, of: Object, tenant_partition: str = "tp-1", now: float = 0.0) -> None:
        self.core.pod_event(tenant_partition, Event(kind, of, None), now)

    def place(self, kind: EventType, of: Object, node: str = "x", now: float = 0.0) -> Object:
        made = placement(of, "tp-1", node, uid=f"own-{of.uid}")
        if kind is EventType.DELETED:
            self.placements.pop(made.key)
        else:
            self.placements[made.key] = made
        self.core.placement_event(Event(kind, made, None), now)
        return made

    def asked(self, now: float) -> list[Suspect]:
        return self.core.suspects(now, TENANT_PARTITIONS, 10)


def test_a_pod_that_is_seen_a_moment_before_its_placement_is_not_asked_about() -> None:
    bench = Bench()
    bench.see(EventType.ADDED, WEB)
    assert bench.asked(29.0) == []
    bench.place(EventType.ADDED, WEB, now=29.0)
    assert bench.asked(100.0) == []
    assert bench.core.lacking == 0


def test_a_pod_whose_placement_has_gone_is_asked_about_after_the_grace_period_and_again_after_another() -> None:
    bench = Bench()
    bench.see(EventType.ADDED, WEB)
    bench.place(EventType.ADDED, WEB)
    bench.place(EventType.DELETED, WEB, now=100.0)
    assert bench.asked(129.0) == []
    assert bench.asked(130.0) == [ASKED]
    assert bench.asked(159.0) == []
    assert bench.asked(160.0) == [ASKED]
    assert bench.core.lacking == 1


def test_what_is_made_again_has_the_form_of_a_claim_and_says_that_the_pod_is_bound() -> None:
    bench = Bench()
    containers = [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]
    web = make("Pod", "web", uid="u1", spec={"nodeName": "x", "resourcePartition": HOME, "containers": containers})
    bench.see(EventType.ADDED, web)
    operation = bench.core.answer(ASKED, web, None)
    assert operation is not None
    assert operation.create.object.metadata.name == "u1"
    assert decode(operation.create.object.spec) == {
        "node": "x",
        "nodeUID": "uid-x",
        "tenantPartition": "tp-1",
        "pod": {"tenant": "acme", "namespace": "default", "name": "web", "uid": "u1"},
        "requests": {"cpu": 100, "memory": 0, "pods": 1},
        "bound": True,
    }


@pytest.mark.parametrize(
    "found",
    [
        None,
        pod("web", "x", uid="another"),
        pod("web", uid="u1"),
        pod("web", "y", uid="u1"),
        pod("web", "x", "rp-2", uid="u1"),
        pod("web", "x", phase="Failed", uid="u1"),
    ],
    ids=["gone", "reborn", "not bound", "bound to another node", "in another partition", "failed"],
)
def test_only_the_very_pod_alive_on_this_node_gets_a_placement(found: Object | None) -> None:
    bench = Bench()
    bench.see(EventType.ADDED, WEB)
    assert bench.asked(100.0) == [ASKED]
    assert bench.core.answer(ASKED, found, None) is None


def test_a_placement_on_another_node_goes_first_by_its_own_uid() -> None:
    bench = Bench()
    bench.see(EventType.ADDED, WEB)
    misplaced = bench.place(EventType.ADDED, WEB, "y")
    assert bench.asked(100.0) == [ASKED]
    operation = bench.core.answer(ASKED, WEB, misplaced)
    assert operation is not None
    assert (operation.delete.target.name, operation.delete.preconditions.uid) == ("u1", "own-u1")


def test_a_pod_that_is_seen_on_another_node_at_once_is_looked_for_there() -> None:
    bench = Bench()
    bench.see(EventType.ADDED, WEB)
    misplaced = bench.place(EventType.ADDED, WEB)
    moved = pod("web", "y", uid="u1")
    bench.core.pod_event("tp-1", Event(EventType.MODIFIED, moved, WEB), 0.0)
    assert bench.asked(100.0) == [ASKED]
    assert bench.core.answer(ASKED, moved, misplaced) is not None


def test_a_placement_that_is_there_or_is_of_another_tenant_partition_is_left_alone() -> None:
    bench = Bench()
    bench.see(EventType.ADDED, WEB)
    assert bench.core.answer(ASKED, WEB, placement(WEB, "tp-1", "x")) is None
    assert bench.core.answer(ASKED, WEB, placement(WEB, "tp-2", "y")) is None


def test_nothing_is_asked_of_a_partition_that_cannot_answer_nor_of_a_pod_that_ended() -> None:
    bench = Bench()
    bench.see(EventType.ADDED, WEB)
    assert bench.core.suspects(100.0, ["tp-2"], 10) == []
    bench.see(EventType.DELETED, WEB, "tp-2")
    assert bench.core.lacking == 1, "no partition speaks for the pods of another"
    bench.see(EventType.MODIFIED, pod("web", "x", phase="Succeeded", uid="u1"))
    assert bench.asked(200.0) == []


def test_an_answer_that_comes_after_the_placement_was_seen_is_void() -> None:
    bench = Bench()
    bench.see(EventType.ADDED, WEB)
    assert bench.asked(100.0) == [ASKED]
    bench.place(EventType.ADDED, WEB)
    assert bench.core.answer(ASKED, WEB, None) is None


def test_a_pod_on_a_node_that_is_gone_waits_for_the_node_or_its_own_end() -> None:
    bench = Bench()
    lonely = pod("web", "nowhere", uid="u1")
    bench.see(EventType.ADDED, lonely)
    assert bench.core.answer(ASKED, lonely, None) is None


def test_only_what_was_done_is_counted() -> None:
    bench = Bench()
    bench.see(EventType.ADDED, WEB)
    create, delete = bench.core.answer(ASKED, WEB, None), bench.core.answer(ASKED, WEB, placement(WEB, "tp-1", "y"))
    assert create is not None
    assert delete is not None
    done = pb.Result(resource_version=1)
    assert made([create, delete, create], [done, done, refused("NotFound")]) == (1, 1)
