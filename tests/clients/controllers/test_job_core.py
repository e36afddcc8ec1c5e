"""The Job controller's decisions: each pod counted once, never too many at once, and in the end enough of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ursa.clients.controllers import job_counts
from ursa.clients.controllers.job_core import WRITES_MAX, Plan, one_moment, plan
from ursa.clients.controllers.job_indexes import Indexes
from ursa.clients.controllers.job_pods import final_phase
from ursa.clients.operations import create_operation, delete_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.batch import INDEX_KEY, TRACKING_FINALIZER
from ursa.proto.objects import Object, decode, encode

from .job_world import FINAL, JOBS, JobWorld

# ---------------------------------------------------------------------------------------------------------- properties


class EachPodIsCountedOnce(RuleBasedStateMachine):
    """Whatever is delayed, lost, half done or repeated, and however often the controller dies."""

    @initialize(
        parallelism=st.integers(0, 4),
        completions=st.integers(0, 5),
        indexed=st.booleans(),
        failed_only=st.booleans(),
        backoff_limit=st.sampled_from([0, 2, 100]),
    )
    def start(
        self, parallelism: int, completions: int, *, indexed: bool, failed_only: bool, backoff_limit: int
    ) -> None:
        policy = "Failed" if failed_only else "TerminatingOrFailed"
        spec: dict[str, Any] = {"backoffLimit": backoff_limit, "podReplacementPolicy": policy}
        if indexed:
            spec |= {"completionMode": "Indexed", "completions": completions}
        elif completions:
            spec |= {"completions": completions}
        self.world = JobWorld(parallelism=parallelism, **spec)
        self.indexed = indexed
        self.held: list[Any] = []

    def _pod(self, data: st.DataObject, *, ended: bool = False) -> Any:
        pods = [pod for pod in self.world.pods() if ended or pod.status.get("phase") not in FINAL]
        return data.draw(st.sampled_from(pods)) if pods else None

    @rule()
    def step(self) -> None:
        self.world.life.step()

    @rule(reach=st.sampled_from([0.0, 0.3, 0.6, 1.0]), dies=st.booleans())
    def step_without_an_answer(self, reach: float, *, dies: bool) -> None:
        self.world.life.step(told=False, reach=reach)
        if dies:
            self.world.restart()

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @precondition(lambda self: hasattr(self, "world") and not self.held)
    @rule()
    def die_with_writes_on_the_way(self) -> None:
        """Creates apart: of a life that is over nobody knows what it still makes."""
        made = self.world.life.plan()
        if made is not None:
            self.held = [operation for operation in made.operations if not operation.HasField("create")]
        self.world.restart()

    @precondition(lambda self: getattr(self, "held", None))
    @rule()
    def what_was_on_the_way_arrives(self) -> None:
        self.world.write(self.held)
        self.held = []

    @rule(count=st.integers(1, 4))
    def deliver_job(self, count: int) -> None:
        self.world.life.deliver(self.world.life.jobs, count)

    @rule(count=st.integers(1, 4))
    def deliver_pods(self, count: int) -> None:
        self.world.life.deliver(self.world.life.pods, count)

    @rule()
    def deliver_all(self) -> None:
        self.world.life.deliver_all()

    @rule(data=st.data(), phase=st.sampled_from(["Running", "Succeeded", "Succeeded", "Failed"]))
    def a_pod_goes_on(self, data: st.DataObject, phase: str) -> None:
        pod = self._pod(data)
        if pod is None:
            return
        if phase == "Running":
            if not pod.deletion_ms:
                self.world.run(pod)
        else:
            self.world.end(pod, phase)

    @rule(data=st.data(), grace_seconds=st.sampled_from([None, 0]))
    def a_pod_is_deleted(self, data: st.DataObject, grace_seconds: int | None) -> None:
        pod = self._pod(data, ended=True)
        if pod is not None:
            self.world.delete(pod, grace_seconds)

    @rule(parallelism=st.integers(0, 4))
    def scale(self, parallelism: int) -> None:
        """What was decided before may still be on its way."""
        self.world.change_job(parallelism=parallelism)
        self.world.parallelism_max = max(self.world.parallelism_max, parallelism)

    @rule(suspend=st.booleans())
    def suspend(self, *, suspend: bool) -> None:
        self.world.change_job(suspend=suspend)

    @rule(seconds=st.sampled_from([1, 30, 1000]))
    def time_passes(self, seconds: int) -> None:
        self.world.now_ms += seconds * 1000

    @invariant()
    def who_has_ended_and_is_not_noted_keeps_its_finalizer(self) -> None:
        if not hasattr(self, "world"):
            return
        job, judge = self.world.job(), self.world.judge
        if any(each["type"] in ("Complete", "Failed") for each in job.status.get("conditions", ())):
            return
        tracked = {pod.uid for pod in self.world.pods() if pod.finalizers}
        for uid, (phase, index) in judge.ends.items():
            if uid not in judge.noted and (phase == "Failed" or not self.indexed):
                assert uid in tracked, f"{uid} ({index}) can vanish uncounted"

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        try:
            world.write(self.held)
            world.change_job(suspend=False, parallelism=2)
            world.parallelism_max = 4
            world.settle()
            self._judge_the_end()
        finally:
            world.close()

    def _judge_the_end(self) -> None:
        world, job = self.world, self.world.job()
        world.judge.verdict()
        assert world.condition("Complete") != world.condition("Failed")
        assert not world.active()
        assert not any(pod.finalizers for pod in world.pods())
        assert not world.life.plan().operations
        assert (job.status["active"], job.status["terminating"]) == (0, 0)
        assert "uncountedTerminatedPods" not in job.status
        completions = job.spec.get("completions")
        if world.condition("Complete") and completions is not None:
            assert job.status["succeeded"] >= completions
        if self.indexed:
            assert job.status["succeeded"] <= completions


TestEachPodIsCountedOnce = EachPodIsCountedOnce.TestCase
TestEachPodIsCountedOnce.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


class EachPodIsCountedOnceByTwoAtOnce(EachPodIsCountedOnce):
    """A life that was taken for dead goes on beside the next one. They make too many pods, and count each once."""

    @rule(dies=st.booleans())
    def the_other_one_takes_over(self, *, dies: bool) -> None:
        world = self.world
        other = getattr(self, "other", None)
        world.judge.judges_creates = False
        self.other = None if dies else world.life
        if other is None:
            world.restart()
        else:
            world.life = other


TestEachPodIsCountedOnceByTwoAtOnce = EachPodIsCountedOnceByTwoAtOnce.TestCase
TestEachPodIsCountedOnceByTwoAtOnce.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# ---------------------------------------------------------------------------------------------------------- behaviours


@pytest.fixture
def worlds() -> Iterator[Callable[..., JobWorld]]:
    made: list[JobWorld] = []

    def make(**spec: Any) -> JobWorld:
        made.append(JobWorld(**spec))
        return made[-1]

    yield make
    for world in made:
        world.close()


Worlds = Callable[..., JobWorld]


def step(world: JobWorld) -> Plan:
    world.life.deliver_all()
    made = world.life.step()
    assert made is not None
    return made


def steps(world: JobWorld, count: int = 4) -> None:
    for _ in range(count):
        step(world)


def created(made: Plan) -> list[Object]:
    return [Object(operation.create.object) for operation in made.operations if operation.HasField("create")]


def reason_of(world: JobWorld, kind: str) -> str:
    return next(each["reason"] for each in world.job().status["conditions"] if each["type"] == kind)


def test_pods_are_of_the_template_and_wait_to_be_counted(worlds: Worlds) -> None:
    world = worlds(parallelism=2, completions=3)
    made = created(step(world))
    assert [pod.finalizers for pod in made] == [(TRACKING_FINALIZER,)] * 2
    assert [pod.name.rpartition("-")[0] for pod in made] == ["work", "work"]
    assert made[0].labels["batch.kubernetes.io/job-name"] == made[0].labels["job-name"] == "work"
    assert made[0].labels["batch.kubernetes.io/controller-uid"] == world.job().uid
    (owner,) = made[0].owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("Job", "work", world.job().uid, True)
    assert world.job().status["startTime"] == "2027-01-15T08:00:00Z"


def test_pods_of_an_indexed_job_know_their_index(worlds: Worlds) -> None:
    world = worlds(parallelism=2, completions=4, completionMode="Indexed")
    first, second = created(step(world))
    assert [pod.name.rpartition("-")[0] for pod in (first, second)] == ["work-0", "work-1"]
    assert (first.annotations[INDEX_KEY], second.labels[INDEX_KEY]) == ("0", "1")
    (variable,) = first.spec["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{INDEX_KEY}']"
    assert first.message.spec == second.message.spec
    world.end(second, "Succeeded")
    step(world)
    assert world.job().status["completedIndexes"] == "1"
    assert [pod.annotations[INDEX_KEY] for pod in world.active()] == ["0", "2"]


def test_an_index_whose_pod_failed_gets_another(worlds: Worlds) -> None:
    world = worlds(parallelism=1, completions=2, completionMode="Indexed")
    (pod,) = created(step(world))
    world.end(pod, "Failed")
    steps(world)
    world.now_ms += 10_000
    (again,) = created(step(world))
    assert again.annotations[INDEX_KEY] == "0"
    assert again.name != pod.name
    world.settle()
    assert (world.job().status["completedIndexes"], world.job().status["failed"]) == ("0,1", 1)


def test_of_two_pods_of_one_index_one_goes_and_is_not_counted(worlds: Worlds) -> None:
    world = worlds(parallelism=2, completions=2, completionMode="Indexed")
    step(world)
    first = world.pods()[0]
    world.run(first)
    twin = Object(pb.Object.FromString(first.message.SerializeToString()))
    twin.message.metadata.name = "work-0-twin"
    twin.message.metadata.uid = ""
    twin.message.spec = world.pods()[1].message.spec
    world.partition.do(create_operation(twin))
    steps(world)
    assert sorted(pod.annotations[INDEX_KEY] for pod in world.active()) == ["0", "1"]
    assert first.uid in [pod.uid for pod in world.active()]
    assert world.job().status["failed"] == 0


def test_an_indexed_job_may_grow_and_shrink(worlds: Worlds) -> None:
    world = worlds(parallelism=2, completions=2, completionMode="Indexed")
    step(world)
    world.end(world.pods()[1], "Succeeded")
    steps(world)
    world.change_job(parallelism=3, completions=3)
    steps(world)
    assert sorted(pod.annotations[INDEX_KEY] for pod in world.active()) == ["0", "2"]
    world.change_job(parallelism=1, completions=1)
    steps(world)
    assert [pod.annotations[INDEX_KEY] for pod in world.active()] == ["0"]
    assert world.job().status["succeeded"] == 0


def test_whoever_decides_twice_makes_the_same_pods(worlds: Worlds) -> None:
    """In another life, the creates of the first are still on their way."""
    world = worlds(parallelism=3, completions=9)
    on_the_way = world.life.plan()
    world.restart()
    step(world)
    results = [each.error.reason for each in world.write(on_the_way.operations)]
    assert results == ["AlreadyExists"] * 3 + ["Conflict"]
    world.end(world.pods()[0], "Succeeded")
    world.life.deliver_all()
    on_the_way = world.life.plan()
    world.restart()
    assert created(world.life.plan())[0].name == created(on_the_way)[0].name


def test_a_view_of_the_job_that_is_behind_makes_a_pod_too_many(worlds: Worlds) -> None:
    """So nothing is planned from it. Its pods are let go, and it does not show that they were counted."""
    world = worlds(parallelism=2, completions=2)
    step(world)
    behind = world.job()
    world.end(world.pods()[0], "Succeeded")
    steps(world)
    pods = world.pods()
    assert len(created(plan(behind, pods, lambda _: False, world.now_ms))) == 1
    assert not created(plan(world.job(), pods, lambda _: False, world.now_ms))
    newest = max(pod.resource_version for pod in pods)
    assert not one_moment(behind, behind.resource_version, newest)


def test_a_view_of_the_pods_that_is_behind_counts_what_is_yet_to_be_counted(worlds: Worlds) -> None:
    """So nothing is planned from it. The status has the uid of a pod that it does not show yet."""
    world = worlds(parallelism=1, completions=2)
    behind = world.job().resource_version
    step(world)
    world.end(world.pods()[0], "Succeeded")
    step(world)
    noted = world.job()
    assert noted.status["uncountedTerminatedPods"] == {"succeeded": [world.pods()[0].uid]}
    made = plan(noted, [], lambda _: False, world.now_ms)
    assert made.status is not None
    assert decode(made.status.update.object.status)["succeeded"] == 1
    assert not one_moment(noted, noted.resource_version, behind)
    assert one_moment(noted, noted.resource_version, noted.resource_version)


def test_parallelism_that_is_lowered_takes_the_youngest_that_run_least(worlds: Worlds) -> None:
    world = worlds(parallelism=3, completions=9)
    step(world)
    running = world.pods()[1]
    world.run(running)
    world.change_job(parallelism=1)
    steps(world)
    assert [pod.uid for pod in world.active()] == [running.uid]
    assert (world.job().status["failed"], world.job().status["active"]) == (0, 1)


def test_a_pod_that_ends_while_it_is_taken_for_one_too_many_is_counted(worlds: Worlds) -> None:
    world = worlds(parallelism=2, completions=9)
    step(world)
    world.change_job(parallelism=1)
    world.life.deliver_all()
    decided = world.life.plan()
    for pod in world.pods():
        world.end(pod, "Succeeded")
    world.write(decided.operations)
    world.restart()
    steps(world)
    assert world.job().status["succeeded"] == 2
    world.judge.verdict()


def test_a_pod_that_fails_is_replaced_after_a_pause_that_doubles(worlds: Worlds) -> None:
    world = worlds(parallelism=1, completions=1, backoffLimit=3)
    step(world)
    waits = []
    for _ in range(3):
        (pod,) = world.active()
        world.end(pod, "Failed")
        steps(world, 3)
        waits.append(step(world).again_seconds)
        world.now_ms += round(waits[-1] * 1000)
        assert len(created(step(world))) == 1
    assert waits == [10.0, 20.0, 40.0]


def test_more_failures_than_the_limit_end_the_job_and_its_pods(worlds: Worlds) -> None:
    world = worlds(parallelism=3, completions=9, backoffLimit=1)
    step(world)
    for pod in world.pods()[:2]:
        world.end(pod, "Failed")
    world.run(world.pods()[2])
    made = step(world)
    assert world.condition("FailureTarget")
    assert [operation.resource for operation in made.operations] == ["jobs.batch"], "nothing before it is durable"
    steps(world)
    assert not world.condition("Failed"), "a pod still stops"
    (left,) = [pod for pod in world.pods() if pod.deletion_ms]
    world.delete(left, grace_seconds=0)
    steps(world)
    assert reason_of(world, "Failed") == "BackoffLimitExceeded"
    assert (world.job().status["failed"], world.job().status["active"]) == (3, 0)
    assert "completionTime" not in world.job().status


def test_restarts_of_containers_count_as_failures_where_pods_restart_them(worlds: Worlds) -> None:
    world = worlds(restart="OnFailure", parallelism=1, completions=1, backoffLimit=2)
    step(world)
    world.run(world.pods()[0])
    for count, fails in ((1, False), (2, True)):
        world.set_status(world.pods()[0], phase="Running", containerStatuses=[{"restartCount": count}])
        step(world)
        assert world.condition("FailureTarget") is fails


def test_a_job_has_only_so_much_time(worlds: Worlds) -> None:
    world = worlds(parallelism=1, completions=1, activeDeadlineSeconds=60)
    step(world)
    assert step(world).again_seconds == 60
    world.now_ms += 60_000
    steps(world, 6)
    assert reason_of(world, "Failed") == "DeadlineExceeded"
    assert not world.active()


def test_a_suspended_job_runs_nothing_and_its_time_begins_anew(worlds: Worlds) -> None:
    world = worlds(parallelism=2, completions=2, activeDeadlineSeconds=60, suspend=True)
    steps(world)
    assert not world.pods()
    assert "startTime" not in world.job().status
    world.change_job(suspend=False)
    steps(world)
    assert len(world.active()) == 2
    world.now_ms += 30_000
    world.change_job(suspend=True)
    steps(world)
    assert (world.active(), world.job().status["failed"], world.condition("Suspended")) == ([], 0, True)
    world.now_ms += 1_000_000
    world.change_job(suspend=False)
    steps(world)
    assert not world.condition("FailureTarget")
    assert len(world.active()) == 2


def test_without_completions_one_success_is_enough_and_the_others_may_end(worlds: Worlds) -> None:
    world = worlds(parallelism=3)
    step(world)
    first, second, third = world.pods()
    world.end(first, "Succeeded")
    steps(world)
    assert (len(world.active()), world.condition("SuccessCriteriaMet")) == (2, False)
    world.end(second, "Failed")
    world.end(third, "Succeeded")
    steps(world, 6)
    assert world.condition("Complete")
    assert (world.job().status["succeeded"], world.job().status["failed"]) == (2, 1)


@pytest.mark.parametrize("policy", ["TerminatingOrFailed", "Failed"])
def test_a_pod_that_is_deleted_has_failed_and_is_replaced_at_once_or_when_it_has_stopped(
    worlds: Worlds, policy: str
) -> None:
    world = worlds(parallelism=1, completions=1, podReplacementPolicy=policy)
    step(world)
    (pod,) = world.pods()
    world.run(pod)
    world.delete(pod)
    steps(world)
    at_once = policy == "TerminatingOrFailed"
    assert (len(world.active()), world.job().status["failed"]) == ((1, 1) if at_once else (0, 0))
    assert world.job().status["terminating"] == 1
    world.delete(pod, grace_seconds=0)
    steps(world)
    assert (len(world.active()), world.job().status["failed"]) == (1, 1)
    assert pod.uid not in [each.uid for each in world.pods()]


def test_a_job_that_is_being_deleted_makes_nothing_and_lets_its_pods_go(worlds: Worlds) -> None:
    world = worlds(parallelism=2, completions=5)
    step(world)
    world.partition.do(delete_operation(JOBS, world.job().key, propagation="Foreground"))
    world.end(world.pods()[0], "Succeeded")
    for pod in world.pods():
        world.delete(pod)
    steps(world)
    assert not world.pods()
    assert world.job().status["succeeded"] == 1


def test_what_comes_late_for_a_job_that_has_ended_goes_and_is_not_counted(worlds: Worlds) -> None:
    world = worlds(parallelism=1, completions=1)
    step(world)
    late = Object(pb.Object.FromString(world.pods()[0].message.SerializeToString()))
    world.settle(rounds=8)
    status = world.job().status
    assert world.condition("Complete")
    late.message.metadata.name = "late"
    late.message.metadata.uid = ""
    world.partition.do(create_operation(late))
    steps(world)
    assert "late" not in [pod.name for pod in world.pods()]
    assert world.job().status == status


def test_more_ends_than_a_status_has_room_for_wait_for_a_turn(worlds: Worlds) -> None:
    with mock.patch.object(job_counts, "UNCOUNTED_MAX", 2):
        world = worlds(parallelism=5, completions=5)
        step(world)
        for pod in world.pods():
            world.end(pod, "Succeeded")
        step(world)
        assert len(world.job().status["uncountedTerminatedPods"]["succeeded"]) == 2
        assert world.condition("SuccessCriteriaMet")
        steps(world, 8)
    assert world.condition("Complete")
    assert world.job().status["succeeded"] == 5


def test_a_plan_makes_no_more_pods_than_it_may(worlds: Worlds) -> None:
    world = worlds(parallelism=700, completions=700)
    made = plan(world.job(), [], lambda _: False, world.now_ms)
    assert len({pod.name for pod in created(made)}) == WRITES_MAX
    assert len(created(plan(world.job(), [], lambda _: False, world.now_ms, 1))) == 1


@given(st.lists(st.integers(0, 40)), st.integers(0, 45))
def test_indexes_are_a_set_that_reads_as_it_is_written(numbers: list[int], below: int) -> None:
    indexes = Indexes()
    for number in numbers:
        indexes.add(number)
    assert (len(indexes), [each for each in range(45) if each in indexes]) == (len(set(numbers)), sorted(set(numbers)))
    assert list(indexes.missing(below)) == [each for each in range(below) if each not in numbers]
    again = Indexes.parse(str(indexes), below)
    assert [each for each in range(45) if each in again] == sorted({each for each in numbers if each < below})
    assert str(Indexes.parse(str(indexes), 45)) == str(indexes)


PHASES = st.sampled_from(["Succeeded", "Failed", "Running", "Pending", "SucceededFailed", "", 7])


@given(st.dictionaries(st.sampled_from(["phase", "reason", "podIP"]), PHASES), st.integers(0, 20))
def test_the_phase_of_a_pod_is_read_as_it_is_decoded(status: dict[str, Any], more: int) -> None:
    status |= {f"field-{number}": "Failed" for number in range(more)}
    phase = status.get("phase")
    assert final_phase(encode(status)) == (phase if phase in FINAL else "")


def test_a_pod_without_a_status_has_no_phase() -> None:
    assert final_phase(b"") == ""
