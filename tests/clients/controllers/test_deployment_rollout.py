"""A rollout stays within maxSurge and maxUnavailable at every step, and arrives."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from ursa.clients.controllers.deployment_core import (
    HASH_LABEL,
    REVISION_ANNOTATION,
    Plan,
    plan,
    revision_of,
    template_hash,
)
from ursa.clients.controllers.deployment_rollout import DESIRED_ANNOTATION, PlannedSet, Rollout, fenceposts
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, ObjectKey, encode

from .controllers_model import copy_of, make


def template(version: int) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": f"app:{version}"}]}}


def deployment_spec(replicas: int, version: int = 1, surge: Any = 1, unavailable: Any = 1, **more: Any) -> dict:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    selector = {"matchLabels": {"app": "web"}}
    return {
        "replicas": replicas,
        "selector": selector,
        "template": template(version),
        "strategy": strategy,
        "revisionHistoryLimit": 2,
        **more,
    }


class Cluster:
    """A Deployment, its ReplicaSets, and per set how many pods there are and how many are available."""

    def __init__(self, spec: dict) -> None:
        self.revision = 0
        self.now_ms = 1_000_000
        self.deployment = make("Deployment", "web", api_version="apps/v1", uid="d", generation=1, spec=spec)
        self.sets: dict[ObjectKey, Object] = {}
        self.pods: dict[ObjectKey, int] = {}
        self.available: dict[ObjectKey, int] = {}

    def set_spec(self, **changes: Any) -> None:
        changed = self.deployment.with_spec({**self.deployment.spec, **changes})
        changed.message.metadata.generation += 1
        self.deployment = changed

    @property
    def total(self) -> int:
        return sum(each.spec["replicas"] for each in self.sets.values())

    @property
    def lasting(self) -> int:
        """The available pods that are not about to be deleted."""
        return sum(min(self.available[key], each.spec["replicas"]) for key, each in self.sets.items())

    @property
    def known_to_last(self) -> int:
        """Of those, all but the ones that became available since their set last reported."""

        def known(key: ObjectKey, each: Object) -> int:
            is_new = each.status.get("observedGeneration") == each.generation
            return each.status["availableReplicas"] if is_new else self.available[key]

        return sum(min(known(key, each), each.spec["replicas"]) for key, each in self.sets.items())

    def plan(self) -> Plan:
        return plan(self.deployment, list(self.sets.values()), any(self.old_pods()), self.now_ms)

    def old_pods(self) -> list[int]:
        wanted = self.deployment.spec["template"]["spec"]
        return [self.pods[key] for key, each in self.sets.items() if each.spec["template"]["spec"] != wanted]

    def apply(self, made: Plan) -> None:
        for operation in [*made.sets, *made.own]:
            self._write(operation)

    def _write(self, operation: pb.Operation) -> None:
        self.revision += 1
        if operation.HasField("delete"):
            target = operation.delete.target
            del self.sets[ObjectKey(target.tenant, target.namespace, target.name)]
            return
        verb = operation.create if operation.HasField("create") else operation.update
        obj = copy_of(Object(verb.object))
        if obj.kind == "Deployment":
            kept = copy_of(self.deployment)
            if operation.update.subresource == "status":
                kept.message.status = obj.message.status
            else:
                kept.message.metadata.annotations.clear()
                kept.message.metadata.annotations.update(obj.annotations)
            self.deployment = kept
            return
        metadata = obj.message.metadata
        known = self.sets.get(obj.key)
        if known is None:
            metadata.uid, metadata.generation, metadata.creation_ms = f"rs-{self.revision}", 1, self.revision
            self.pods[obj.key] = self.available[obj.key] = 0
        else:
            assert metadata.resource_version == known.resource_version, "decided on the newest"
            if obj.message.spec != known.message.spec:
                metadata.generation += 1
        metadata.resource_version = self.revision
        self.sets[obj.key] = obj

    # What the ReplicaSet controller and the kubelets do.

    def fill(self, key: ObjectKey) -> None:
        """Pods are created, or deleted, those that are not available first."""
        self.pods[key] = self.sets[key].spec["replicas"]
        self.available[key] = min(self.available[key], self.pods[key])

    def start(self, key: ObjectKey, count: int) -> None:
        self.available[key] = min(self.available[key] + count, self.pods[key])

    def report(self, key: ObjectKey) -> None:
        changed = copy_of(self.sets[key])
        self.revision += 1
        changed.message.metadata.resource_version = self.revision
        pods, available = self.pods[key], self.available[key]
        changed.message.status = encode(
            {
                "replicas": pods,
                "readyReplicas": available,
                "availableReplicas": available,
                "observedGeneration": changed.generation,
            }
        )
        self.sets[key] = changed

    def settle(self, rounds: int = 40) -> None:
        for _ in range(rounds):
            self.apply(self.plan())
            for key in list(self.sets):
                self.fill(key)
                self.start(key, 100)
                self.report(key)

    def step(self) -> None:
        self.apply(self.plan())

    def sizes(self) -> list[int]:
        """spec.replicas by revision."""
        return [each.spec["replicas"] for each in sorted(self.sets.values(), key=revision_of)]


COUNTS = st.integers(0, 6)
BOUNDS = st.one_of(st.integers(0, 4), st.sampled_from(["0%", "25%", "50%", "100%"]))


class RolloutsStayWithinTheirBounds(RuleBasedStateMachine):
    @initialize(replicas=COUNTS, surge=BOUNDS, unavailable=BOUNDS)
    def start(self, replicas: int, surge: Any, unavailable: Any) -> None:
        self.cluster = Cluster(deployment_spec(replicas, 1, surge, unavailable))
        self.version = 1

    @rule()
    def step(self) -> None:
        cluster = self.cluster
        spec = cluster.deployment.spec
        surge, unavailable = fenceposts(spec)
        sizing = Rollout(cluster.deployment, None, list(cluster.sets.values())).is_scaling() or spec.get("paused")
        total, known_to_last = cluster.total, cluster.known_to_last
        cluster.step()
        assert cluster.total <= max(spec["replicas"] + surge, total), "maxSurge"
        if not sizing:
            assert cluster.lasting >= min(spec["replicas"] - unavailable, known_to_last), "maxUnavailable"

    @rule(replicas=COUNTS)
    def scale(self, replicas: int) -> None:
        self.cluster.set_spec(replicas=replicas)

    @rule(back=st.booleans())
    def change_template(self, back: bool) -> None:
        self.version = max(self.version - 1, 1) if back else self.version + 1
        self.cluster.set_spec(template=template(self.version))

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.cluster.set_spec(paused=paused)

    @precondition(lambda self: self.cluster.sets)
    @rule(data=st.data(), what=st.sampled_from(["fill", "start", "report"]), count=st.integers(1, 3))
    def replicaset_moves(self, data: st.DataObject, what: str, count: int) -> None:
        key = data.draw(st.sampled_from(list(self.cluster.sets)))
        if what == "fill":
            self.cluster.fill(key)
        elif what == "start":
            self.cluster.start(key, count)
        else:
            self.cluster.report(key)

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        cluster = self.cluster
        cluster.set_spec(paused=False)
        cluster.settle()
        replicas = cluster.deployment.spec["replicas"]
        assert sum(cluster.sizes()) == cluster.sizes()[-1] == replicas
        status = cluster.deployment.status
        assert (status["updatedReplicas"], status["availableReplicas"]) == (replicas, replicas)
        conditions = {each["type"]: each for each in status["conditions"]}
        assert conditions["Progressing"]["reason"] == "NewReplicaSetAvailable"
        assert conditions["Available"]["status"] == "True"
        assert len(cluster.sets) <= 3, "the history limit"
        made = cluster.plan()
        assert not made.sets
        assert not made.own


TestRolloutsStayWithinTheirBounds = RolloutsStayWithinTheirBounds.TestCase
TestRolloutsStayWithinTheirBounds.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_available_pods_that_are_about_to_be_deleted_do_not_count() -> None:
    status = {"availableReplicas": 5, "observedGeneration": 2}
    shrunk = make("ReplicaSet", "a", generation=2, spec={"replicas": 3}, status=status)
    assert PlannedSet(shrunk).available == 3
    unreported = make("ReplicaSet", "a", generation=3, spec={"replicas": 5}, status=status)
    assert (PlannedSet(unreported).available, PlannedSet(unreported).unavailable) == (0, 0)


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (4, 0, 0, (0, 1)),
        (3, "1%", "1%", (1, 0)),
        (10, 0, "1%", (0, 1)),
        (10, 4, 2, (4, 2)),
    ],
)
def test_a_surge_is_rounded_up_and_what_may_be_missing_down(
    replicas: int, surge: Any, unavailable: Any, expected: tuple[int, int]
) -> None:
    assert fenceposts(deployment_spec(replicas, 1, surge, unavailable)) == expected


def test_a_new_deployment_makes_one_set_named_after_its_template() -> None:
    cluster = Cluster(deployment_spec(3))
    cluster.step()
    ((key, made),) = cluster.sets.items()
    digest = template_hash(template(1), 0)
    assert key.name == f"web-{digest}"
    assert made.spec["replicas"] == 3
    assert made.labels[HASH_LABEL] == digest
    assert made.spec["selector"]["matchLabels"] == {"app": "web", HASH_LABEL: digest}
    assert made.spec["template"]["metadata"]["labels"] == {"app": "web", HASH_LABEL: digest}
    assert made.annotations[DESIRED_ANNOTATION] == "3"
    (owner,) = made.owner_references
    assert (owner.kind, owner.uid, owner.controller) == ("Deployment", "d", True)


def test_an_update_goes_step_by_step() -> None:
    cluster = Cluster(deployment_spec(4, 1, surge=1, unavailable=1))
    cluster.settle()
    cluster.set_spec(template=template(2))
    sizes = []
    while not sizes or sizes[-1] != sizes[-2:-1]:
        cluster.step()
        sizes.append(cluster.sizes())
        if len(sizes) > 20:
            break
        for key in cluster.sets:
            cluster.fill(key)
            cluster.start(key, 1)
            cluster.report(key)
    assert sizes[0] == [4, 1]
    assert all(old + new <= 5 for old, new in (size for size in sizes if len(size) == 2))
    assert sizes[-1] == [0, 4]


def test_recreate_starts_nothing_before_the_last_old_pod_is_gone() -> None:
    cluster = Cluster(deployment_spec(3, strategy={"type": "Recreate"}))
    cluster.settle()
    cluster.set_spec(template=template(2))
    cluster.step()
    assert cluster.sizes() == [0]
    for _ in range(5):
        cluster.step()
    assert cluster.sizes() == [0], "its pods still run"
    for key in cluster.sets:
        cluster.fill(key)
        cluster.report(key)
    cluster.step()
    assert cluster.sizes() == [0, 3]


def test_going_back_takes_the_old_set_up_again_as_the_newest_revision() -> None:
    cluster = Cluster(deployment_spec(2))
    cluster.settle()
    cluster.set_spec(template=template(2))
    cluster.settle()
    cluster.set_spec(template=template(1))
    cluster.settle()
    assert cluster.sizes() == [0, 2]
    assert cluster.deployment.annotations[REVISION_ANNOTATION] == "3"
    assert len(cluster.sets) == 2


def test_scaling_in_the_midst_of_a_rollout_gives_each_set_its_share() -> None:
    cluster = Cluster(deployment_spec(10, surge=3, unavailable=2))
    cluster.settle()
    cluster.set_spec(template=template(2))
    cluster.step()
    cluster.step()
    assert cluster.sizes() == [8, 3]
    cluster.set_spec(replicas=15)
    cluster.step()
    assert cluster.sizes() == [14, 4], "18 at most, in the proportion of 8 to 3; the larger gets what is left over"


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    cluster = Cluster(deployment_spec(3))
    cluster.settle()
    cluster.set_spec(template=template(2), paused=True, replicas=5)
    cluster.settle()
    assert cluster.sizes() == [5]
    reasons = {each["type"]: each["reason"] for each in cluster.deployment.status["conditions"]}
    assert reasons["Progressing"] == "DeploymentPaused"


def test_a_rollout_that_stands_still_is_reported_after_its_deadline() -> None:
    cluster = Cluster(deployment_spec(2, progressDeadlineSeconds=60))
    cluster.step()
    made = cluster.plan()
    cluster.apply(made)
    assert made.again_seconds == 60
    cluster.now_ms += 60_000
    cluster.step()
    (progressing,) = [each for each in cluster.deployment.status["conditions"] if each["type"] == "Progressing"]
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")


def test_a_deployment_being_deleted_touches_no_set() -> None:
    cluster = Cluster(deployment_spec(3))
    cluster.deployment.message.metadata.deletion_ms = 1
    assert not cluster.plan().sets


def test_the_hash_of_a_template_does_not_depend_on_the_order_of_its_fields() -> None:
    assert template_hash({"a": 1, "b": {"c": 2, "d": 3}}, 0) == template_hash({"b": {"d": 3, "c": 2}, "a": 1}, 0)
    assert template_hash({"a": 1}, 0) != template_hash({"a": 1}, 1)
