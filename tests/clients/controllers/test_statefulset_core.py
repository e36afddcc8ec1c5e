"""The StatefulSet controller's decisions: one pod of an ordinal, in order, and updates no further than they may go."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from ursa.clients.controllers.statefulset_pods import read_replicas
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, encode

from .statefulset_judge import FINAL
from .statefulset_world import SETS, World, template

# ---------------------------------------------------------------------------------------------------------- properties


class EachPlanIsRight(RuleBasedStateMachine):
    """Whatever is delayed, lost, half done or repeated, and however often the controller dies."""

    @initialize(
        replicas=st.integers(0, 4),
        parallel=st.booleans(),
        on_delete=st.booleans(),
        partition=st.integers(0, 3),
        unavailable=st.sampled_from([None, 2, "60%"]),
        start=st.sampled_from([0, 5]),
        min_ready=st.sampled_from([0, 0, 20]),
    )
    def start(
        self,
        replicas: int,
        partition: int,
        unavailable: Any,
        start: int,
        min_ready: int,
        *,
        parallel: bool,
        on_delete: bool,
    ) -> None:
        rolling = {"partition": partition} | ({"maxUnavailable": unavailable} if unavailable else {})
        strategy = {"type": "OnDelete"} if on_delete else {"type": "RollingUpdate", "rollingUpdate": rolling}
        self.world = World(
            replicas=replicas,
            podManagementPolicy="Parallel" if parallel else "OrderedReady",
            updateStrategy=strategy,
            ordinals={"start": start},
            minReadySeconds=min_ready,
            revisionHistoryLimit=2,
        )
        self.held: list[pb.Operation] = []

    def _pod(self, data: st.DataObject) -> Any:
        pods = self.world.pods()
        return data.draw(st.sampled_from(pods)) if pods else None

    @rule()
    def step(self) -> None:
        self.world.life.step()

    @rule()
    def deliver_and_step(self) -> None:
        self.world.life.deliver_all()
        self.world.life.step()

    @rule()
    def nothing_happens_for_a_while(self) -> None:
        self.world.settle(rounds=9)

    @rule(reach=st.sampled_from([0.0, 0.5, 1.0]), dies=st.booleans())
    def step_without_an_answer(self, reach: float, *, dies: bool) -> None:
        self.world.life.step(told=False, reach=reach)
        if dies:
            self.world.restart()

    @precondition(lambda self: not getattr(self, "held", True))
    @rule()
    def die_with_writes_on_the_way(self) -> None:
        """Those of pods apart: they are promised right of one controller at a time, which fences see to."""
        made = self.world.life.plan()
        if made is not None:
            self.held = [*made.revisions, *([made.status] if made.status else [])]
        self.world.restart()

    @precondition(lambda self: getattr(self, "held", None))
    @rule()
    def what_was_on_the_way_arrives(self) -> None:
        self.world.write(self.held)
        self.held = []

    @rule(view=st.integers(0, 2), count=st.integers(1, 4))
    def deliver(self, view: int, count: int) -> None:
        self.world.life.deliver(self.world.life.views[view], count)

    @rule(data=st.data(), ready=st.sampled_from([True, True, False]))
    def a_pod_runs(self, data: st.DataObject, *, ready: bool) -> None:
        pod = self._pod(data)
        if pod is not None and not pod.deletion_ms and pod.status.get("phase") not in FINAL:
            self.world.run(pod, ready=ready)

    @rule()
    def all_pods_run(self) -> None:
        for pod in self.world.pods():
            if not pod.deletion_ms and pod.status.get("phase") == "Pending":
                self.world.run(pod)

    @rule(data=st.data(), phase=st.sampled_from(FINAL))
    def a_pod_ends(self, data: st.DataObject, phase: str) -> None:
        pod = self._pod(data)
        if pod is not None:
            self.world.set_status(pod, phase=phase)

    @rule(data=st.data(), grace_seconds=st.sampled_from([None, 0]))
    def a_pod_is_deleted(self, data: st.DataObject, grace_seconds: int | None) -> None:
        pod = self._pod(data)
        if pod is not None:
            self.world.delete(pod, grace_seconds)

    @rule()
    def what_is_deleted_has_stopped(self) -> None:
        for pod in self.world.pods():
            if pod.deletion_ms:
                self.world.delete(pod, grace_seconds=0)

    @rule(replicas=st.integers(0, 4))
    def scale(self, replicas: int) -> None:
        self.world.change(replicas=replicas)

    @rule(image=st.sampled_from(["app:1", "app:2", "app:3"]))
    def change_the_template(self, image: str) -> None:
        self.world.change(template=template(image))

    @rule(seconds=st.sampled_from([1, 30, 1000]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        try:
            world.write(self.held)
            world.settle()
            self._judge_the_end()
        finally:
            world.close()

    def _judge_the_end(self) -> None:
        statefulset, pods = self.world.set(), self.world.pods()
        spec, status = statefulset.spec, statefulset.status
        start = spec["ordinals"]["start"]
        assert sorted(pod.name for pod in pods) == sorted(f"db-{start + at}" for at in range(spec["replicas"]))
        for name in ("replicas", "readyReplicas", "availableReplicas"):
            assert status[name] == spec["replicas"]
        if spec["updateStrategy"]["type"] == "RollingUpdate":
            least = start + spec["updateStrategy"]["rollingUpdate"]["partition"]
            wanted = spec["template"]["spec"]["containers"][0]["image"]
            above = [image for name, image in self.world.images().items() if int(name.removeprefix("db-")) >= least]
            assert all(image == wanted for image in above)
        in_use = {pod.labels["controller-revision-hash"] for pod in pods}
        in_use |= {status["currentRevision"], status["updateRevision"]}
        assert len(self.world.revisions()) <= len(in_use) + 2
        assert in_use <= {each.name for each in self.world.revisions()}


TestEachPlanIsRight = EachPlanIsRight.TestCase
TestEachPlanIsRight.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


# ------------------------------------------------------------------------------------------------------------ examples


@pytest.fixture
def world() -> Iterator[World]:
    made = World(replicas=3)
    yield made
    made.close()


def names(world: World) -> list[str]:
    return sorted(pod.name for pod in world.pods())


def test_pods_are_made_in_order_each_when_the_one_before_is_ready(world: World) -> None:
    world.go_on()
    assert names(world) == ["db-0"]
    world.run(world.pods()[0], ready=False)
    world.go_on()
    assert names(world) == ["db-0"]
    world.run(world.pods()[0])
    world.go_on()
    assert names(world) == ["db-0", "db-1"]


def test_nothing_is_planned_while_the_view_of_sets_is_behind_that_of_pods(world: World) -> None:
    world.go_on()
    world.change(replicas=1)
    world.run(world.pods()[0])
    for view in world.life.views[1:]:
        world.life.deliver(view)
    world.life.step()
    assert names(world) == ["db-0"], "when db-0 was ready, no db-1 was wanted any more"


def test_nothing_is_planned_while_the_view_of_pods_is_behind_the_set(world: World) -> None:
    world.change(replicas=1)
    world.settle()
    world.life.deliver_all()
    world.run(world.pods()[0], ready=False)
    world.change(replicas=2)
    world.life.deliver(world.life.views[0])
    world.life.step()
    assert names(world) == ["db-0"], "when db-1 was wanted, db-0 was not ready any more"


def test_a_pod_knows_its_name_its_number_its_revision_and_its_host_name() -> None:
    world = World(replicas=1, serviceName="dbs", ordinals={"start": 7})
    world.go_on()
    [pod] = world.pods()
    revision = world.set().status["updateRevision"]
    assert dict(pod.labels) == {
        "app": "db",
        "statefulset.kubernetes.io/pod-name": "db-7",
        "apps.kubernetes.io/pod-index": "7",
        "controller-revision-hash": revision,
    }
    assert (pod.spec["hostname"], pod.spec["subdomain"]) == ("db-7", "dbs")
    assert [each.name for each in world.revisions()] == [revision]
    world.close()


def test_labels_that_somebody_took_away_come_back(world: World) -> None:
    world.settle()
    pod = world.pod(1)
    assert pod is not None
    operation = pb.Operation(resource="pods")
    operation.patch.target.CopyFrom(pb.GetRequest(resource="pods", tenant="system", namespace="default", name="db-1"))
    operation.patch.type = pb.Patch.MERGE
    operation.patch.body = encode({"metadata": {"labels": {"apps.kubernetes.io/pod-index": None}}})
    world.do(operation)
    world.go_on()
    pod = world.pod(1)
    assert pod is not None
    assert pod.labels["apps.kubernetes.io/pod-index"] == "1"


def test_a_pod_that_is_deleted_is_made_again_only_when_it_has_gone(world: World) -> None:
    world.settle()
    pod = world.pod(1)
    assert pod is not None
    world.delete(pod)
    world.go_on()
    still = world.pod(1)
    assert still is not None
    assert still.uid == pod.uid
    world.delete(pod, grace_seconds=0)
    world.go_on()
    again = world.pod(1)
    assert again is not None
    assert again.uid != pod.uid


def test_a_parallel_set_waits_for_nobody_up_and_down() -> None:
    world = World(replicas=4, podManagementPolicy="Parallel")
    world.go_on()
    assert len(names(world)) == 4
    world.change(replicas=1)
    world.go_on()
    assert [pod.name for pod in world.pods() if not pod.deletion_ms] == ["db-0"]
    world.close()


def test_an_ordered_set_shrinks_from_the_highest_down_one_after_the_other(world: World) -> None:
    world.settle()
    world.change(replicas=0)
    gone = []
    for _ in range(12):
        world.go_on()
        going = [pod for pod in world.pods() if pod.deletion_ms]
        assert len(going) <= 1
        for pod in going:
            world.delete(pod, grace_seconds=0)
            gone.append(pod.name)
    assert gone == ["db-2", "db-1", "db-0"]


def test_an_ordered_set_does_not_shrink_while_one_that_stays_is_not_ready(world: World) -> None:
    world.settle()
    pod = world.pod(0)
    assert pod is not None
    world.run(pod, ready=False)
    world.change(replicas=1)
    world.go_on()
    assert not any(pod.deletion_ms for pod in world.pods())


def test_an_ordered_set_waits_for_the_end_of_a_pod_before_it_makes_the_next(world: World) -> None:
    world.settle()
    for name in (0, 2):
        pod = world.pod(name)
        assert pod is not None
        world.delete(pod, grace_seconds=None if name == 0 else 0)
    world.go_on()
    assert names(world) == ["db-0", "db-1"]


def test_a_pod_that_goes_on_failing_is_replaced_ever_less_often(world: World) -> None:
    replaced_at = []
    seen = ""
    for _ in range(120):
        world.go_on(3)
        pod = world.pod(0)
        if pod is not None and pod.uid != seen:
            seen = pod.uid
            replaced_at.append(world.now_ms)
            world.set_status(pod, phase="Failed")
        world.pass_time(1)
    waits = [after - before for before, after in pairwise(replaced_at)]
    assert waits[1:7] == [1000, 2000, 4000, 8000, 16000, 32000]


def test_a_set_that_is_being_deleted_makes_no_pods(world: World) -> None:
    world.go_on()
    operation = pb.Operation(resource=SETS)
    operation.delete.target.CopyFrom(pb.GetRequest(resource=SETS, tenant="system", namespace="default", name="db"))
    operation.delete.propagation = "Foreground"
    world.do(operation)
    for pod in world.pods():
        world.delete(pod, grace_seconds=0)
    world.go_on()
    assert world.pods() == []


def test_pods_of_other_names_are_none_of_its_ordinals(world: World) -> None:
    pods = [Object(pb.Object(metadata=pb.ObjectMeta(name=name))) for name in ("db-1", "db-01", "db-x", "dbx-1", "db-")]
    assert [each.ordinal for each in read_replicas(world.set(), pods)] == [1]
