"""The DaemonSet controller's decisions: a pod on each node that it is for, one at a time, and updates within limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from ursa.clients.controllers.daemonset_nodes import TOLERATIONS, Eligibility
from ursa.clients.operations import create_operation, delete_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError
from ursa.proto.objects import Object, ObjectKey

from .daemonset_world import FINAL, NODES, SETS, World, node, template

# ---------------------------------------------------------------------------------------------------------- properties

STRATEGIES = st.sampled_from(
    [
        {"type": "OnDelete"},
        {"type": "RollingUpdate"},
        {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "60%"}},
        {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}},
    ]
)
NAMES = st.sampled_from(["n0", "n1", "n2"])


class EachPlanIsRight(RuleBasedStateMachine):
    """Whatever is delayed, lost, half done or repeated, and however often the controller dies."""

    @initialize(strategy=STRATEGIES)
    def start(self, strategy: dict[str, Any]) -> None:
        self.world = World(updateStrategy=strategy, revisionHistoryLimit=2)
        self.claims = 0
        self.held: list[pb.Operation] = []

    def _pod(self, data: st.DataObject) -> Any:
        pods = self.world.pods()
        return data.draw(st.sampled_from(pods)) if pods else None

    @rule()
    def step(self) -> None:
        self.world.life.step()

    @rule()
    def deliver_and_step(self) -> None:
        self.world.go_on(1)

    @rule()
    def nothing_happens_for_a_while(self) -> None:
        self.world.settle(rounds=6)

    @rule(reach=st.sampled_from([0.0, 0.5, 1.0]), dies=st.booleans())
    def step_without_an_answer(self, reach: float, *, dies: bool) -> None:
        self.world.life.step(told=False, reach=reach)
        if dies:
            self.world.restart()

    @precondition(lambda self: not getattr(self, "held", True))
    @rule()
    def die_with_creates_on_the_way(self) -> None:
        """They come late, from another life, and find that the pods are there already, or are not wanted any more."""
        made = self.world.life.plan()
        if made is not None:
            self.held = [*made.revisions, *([made.status] if made.status else [])]
        self.world.restart()

    @precondition(lambda self: getattr(self, "held", None))
    @rule()
    def what_was_on_the_way_arrives(self) -> None:
        self.world.write(self.held)
        self.held = []

    @rule(view=st.integers(0, 3), count=st.integers(1, 4))
    def deliver(self, view: int, count: int) -> None:
        self.world.life.deliver(self.world.life.views[view], count)

    @rule(data=st.data(), ready=st.sampled_from([True, True, False]))
    def a_pod_runs(self, data: st.DataObject, *, ready: bool) -> None:
        pod = self._pod(data)
        if pod is not None and not pod.deletion_ms and pod.status.get("phase") not in FINAL:
            self.world.run(pod, ready=ready)

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

    @rule(image=st.sampled_from(["app:1", "app:2", "app:3"]))
    def change_the_template(self, image: str) -> None:
        self.world.change(template=template(image))

    @rule(name=NAMES, effects=st.sampled_from([(), (), ("NoSchedule",), ("NoExecute",)]), worker=st.booleans())
    def a_node_changes(self, name: str, effects: tuple[str, ...], *, worker: bool) -> None:
        with suppress(ApiError):  # It is not there.
            self.world.change_node(name, *effects, labels=None if worker else {"role": "other"})

    @rule(name=NAMES)
    def a_node_goes(self, name: str) -> None:
        with suppress(ApiError):
            self.world.do(delete_operation(NODES, ObjectKey("", "", name)))

    @rule(name=NAMES)
    def a_node_comes(self, name: str) -> None:
        with suppress(ApiError):
            self.world.do(create_operation(Object.from_dict(node(name))))

    @rule(name=NAMES, cpu=st.sampled_from([200, 600]))
    def a_scheduler_claims(self, name: str, cpu: int) -> None:
        self.claims += 1
        with suppress(ApiError):
            self.world.claim(name, f"u{self.claims}", cpu)

    @rule(seconds=st.sampled_from([1, 30, 1000]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        try:
            world.write(self.held)
            for number in range(self.claims + 1):
                world.write([delete_operation("placements.ursa.dev", ObjectKey("", "", f"u{number}"))])
            world.settle()
            self._judge_the_end()
        finally:
            world.close()

    def _judge_the_end(self) -> None:
        daemonset, moment = self.world.set(), self.world.moments[-1]
        images = self.world.images()
        assert [name for name in moment.wanted if len(images.get(name, ())) != 1] == []
        assert [name for name in images if name not in moment.may_stay] == []
        if daemonset.spec["updateStrategy"]["type"] == "RollingUpdate":
            assert all(images[name] == [moment.image] for name in moment.wanted)
        status = daemonset.status
        wanted = len(moment.wanted)
        for name in ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable"):
            assert status[name] == wanted, name
        assert status["numberUnavailable"] == 0
        assert status["numberMisscheduled"] == len(images) - wanted


TestEachPlanIsRight = EachPlanIsRight.TestCase
TestEachPlanIsRight.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


# ------------------------------------------------------------------------------------------------------------ examples


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_each_node_has_a_pod_and_a_new_one_gets_its_own(world: World) -> None:
    world.settle()
    assert world.images() == {"n0": ["app:1"], "n1": ["app:1"], "n2": ["app:1"]}
    world.do(create_operation(Object.from_dict(node("n3"))))
    world.go_on()
    assert sorted(world.images()) == ["n0", "n1", "n2", "n3"]
    status = world.set().status
    assert (status["desiredNumberScheduled"], status["numberReady"], status["numberUnavailable"]) == (4, 3, 1)


def test_a_daemon_tolerates_what_ails_its_node(world: World) -> None:
    world.go_on()
    [pod, *_] = world.pods()
    assert pod.spec["tolerations"] == [dict(each) for each in TOLERATIONS]
    assert pod.spec["nodeName"] == "n0"
    assert pod.labels["controller-revision-hash"]


def test_a_pod_leaves_a_node_that_drives_it_out_and_stays_on_one_that_takes_no_more(world: World) -> None:
    world.settle()
    world.change_node("n0", "NoExecute")
    world.change_node("n1", "NoSchedule")
    world.settle()
    assert sorted(world.images()) == ["n1", "n2"]
    status = world.set().status
    assert (status["desiredNumberScheduled"], status["numberMisscheduled"]) == (1, 1)
    world.change_node("n0")
    world.settle()
    assert sorted(world.images()) == ["n0", "n1", "n2"]


def test_a_rolling_update_takes_one_node_after_the_other(world: World) -> None:
    world.settle()
    world.change(template=template("app:2"))
    seen = []
    for _ in range(40):
        world.go_on(1)
        going = [pod for pod in world.pods() if pod.deletion_ms]
        assert len(going) <= 1
        for pod in going:
            seen.append(pod.spec["nodeName"])
            world.delete(pod, grace_seconds=0)
        for pod in world.pods():
            if pod.status.get("phase") == "Pending":
                world.run(pod)
    assert seen == ["n0", "n1", "n2"]
    assert list(world.images().values()) == [["app:2"]] * 3


def test_an_update_that_surges_makes_the_new_pod_before_the_old_one_goes() -> None:
    world = World(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})
    world.settle()
    world.change(template=template("app:2"))
    world.go_on()
    assert sorted(map(sorted, world.images().values())) == [["app:1"], ["app:1"], ["app:1", "app:2"]]
    assert not any(pod.deletion_ms for pod in world.pods())
    world.settle()
    assert list(world.images().values()) == [["app:2"]] * 3
    world.close()


def test_on_delete_updates_who_is_deleted_and_nobody_else(world: World) -> None:
    world.settle()
    world.change(template=template("app:2"), updateStrategy={"type": "OnDelete"})
    world.settle()
    assert list(world.images().values()) == [["app:1"]] * 3
    world.delete(world.pods()[0], grace_seconds=0)
    world.settle()
    assert sorted(world.images().values()) == [["app:1"], ["app:1"], ["app:2"]]


def test_old_pods_that_are_broken_are_replaced_at_once(world: World) -> None:
    world.go_on()
    for pod in world.pods():
        world.run(pod, ready=False)
    world.change(template=template("app:2"))
    world.go_on()
    assert all(pod.deletion_ms for pod in world.pods())


def test_a_node_without_room_does_not_keep_the_others_waiting_and_gets_its_pod_when_there_is_room() -> None:
    world = World()
    world.claim("n0", "u1", 900)
    world.settle()
    assert sorted(world.images()) == ["n1", "n2"]
    status = world.set().status
    assert (status["desiredNumberScheduled"], status["currentNumberScheduled"]) == (3, 2)
    world.release("u1")
    world.go_on()
    assert sorted(world.images()) == ["n0", "n1", "n2"]
    world.close()


def test_a_pod_that_goes_on_failing_is_replaced_ever_less_often() -> None:
    world = World(nodes=1)
    made_at, seen = [], ""
    for _ in range(80):
        world.go_on(3)
        for pod in world.pods():
            if pod.uid != seen:
                seen = pod.uid
                made_at.append(world.now_ms)
                world.set_status(pod, phase="Failed")
        world.pass_time(1)
    waits = [after - before for before, after in pairwise(made_at)]
    assert waits[1:6] == [1000, 2000, 4000, 8000, 16000]
    world.close()


def test_nothing_is_planned_while_the_view_of_nodes_is_behind_that_of_pods(world: World) -> None:
    world.settle()
    world.change_node("n0", "NoExecute")
    world.run(world.pods()[1])
    for at in (0, 1, 3):
        world.life.deliver(world.life.views[at])
    assert world.life.plan() is None


def test_a_set_that_is_being_deleted_makes_no_pods(world: World) -> None:
    world.go_on()
    key = ObjectKey("system", "kube-system", "agent")
    world.do(delete_operation(SETS, key, propagation="Foreground"))
    for pod in world.pods():
        world.delete(pod, grace_seconds=0)
    world.go_on()
    assert world.pods() == []


def wish(spec: dict[str, Any], **fields: Any) -> tuple[bool, bool]:
    metadata = {"name": "n1", "labels": fields.pop("labels", {})}
    return tuple(Eligibility(spec).of(Object.from_dict({"kind": "Node", "metadata": metadata, "spec": fields})))


def requires(**term: Any) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}, term]}}
    return {"affinity": {"nodeAffinity": required}}


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        ({"key": "zone", "operator": "In", "values": ["a", "b"]}, True),
        ({"key": "zone", "operator": "In", "values": ["b"]}, False),
        ({"key": "zone", "operator": "NotIn", "values": ["b"]}, True),
        ({"key": "none", "operator": "NotIn", "values": ["b"]}, True),
        ({"key": "zone", "operator": "Exists"}, True),
        ({"key": "none", "operator": "Exists"}, False),
        ({"key": "none", "operator": "DoesNotExist"}, True),
        ({"key": "cores", "operator": "Gt", "values": ["7"]}, True),
        ({"key": "cores", "operator": "Gt", "values": ["8"]}, False),
        ({"key": "cores", "operator": "Lt", "values": ["9"]}, True),
        ({"key": "zone", "operator": "Lt", "values": ["9"]}, False),
    ],
)
def test_required_node_affinity_is_kubernetes(requirement: dict[str, Any], *, holds: bool) -> None:
    labels = {"zone": "a", "cores": "8"}
    assert wish(requires(matchExpressions=[requirement]), labels=labels) == (holds, holds)


def test_a_node_may_be_asked_for_by_name_and_an_empty_term_is_no_node() -> None:
    assert wish(requires(matchFields=[{"key": "metadata.name", "operator": "In", "values": ["n1"]}])) == (True, True)
    assert wish(requires(matchFields=[{"key": "metadata.name", "operator": "In", "values": ["n2"]}])) == (False, False)
    assert wish(requires()) == (False, False)
    assert wish({"nodeName": "n2"}) == (False, False)


@pytest.mark.parametrize(
    ("key", "effect", "wanted", "stays"),
    [
        ("node.kubernetes.io/unreachable", "NoExecute", True, True),
        ("node.kubernetes.io/unreachable", "NoSchedule", False, True),
        ("node.kubernetes.io/disk-pressure", "NoSchedule", True, True),
        ("node.kubernetes.io/unschedulable", "NoSchedule", True, True),
        ("example.com/gpu", "NoSchedule", False, True),
        ("example.com/gpu", "NoExecute", False, False),
        ("example.com/gpu", "PreferNoSchedule", True, True),
    ],
)
def test_taints_keep_daemons_away_and_drive_them_out(key: str, effect: str, *, wanted: bool, stays: bool) -> None:
    assert wish({}, taints=[{"key": key, "effect": effect}], unschedulable=True) == (wanted, stays)
    tolerant = {"tolerations": [{"key": key, "operator": "Exists"}]}
    assert wish(tolerant, taints=[{"key": key, "effect": effect}]) == (True, True)
