"""What counts as a reason for a controller to delete a pod."""

from __future__ import annotations

from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import encode
from ursa.tools.checking.check import check
from ursa.tools.checking.deletions import nothing_that_lives_is_deleted
from ursa.tools.recording.records import Complete, Finished, Logged, Record, Write

from .spoilt_truth import logged


def key(resource: str, name: str) -> str:
    return f"/registry/{resource}/t/n/{name}"


def namespace() -> Logged:
    metadata = pb.ObjectMeta(tenant="t", name="n", uid="namespace")
    return logged(1, "/registry/namespaces/t//n", pb.Object(metadata=metadata))


def asks_for(revision: int, replicas: int, create: int = 0) -> Logged:
    metadata = pb.ObjectMeta(tenant="t", namespace="n", name="set", uid="set")
    message = pb.Object(metadata=metadata, spec=encode({"replicas": replicas}))
    return logged(revision, key("replicasets.apps", "set"), message, create=create)


def pod(revision: int, name: str, deleted_by: str = "", create: int = 0, phase: str = "Running") -> list[Record]:
    metadata = pb.ObjectMeta(tenant="t", namespace="n", name=name, uid=name, request_id=b"%d" % revision)
    metadata.owner_references.add(api_version="apps/v1", kind="ReplicaSet", name="set", uid="set", controller=True)
    if deleted_by:
        metadata.deletion_ms = 1
    verb = "delete" if deleted_by else "create"
    client = deleted_by or "controller-manager-tp-1#1"
    write = Write(client, "tp-1", revision - 0.5, revision + 0.5, verb, "pods", key("pods", name), b"%d" % revision)
    message = pb.Object(metadata=metadata, status=encode({"phase": phase}))
    return [logged(revision, key("pods", name), message, create=create), write]


def judged(*records: Record | list[Record]) -> list[str]:
    flat = [each for group in records for each in (group if isinstance(group, list) else [group])]
    whole = [*flat, Complete("tp-1", "main", "i", 0, 99), Finished(99.0)]
    return [violation.key for violation in check(whole, [nothing_that_lives_is_deleted])]


TWO_OF_TWO = [namespace(), asks_for(2, 2), *pod(3, "a"), *pod(4, "b")]


def test_a_pod_that_is_asked_for_has_no_reason_to_go() -> None:
    assert judged(TWO_OF_TWO, pod(5, "a", "controller-manager-tp-1#1", create=3)) == [key("pods", "a")]


def test_a_pod_that_has_finished_may_go() -> None:
    failed = pod(5, "a", create=3, phase="Failed")
    assert judged(TWO_OF_TWO, failed, pod(6, "a", "controller-manager-tp-1#1", create=3, phase="Failed")) == []


def test_whoever_is_no_controller_needs_no_reason() -> None:
    assert judged(TWO_OF_TWO, pod(5, "a", "user-1#1", create=3)) == []


def test_one_of_too_many_may_go_also_if_another_went_while_its_controller_decided() -> None:
    shrinks = asks_for(5, 1, create=2)
    by_user = pod(6, "b", "user-1#1", create=4)
    assert judged(TWO_OF_TWO, shrinks, by_user, pod(7, "a", "controller-manager-tp-1#1", create=3)) == []
