"""How the StatefulSet controller updates, and what it keeps of the templates that were."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import encode

from .statefulset_world import SETS, World, template


@pytest.fixture
def world() -> Iterator[World]:
    made = World(replicas=3)
    yield made
    made.close()


def test_an_update_stops_at_the_partition_and_goes_on_when_it_is_lowered(world: World) -> None:
    world.settle()
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    world.change(template=template("app:2"), updateStrategy=rolling)
    world.settle()
    assert world.images() == {"db-0": "app:1", "db-1": "app:1", "db-2": "app:2"}
    status = world.set().status
    assert (status["currentReplicas"], status["updatedReplicas"]) == (2, 1)
    assert status["currentRevision"] != status["updateRevision"]
    pod = world.pod(0)
    assert pod is not None
    world.delete(pod, grace_seconds=0)
    world.settle()
    assert world.images()["db-0"] == "app:1", "what is below the partition stays what it was"
    world.change(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    world.settle()
    assert list(dict.fromkeys(world.images().values())) == ["app:2"]
    status = world.set().status
    assert status["currentRevision"] == status["updateRevision"]
    assert (status["currentReplicas"], status["updatedReplicas"]) == (3, 3)


def test_on_delete_updates_who_is_deleted_and_nobody_else(world: World) -> None:
    world.settle()
    world.change(template=template("app:2"), updateStrategy={"type": "OnDelete"})
    world.settle()
    assert list(dict.fromkeys(world.images().values())) == ["app:1"]
    pod = world.pod(1)
    assert pod is not None
    world.delete(pod, grace_seconds=0)
    world.settle()
    assert world.images() == {"db-0": "app:1", "db-1": "app:2", "db-2": "app:1"}


def test_a_template_that_is_taken_up_again_is_the_newest_revision(world: World) -> None:
    world.settle()
    for image in ("app:2", "app:1"):
        world.change(template=template(image))
        world.settle()
    numbers = {each.rest["revision"]: each.rest["data"]["spec"]["template"] for each in world.revisions()}
    assert sorted(numbers) == [2, 3]
    assert numbers[3]["spec"]["containers"][0]["image"] == "app:1"


def test_applying_a_revision_brings_its_template_back(world: World) -> None:
    """As `kubectl rollout undo` does."""
    world.settle()
    [first] = world.revisions()
    before = world.set().spec["template"]
    changed = template("app:2")
    changed["metadata"]["annotations"] = {"a": "b"}
    changed["spec"]["containers"].append({"name": "more", "image": "app:3"})
    world.change(template=changed)
    world.settle()
    operation = pb.Operation(resource=SETS)
    operation.patch.target.CopyFrom(pb.GetRequest(resource=SETS, tenant="system", namespace="default", name="db"))
    operation.patch.type = pb.Patch.STRATEGIC_MERGE
    operation.patch.body = encode(first.rest["data"])
    world.do(operation)
    assert world.set().spec["template"] == before
    world.settle()
    assert list(dict.fromkeys(world.images().values())) == ["app:1"]
    assert world.set().status["currentRevision"] == first.name


def test_old_revisions_go_beyond_the_limit_oldest_first() -> None:
    world = World(replicas=1, revisionHistoryLimit=2)
    for number in range(1, 7):
        world.change(template=template(f"app:{number}"))
        world.settle(rounds=10)
    assert sorted(each.rest["revision"] for each in world.revisions()) == [4, 5, 6]
    world.close()


def test_a_revision_that_a_pod_is_made_of_is_kept_whatever_the_limit() -> None:
    world = World(replicas=2, revisionHistoryLimit=0, updateStrategy={"type": "OnDelete"})
    for number in range(1, 4):
        world.change(template=template(f"app:{number}"))
        world.settle()
        if number == 1:
            pod = world.pod(1)
            assert pod is not None
    world.delete(pod, grace_seconds=0)
    world.settle()
    assert world.images() == {"db-0": "app:1", "db-1": "app:3"}
    kept = [each.rest["data"]["spec"]["template"]["spec"]["containers"][0]["image"] for each in world.revisions()]
    assert sorted(kept) == ["app:1", "app:3"]
    world.close()


def test_a_parallel_set_that_is_broken_is_mended_by_a_new_template() -> None:
    world = World(replicas=3, podManagementPolicy="Parallel")
    world.go_on()
    for pod in world.pods():
        world.run(pod, ready=False)
    world.change(template=template("app:2"))
    world.settle()
    assert list(dict.fromkeys(world.images().values())) == ["app:2"]
    world.close()
