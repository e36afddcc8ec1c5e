"""Pages of a list, and lists of old revisions: one revision over all of them, in bounded steps, from wherever it is."""

from __future__ import annotations

import base64
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.partitions.reads import list_stream, listing
from ursa.partitions.reads.continuing import TOKEN_CHARACTERS_MAX
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, BadRequest, Expired, Invalid, ServiceUnavailable
from ursa.proto.kinds import Role
from ursa.proto.sessions import Caller, ServerStream
from ursa.storage import MemoryStore

from .conftest import HandCommitter, Partition, pod
from .test_writes import bind, delete, patch


def names(reply: pb.ListReply) -> list[str]:
    return [item.metadata.name for item in reply.items]


def forget_all_history(partition: Partition) -> None:
    partition.store.compact(partition.store.head)


def pages(partition: Partition, limit: int, **fields: Any) -> list[pb.ListReply]:
    """All pages of a list."""
    got = [partition.list("pods", limit=limit, **fields)]
    fields.pop("resource_version", None), fields.pop("exact", None)
    while got[-1].continue_token:
        got.append(partition.list("pods", limit=limit, continue_token=got[-1].continue_token, **fields))
    return got


# ------------------------------------------------------------------------------------------------------------ tokens


def test_a_token_outlives_the_process_that_made_it(tenant_partition: Partition) -> None:
    for number in range(4):
        tenant_partition.create(pod(f"p{number}"))
    first = tenant_partition.list("pods", limit=2)
    tenant_partition.do(delete("pods", "p3"))
    again = Partition(Role.TENANT, tenant_partition.store)
    assert names(again.list("pods", continue_token=first.continue_token)) == ["p2", "p3"]
    again.server.close()


def test_a_token_of_another_history_is_expired_and_has_no_successor(tenant_partition: Partition) -> None:
    other = Partition(Role.TENANT, MemoryStore(HandCommitter(), incarnation="two"))
    tokens = []
    for partition in (tenant_partition, other):
        for number in range(4):
            partition.create(pod(f"p{number}"))
        tokens.append(partition.list("pods", limit=2).continue_token)
    with pytest.raises(Expired, match="another incarnation") as refused:
        tenant_partition.list("pods", limit=2, continue_token=tokens[1])
    assert not refused.value.continue_token, "what came before is no part of this history"
    other.server.close()


def test_a_token_is_of_one_query_in_one_store(tenant_partition: Partition) -> None:
    for number in range(3):
        tenant_partition.create(pod(f"p{number}"))
    token = tenant_partition.list("pods", limit=1).continue_token
    for other in (
        {"tenant": "system"},
        {"namespace": "default"},
        {"label_selector": "a=b"},
        {"field_selector": "metadata.name!=x"},
        {"metadata_only": True},
    ):
        with pytest.raises(BadRequest, match="belongs to another query"):
            tenant_partition.list("pods", continue_token=token, **other)
    for resource in ("events", "configmaps", "namespaces"):
        with pytest.raises(BadRequest, match="belongs to another query"):
            tenant_partition.list(resource, continue_token=token)


def test_a_token_has_a_revision_of_its_own(tenant_partition: Partition) -> None:
    then = tenant_partition.create(pod("a")).resource_version
    tenant_partition.create(pod("b"))
    token = tenant_partition.list("pods", limit=1).continue_token
    with pytest.raises(BadRequest, match="not allowed with a continue token"):
        tenant_partition.list("pods", continue_token=token, resource_version=str(then))
    for match in ("exact", "not_older_than"):
        with pytest.raises(Invalid, match="forbidden with a continue token"):
            tenant_partition.list("pods", continue_token=token, **{match: True})
    assert names(tenant_partition.list("pods", continue_token=token, resource_version="0")) == ["b"]


def token_with(token: str, **changed: Any) -> str:
    parts = dict(
        zip(
            ("incarnation", "revision", "start", "query", "remaining"),
            msgpack.unpackb(base64.urlsafe_b64decode(token)),
            strict=True,
        )
    )
    return base64.urlsafe_b64encode(msgpack.packb(list((parts | changed).values()))).decode()


@pytest.mark.parametrize(
    "changed",
    [
        {"revision": -1},
        {"revision": True},
        {"revision": "4"},
        {"revision": 1.5},
        {"revision": None},
        {"remaining": -1},
        {"start": "/registry/secrets/system/default/p1"},
        {"start": ""},
        {"start": b"/registry/pods/"},
        {"query": b""},
        {"query": "x"},
        {"incarnation": 7},
        {"incarnation": None},
        {"one": "more"},
    ],
    ids=str,
)
def test_a_token_that_no_server_made_is_a_bad_request(tenant_partition: Partition, changed: dict[str, Any]) -> None:
    for number in range(3):
        tenant_partition.create(pod(f"p{number}"))
    token = tenant_partition.list("pods", limit=1).continue_token
    with pytest.raises(BadRequest):
        tenant_partition.list("pods", continue_token=token_with(token, **changed))


def test_a_token_from_the_future_is_expired(tenant_partition: Partition) -> None:
    for number in range(3):
        tenant_partition.create(pod(f"p{number}"))
    token = tenant_partition.list("pods", limit=1).continue_token
    with pytest.raises(Expired, match="from the future"):
        tenant_partition.list("pods", continue_token=token_with(token, revision=2**64 - 1))


EMPTY = Partition(Role.TENANT)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.text(max_size=60), st.binary(max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode()))
)
def test_whatever_comes_as_a_token_is_at_worst_refused(text: str) -> None:
    if text:
        with pytest.raises((BadRequest, Expired)):
            EMPTY.list("pods", continue_token=text)


def test_a_token_longer_than_any_key_needs_is_not_even_looked_at(tenant_partition: Partition) -> None:
    for number in range(3):
        tenant_partition.create(pod(f"p{number}"))
    token = tenant_partition.list("pods", limit=1).continue_token
    long = token_with(token, start="/registry/pods/" + "x" * TOKEN_CHARACTERS_MAX)
    with pytest.raises(BadRequest, match="none of this server's"):
        tenant_partition.list("pods", continue_token=long)


def test_the_largest_limit_there_can_be_is_no_limit(tenant_partition: Partition) -> None:
    tenant_partition.create(pod("a"))
    listed = tenant_partition.list("pods", limit=2**32 - 1)
    assert (names(listed), listed.continue_token, listed.remaining) == (["a"], "", 0)


def test_a_selection_by_what_no_name_can_be_selects_nothing(tenant_partition: Partition) -> None:
    then = tenant_partition.create(pod("a")).resource_version
    tenant_partition.create(pod("b"))
    for selection in (
        {"tenant": "system/default"},
        {"tenant": "system", "namespace": "default/a"},
        {"namespace": "\0"},
    ):
        for options in ({}, {"resource_version": str(then), "exact": True}):
            assert names(tenant_partition.list("pods", **selection, **options)) == []


# ------------------------------------------------------------------------------------------------------- remaining


def test_what_remains_is_told_on_every_page_unless_there_are_selectors(tenant_partition: Partition) -> None:
    for number in range(5):
        tenant_partition.create(pod(f"p{number}", labels={"app": "web"}))
    tenant_partition.create(pod("elsewhere", namespace="kube-system"))
    first = tenant_partition.list("pods", limit=2, tenant="system", namespace="default")
    tenant_partition.create(pod("p9"))  # From here on the pages come from the store.
    second = tenant_partition.list(
        "pods", limit=2, tenant="system", namespace="default", continue_token=first.continue_token
    )
    assert [first.remaining, second.remaining] == [3, 1]
    third = tenant_partition.list(
        "pods", limit=2, tenant="system", namespace="default", continue_token=second.continue_token
    )
    assert (names(third), third.remaining, third.continue_token) == (["p4"], 0, "")
    selected = tenant_partition.list("pods", limit=2, label_selector="app=web")
    assert selected.continue_token
    assert selected.remaining == 0, "as Kubernetes, which would have to look at all of them"


# ------------------------------------------------------------------------------------------------------- compaction


def test_a_compacted_token_names_one_that_goes_on_with_what_is_there(tenant_partition: Partition) -> None:
    for number in range(6):
        tenant_partition.create(pod(f"p{number}"))
    first = tenant_partition.list("pods", limit=2)
    tenant_partition.do(delete("pods", "p0"))  # Seen already.
    tenant_partition.do(delete("pods", "p3"))
    tenant_partition.create(pod("p31"))
    forget_all_history(tenant_partition)
    with pytest.raises(Expired, match="has been compacted") as refused:
        tenant_partition.list("pods", limit=2, continue_token=first.continue_token)
    error = refused.value
    assert error.resource_version == tenant_partition.store.head
    second = tenant_partition.list("pods", limit=2, continue_token=error.continue_token)
    assert names(second) == ["p2", "p31"]
    assert second.resource_version == tenant_partition.store.head, "of a revision of its own, which later pages keep"
    assert second.remaining == 2
    tenant_partition.do(delete("pods", "p5"))
    third = tenant_partition.list("pods", limit=2, continue_token=second.continue_token)
    assert (names(third), third.resource_version) == (["p4", "p5"], second.resource_version)


def test_a_compacted_revision_without_a_token_has_no_successor(tenant_partition: Partition) -> None:
    then = tenant_partition.create(pod("a")).resource_version
    tenant_partition.create(pod("b"))
    forget_all_history(tenant_partition)
    with pytest.raises(Expired) as refused:
        tenant_partition.list("pods", resource_version=str(then), exact=True)
    assert not refused.value.continue_token
    assert refused.value.resource_version == tenant_partition.store.compacted


# ------------------------------------------------------------------------------------------------------------ steps


@pytest.fixture
def old_list(tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch) -> tuple[Partition, int]:
    """A partition with 40 pods at a revision that is not the newest any more, and steps of ten records."""
    monkeypatch.setattr(listing, "STEP_RECORDS", 10)
    for number in range(40):
        tenant_partition.create(pod(f"p{number:02}"))
    then = tenant_partition.store.head
    tenant_partition.do(delete("pods", "p00"))
    return tenant_partition, then


@pytest.mark.parametrize("selector", ["", "app=nobody"])
def test_a_list_of_an_old_revision_leaves_the_loop_to_others(old_list: tuple[Partition, int], selector: str) -> None:
    partition, then = old_list
    woken: list[float] = []
    stream = partition.server.open("List", Caller("test"), lambda: woken.append(partition.runtime.now))
    selection = pb.Selection(resource="pods", label_selector=selector)
    stream.receive(pb.ListRequest(selection=selection, resource_version=str(then), exact=True).SerializeToString())
    pauses = 0
    reply = pb.ListReply()
    while not stream.finished:
        if (chunk := stream.take()) is not None:
            reply.MergeFromString(chunk)
            continue
        assert stream.take() is None, "nothing is done before the pause is over"
        if not stream.finished:
            pauses += 1
            woken.clear()
            partition.runtime.advance(list_stream.PAUSE_SECONDS)
            assert woken
    assert len(reply.items) == (0 if selector else 40)
    assert reply.resource_version == then
    assert pauses == 4


def test_a_selective_list_of_the_newest_revision_leaves_the_loop_to_others_and_keeps_its_revision(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "STEP_ENTRIES", 10)
    for number in range(40):
        tenant_partition.create(pod(f"p{number:02}", labels={"odd": str(number % 2)}))
    now = tenant_partition.store.head
    stream = tenant_partition.server.open("List", Caller("test"), lambda: None)
    request = pb.ListRequest(selection=pb.Selection(resource="pods", label_selector="odd=1"))
    stream.receive(request.SerializeToString())
    reply = pb.ListReply()
    pauses = 0
    while not stream.finished:
        if (chunk := stream.take()) is not None:
            reply.MergeFromString(chunk)
        elif not stream.finished:
            pauses += 1
            tenant_partition.do(delete("pods", f"p{40 - pauses:02}"))
            tenant_partition.create(pod(f"p{40 - pauses:02}-new", labels={"odd": "1"}))
    assert pauses == 3
    assert names(reply) == [f"p{number:02}" for number in range(1, 40, 2)]
    assert reply.resource_version == now


@pytest.mark.parametrize("old", [False, True], ids=["cache", "store"])
def test_a_selection_of_many_requirements_looks_at_fewer_objects_at_a_time(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    monkeypatch.setattr(listing, "STEP_ENTRIES", 40)
    monkeypatch.setattr(listing, "STEP_RECORDS", 40)
    for number in range(40):
        tenant_partition.create(pod(f"p{number:02}"))
    selection = pb.Selection(resource="pods", label_selector=",".join(f"!k{number}" for number in range(40)))
    request = pb.ListRequest(selection=selection)
    if old:
        request.resource_version, request.exact = str(tenant_partition.store.head), True
        tenant_partition.create(pod("q"))
    stream = tenant_partition.server.open("List", Caller("test"), lambda: None)
    stream.receive(request.SerializeToString())
    reply = pb.ListReply()
    pauses = 0
    while not stream.finished:
        if (chunk := stream.take()) is not None:
            reply.MergeFromString(chunk)
        elif not stream.finished:
            pauses += 1
            tenant_partition.runtime.advance(list_stream.PAUSE_SECONDS)
    assert (len(reply.items), pauses) == (40, 13)


def test_a_page_looks_no_further_than_it_must(tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "STEP_ENTRIES", 10)
    for number in range(40):
        tenant_partition.create(pod(f"p{number:02}", labels={"app": "web"}))
    stream = tenant_partition.server.open("List", Caller("test"), lambda: None)
    request = pb.ListRequest(selection=pb.Selection(resource="pods", label_selector="app=web"), limit=9)
    stream.receive(request.SerializeToString())
    assert stream.take() is not None, "there was no pause: all was found in the first step"


def read_on(partition: Partition, stream: ServerStream) -> None:
    while not stream.finished:
        partition.runtime.advance(list_stream.PAUSE_SECONDS)
        stream.take()


def test_a_list_that_is_compacted_while_it_is_read_ends_with_expired(
    old_list: tuple[Partition, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    partition, then = old_list
    monkeypatch.setattr("ursa.storage.log_store.READ_RECORDS", 10)
    stream = partition.server.open("List", Caller("test"), lambda: None)
    request = pb.ListRequest(selection=pb.Selection(resource="pods"), resource_version=str(then), exact=True)
    stream.receive(request.SerializeToString())
    assert stream.take() is None
    forget_all_history(partition)
    with pytest.raises(Expired, match="has been compacted"):
        read_on(partition, stream)
    assert stream.finished
    assert stream.take() is None


def test_a_list_whose_store_is_closed_while_it_is_read_ends(old_list: tuple[Partition, int]) -> None:
    partition, then = old_list
    stream = partition.server.open("List", Caller("test"), lambda: None)
    request = pb.ListRequest(selection=pb.Selection(resource="pods"), resource_version=str(then), exact=True)
    stream.receive(request.SerializeToString())
    stream.take()
    partition.server.close()
    partition.store.close()
    with pytest.raises(ServiceUnavailable):
        read_on(partition, stream)


def test_a_closed_list_does_nothing_more(old_list: tuple[Partition, int]) -> None:
    partition, then = old_list
    woken: list[None] = []
    stream = partition.server.open("List", Caller("test"), lambda: woken.append(None))
    request = pb.ListRequest(selection=pb.Selection(resource="pods"), resource_version=str(then), exact=True)
    stream.receive(request.SerializeToString())
    stream.take()
    woken.clear()
    stream.close()
    partition.runtime.advance(1)
    assert (woken, stream.take(), stream.finished) == ([], None, True)


# -------------------------------------------------------------------------------------------------------- selectors

LABELS: list[dict[str, str]] = [{}, {"app": "web"}, {"app": "db", "tier": "back"}, {"app": "", "tier": "front"}]
# By the numbers of the pods that have these labels; a pod is bound to n1 if its number is odd.
SELECTORS: list[tuple[dict[str, str], list[int]]] = [
    ({"label_selector": "app=web"}, [1]),
    ({"label_selector": "app==web"}, [1]),
    ({"label_selector": "app = web"}, [1]),
    ({"label_selector": "app!=web"}, [0, 2, 3]),
    ({"label_selector": "app="}, [3]),
    ({"label_selector": "app in (web, db)"}, [1, 2]),
    ({"label_selector": "app in (web,)"}, [1, 3]),
    ({"label_selector": "app notin (web,db)"}, [0, 3]),
    ({"label_selector": "app"}, [1, 2, 3]),
    ({"label_selector": "!app"}, [0]),
    ({"label_selector": "! tier"}, [0, 1]),
    ({"label_selector": "app,tier!=back,app notin (x)"}, [1, 3]),
    ({"label_selector": ""}, [0, 1, 2, 3]),
    ({"label_selector": " "}, [0, 1, 2, 3]),
    ({"field_selector": "spec.nodeName=n1"}, [1, 3]),
    ({"field_selector": "spec.nodeName==n1"}, [1, 3]),
    ({"field_selector": "spec.nodeName!=n1"}, [0, 2]),
    ({"field_selector": "spec.nodeName="}, [0, 2]),
    ({"field_selector": "spec.nodeName!="}, [1, 3]),
    ({"field_selector": "metadata.name=p2"}, [2]),
    ({"field_selector": "metadata.name!=p2"}, [0, 1, 3]),
    ({"field_selector": "metadata.namespace=default,spec.nodeName=n1,metadata.name!=p1"}, [3]),
    ({"field_selector": "spec.nodeName=n1,spec.nodeName=n2"}, []),
    ({"field_selector": "status.phase=Pending", "label_selector": "app", "tenant": "system"}, [1, 2, 3]),
    ({"field_selector": "metadata.name=p2", "tenant": "system", "namespace": "default"}, [2]),
    ({"field_selector": "metadata.name=p2", "tenant": "system", "namespace": "kube-system"}, []),
    ({"namespace": "default"}, [0, 1, 2, 3]),
    ({"namespace": "kube-system"}, []),
    ({"tenant": "nobody"}, []),
]


@pytest.mark.parametrize("metadata_only", [False, True])
def test_every_operator_selects_alike_from_the_cache_from_the_store_and_in_pages(
    tenant_partition: Partition, metadata_only: bool
) -> None:
    for number, labels in enumerate(LABELS):
        created = tenant_partition.create(pod(f"p{number}", labels=labels))
        if number % 2:
            tenant_partition.do(bind(f"p{number}", created.uid))
    then = str(tenant_partition.store.head)
    for when in ("newest", "old"):
        at = {} if when == "newest" else {"resource_version": then, "exact": True}
        for selection, expected in SELECTORS:
            wanted = [f"p{number}" for number in expected]
            options: dict[str, Any] = {**selection, "metadata_only": metadata_only}
            listed = tenant_partition.list("pods", **options, **at)
            assert names(listed) == wanted, (when, selection)
            assert [bool(item.spec) for item in listed.items] == [not metadata_only] * len(wanted)
            paged = pages(tenant_partition, 1, **options, **at)
            assert [name for page in paged for name in names(page)] == wanted, (when, selection)
        if when == "old":
            return
        # What was true then is not true now.
        for number in range(len(LABELS)):
            tenant_partition.do(patch("pods", f"p{number}", {"metadata": {"labels": {"app": None, "tier": "x"}}}))
            tenant_partition.do(delete("pods", f"p{number}", grace_seconds=0))


# -------------------------------------------------------------------------------------------------------- any history

moves = st.lists(
    st.tuples(st.sampled_from(["create", "delete", "label", "unlabel", "compact"]), st.integers(0, 6)), max_size=30
)


@settings(max_examples=60, deadline=None)
@given(moves, st.integers(1, 4), st.integers(1, 4))
def test_a_list_of_any_revision_in_any_pages_is_the_state_that_was(
    asked: list[tuple[str, int]], limit: int, step_records: int
) -> None:
    partition = Partition(Role.TENANT)
    state: dict[str, bool] = {}  # Names, and whether they have the label.
    states: dict[int, dict[str, bool]] = {partition.store.head: {}}
    for verb, number in asked:
        name = f"p{number}"
        try:
            if verb == "create":
                partition.create(pod(name))
                state = {**state, name: False}
            elif verb == "delete":
                partition.do(delete("pods", name, grace_seconds=0))
                state = {each: label for each, label in state.items() if each != name}
            elif verb == "compact":
                forget_all_history(partition)
            else:
                partition.do(patch("pods", name, {"metadata": {"labels": {"x": "1" if verb == "label" else None}}}))
                state = {**state, name: verb == "label"}
        except ApiError:
            continue
        states[partition.store.head] = state
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(listing, "STEP_RECORDS", step_records)
        for revision, then in states.items():
            for selector, wanted in (("", sorted(then)), ("x=1", sorted(name for name in then if then[name]))):
                at = {"resource_version": str(revision), "exact": True, "label_selector": selector}
                if revision < partition.store.compacted:
                    with pytest.raises(Expired):
                        partition.list("pods", **at)
                    continue
                whole = partition.list("pods", **at)
                assert (names(whole), whole.resource_version) == (wanted, revision)
                paged = pages(partition, limit, **at)
                assert [name for page in paged for name in names(page)] == wanted
                assert {page.resource_version for page in paged} == {revision}
                assert all(len(page.items) == limit for page in paged[:-1])
                for page in paged if not selector else []:
                    assert page.remaining in (
                        0,
                        len(wanted) - sum(len(p.items) for p in paged[: paged.index(page) + 1]),
                    )
    partition.server.close()
    partition.store.close()
