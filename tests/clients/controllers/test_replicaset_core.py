"""The ReplicaSet controller's decisions: never too many, and in the end exactly enough."""

from __future__ import annotations

import itertools
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ursa.clients.controllers.replicaset_core import PAUSE_SECONDS_MAX, STATUS_RETRY_SECONDS, Plan, ReplicaSetCore
from ursa.clients.controllers.replicaset_members import BURST_REPLICAS, DOOMED, INACTIVE
from ursa.clients.informer import Event, EventType
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, ObjectKey, decode, encode

from .controllers_model import ModelPartition, ModelView, copy_of, make, refused

KEY = ObjectKey("acme", "default", "web")
TEMPLATE = {
    "metadata": {"labels": {"app": "web"}, "annotations": {"note": "x"}},
    "spec": {"containers": [{"name": "c", "image": "pause"}]},
}


def replicaset(replicas: int, generation: int = 1, uid: str = "rs-uid", **spec) -> Object:
    return make(
        "ReplicaSet",
        "web",
        api_version="apps/v1",
        uid=uid,
        generation=generation,
        spec={"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE, **spec},
    )


def is_active(pod: Object) -> bool:
    return not pod.deletion_ms and pod.status.get("phase") not in ("Failed", "Succeeded")


class Bench:
    """A core, a partition of pods, and a view between them."""

    def __init__(self, replicas: int, **spec) -> None:
        self.partition = ModelPartition()
        self.view = ModelView(self.partition, lambda _: None)
        self.core = ReplicaSetCore(Random(1), self.view.objects)
        self.view.attach(self.core.pod_event)
        self.now_ms = 1_000_000
        self.replicas, self.generation = replicas, 1
        self.replicaset = replicaset(replicas, **spec)
        self.core.replicaset_event(Event(EventType.ADDED, self.replicaset, None))

    @property
    def active(self) -> list[Object]:
        return [pod for pod in self.partition.objects.values() if is_active(pod)]

    def scale(self, replicas: int, **spec) -> None:
        self.replicas, self.generation = replicas, self.generation + 1
        old, self.replicaset = self.replicaset, replicaset(replicas, self.generation, **spec)
        self.core.replicaset_event(Event(EventType.MODIFIED, self.replicaset, old))

    def plan(self) -> Plan:
        return self.core.plan(KEY, self.now_ms)

    def apply(self, plan: Plan) -> list[pb.Result]:
        """As over the wire: the partition works on copies."""
        return [self.partition.apply(pb.Operation.FromString(op.SerializeToString())) for op in plan.operations]

    def sync(self) -> Plan:
        plan = self.plan()
        if plan.operations:
            self.core.settle(plan, self.apply(plan), self.now_ms)
        return plan

    def converge(self) -> None:
        """Time passes, everything is delivered, every plan succeeds."""
        for _ in range(60):
            self.view.deliver()
            self.core.resync(self.view.revision, "history")
            self.now_ms += round(PAUSE_SECONDS_MAX * 1000)
            self.sync()

    def change(self, pod: Object, **status) -> None:
        changed = copy_of(pod)
        changed.message.status = encode(status)
        self.partition.put(changed)

    def run(self, pod: Object, at: str = "2026-01-01T00:00:00Z") -> None:
        bound = Object(self.partition.objects[pod.key].with_spec({**pod.spec, "nodeName": "n1"}).message)
        conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": at}]
        bound.message.status = encode({"phase": "Running", "conditions": conditions})
        self.partition.put(bound)


# -------------------------------------------------------------------------------------------------------- properties


class ReplicasNeverExceedTheDesired(RuleBasedStateMachine):
    """Whatever is delayed, lost, refused or repeated (S18)."""

    @initialize(replicas=st.integers(0, 6))
    def start(self, replicas: int) -> None:
        self.bench = Bench(replicas)
        self.in_flight: tuple[Plan, list[pb.Result] | None] | None = None

    def idle(self) -> bool:
        return getattr(self, "in_flight", None) is None

    @rule(replicas=st.integers(0, 6))
    def scale(self, replicas: int) -> None:
        self.bench.scale(replicas)

    @precondition(idle)
    @rule(applied=st.booleans())
    def send(self, applied: bool) -> None:
        before, unseen_losses = len(self.bench.active), self.unseen_losses()
        plan = self.bench.plan()
        if not plan.operations:
            return
        results = self.bench.apply(plan) if applied else None
        after = len(self.bench.active)
        assert after <= max(self.bench.replicas, before), "a create went beyond what was wanted"
        assert after >= min(self.bench.replicas, before) - unseen_losses, "a delete went beyond what was wanted"
        self.in_flight = plan, results

    def unseen_losses(self) -> int:
        """Pods that the controller must believe alive, and are not."""
        members = self.bench.core._members["rs-uid"]
        alive = {pod.key for pod in self.bench.active}
        believed = [key for key, flags in members.flags.items() if not flags & INACTIVE]
        return sum(key not in alive for key in [*believed, *members.expected])

    @precondition(lambda self: not self.idle())
    @rule(how=st.sampled_from(["answer", "lost"]))
    def answer(self, how: str) -> None:
        plan, results = self.in_flight
        self.in_flight = None
        if how == "lost":
            self.bench.core.outcome_unknown(plan)
        elif results is None:
            self.bench.core.not_sent(plan)
        else:
            self.bench.core.settle(plan, results, self.bench.now_ms)

    @precondition(idle)
    @rule(reason=st.sampled_from(["Forbidden", "TooManyRequests"]))
    def refuse(self, reason: str) -> None:
        plan = self.bench.plan()
        if plan.operations:
            self.bench.core.settle(plan, [refused(reason) for _ in plan.operations], self.bench.now_ms)

    @rule(count=st.integers(1, 5))
    def deliver(self, count: int) -> None:
        self.bench.view.deliver(count)

    @rule()
    def relist(self) -> None:
        self.bench.view.relist()

    @rule()
    def resync(self) -> None:
        self.bench.core.resync(self.bench.view.revision, "history")

    @rule(data=st.data(), what=st.sampled_from(["run", "fail", "user deletes", "kubelet confirms"]))
    def pod_changes(self, data: st.DataObject, what: str) -> None:
        if not self.bench.partition.objects:
            return
        pod = data.draw(st.sampled_from(list(self.bench.partition.objects.values())))
        if what == "run" and is_active(pod):
            self.bench.run(pod)
        elif what == "fail" and is_active(pod):
            self.bench.change(pod, phase="Failed")
        elif what == "user deletes" or (what == "kubelet confirms" and pod.deletion_ms):
            self.bench.partition.remove(pod.key)

    @rule(milliseconds=st.integers(0, 2000))
    def time_passes(self, milliseconds: int) -> None:
        self.bench.now_ms += milliseconds

    @invariant()
    def counts_are_those_of_the_view(self) -> None:
        if not hasattr(self, "bench"):
            return
        members = self.bench.core._members.get("rs-uid")
        if members is None:
            return
        seen = [pod for pod in self.bench.view.objects.values() if is_active(pod)]
        doomed = [pod for pod in seen if members.flags[pod.key] & DOOMED]
        assert members.active == len(seen) - len(doomed)

    def teardown(self) -> None:
        if not hasattr(self, "bench"):
            return
        if self.in_flight is not None:
            self.answer("lost")
        self.bench.converge()
        assert len(self.bench.active) == self.bench.replicas
        members = self.bench.core._members["rs-uid"]
        assert not members.expected
        assert not members.unresolved
        assert members.status["replicas"] == self.bench.replicas
        assert members.status["observedGeneration"] == self.bench.generation
        assert not self.bench.plan().operations


TestReplicasNeverExceedTheDesired = ReplicasNeverExceedTheDesired.TestCase
TestReplicasNeverExceedTheDesired.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


# --------------------------------------------------------------------------------------------------------- behaviours


def test_all_pods_of_a_set_are_created_in_one_plan_and_share_their_spec() -> None:
    bench = Bench(100)
    plan = bench.plan()
    assert len(plan.creates) == len(plan.operations) == 100
    pods = [operation.create.object for operation in plan.operations]
    assert len({pod.metadata.name for pod in pods}) == 100
    assert {pod.spec for pod in pods} == {encode(TEMPLATE["spec"])}
    first = pods[0]
    assert first.metadata.name.startswith("web-")
    assert len(first.metadata.name) == len("web-") + 5
    assert dict(first.metadata.labels) == {"app": "web"}
    assert dict(first.metadata.annotations) == {"note": "x"}
    (owner,) = first.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("ReplicaSet", "web", "rs-uid", True)


def test_a_burst_is_bounded_and_goes_on_as_its_pods_are_seen() -> None:
    bench = Bench(BURST_REPLICAS + 100)
    assert len(bench.sync().creates) == BURST_REPLICAS
    assert not bench.sync().creates
    bench.view.deliver(30)
    assert len(bench.sync().creates) == 30


def test_the_same_seed_draws_the_same_names() -> None:
    assert Bench(5).plan().creates == Bench(5).plan().creates


def test_after_a_refusal_it_pauses_and_starts_again_with_one_pod_then_two() -> None:
    bench = Bench(10)
    plan = bench.plan()
    bench.core.settle(plan, [refused("Forbidden")] * 10, bench.now_ms)
    assert plan.again_seconds == 0.1
    assert not bench.plan().creates
    sizes = []
    for _ in range(3):
        bench.now_ms += 200
        sizes.append(len(bench.sync().creates))
        bench.view.deliver()
    assert sizes == [1, 2, 4]


def test_pauses_grow_with_each_refusal_and_a_new_spec_is_tried_at_once() -> None:
    bench = Bench(10)
    pauses = []
    for _ in range(12):
        plan = bench.plan()
        assert plan.creates
        bench.core.settle(plan, [refused("Forbidden")] * len(plan.operations), bench.now_ms)
        pauses.append((bench.core._members["rs-uid"].writes_from_ms - bench.now_ms) / 1000)
        bench.now_ms += round(pauses[-1] * 1000)
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert pauses[-1] == PAUSE_SECONDS_MAX
    bench.now_ms -= 1000
    assert not bench.plan().creates, "a minute has not passed"
    bench.scale(11)
    assert bench.plan().creates


def test_a_refusal_shows_in_the_status() -> None:
    bench = Bench(2)
    plan = bench.plan()
    bench.core.settle(plan, [refused("Forbidden")] * 2, bench.now_ms)
    bench.now_ms += 100
    status_plan = bench.core.plan(KEY, bench.now_ms - 50)
    assert status_plan.status["conditions"][0]["reason"] == "FailedCreate"
    assert status_plan.status["conditions"][0]["message"] == "refused: Forbidden"


def test_a_status_that_was_refused_is_written_again_though_nothing_changes() -> None:
    """The partition was full, and then it was not."""
    bench = Bench(1)
    bench.converge()
    bench.run(next(iter(bench.active)))
    bench.view.deliver()
    bench.now_ms += 10_000
    plan = bench.plan()
    assert plan.status is not None
    bench.core.settle(plan, [refused("ServiceUnavailable")], bench.now_ms)
    assert plan.again_seconds == STATUS_RETRY_SECONDS
    bench.now_ms += 5_000
    assert bench.plan().status == plan.status


def test_pods_that_fail_at_once_are_replaced_ever_more_slowly() -> None:
    bench = Bench(1)
    bench.sync()
    waits = []
    for _ in range(5):
        bench.view.deliver()
        (pod,) = bench.active
        bench.change(pod, phase="Failed", reason="OutOfcpu")
        bench.view.deliver()
        waits.append(bench.plan().again_seconds)
        bench.now_ms += round(waits[-1] * 1000)
        assert len(bench.sync().creates) == 1
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6]


def test_unbound_then_unready_then_young_pods_are_deleted_first() -> None:
    bench = Bench(4)
    bench.sync()
    pods = list(bench.partition.objects.values())
    for pod, age_ms in zip(pods[:3], (10, 20, 30), strict=True):
        pod.message.metadata.creation_ms = age_ms
        bench.run(pod)
    bench.change(bench.partition.objects[pods[0].key], phase="Running")
    bench.view.deliver()
    order = []
    for replicas in (3, 2, 1):
        bench.scale(replicas)
        plan = bench.sync()
        order.extend(plan.deletes)
        bench.view.deliver()
    assert order == [pods[3].key, pods[0].key, pods[2].key]


def test_deletes_name_the_uid_of_the_pod() -> None:
    bench = Bench(1)
    bench.sync()
    bench.view.deliver()
    bench.scale(0)
    plan = bench.plan()
    (pod,) = bench.partition.objects.values()
    assert [operation.delete.preconditions.uid for operation in plan.operations] == [pod.uid]


def test_a_terminating_pod_is_replaced() -> None:
    bench = Bench(1)
    bench.sync()
    (pod,) = bench.active
    bench.run(pod)
    marked = copy_of(bench.partition.objects[pod.key])
    marked.message.metadata.deletion_ms = 1
    bench.partition.put(marked)
    bench.view.deliver()
    assert len(bench.sync().creates) == 1


def test_a_set_that_is_being_deleted_creates_nothing() -> None:
    bench = Bench(3)
    going = copy_of(bench.replicaset)
    going.message.metadata.deletion_ms = 1
    bench.core.replicaset_event(Event(EventType.MODIFIED, going, bench.replicaset))
    assert not bench.plan().creates


def test_status_counts_ready_pods_and_is_written_at_most_once_per_delay() -> None:
    bench = Bench(3)
    bench.sync()
    bench.view.deliver()
    assert bench.sync().status == {
        "replicas": 3,
        "fullyLabeledReplicas": 3,
        "readyReplicas": 0,
        "availableReplicas": 0,
        "observedGeneration": 1,
    }
    for pod in list(bench.active)[:2]:
        bench.run(pod)
    bench.view.deliver()
    early = bench.sync()
    assert early.status is None
    assert early.again_seconds == 0.1
    bench.now_ms += 100
    late = bench.sync()
    assert (late.status["readyReplicas"], late.status["availableReplicas"]) == (2, 2)
    bench.now_ms += 100
    assert not bench.sync().operations


def test_a_set_that_goes_on_changing_is_reported_ever_less_often_until_it_rests() -> None:
    bench = Bench(200)
    bench.sync()
    written = []
    for pod in list(bench.active):
        bench.run(pod)
        bench.view.deliver()
        if bench.sync().status:
            written.append(bench.now_ms)
        bench.now_ms += 20
    pauses = [after - before for before, after in itertools.pairwise(written)]
    assert pauses == [100, 200, 400, 800, 800, 800, 800]
    bench.now_ms += 2000
    assert bench.sync().status["readyReplicas"] == 200
    bench.run(bench.active[0], at="2026-01-02T00:00:00Z")
    bench.change(bench.active[0], phase="Running")
    bench.now_ms += 2000
    bench.view.deliver()
    assert bench.sync().status["readyReplicas"] == 199
    assert bench.core._members["rs-uid"].status_delay_ms == 100


def test_only_the_first_of_many_changes_asks_for_a_status() -> None:
    bench = Bench(50)
    bench.sync()
    bench.view.deliver()
    bench.core.take_due()
    bench.core.take_status_due()
    bench.sync()
    for pod in bench.active:
        bench.run(pod)
    bench.view.deliver()
    assert bench.core.take_due() == []
    assert bench.core.take_status_due() == [KEY]


def test_a_pod_is_available_once_it_was_ready_for_min_ready_seconds() -> None:
    bench = Bench(1, minReadySeconds=10)
    bench.sync()
    (pod,) = bench.active
    bench.run(pod, at="1970-01-01T00:16:40Z")  # 1,000,000 ms
    bench.view.deliver()
    bench.now_ms = 1_004_000
    plan = bench.sync()
    assert (plan.status["readyReplicas"], plan.status["availableReplicas"]) == (1, 0)
    assert plan.again_seconds == 6.0
    bench.now_ms = 1_010_000
    assert bench.sync().status["availableReplicas"] == 1


def test_a_set_reborn_under_the_same_name_does_not_inherit_pods() -> None:
    bench = Bench(2)
    bench.sync()
    bench.view.deliver()
    bench.core.replicaset_event(Event(EventType.MODIFIED, replicaset(2, uid="other"), bench.replicaset))
    plan = bench.plan()
    assert plan.uid == "other"
    assert len(plan.creates) == 2


@pytest.mark.parametrize(("revision", "incarnation"), [(3, "history"), (600, "another history")])
def test_what_was_asked_of_a_history_that_is_gone_is_asked_again(revision: int, incarnation: str) -> None:
    """The partition came back with an older copy of its store, or with another one."""
    bench = Bench(2)
    bench.core.resync(400, "history")
    bench.partition.revision = 500
    bench.sync()
    bench.core.resync(450, "history")
    assert not bench.plan().creates
    bench.core.resync(revision, incarnation)
    assert len(bench.plan().creates) == 2


def test_a_set_whose_generation_comes_again_is_read_anew() -> None:
    """S5: generation 2 asked for 4; the partition was restored from before, and there generation 2 asks for 6."""
    bench = Bench(3)
    bench.scale(4)
    bench.sync()
    bench.view.deliver()
    bench.core.replicaset_event(Event(EventType.MODIFIED, replicaset(6, bench.generation), bench.replicaset))
    assert bench.core.take_due() == [KEY]
    assert len(bench.plan().creates) == 2


def test_what_is_in_doubt_or_doomed_in_a_history_that_is_gone_is_not_carried_into_the_next() -> None:
    bench = Bench(2)
    bench.core.resync(bench.view.revision, "history")
    bench.sync()
    bench.view.deliver()
    bench.scale(1)
    doomed = bench.plan()
    bench.core.outcome_unknown(doomed)
    bench.core.resync(bench.view.revision, "another history")
    bench.scale(2)
    assert not bench.plan().deletes
    assert not bench.plan().creates
    bench.scale(3)
    made = bench.plan()
    bench.core.outcome_unknown(made)
    bench.core.resync(bench.view.revision, "a third")
    again = bench.plan()
    assert len(again.creates) == 1
    assert again.creates != made.creates


def test_a_status_that_a_restored_partition_has_lost_is_written_again() -> None:
    bench = Bench(2)
    bench.core.resync(400, "history")
    bench.converge()
    assert not bench.plan().operations
    bench.core.take_status_due()
    bench.core.resync(bench.view.revision, "another history")
    assert bench.core.take_status_due() == [KEY]
    plan = bench.plan()
    assert plan.status is not None
    assert plan.status["replicas"] == 2


def test_a_create_whose_answer_was_lost_is_repeated_under_its_name() -> None:
    bench = Bench(3)
    plan = bench.plan()
    bench.apply(plan)
    bench.core.outcome_unknown(plan)
    again = bench.plan()
    assert again.creates == plan.creates
    bench.core.settle(again, bench.apply(again), bench.now_ms)
    assert len(bench.active) == 3
    assert not bench.plan().creates


def test_a_lost_answer_followed_by_a_refusal_for_overload_still_counts_the_pods() -> None:
    bench = Bench(3)
    plan = bench.plan()
    bench.apply(plan)
    bench.core.outcome_unknown(plan)
    again = bench.plan()
    bench.core.settle(again, [refused("TooManyRequests")] * 3, bench.now_ms)
    bench.now_ms += 100
    assert bench.sync().creates == plan.creates
    assert len(bench.active) == 3


def test_a_view_taken_while_creates_are_on_their_way_ends_no_expectation() -> None:
    bench = Bench(3)
    plan = bench.plan()
    bench.core.resync(1000, "history")
    bench.core.settle(plan, [pb.Result(resource_version=1001)] * 3, bench.now_ms)
    assert not bench.plan().creates
    bench.core.resync(1001, "history")
    assert len(bench.plan().creates) == 3


def test_a_lost_delete_is_repeated_for_the_same_pod() -> None:
    bench = Bench(3)
    bench.sync()
    for pod in bench.active:
        bench.run(pod)
    bench.view.deliver()
    bench.scale(2)
    plan = bench.plan()
    bench.core.outcome_unknown(plan)
    (doomed,) = plan.deletes
    bench.change(bench.partition.objects[doomed], phase="Running", message="it still lives")
    bench.view.deliver()
    assert bench.sync().deletes == [doomed]
    assert len(bench.active) == 2


def test_a_pod_whose_deletion_was_asked_for_counts_no_more_though_the_view_lags() -> None:
    bench = Bench(3)
    bench.sync()
    for pod in bench.active:
        bench.run(pod)
    bench.view.deliver()
    other = bench.active[0]
    bench.change(bench.partition.objects[other.key], phase="Running", message="not ready any more")
    bench.scale(2)
    (doomed,) = bench.sync().deletes
    assert doomed != other.key
    bench.view.deliver(1)
    assert not bench.sync().deletes


def test_a_pod_that_was_seen_and_is_gone_is_not_created_again_by_a_repeat() -> None:
    bench = Bench(2)
    plan = bench.plan()
    bench.apply(plan)
    bench.view.deliver()
    bench.core.outcome_unknown(plan)
    assert not bench.plan().creates


def test_creating_a_pod_costs_no_decoding_of_the_template() -> None:
    bench = Bench(1)
    template = bench.core._members["rs-uid"].template
    operation = pb.Operation.FromString(template)
    assert decode(operation.create.object.spec) == TEMPLATE["spec"]
    bench.scale(5)
    assert bench.core._members["rs-uid"].template == template
