"""Lists and gets, as Kubernetes defines them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import BadRequest, Expired, Invalid, NotFound, Timeout

from .objects import config, namespace, pod, tenant
from .subjects import Subject, name_of, over_all_subjects

# ------------------------------------------------------------------------------------------------------ what a list is


@over_all_subjects
async def test_an_empty_list_has_the_revision_of_the_partition(subject: Subject) -> None:
    page = await subject.list("pods")
    assert (page.items, page.continue_token) == ([], "")
    assert page.resource_version == subject.host.head() > 0


@over_all_subjects
async def test_items_come_in_the_order_of_their_keys_however_they_were_created(subject: Subject) -> None:
    for name in ("m", "c", "x", "c-1", "a", "d"):
        await subject.create(config(name))
    assert (await subject.list("configmaps")).names == ["a", "c", "c-1", "d", "m", "x"]


@over_all_subjects
async def test_items_of_several_namespaces_come_in_the_order_of_namespace_and_name(subject: Subject) -> None:
    await subject.create(namespace("a-team"))
    for name, where in (("b", "default"), ("z", "a-team"), ("a", "kube-system"), ("c", "a-team")):
        await subject.create(config(name, namespace=where))
    page = await subject.list("configmaps")
    assert [(item.namespace, item.name) for item in page.items] == [
        ("a-team", "c"),
        ("a-team", "z"),
        ("default", "b"),
        ("kube-system", "a"),
    ]


@over_all_subjects
async def test_each_item_has_the_revision_of_its_last_change_and_the_list_the_newest(subject: Subject) -> None:
    first = await subject.create(config("a"))
    second = await subject.create(config("b"))
    first = await subject.label(first, x="1")
    await subject.create(pod("elsewhere"))
    page = await subject.list("configmaps")
    assert [item.resource_version for item in page.items] == [first.resource_version, second.resource_version]
    assert page.resource_version == subject.host.head() > first.resource_version


@over_all_subjects
async def test_a_list_shows_the_same_object_as_a_get(subject: Subject) -> None:
    await subject.create(pod("a", labels={"x": "1"}, annotations={"y": "2"}))
    [item] = (await subject.list("pods")).items
    assert item.message == (await subject.get("pods", "a")).message


@over_all_subjects
async def test_a_list_of_many_bytes_is_whole(subject: Subject) -> None:
    payload = "x" * 100_000
    for number in range(12):
        await subject.create(config(f"c-{number:02}", payload))
    page = await subject.list("configmaps")
    assert page.names == [f"c-{number:02}" for number in range(12)]
    assert {len(item.rest["data"]["payload"]) for item in page.items} == {100_000}


@over_all_subjects
async def test_what_is_written_while_a_list_is_read_is_not_in_it(subject: Subject) -> None:
    payload = "x" * 100_000
    last = [await subject.create(config(f"c-{number:02}", payload)) for number in range(12)][-1]
    head = subject.host.head()
    items: list[pb.Object] = []
    async with subject.stream("List") as stream:
        await stream.send(pb.ListRequest(selection=pb.Selection(resource="configmaps")))
        chunks = list(await stream.receive())
        await subject.create(config("c-03-5"))
        await subject.label(last, x="1")
        await subject.delete(await subject.get("configmaps", "c-10"))
        # While the writes were under way it may have paused for them.
        while more := await subject.while_time_passes(stream.receive):
            chunks += more
    for chunk in chunks:
        items.extend(chunk.items)
    assert [item.metadata.name for item in items] == [f"c-{number:02}" for number in range(12)]
    assert not any(item.metadata.labels for item in items)
    assert chunks[-1].resource_version == head


# ------------------------------------------------------------------------------------------------------ which revision


@over_all_subjects
async def test_a_list_without_a_revision_has_every_write_acknowledged_before_it(subject: Subject) -> None:
    for number in range(5):
        created = await subject.create(config(f"c-{number}"))
        page = await subject.list("configmaps")
        assert len(page.items) == number + 1
        assert page.resource_version >= created.resource_version


@over_all_subjects
async def test_a_list_at_any_revision_is_one_that_was(subject: Subject) -> None:
    await subject.create(config("a"))
    page = await subject.list("configmaps", resource_version="0")
    assert page.names in ([], ["a"])
    assert 0 < page.resource_version <= subject.host.head()


@over_all_subjects
async def test_a_list_is_not_older_than_the_revision_asked_for(subject: Subject) -> None:
    revisions = [(await subject.create(config(f"c-{number}"))).resource_version for number in range(4)]
    for number, revision in enumerate(revisions):
        page = await subject.list("configmaps", resource_version=str(revision))
        assert page.resource_version >= revision
        assert len(page.items) > number


@over_all_subjects
async def test_a_list_at_an_exact_revision_shows_the_past_and_nothing_else(subject: Subject) -> None:
    created = await subject.create(config("a", "first"))
    changed = await subject.label(created, x="1")
    gone = await subject.delete(changed)
    reborn = await subject.create(config("a", "second"))

    async def seen(revision: int) -> list[tuple[str, int, dict[str, str]]]:
        page = await subject.list("configmaps", resource_version=str(revision), exact=True)
        assert page.resource_version == revision
        return [(item.uid, item.resource_version, dict(item.labels)) for item in page.items]

    assert await seen(created.resource_version) == [(created.uid, created.resource_version, {})]
    assert await seen(changed.resource_version) == [(created.uid, changed.resource_version, {"x": "1"})]
    assert await seen(gone) == []
    assert await seen(reborn.resource_version) == [(reborn.uid, reborn.resource_version, {})]
    assert await seen(created.resource_version - 1) == []


@over_all_subjects
async def test_the_past_is_selected_by_what_the_objects_were_then(subject: Subject) -> None:
    created = await subject.create(config("a", labels={"x": "1"}))
    await subject.label(created, x="2")
    then = {"resource_version": str(created.resource_version), "exact": True}
    assert (await subject.list("configmaps", label_selector="x=1", **then)).names == ["a"]
    assert (await subject.list("configmaps", label_selector="x=2", **then)).names == []
    assert (await subject.list("configmaps", label_selector="x=2")).names == ["a"]


@over_all_subjects
async def test_the_past_can_be_listed_page_by_page(subject: Subject) -> None:
    objects = [await subject.create(config(f"c-{number}")) for number in range(5)]
    then = str(subject.host.head())
    for obj in objects:
        await subject.delete(obj)
    page = await subject.list("configmaps", resource_version=then, exact=True, limit=2)
    names = page.names
    while page.continue_token:
        page = await subject.list("configmaps", limit=2, continue_token=page.continue_token)
        assert page.resource_version == int(then)
        names += page.names
    assert names == [f"c-{number}" for number in range(5)]


@over_all_subjects
async def test_a_compacted_revision_is_gone_and_the_oldest_kept_is_not(subject: Subject) -> None:
    created = await subject.create(config("a"))
    changed = await subject.label(created, x="1")
    gone = await subject.delete(changed)
    subject.host.compact(changed.resource_version)
    with pytest.raises(Expired) as told:
        await subject.list("configmaps", resource_version=str(created.resource_version), exact=True)
    assert told.value.resource_version == changed.resource_version
    at_the_floor = await subject.list("configmaps", resource_version=str(changed.resource_version), exact=True)
    assert [item.resource_version for item in at_the_floor.items] == [changed.resource_version]
    assert (await subject.list("configmaps", resource_version=str(gone), exact=True)).names == []


@over_all_subjects
async def test_not_older_than_a_compacted_revision_is_no_difficulty(subject: Subject) -> None:
    created = await subject.create(config("a"))
    await subject.label(created, x="1")
    subject.host.compact(subject.host.head())
    page = await subject.list("configmaps", resource_version=str(created.resource_version))
    assert page.names == ["a"]


@over_all_subjects
async def test_a_list_that_is_read_late_is_still_of_the_revision_it_says(subject: Subject) -> None:
    first = await subject.create(config("a"))
    async with subject.stream("List") as stream:
        await stream.send(pb.ListRequest(selection=pb.Selection(resource="configmaps")))
        await subject.label(first, x="1")
        await subject.create(config("b"))
        [reply] = await stream.receive()
    page = await subject.list("configmaps", resource_version=str(reply.resource_version), exact=True)
    assert list(reply.items) == [item.message for item in page.items]


@over_all_subjects
async def test_a_revision_from_the_future_is_too_large_and_the_client_is_told_when_to_ask_again(
    subject: Subject,
) -> None:
    future = subject.host.head() + 5
    for match in ({}, {"exact": True}, {"not_older_than": True}):
        with pytest.raises(Timeout, match=f"(?i)too large resource version: {future}") as told:
            await subject.while_time_passes(raw_list, subject, resource_version=str(future), **match)
        assert told.value.retry_after_ms > 0
        assert told.value.resource_version == subject.host.head()
        assert [cause.reason for cause in told.value.causes] == ["ResourceVersionTooLarge"]


async def raw_list(subject: Subject, **options: Any) -> pb.ListReply:
    """A list that is asked for once: a client's own would try again."""
    reply = pb.ListReply()
    async with subject.stream("List") as stream:
        await stream.send(pb.ListRequest(selection=pb.Selection(resource="configmaps"), **options))
        while chunks := await stream.receive():
            for chunk in chunks:
                reply.MergeFrom(chunk)
    return reply


@over_all_subjects
async def test_a_list_waits_a_little_for_a_revision_that_is_about_to_come(subject: Subject) -> None:
    await subject.create(config("a"))
    coming = subject.host.head() + 2
    for options in ({}, {"exact": True}, {"not_older_than": True, "limit": 1}):
        coming = subject.host.head() + 2
        replies: list[pb.ListReply] = []

        async def ask(
            replies: list[pb.ListReply] = replies, coming: int = coming, options: dict[str, Any] = options
        ) -> None:
            replies.append(await raw_list(subject, resource_version=str(coming), **options))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await subject.create(config("", generateName="b-"))
            await trio.testing.wait_all_tasks_blocked(0.001)
            assert replies == []
            await subject.create(config("", generateName="b-"))

            async def answered(replies: list[pb.ListReply] = replies) -> None:
                while not replies:
                    await subject.turn()

            await subject.while_time_passes(answered)
        assert replies[0].resource_version >= coming


@over_all_subjects
async def test_a_get_is_not_older_than_the_revision_asked_for(subject: Subject) -> None:
    created = await subject.create(config("a"))
    request = name_of(created)
    request.resource_version = str(created.resource_version)
    assert (await subject.call("Get", request)).object == created.message
    request.resource_version = str(created.resource_version + 9)
    with pytest.raises(Timeout, match="too large resource version"):
        await subject.while_time_passes(subject.call, "Get", request)
    request.resource_version = "x"
    with pytest.raises(BadRequest):
        await subject.call("Get", request)
    request.resource_version, request.incarnation = "1", "another"
    with pytest.raises(Expired):
        await subject.call("Get", request)


@over_all_subjects
async def test_a_limit_makes_a_revision_exact_unless_not_older_than_is_asked_for(subject: Subject) -> None:
    created = await subject.create(config("a"))
    await subject.create(config("b"))
    then = str(created.resource_version)
    exact = await raw_list(subject, resource_version=then, limit=5)
    assert ([item.metadata.name for item in exact.items], exact.resource_version) == (["a"], created.resource_version)
    newer = await raw_list(subject, resource_version=then, limit=5, not_older_than=True)
    assert [item.metadata.name for item in newer.items] == ["a", "b"]
    assert [item.metadata.name for item in (await raw_list(subject, resource_version="0", limit=5)).items] == ["a", "b"]


@over_all_subjects
async def test_how_a_revision_is_matched_is_said_only_with_a_revision_to_match(subject: Subject) -> None:
    await subject.create(config("a"))
    for options in (
        {"exact": True},
        {"exact": True, "resource_version": "0"},
        {"not_older_than": True},
        {"exact": True, "not_older_than": True, "resource_version": "1"},
    ):
        with pytest.raises(Invalid) as told:
            await raw_list(subject, **options)
        assert told.value.causes[0].field == "resourceVersionMatch"


@over_all_subjects
async def test_a_list_says_whose_its_revision_is_and_another_incarnation_has_expired(subject: Subject) -> None:
    reply = await raw_list(subject)
    assert reply.incarnation == "one"
    await raw_list(subject, incarnation="one", resource_version=str(reply.resource_version))
    for revision in ("", "0", str(reply.resource_version), "999"):
        with pytest.raises(Expired):
            await raw_list(subject, incarnation="another", resource_version=revision)


@over_all_subjects
async def test_no_number_is_no_revision(subject: Subject) -> None:
    for text in ("abc", "-1", "1.5", "0x10", " 1", "1_000", "\u0661"):
        with pytest.raises(BadRequest):
            await subject.list("pods", resource_version=text)


# --------------------------------------------------------------------------------------------------------------- pages


@over_all_subjects
async def test_pages_are_of_one_revision_over_writes_and_together_the_list(subject: Subject) -> None:
    for number in range(7):
        await subject.create(config(f"c-{number}"))
    whole = await subject.list("configmaps")
    page = await subject.list("configmaps", limit=3)
    items = page.items
    sizes = [len(page.items)]
    for change in ("c-00", "c-33"):
        await subject.create(config(change))
        await subject.delete(await subject.get("configmaps", "c-" + change[-1].replace("0", "5").replace("3", "6")))
        page = await subject.list("configmaps", limit=3, continue_token=page.continue_token)
        assert page.resource_version == whole.resource_version
        items += page.items
        sizes.append(len(page.items))
    assert (sizes, page.continue_token) == ([3, 3, 1], "")
    assert [item.message for item in items] == [item.message for item in whole.items]


@over_all_subjects
async def test_a_limit_that_is_not_reached_cuts_nothing(subject: Subject) -> None:
    for number in range(3):
        await subject.create(config(f"c-{number}"))
    for limit in (0, 3, 4, 2**32 - 1):
        page = await subject.list("configmaps", limit=limit)
        assert (len(page.items), page.continue_token) == (3, "")


@over_all_subjects
async def test_pages_are_full_of_what_is_selected(subject: Subject) -> None:
    for number in range(20):
        await subject.create(config(f"c-{number:02}", labels={"odd": str(number % 2)}))
    page = await subject.list("configmaps", label_selector="odd=1", limit=4)
    names = page.names
    assert len(names) == 4
    while page.continue_token:
        page = await subject.list("configmaps", label_selector="odd=1", limit=4, continue_token=page.continue_token)
        names += page.names
    assert names == [f"c-{number:02}" for number in range(1, 20, 2)]


@over_all_subjects
async def test_a_page_may_begin_where_an_object_was_deleted(subject: Subject) -> None:
    for number in range(4):
        await subject.create(config(f"c-{number}"))
    page = await subject.list("configmaps", limit=2)
    await subject.delete(await subject.get("configmaps", "c-2"))
    rest = await subject.list("configmaps", continue_token=page.continue_token)
    assert rest.names == ["c-2", "c-3"]


@over_all_subjects
async def test_a_page_whose_revision_is_compacted_has_expired(subject: Subject) -> None:
    for number in range(4):
        await subject.create(config(f"c-{number}"))
    page = await subject.list("configmaps", limit=2)
    await subject.create(config("c-9"))
    subject.host.compact(subject.host.head())
    with pytest.raises(Expired) as told:
        await subject.list("configmaps", limit=2, continue_token=page.continue_token)
    assert told.value.continue_token
    rest = await subject.list("configmaps", limit=2, continue_token=told.value.continue_token)
    assert (rest.names, rest.resource_version) == (["c-2", "c-3"], subject.host.head())
    rest = await subject.list("configmaps", limit=2, continue_token=rest.continue_token)
    assert (rest.names, rest.continue_token) == (["c-9"], "")


@over_all_subjects
async def test_a_token_has_a_revision_of_its_own_and_bears_no_other(subject: Subject) -> None:
    for number in range(4):
        await subject.create(config(f"c-{number}"))
    page = await subject.list("configmaps", limit=2)
    for options in ({"resource_version": str(page.resource_version)}, {"resource_version": "0", "exact": True}):
        with pytest.raises((BadRequest, Invalid)):
            await subject.list("configmaps", continue_token=page.continue_token, **options)


@over_all_subjects
async def test_a_token_of_another_incarnation_has_expired(subject: Subject) -> None:
    for number in range(4):
        await subject.create(config(f"c-{number}"))
    page = await subject.list("configmaps", limit=2)
    subject.host.replace_store("two")
    with pytest.raises(Expired):
        await subject.list("configmaps", limit=2, continue_token=page.continue_token)


@over_all_subjects
async def test_the_number_of_items_that_are_left_is_told_where_it_is_known(subject: Subject) -> None:
    for number in range(7):
        await subject.create(config(f"c-{number}", labels={"x": "1"}))
    reply = await raw_list(subject, limit=3)
    assert reply.remaining == 4
    await subject.create(config("c-00"))
    reply = await raw_list(subject, limit=3, continue_token=reply.continue_token)
    assert reply.remaining == 1
    reply = await raw_list(subject, limit=3, continue_token=reply.continue_token)
    assert (reply.remaining, len(reply.items)) == (0, 1)
    async with subject.stream("List") as stream:
        selection = pb.Selection(resource="configmaps", label_selector="x=1")
        await stream.send(pb.ListRequest(selection=selection, limit=3))
        [reply] = await stream.receive()
    assert (reply.remaining, bool(reply.continue_token)) == (0, True)


@over_all_subjects
async def test_pages_go_on_over_a_crash_of_the_server(subject: Subject) -> None:
    for number in range(4):
        await subject.create(config(f"c-{number}"))
    page = await subject.list("configmaps", limit=2)
    await subject.crash()
    await subject.create(config("c-22"))
    rest = await subject.list("configmaps", continue_token=page.continue_token)
    assert rest.names == ["c-2", "c-3"]
    assert rest.resource_version == page.resource_version


@over_all_subjects
async def test_a_token_continues_its_own_query_only(subject: Subject) -> None:
    for number in range(4):
        await subject.create(config(f"c-{number}", labels={"x": "1"}))
    token = (await subject.list("configmaps", limit=2)).continue_token
    for other in (
        {"resource": "pods"},
        {"resource": "configmaps", "tenant": "system"},
        {"resource": "configmaps", "namespace": "default"},
        {"resource": "configmaps", "label_selector": "x=1"},
        {"resource": "configmaps", "field_selector": "metadata.name=c-3"},
    ):
        with pytest.raises(BadRequest):
            await subject.list(continue_token=token, **other)


@over_all_subjects
async def test_a_token_that_is_none_is_refused(subject: Subject) -> None:
    for number in range(4):
        await subject.create(config(f"c-{number}"))
    token = (await subject.list("configmaps", limit=2)).continue_token
    for broken in (
        "nonsense",
        token[:-4],
        token[:-1],
        token + "A",
        "A" + token,
        token[::-1],
        "=",
        "\u00e9",
        "k" * 9999,
    ):
        with pytest.raises(BadRequest):
            await subject.list("configmaps", continue_token=broken)


# ----------------------------------------------------------------------------------------------------------- selection


@over_all_subjects
async def test_label_selectors_know_all_operators(subject: Subject) -> None:
    await subject.create(config("both", labels={"app": "web", "tier": "front"}))
    await subject.create(config("db", labels={"app": "db"}))
    await subject.create(config("empty", labels={"app": ""}))
    await subject.create(config("none"))
    for selector, names in {
        "": ["both", "db", "empty", "none"],
        "app=web": ["both"],
        "app==web": ["both"],
        "app = web": ["both"],
        "app=": ["empty"],
        "app!=web": ["db", "empty", "none"],
        "app": ["both", "db", "empty"],
        "!app": ["none"],
        "app in (web,db)": ["both", "db"],
        "app in (db)": ["db"],
        "app in (,db)": ["db", "empty"],
        "app notin (web, db)": ["empty", "none"],
        "tier notin (back)": ["both", "db", "empty", "none"],
        "app in (web, db),!tier": ["db"],
        "app=web,tier=front": ["both"],
        "app=web,app=db": [],
        "example.com/app": [],
    }.items():
        assert (await subject.list("configmaps", label_selector=selector)).names == names, selector


@over_all_subjects
async def test_field_selectors_know_equality(subject: Subject) -> None:
    await subject.create(pod("a"))
    created = await subject.create(pod("b"))
    await subject.update(created.with_status({"phase": "Running"}), subresource="status")
    for selector, names in {
        "metadata.name=a": ["a"],
        "metadata.name==a": ["a"],
        "metadata.name!=a": ["b"],
        "metadata.namespace=default": ["a", "b"],
        "metadata.namespace=kube-system": [],
        "status.phase=Pending": ["a"],
        "status.phase!=Pending": ["b"],
        "spec.nodeName=": ["a", "b"],
        "spec.nodeName!=": [],
        "status.phase=Running,metadata.name=b": ["b"],
        "status.phase=Running,metadata.name=a": [],
        "status.phase=Running,status.phase=Pending": [],
    }.items():
        assert (await subject.list("pods", field_selector=selector)).names == names, selector


@over_all_subjects
async def test_lists_are_of_a_tenant_of_a_namespace_or_of_all(subject: Subject) -> None:
    await subject.create(tenant("acme"))
    for name, where in {"a": {"tenant": "acme"}, "b": {}, "c": {"namespace": "kube-system"}}.items():
        await subject.create(config(name, **where))
    for selection, names in (
        ({}, ["a", "b", "c"]),
        ({"tenant": "acme"}, ["a"]),
        ({"tenant": "system"}, ["b", "c"]),
        ({"namespace": "default"}, ["a", "b"]),
        ({"tenant": "system", "namespace": "default"}, ["b"]),
        ({"tenant": "acm"}, []),
        ({"tenant": "nobody"}, []),
    ):
        assert (await subject.list("configmaps", **selection)).names == names, selection


@over_all_subjects
async def test_a_selection_that_makes_no_sense_is_refused_with_what_would(subject: Subject) -> None:
    for selection, why in (
        ({"resource": "unicorns"}, "unicorns"),
        ({"resource": ""}, "resource"),
        ({"resource": "nodes"}, "resource partition"),
        ({"resource": "pods", "field_selector": "spec.color=red"}, "spec.color"),
        ({"resource": "pods", "field_selector": "status.phase"}, "status.phase"),
        ({"resource": "pods", "field_selector": "status.phase in (Running)"}, "field"),
        ({"resource": "pods", "label_selector": "a in b"}, "a in b"),
        ({"resource": "pods", "label_selector": "a=b=c"}, "a=b=c"),
        ({"resource": "pods", "label_selector": ",,"}, "label selector"),
        ({"resource": "pods", "label_selector": "a in (b"}, "label selector"),
    ):
        with pytest.raises(BadRequest, match=why):
            await subject.list(**selection)


# ---------------------------------------------------------------------------------------------------------------- gets


@over_all_subjects
async def test_a_get_has_every_write_acknowledged_before_it(subject: Subject) -> None:
    created = await subject.create(config("a"))
    assert (await subject.get("configmaps", "a")).message == created.message
    changed = await subject.label(created, x="1")
    assert (await subject.get("configmaps", "a")).message == changed.message
    await subject.delete(changed)
    with pytest.raises(NotFound) as told:
        await subject.get("configmaps", "a")
    assert told.value.key.endswith("configmaps/system/default/a")


@over_all_subjects
async def test_nothing_is_found_under_half_a_name(subject: Subject) -> None:
    await subject.create(config("a"))
    for name, where in (("", {}), ("b", {}), ("a", {"namespace": "kube-system"}), ("a", {"tenant": "acme"})):
        with pytest.raises((NotFound, BadRequest)):
            await subject.get("configmaps", name, **where)


# ------------------------------------------------------------------------------------------------ before it is durable


@over_all_subjects
async def test_what_is_not_durable_is_in_no_list_and_no_get(subject: Subject) -> None:
    created = await subject.create(config("a"))
    subject.host.hold_commits()
    async with subject.stream("Mutate") as stream:
        operation = pb.Operation(resource="configmaps")
        operation.update.object.CopyFrom(created.with_metadata(labels={"x": "1"}).message)
        await stream.send(pb.MutateRequest(operations=[operation], batch=1))
        for _ in range(3):
            page = await subject.list_patiently("configmaps")
            assert [dict(item.labels) for item in page.items] == [{}]
            assert page.resource_version == created.resource_version
            assert not (await subject.get("configmaps", "a")).labels
        subject.host.release_commits()
        assert [reply.batch for reply in await stream.receive()] == [1]
    assert (await subject.list("configmaps", label_selector="x=1")).names == ["a"]
