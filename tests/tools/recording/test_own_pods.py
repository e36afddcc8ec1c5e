"""What the judges make of StatefulSets, and of the pods that a resource partition has itself."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import encode
from ursa.tools.checking.bindings import pods_are_bound_where_they_are_placed
from ursa.tools.checking.check import check
from ursa.tools.checking.deletions import nothing_that_lives_is_deleted
from ursa.tools.recording.records import Complete, Finished, Logged, Record, Write

from .spoilt_truth import logged

PARTITION = "tp-1"  # Whose log `logged` makes.
CONTROLLER = "controller-manager-tp-1#1"


def key(resource: str, name: str) -> str:
    return f"/registry/{resource}/t/n/{name}"


def namespace() -> Logged:
    metadata = pb.ObjectMeta(tenant="t", name="n", uid="namespace")
    return logged(1, "/registry/namespaces/t//n", pb.Object(metadata=metadata))


def spec_of(image: str) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": image}]}


def workload(kind: str, revision: int, image: str, create: int = 0, **spec: Any) -> Logged:
    metadata = pb.ObjectMeta(tenant="t", namespace="n", name="db", uid="db")
    message = pb.Object(metadata=metadata, spec=encode({"template": {"spec": spec_of(image)}, **spec}))
    return logged(revision, key(f"{kind.lower()}s.apps", "db"), message, create=create)


def pod(kind: str, revision: int, name: str, *, going: bool = False, create: int = 0) -> list[Record]:
    metadata = pb.ObjectMeta(tenant="t", namespace="n", name=name, uid=name, request_id=b"%d" % revision)
    metadata.owner_references.add(api_version="apps/v1", kind=kind, name="db", uid="db", controller=True)
    metadata.deletion_ms = int(going)
    verb = "delete" if going else "create"
    where, message = key("pods", name), pb.Object(metadata=metadata, spec=encode(spec_of("app:1")))
    write = Write(CONTROLLER, PARTITION, revision - 0.5, revision + 0.5, verb, "pods", where, b"%d" % revision)
    return [logged(revision, where, message, create=create), write]


def judged(judge: Any, *records: Record | list[Record]) -> list[str]:
    flat = [each for group in records for each in (group if isinstance(group, list) else [group])]
    whole = [*flat, Complete(PARTITION, "main", "i", 0, 99), Finished(99.0)]
    return [violation.key for violation in check(whole, [judge])]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"image": "app:1", "replicas": 2}, True),
        ({"image": "app:2", "replicas": 2}, False),
        ({"image": "app:1", "replicas": 1}, False),
        ({"image": "app:1", "replicas": 2, "ordinals": {"start": 5}}, False),
    ],
)
def test_the_pod_of_a_stateful_set_goes_when_it_is_not_wanted_or_not_so(change: dict[str, Any], *, wrong: bool) -> None:
    before = [namespace(), workload("StatefulSet", 2, "app:1", replicas=2), *pod("StatefulSet", 3, "db-1")]
    after = workload("StatefulSet", 4, create=2, **change)
    told = judged(nothing_that_lives_is_deleted, before, after, pod("StatefulSet", 5, "db-1", going=True, create=3))
    assert told == ([key("pods", "db-1")] if wrong else [])


@pytest.mark.parametrize(("image", "wrong"), [("app:1", True), ("app:2", False)])
def test_the_pod_of_a_daemon_set_goes_when_it_is_not_as_it_should_be(image: str, *, wrong: bool) -> None:
    before = [namespace(), workload("DaemonSet", 2, "app:1"), *pod("DaemonSet", 3, "db-x")]
    after = workload("DaemonSet", 4, image, create=2)
    told = judged(nothing_that_lives_is_deleted, before, after, pod("DaemonSet", 5, "db-x", going=True, create=3))
    assert told == ([key("pods", "db-x")] if wrong else [])


def own(revision: int) -> Logged:
    spec = {**spec_of("app:1"), "nodeName": "n1", "resourcePartition": PARTITION}
    metadata = pb.ObjectMeta(tenant="system", namespace="n", name="agent", uid="agent")
    return logged(revision, "/registry/pods/system/n/agent", pb.Object(metadata=metadata, spec=encode(spec)))


def placement(revision: int, uid: str) -> Logged:
    message = pb.Object(metadata=pb.ObjectMeta(name=uid, uid=f"of-{uid}"), spec=encode({"node": "n1"}))
    return logged(revision, f"/registry/placements.ursa.dev///{uid}", message)


def test_a_partitions_own_pod_has_its_placement_right_behind_it() -> None:
    judge = pods_are_bound_where_they_are_placed
    assert judged(judge, placement(1, "other"), own(2), placement(3, "agent")) == []
    assert judged(judge, placement(1, "other"), own(2), placement(4, "agent")) == ["/registry/pods/system/n/agent"]
    assert judged(judge, placement(1, "agent"), own(2), placement(3, "other")) == ["/registry/pods/system/n/agent"]
