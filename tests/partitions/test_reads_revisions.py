"""Which state a read shows, and how long it waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ursa.partitions.reads import freshness
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import (
    ApiError,
    BadRequest,
    Expired,
    Invalid,
    NotFound,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
)
from ursa.proto.kinds import Role
from ursa.proto.objects import Object
from ursa.proto.sessions import Caller, ServerStream

from .conftest import Partition, pod
from .test_writes import delete

CALLER = Caller("test")


def names(reply: pb.ListReply) -> list[str]:
    return [item.metadata.name for item in reply.items]


def open_list(partition: Partition, resource: str = "pods", **fields: Any) -> ServerStream:
    stream = partition.server.open("List", CALLER, lambda: None)
    stream.receive(pb.ListRequest(selection=pb.Selection(resource=resource), **fields).SerializeToString())
    return stream


def read(stream: ServerStream) -> pb.ListReply:
    """What has come; the reply is whole if the stream is finished."""
    reply = pb.ListReply()
    while (chunk := stream.take()) is not None:
        reply.MergeFromString(chunk)
    return reply


def get(partition: Partition, name: str, **fields: Any) -> list[bytes | ApiError]:
    """The answers that have come to a get, or that will."""
    answers: list[bytes | ApiError] = []
    request = pb.GetRequest(resource="pods", tenant="system", namespace="default", name=name, **fields)
    partition.server.call("Get", request.SerializeToString(), CALLER, answers.append)
    return answers


@pytest.fixture
def behind(tenant_partition: Partition) -> Iterator[Partition]:
    """A second apiserver on the first one's store, whose cache stands still at the present state."""
    tenant_partition.create(pod("old"))
    frozen = Partition(Role.TENANT, tenant_partition.store)
    yield frozen
    frozen.server.close()


# ------------------------------------------------------------------------------------------------------- consistent


@pytest.mark.parametrize("limit", [0, 1])
def test_a_consistent_list_is_not_answered_from_a_cache_that_is_behind_its_store(
    tenant_partition: Partition, behind: Partition, limit: int
) -> None:
    """S1, at the server. The guard is that a read without a revision awaits the store's newest (`Lister.query`)."""
    tenant_partition.do(delete("pods", "old"))
    stream = open_list(behind, limit=limit)
    assert stream.take() is None
    behind.runtime.advance(freshness.WAIT_SECONDS_MAX)
    with pytest.raises(Timeout, match="too large resource version") as refused:
        stream.take()
    assert stream.finished
    assert stream.take() is None
    assert [cause.reason for cause in refused.value.causes] == ["ResourceVersionTooLarge"]
    assert refused.value.retry_after_ms
    assert refused.value.resource_version < tenant_partition.store.head


def test_a_consistent_get_is_not_answered_from_a_cache_that_is_behind_its_store(
    tenant_partition: Partition, behind: Partition
) -> None:
    """S1, at the server. The guard is the same, in `Getter.get`."""
    tenant_partition.do(delete("pods", "old"))
    answers = get(behind, "old")
    assert answers == []
    behind.runtime.advance(freshness.WAIT_SECONDS_MAX)
    assert [type(answer) for answer in answers] == [Timeout]


@pytest.mark.parametrize("start", ["initial events", "now", "behind what the cache has not seen"])
def test_no_watch_begins_in_a_cache_that_is_behind_its_store(
    tenant_partition: Partition, behind: Partition, start: str
) -> None:
    """S1 and S16, at the server: nobody goes back to it, and nobody takes it for another history and begins anew. The
    guard is `Lane._check_caught_up`."""
    seen = behind.store.head
    tenant_partition.do(delete("pods", "old"))
    newest = tenant_partition.store.head
    options = {"initial events": {"initial_events": True}, "now": {}}.get(start, {"resource_version": newest})
    refused = behind.watch("pods", **options)
    assert isinstance(refused.error, Timeout)
    assert not refused.events
    assert behind.watch("pods", resource_version=seen).error is None, "what comes is still to come"
    assert isinstance(behind.watch("pods", resource_version=newest + 1).error, Expired), "that is no part of history"
    assert isinstance(behind.watch("pods", resource_version=newest, incarnation="two").error, Expired)


def test_any_state_is_answered_at_once(tenant_partition: Partition, behind: Partition) -> None:
    tenant_partition.do(delete("pods", "old"))
    assert names(read(open_list(behind, resource_version="0"))) == ["old"]
    [answer] = get(behind, "old", resource_version="0")
    assert isinstance(answer, bytes)
    assert pb.GetReply.FromString(answer).resource_version < tenant_partition.store.head


def test_a_refused_get_says_at_which_revision_there_was_nothing(tenant_partition: Partition) -> None:
    [answer] = get(tenant_partition, "nobody")
    assert isinstance(answer, NotFound)
    assert answer.resource_version == tenant_partition.store.head


def test_replies_say_whose_revision_they_name(tenant_partition: Partition) -> None:
    tenant_partition.create(pod("a"))
    assert tenant_partition.list("pods").incarnation == "one"
    [answer] = get(tenant_partition, "a")
    assert isinstance(answer, bytes)
    reply = pb.GetReply.FromString(answer)
    assert (reply.incarnation, reply.resource_version) == ("one", tenant_partition.store.head)
    for resource_version in ("", "0", "1"):
        with pytest.raises(Expired, match="another incarnation"):
            tenant_partition.list("pods", resource_version=resource_version, incarnation="two")
        [answer] = get(tenant_partition, "a", resource_version=resource_version, incarnation="two")
        assert isinstance(answer, Expired)


# --------------------------------------------------------------------------------------------------- not older than


def test_a_list_of_a_revision_under_way_comes_with_all_before_it(tenant_partition: Partition) -> None:
    """S21: a list at N never lacks N-1. The guard is that reads await what is published, not what is staged."""
    tenant_partition.committer.automatic = False
    staged: list[int] = []
    for name in ("a", "b"):
        operation = pb.Operation(resource="pods")
        operation.create.object.CopyFrom(Object.from_dict(pod(name)).message)
        request = pb.MutateRequest(operations=[operation]).SerializeToString()
        tenant_partition.server.call("Write", request, CALLER, lambda _: None)
        staged.append(tenant_partition.store.staged_head)
        tenant_partition.runtime.advance(0.2)
    lists = {
        (revision, exact): open_list(tenant_partition, resource_version=str(revision), exact=exact)
        for revision in staged
        for exact in (False, True)
    }
    answers = get(tenant_partition, "b", resource_version=str(staged[1]))
    assert all(stream.take() is None for stream in lists.values())
    tenant_partition.committer.finish()
    tenant_partition.runtime.advance(0.2)
    tenant_partition.committer.finish()
    seen = {key: read(stream) for key, stream in lists.items()}
    assert all(stream.finished for stream in lists.values())
    for (revision, exact), reply in seen.items():
        assert reply.resource_version == revision if exact else reply.resource_version >= revision
        assert names(reply) == ["a", "b"][: 1 + (reply.resource_version >= staged[1])]
    assert [type(answer) for answer in answers] == [bytes]


def test_a_wait_is_bounded_and_says_when_to_ask_again(tenant_partition: Partition) -> None:
    future = str(tenant_partition.store.head + 5)
    streams = [open_list(tenant_partition, resource_version=future, exact=exact) for exact in (False, True)]
    answers = get(tenant_partition, "a", resource_version=future)
    tenant_partition.create(pod("a"))
    tenant_partition.runtime.advance(freshness.WAIT_SECONDS_MAX - 0.2)
    assert [stream.take() for stream in streams] == [None, None]
    assert answers == []
    tenant_partition.runtime.advance(0.2)
    for stream in streams:
        with pytest.raises(Timeout, match=f"too large resource version: {future}, the newest is") as refused:
            stream.take()
        assert refused.value.retry_after_ms == freshness.RETRY_AFTER_MS
    assert [type(answer) for answer in answers] == [Timeout]


def test_no_more_reads_wait_than_a_commit_can_look_at(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "WAITING_MAX", 2)
    streams = [open_list(tenant_partition, resource_version="99") for _ in range(2)]
    with pytest.raises(TooManyRequests) as refused:
        open_list(tenant_partition, resource_version="99")
    assert refused.value.retry_after_ms
    assert names(tenant_partition.list("pods")) == []  # Who need not wait is not concerned.
    streams[0].close()
    open_list(tenant_partition, resource_version="99")


def test_reads_that_wait_when_the_partition_stops_are_told(tenant_partition: Partition) -> None:
    woken: list[None] = []
    stream = tenant_partition.server.open("List", CALLER, lambda: woken.append(None))
    request = pb.ListRequest(selection=pb.Selection(resource="pods"), resource_version="99")
    stream.receive(request.SerializeToString())
    answers = get(tenant_partition, "a", resource_version="99")
    tenant_partition.server.close()
    assert woken
    with pytest.raises(ServiceUnavailable, match="is stopping"):
        stream.take()
    assert [type(answer) for answer in answers] == [ServiceUnavailable]


def test_a_closed_stream_is_not_woken_by_what_it_waited_for(tenant_partition: Partition) -> None:
    woken: list[None] = []
    stream = tenant_partition.server.open("List", CALLER, lambda: woken.append(None))
    request = pb.ListRequest(
        selection=pb.Selection(resource="pods"), resource_version=str(tenant_partition.store.head + 1)
    )
    stream.receive(request.SerializeToString())
    stream.close()
    tenant_partition.create(pod("a"))
    tenant_partition.runtime.advance(10)
    assert (woken, stream.take(), stream.finished) == ([], None, True)


def test_a_kind_that_goes_while_reads_of_it_wait_is_not_found(tenant_partition: Partition) -> None:
    next_revision = str(tenant_partition.store.head + 1)
    streams = [open_list(tenant_partition, resource_version=next_revision, exact=exact) for exact in (False, True)]
    answers = get(tenant_partition, "a", resource_version=next_revision)
    del tenant_partition.server._histories.main.cache.collections["pods"]
    tenant_partition.create({**pod("c"), "kind": "ConfigMap", "spec": {}})
    for stream in streams:
        with pytest.raises(NotFound, match="no longer defined"):
            stream.take()
    assert [type(answer) for answer in answers] == [NotFound]


# ---------------------------------------------------------------------------------------------------------- matches


@pytest.mark.parametrize("limit", [0, 10])
@pytest.mark.parametrize(
    ("version", "match", "shows"),
    [
        ("", "", "newest"),
        ("0", "", "newest"),
        ("N", "", "newest unless limited"),
        ("N", "not_older_than", "newest"),
        ("0", "not_older_than", "newest"),
        ("N", "exact", "then"),
        ("", "not_older_than", "Invalid"),
        ("", "exact", "Invalid"),
        ("0", "exact", "Invalid"),
        ("00", "exact", "Invalid"),
    ],
)
def test_a_revision_matches_as_in_the_table_of_kubernetes(
    tenant_partition: Partition, version: str, match: str, shows: str, limit: int
) -> None:
    """https://kubernetes.io/docs/reference/using-api/api-concepts: resourceVersion and resourceVersionMatch of a list.

    A limit makes a revision without a match an exact one: so it was before there were matches, and so it stayed.
    """
    then = tenant_partition.create(pod("a")).resource_version
    tenant_partition.create(pod("b"))
    options: dict[str, Any] = {"resource_version": version.replace("N", str(then)), "limit": limit}
    if match:
        options[match] = True
    if shows == "Invalid":
        with pytest.raises(Invalid) as refused:
            tenant_partition.list("pods", **options)
        assert {cause.field for cause in refused.value.causes} == {"resourceVersionMatch"}
        return
    old = shows == "then" or (shows == "newest unless limited" and limit)
    assert names(tenant_partition.list("pods", **options)) == (["a"] if old else ["a", "b"])


def test_a_list_is_either_exact_or_not_older(tenant_partition: Partition) -> None:
    with pytest.raises(Invalid, match="either exact or not_older_than"):
        tenant_partition.list("pods", resource_version="1", exact=True, not_older_than=True)


NO_REVISIONS = ["x", "-1", "+1", " 1", "1 ", "1.0", "0x1", "\u0661", "9" * 20, "9" * 10_000, "\0", "latest"]


@pytest.mark.parametrize("text", NO_REVISIONS)
def test_what_is_no_revision_is_a_bad_request(tenant_partition: Partition, text: str) -> None:
    for options in ({}, {"exact": True}, {"limit": 1}, {"continue_token": "x"}):
        with pytest.raises(BadRequest, match="is no revision") as refused:
            tenant_partition.list("pods", resource_version=text, **options)
        assert [cause.field for cause in refused.value.causes] == ["resourceVersion"]
        assert len(refused.value.message) < 200
    [answer] = get(tenant_partition, "a", resource_version=text)
    assert isinstance(answer, BadRequest)


def test_the_largest_revision_there_can_be_is_waited_for_like_any(tenant_partition: Partition) -> None:
    with pytest.raises(Timeout):
        tenant_partition.list("pods", resource_version="9" * 19)
