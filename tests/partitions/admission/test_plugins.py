"""Plugins: rules in the process of the apiserver, asked about every write they are for."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from ursa.partitions import ApiServer
from ursa.partitions.admission import Review
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, Forbidden, InternalError, Invalid
from ursa.proto.kinds import Kind, Role
from ursa.proto.objects import Object, encode
from ursa.proto.sessions import Caller
from ursa.storage import MemoryStore

from ..conftest import HandCommitter, HandRuntime, Partition, pod, target
from ..test_evictions import budget, eviction, guarded, running


class PluggedPartition(Partition):
    """A partition with plugins."""

    def __init__(self, *plugins: Any) -> None:
        self.role = Role.TENANT
        self.committer = HandCommitter()
        self.store = MemoryStore(self.committer, incarnation="one")
        self.runtime = HandRuntime()
        self.registry = CollectorRegistry()
        self.server = ApiServer(
            "p-1", self.role, self.store, self.runtime, Random(7), self.registry, admission_plugins=plugins
        )
        self.runtime.advance(0.1)


class Mutating:
    def __init__(self, name: str, change: Callable[[Review], Object | None], operation: str = "") -> None:
        self.name = name
        self.seen: list[Review] = []
        self._change = change
        self._operation = operation

    def handles(self, operation: str, kind: Kind) -> bool:
        return kind.kind == "Pod" and self._operation in ("", operation)

    def mutate(self, review: Review) -> Object | None:
        self.seen.append(review)
        return self._change(review)


class Validating:
    def __init__(self, name: str, check: Callable[[Review], None]) -> None:
        self.name = name
        self.seen: list[Review] = []
        self._check = check

    def handles(self, operation: str, kind: Kind) -> bool:
        return kind.kind == "Pod"

    def validate(self, review: Review) -> None:
        self.seen.append(review)
        self._check(review)


def labelled(**labels: str) -> Callable[[Review], Object]:
    return lambda review: review.obj.with_metadata(labels={**review.obj.labels, **labels})  # type: ignore[union-attr]


def patch(name: str, body: dict[str, Any], subresource: str = "") -> pb.Operation:
    operation = pb.Operation(resource="pods", return_object=True)
    operation.patch.target.CopyFrom(target("pods", name))
    operation.patch.body = encode(body)
    operation.patch.subresource = subresource
    return operation


def delete(name: str) -> pb.Operation:
    operation = pb.Operation(resource="pods")
    operation.delete.target.CopyFrom(target("pods", name))
    return operation


def test_mutating_plugins_run_in_order_and_each_sees_what_the_former_made() -> None:
    first = Mutating("first", labelled(a="1", b="1"))
    second = Mutating("second", labelled(b="2"))
    partition = PluggedPartition(first, second)
    created = partition.create(pod("p"))
    assert dict(created.labels) == {"a": "1", "b": "2"}
    assert second.seen[0].obj is not None
    assert dict(second.seen[0].obj.labels) == {"a": "1", "b": "1"}
    assert dict(partition.get("pods", "p").labels) == {"a": "1", "b": "2"}


def test_what_a_plugin_makes_is_defaulted_and_validated() -> None:
    partition = PluggedPartition(Mutating("bad", labelled(**{"a b": "c"})))
    with pytest.raises(Invalid, match="no label key"):
        partition.create(pod("p"))


def test_a_validating_plugin_sees_the_object_as_it_would_be_stored_and_can_refuse_it() -> None:
    def small(review: Review) -> None:
        if review.obj is not None and review.obj.labels.get("size") == "large":
            raise Forbidden("no large pods here")

    check = Validating("small", small)
    partition = PluggedPartition(Mutating("owner", labelled(owner="me"), "CREATE"), check)
    partition.create(pod("a"))
    [review] = check.seen
    assert review.obj is not None
    assert review.obj.spec["schedulerName"] == "default-scheduler"
    assert dict(review.obj.labels) == {"owner": "me"}
    assert (review.operation, review.old, review.caller.user) == ("CREATE", None, "test")
    with pytest.raises(Forbidden, match="no large pods here"):
        partition.create(pod("b", labels={"size": "large"}))
    with pytest.raises(Forbidden):
        partition.do(patch("a", {"metadata": {"labels": {"size": "large"}}}))
    assert partition.get("pods", "a").labels == {"owner": "me"}


def test_updates_status_bindings_and_deletes_are_told_apart() -> None:
    check = Validating("check", lambda _: None)
    partition = PluggedPartition(check)
    created = partition.create(pod("a"))
    partition.do(patch("a", {"metadata": {"labels": {"a": "b"}}}))
    partition.do(patch("a", {"status": {"phase": "Running"}}, "status"))
    bind = pb.Operation(resource="pods")
    bind.bind.target.CopyFrom(target("pods", "a"))
    bind.bind.preconditions.uid = created.uid
    bind.bind.node, bind.bind.resource_partition = "n1", "rp-1"
    partition.do(bind)
    partition.do(delete("a"))
    told = [(review.operation, review.subresource, review.obj is None, review.old is None) for review in check.seen]
    assert told == [
        ("CREATE", "", False, True),
        ("UPDATE", "", False, False),
        ("UPDATE", "status", False, False),
        ("CREATE", "binding", False, True),
        ("DELETE", "", True, False),
    ]


def test_a_write_that_changes_nothing_is_nobodys_business() -> None:
    check = Validating("check", lambda _: None)
    partition = PluggedPartition(check)
    partition.create(pod("a", labels={"a": "b"}))
    partition.do(patch("a", {"metadata": {"labels": {"a": "b"}}}))
    assert len(check.seen) == 1


def test_a_plugin_that_fails_refuses_its_write_and_no_other() -> None:
    def broken(review: Review) -> Object | None:
        if review.subject.name == "b":
            raise KeyError("oops")
        return None

    partition = PluggedPartition(Mutating("broken", broken))
    operations = []
    for name in "abc":
        operation = pb.Operation(resource="pods")
        operation.create.object.CopyFrom(Object.from_dict(pod(name)).message)
        operations.append(operation)
    results = partition.write(*operations)
    assert [result.error.reason for result in results] == ["", "InternalError", ""]
    assert "admission plugin broken failed: KeyError('oops')" in results[1].error.message


def test_a_plugin_cannot_give_an_object_another_name() -> None:
    partition = PluggedPartition(Mutating("rename", lambda _: Object.from_dict(pod("other"))))
    with pytest.raises(InternalError, match="it must keep the name"):
        partition.create(pod("p"))


def test_each_plugin_is_timed_and_its_refusals_are_counted() -> None:
    def refuse(review: Review) -> None:
        if review.subject.name == "b":
            raise Forbidden("no")

    partition = PluggedPartition(Mutating("labels", labelled(a="b")), Validating("names", refuse))
    partition.create(pod("a"))
    with pytest.raises(ApiError):
        partition.create(pod("b"))
    name = "apiserver_admission_controller_admission_duration_seconds_count"

    def count(**labels: str) -> float | None:
        return partition.registry.get_sample_value(name, {"operation": "CREATE", **labels})

    assert count(name="labels", type="admit", rejected="false") == 2
    assert count(name="names", type="validate", rejected="false") == 1
    assert count(name="names", type="validate", rejected="true") == 1


def test_a_made_up_name_is_the_one_that_plugins_see() -> None:
    check = Validating("check", lambda _: None)
    partition = PluggedPartition(check)
    manifest = pod("")
    manifest["metadata"]["generateName"] = "web-"
    created = partition.create(manifest)
    assert check.seen[0].subject.name == created.name
    assert Caller("test") == check.seen[0].caller


class ValidatingAll(Validating):
    def handles(self, operation: str, kind: Kind) -> bool:
        return True


def test_an_eviction_is_reviewed_as_the_deletion_of_the_pod_and_what_its_budget_pays_is_not() -> None:
    plugin = ValidatingAll("all", lambda _: None)
    partition = PluggedPartition(plugin)
    running(partition, "a")
    partition.create(budget())
    guarded(partition, 1)
    plugin.seen.clear()
    partition.do(eviction("a"))
    assert [(review.operation, review.kind.kind) for review in plugin.seen] == [("DELETE", "Pod")]
    assert partition.get("poddisruptionbudgets.policy", "b").status["disruptionsAllowed"] == 0
