"""The CronJob controller's decisions: each time started at most once, and as its policy says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from ursa.clients.controllers.cronjob_core import Plan, plan, scheduled_ms
from ursa.clients.controllers.job_core import one_moment
from ursa.clients.operations import delete_operation, update_status_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey, format_time, parse_time

from ...partitions.conftest import Partition
from .job_world import JOBS
from .job_world import manifest as job_manifest
from .lagging import View, complete_up_to

CRON_JOBS = "cronjobs.batch"
# What the partition calls the time at which it is asked, and stamps its objects with.
NAME = "tick"


def manifest(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"of": "tick"}}, "spec": job_manifest()["spec"]}
    metadata = {"name": NAME, "tenant": "system", "namespace": "default"}
    fields = {"schedule": "*/10 * * * *", "jobTemplate": template, **spec}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": fields}


class CronWorld:
    """A CronJob in a real apiserver, and lives of its controller, which see it late."""

    def __init__(self, **spec: Any) -> None:
        self.partition = Partition(Role.TENANT)
        self.now_ms = self.partition.create(manifest(**spec)).creation_ms
        self.started: dict[str, int] = {}  # By name: all Jobs that ever were, and for which time.
        self.restart()

    def restart(self) -> None:
        self.cron_jobs = View(self.partition, CRON_JOBS, lambda _: None)
        self.jobs_view = View(self.partition, JOBS, lambda _: None)
        self.awaited = 0
        self.deliver_all()

    def close(self) -> None:
        self.partition.server.close()
        self.partition.store.close()

    def deliver(self, view: View, count: int = 1_000_000) -> None:
        view.gather()
        while view.pending and count:
            view.deliver()
            count -= 1

    def deliver_all(self) -> None:
        self.deliver(self.cron_jobs)
        self.deliver(self.jobs_view)

    def cron_job(self) -> Object:
        return self.partition.get(CRON_JOBS, NAME)

    def jobs(self) -> list[Object]:
        return [Object(each) for each in self.partition.list(JOBS).items]

    def active(self) -> list[Object]:
        return [job for job in self.jobs() if not job.status.get("conditions")]

    def plan(self) -> Plan | None:
        for view in (self.cron_jobs, self.jobs_view):
            view.gather()
        cron_at, jobs_at = (complete_up_to(self.partition, view) for view in (self.cron_jobs, self.jobs_view))
        (shown,) = self.cron_jobs.objects.values()
        if not one_moment(shown, cron_at, jobs_at) or jobs_at < self.awaited:
            return None
        objects = self.jobs_view.objects
        jobs = [job for job in objects.values() if job.controller is not None and job.controller.uid == shown.uid]
        return plan(shown, jobs, objects, self.now_ms)

    def step(self, *, told: bool = True, reach: float = 1.0) -> Plan | None:
        made = self.plan()
        if made is None or not made.operations:
            return made
        results = self.write(made.operations[: round(len(made.operations) * reach)])
        if told and reach == 1.0:
            self.awaited = max(result.resource_version or result.error.resource_version for result in results)
        else:
            self.awaited = self.partition.server.status().stores[0].resource_version
        return made

    def write(self, operations: list[pb.Operation]) -> list[pb.Result]:
        return [self._write(pb.Operation.FromString(each.SerializeToString())) for each in operations]

    def _write(self, operation: pb.Operation) -> pb.Result:
        before = self.cron_job().status.get("lastScheduleTime", "")
        running = self.active()
        [result] = self.partition.write(operation)
        assert self.cron_job().status.get("lastScheduleTime", "") >= before
        if operation.HasField("create") and not result.HasField("error"):
            self._judge_start(Object(operation.create.object), running)
        return result

    def _judge_start(self, job: Object, running: list[Object]) -> None:
        moment_ms = scheduled_ms(job)
        assert job.name not in self.started, f"{job.name} was started before"
        assert job.name == f"{NAME}-{moment_ms // 60_000}"
        assert moment_ms <= self.now_ms
        assert moment_ms > max(self.started.values(), default=0), "a time from before the last"
        self.started[job.name] = moment_ms
        spec = self.cron_job().spec
        if spec["concurrencyPolicy"] == "Forbid":
            assert not running
        if spec["concurrencyPolicy"] == "Replace":
            assert not [each for each in running if each.deletion_ms == 0]
        if spec.get("startingDeadlineSeconds") is not None:
            assert self.now_ms - moment_ms <= spec["startingDeadlineSeconds"] * 1000

    def finish(self, job: Object, how: str = "Complete") -> None:
        condition = {"type": how, "status": "True", "lastTransitionTime": format_time(self.now_ms)}
        ended = self.partition.get(JOBS, job.name).with_status({"conditions": [condition]})
        self.partition.do(update_status_operation(ended))

    def delete(self, job: Object) -> None:
        self.partition.do(delete_operation(JOBS, job.key, uid=job.uid))

    def change(self, **spec: Any) -> None:
        cron_job = self.cron_job()
        operation = pb.Operation(resource=CRON_JOBS)
        operation.update.object.CopyFrom(cron_job.with_spec({**cron_job.spec, **spec}).message)
        self.partition.do(operation)


# ---------------------------------------------------------------------------------------------------------- properties


class EachTimeIsStartedAtMostOnce(RuleBasedStateMachine):
    """Whatever is delayed, lost or repeated, and however often the controller dies."""

    @initialize(
        policy=st.sampled_from(["Allow", "Forbid", "Replace"]),
        deadline=st.sampled_from([None, 0, 700, 100_000]),
        kept=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    )
    def start(self, policy: str, deadline: int | None, kept: tuple[int, int]) -> None:
        limits = {"successfulJobsHistoryLimit": kept[0], "failedJobsHistoryLimit": kept[1]}
        more = {} if deadline is None else {"startingDeadlineSeconds": deadline}
        self.world = CronWorld(concurrencyPolicy=policy, **limits, **more)
        self.kept = kept
        self.held: list[pb.Operation] = []

    @rule()
    def step(self) -> None:
        self.world.step()

    @rule(reach=st.sampled_from([0.0, 0.4, 1.0]), dies=st.booleans())
    def step_without_an_answer(self, reach: float, *, dies: bool) -> None:
        self.world.step(told=False, reach=reach)
        if dies:
            self.world.restart()

    @precondition(lambda self: hasattr(self, "world") and not self.held)
    @rule()
    def die_with_writes_on_the_way(self) -> None:
        """With creates, too, where Jobs may run beside one another."""
        made = self.world.plan()
        allowed = self.world.cron_job().spec["concurrencyPolicy"] == "Allow"
        late = "startingDeadlineSeconds" in self.world.cron_job().spec
        if made is not None:
            self.held = [each for each in made.operations if not each.HasField("create") or (allowed and not late)]
        self.world.restart()

    @precondition(lambda self: getattr(self, "held", None))
    @rule()
    def what_was_on_the_way_arrives(self) -> None:
        for operation in self.held:
            if operation.HasField("create"):
                self._arrive_late(operation)
            else:
                self.world.write([operation])
        self.held = []

    def _arrive_late(self, operation: pb.Operation) -> None:
        """It may be for an earlier time than what has been started meanwhile, but for none that was."""
        world = self.world
        [result] = world.partition.write(pb.Operation.FromString(operation.SerializeToString()))
        job = Object(operation.create.object)
        if not result.HasField("error"):
            assert job.name not in world.started
            world.started[job.name] = scheduled_ms(job)

    @rule()
    def deliver_all(self) -> None:
        self.world.deliver_all()

    @rule(count=st.integers(1, 3), jobs=st.booleans())
    def deliver(self, count: int, *, jobs: bool) -> None:
        self.world.deliver(self.world.jobs_view if jobs else self.world.cron_jobs, count)

    @rule(minutes=st.sampled_from([1, 5, 10, 10, 25, 3000]))
    def time_passes(self, minutes: int) -> None:
        self.world.now_ms += minutes * 60_000

    @rule(data=st.data(), how=st.sampled_from(["Complete", "Complete", "Failed"]))
    def a_job_ends(self, data: st.DataObject, how: str) -> None:
        jobs = self.world.active()
        if jobs:
            self.world.finish(data.draw(st.sampled_from(jobs)), how)

    @rule(data=st.data())
    def the_time_to_live_of_a_job_is_over(self, data: st.DataObject) -> None:
        """As `job_ttl`: once the CronJob knows of it."""
        known = self.world.cron_job().status.get("lastScheduleTime")
        ended = [job for job in self.world.jobs() if job.status.get("conditions")]
        ended = [job for job in ended if known and scheduled_ms(job) <= parse_time(known)]
        if ended:
            self.world.delete(data.draw(st.sampled_from(ended)))

    @rule(suspend=st.booleans())
    def suspend(self, *, suspend: bool) -> None:
        self.world.change(suspend=suspend)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        try:
            self.what_was_on_the_way_arrives()
            world.change(suspend=False, startingDeadlineSeconds=None)
            for _ in range(3):  # One may have been held up by another.
                self._settle()
                for job in world.active():
                    world.finish(job)
            self._settle()
            count = len(world.started)
            world.now_ms += 600_000
            self._settle()
            assert len(world.started) == count + 1, "the next time is started"
            status = world.cron_job().status
            assert [each["name"] for each in status.get("active", ())] == [job.name for job in world.active()]
            assert parse_time(status["lastScheduleTime"]) >= max(world.started.values())
            for how, limit in zip(("Complete", "Failed"), self.kept, strict=True):
                ended = [job for job in world.jobs() if (job.status.get("conditions") or [{}])[0].get("type") == how]
                assert len(ended) <= limit
            assert not world.plan().operations
        finally:
            world.close()

    def _settle(self) -> None:
        for _ in range(6):
            self.world.deliver_all()
            self.world.step()
        self.world.deliver_all()


TestEachTimeIsStartedAtMostOnce = EachTimeIsStartedAtMostOnce.TestCase
TestEachTimeIsStartedAtMostOnce.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


# ---------------------------------------------------------------------------------------------------------- behaviours


Worlds = Callable[..., CronWorld]


@pytest.fixture
def worlds() -> Iterator[Worlds]:
    made: list[CronWorld] = []

    def make(**spec: Any) -> CronWorld:
        made.append(CronWorld(**spec))
        return made[-1]

    yield make
    for world in made:
        world.close()


def step(world: CronWorld, minutes: int = 0) -> Plan:
    world.now_ms += minutes * 60_000
    world.deliver_all()
    made = world.step()
    assert made is not None
    return made


def told(made: Plan) -> list[str]:
    return [reason for reason, _ in made.told]


def test_a_job_is_of_the_template_and_named_by_its_time(worlds: Worlds) -> None:
    world = worlds()
    assert 0 < step(world).again_seconds <= 600
    step(world, 10)
    (job,) = world.jobs()
    assert job.name == f"tick-{scheduled_ms(job) // 60_000}"
    assert scheduled_ms(job) % 600_000 == 0
    assert job.labels["of"] == "tick"
    (owner,) = job.owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("CronJob", "tick", world.cron_job().uid, True)
    step(world)
    status = world.cron_job().status
    assert status["lastScheduleTime"] == format_time(scheduled_ms(job))
    assert [each["uid"] for each in status["active"]] == [job.uid]
    world.finish(job)
    step(world)
    assert world.cron_job().status["lastSuccessfulTime"] == format_time(world.now_ms)
    assert "active" not in world.cron_job().status


def test_of_many_missed_times_the_last_is_started_and_that_they_were_many_is_told(worlds: Worlds) -> None:
    world = worlds()
    assert told(step(world, 10)) == []
    step(world)
    world.finish(world.jobs()[0])
    few = step(world, 10 * 100)
    assert (told(few), len(world.jobs())) == ([], 2)
    step(world)
    many = step(world, 10 * 101)
    assert told(many) == ["TooManyMissedTimes"]
    assert len(world.jobs()) == 3
    assert world.now_ms - max(map(scheduled_ms, world.jobs())) < 600_000


def test_a_time_that_is_past_its_deadline_is_not_started(worlds: Worlds) -> None:
    world = worlds(startingDeadlineSeconds=60)
    world.now_ms += 600_000 - world.now_ms % 600_000
    assert told(step(world, 2)) == ["MissSchedule"]
    assert not world.jobs()
    step(world, 9)
    assert len(world.jobs()) == 1


@pytest.mark.parametrize(("policy", "left"), [("Allow", 2), ("Forbid", 1), ("Replace", 1)])
def test_what_becomes_of_a_job_that_still_runs(worlds: Worlds, policy: str, left: int) -> None:
    world = worlds(concurrencyPolicy=policy)
    step(world, 10)
    (first,) = world.jobs()
    made = step(world, 10)
    assert len(world.jobs()) == left
    assert (first.uid in [job.uid for job in world.jobs()]) is (policy != "Replace")
    assert told(made) == (["JobAlreadyActive"] if policy == "Forbid" else [])
    if policy == "Forbid":
        world.finish(first)
        step(world, 3)
        assert len(world.active()) == 1, "what was held up is made up for"


def test_a_suspended_cron_job_starts_nothing_and_keeps_its_status(worlds: Worlds) -> None:
    world = worlds(suspend=True)
    made = step(world, 30)
    assert (world.jobs(), made.again_seconds) == ([], None)
    world.change(suspend=False)
    step(world)
    assert len(world.jobs()) == 1


def test_the_name_of_anothers_job_is_let_be(worlds: Worlds) -> None:
    world = worlds()
    step(world)
    world.now_ms += 600_000
    name = f"tick-{world.now_ms // 600_000 * 10}"
    world.partition.create(job_manifest(name))
    assert told(step(world)) == ["NameTaken"]
    assert world.jobs()[0].controller is None
    assert told(step(world, 10)) == []
    assert len(world.jobs()) == 2


def test_the_oldest_that_have_ended_go_once_the_status_knows_of_them(worlds: Worlds) -> None:
    world = worlds(successfulJobsHistoryLimit=1, failedJobsHistoryLimit=0)
    for how in ("Complete", "Complete", "Failed"):
        step(world, 10)
        world.finish(world.active()[0], how)
    step(world)
    assert len(world.jobs()) == 2, "of the last, the status does not know yet"
    step(world)
    assert [job.status["conditions"][0]["type"] for job in world.jobs()] == ["Complete"]


def test_a_time_is_read_in_its_time_zone(worlds: Worlds) -> None:
    world = worlds(schedule="0 3 * * *", timeZone="Asia/Tokyo")
    step(world, 24 * 60)
    (job,) = world.jobs()
    assert format_time(scheduled_ms(job))[10:] == "T18:00:00Z"


def test_a_cron_job_that_is_being_deleted_starts_nothing(worlds: Worlds) -> None:
    world = worlds()
    key = ObjectKey("system", "default", NAME)
    world.partition.do(delete_operation(CRON_JOBS, key, propagation="Foreground"))
    step(world, 30)
    assert not world.jobs()


def test_a_view_of_the_jobs_that_is_behind_forbids_nothing(worlds: Worlds) -> None:
    """So nothing is planned from it. The status knows of a Job that it does not show yet."""
    world = worlds(concurrencyPolicy="Forbid")
    behind = world.cron_job().resource_version
    step(world, 10)
    step(world)
    knows = world.cron_job()
    assert len(knows.status["active"]) == 1
    world.now_ms += 600_000
    assert plan(knows, [], {}, world.now_ms).create is not None
    assert plan(knows, world.jobs(), {}, world.now_ms).create is None
    assert not one_moment(knows, knows.resource_version, behind)
