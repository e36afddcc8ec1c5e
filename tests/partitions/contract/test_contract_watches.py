"""Watches, as Kubernetes defines them: which events, of which type, from where, and how a watch ends."""

from __future__ import annotations

import pytest
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, BadRequest, Expired
from ursa.proto.objects import Object

from .objects import config, namespace, pod, tenant
from .subjects import Subject, Watching, name_of, over_all_subjects

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"


async def some_history(subject: Subject) -> list[int]:
    """Of ConfigMaps: a created, b created, a changed, b deleted. The revisions."""
    a = await subject.create(config("a"))
    b = await subject.create(config("b"))
    changed = await subject.label(a, x="1")
    gone = await subject.delete(b)
    return [a.resource_version, b.resource_version, changed.resource_version, gone]


# -------------------------------------------------------------------------------------------------------------- events


@over_all_subjects
async def test_a_watch_tells_what_is_created_changed_and_deleted_in_order(subject: Subject) -> None:
    watching = subject.watch("configmaps", resource_version=subject.host.head())
    revisions = await some_history(subject)
    await subject.settled(watching)
    assert watching.brief == [(ADDED, "a"), (ADDED, "b"), (MODIFIED, "a"), (DELETED, "b")]
    assert [event.revision for event in watching.events] == revisions


@over_all_subjects
async def test_an_event_shows_the_object_as_the_writer_was_told(subject: Subject) -> None:
    watching = subject.watch("pods", resource_version=subject.host.head())
    created = await subject.create(pod("a", labels={"x": "1"}))
    changed = await subject.label(created, x="2")
    await subject.settled(watching)
    assert [event.object.message for event in watching.events] == [created.message, changed.message]


@over_all_subjects
async def test_a_deletion_shows_the_last_state_with_the_revision_of_the_deletion(subject: Subject) -> None:
    created = await subject.create(config("a", "kept", labels={"x": "1"}))
    watching = subject.watch("configmaps", resource_version=subject.host.head())
    gone = await subject.delete(created)
    await subject.settled(watching)
    [event] = watching.events
    assert (event.type, event.revision) == (DELETED, gone)
    assert event.object.resource_version == gone
    assert event.object.uid == created.uid
    assert (dict(event.object.labels), event.object.rest) == ({"x": "1"}, created.rest)


@over_all_subjects
async def test_another_life_of_a_name_is_another_object(subject: Subject) -> None:
    first = await subject.create(config("a"))
    watching = subject.watch("configmaps", resource_version=subject.host.head())
    await subject.delete(first)
    second = await subject.create(config("a"))
    await subject.settled(watching)
    assert [(event.type, event.object.uid) for event in watching.events] == [
        (DELETED, first.uid),
        (ADDED, second.uid),
    ]


@over_all_subjects
async def test_changes_of_one_batch_are_told_one_by_one(subject: Subject) -> None:
    watching = subject.watch("configmaps", resource_version=subject.host.head())
    operations = []
    for number in range(3):
        change = pb.Operation(resource="configmaps")
        change.create.object.CopyFrom(Object.from_dict(config(f"c-{number}")).message)
        operations.append(change)
    for payload in ("1", "2"):
        change = pb.Operation(resource="configmaps")
        change.update.object.CopyFrom(Object.from_dict(config("c-1", payload)).message)
        operations.append(change)
    results = await subject.mutate(*operations)
    await subject.settled(watching)
    assert [event.revision for event in watching.events] == [result.resource_version for result in results]
    assert watching.brief[-2:] == [(MODIFIED, "c-1")] * 2
    assert [event.object.rest["data"]["payload"] for event in watching.events] == ["", "", "", "1", "2"]


@over_all_subjects
async def test_writes_that_fail_or_change_nothing_are_no_events(subject: Subject) -> None:
    created = await subject.create(config("a"))
    watching = subject.watch("configmaps", resource_version=subject.host.head())
    await subject.update(created)
    for refused in (subject.create(config("a")), subject.create(config("B")), subject.delete(created, uid="no")):
        with pytest.raises(ApiError):
            await refused
    await subject.create(pod("other"))
    await subject.settled(watching)
    assert watching.events == []


@over_all_subjects
async def test_what_is_not_durable_is_not_told(subject: Subject) -> None:
    watching = subject.watch("configmaps", resource_version=subject.host.head())
    subject.host.hold_commits()
    async with subject.stream("Mutate") as stream:
        operation = pb.Operation(resource="configmaps")
        operation.create.object.CopyFrom(Object.from_dict(config("a")).message)
        await stream.send(pb.MutateRequest(operations=[operation]))
        assert (await subject.list_patiently("configmaps")).names == []
        await subject.settled(watching)
        assert watching.events == []
        subject.host.release_commits()
        await stream.receive()
    await subject.settled(watching)
    assert watching.brief == [(ADDED, "a")]


@over_all_subjects
async def test_finalizers_make_a_deletion_a_change_first(subject: Subject) -> None:
    created = await subject.create(config("a", finalizers=["ursa.dev/one"]))
    watching = subject.watch("configmaps", resource_version=subject.host.head())
    await subject.delete(created)
    going = await subject.get("configmaps", "a")
    await subject.update(going.with_metadata(finalizers=[]))
    await subject.settled(watching)
    assert watching.brief == [(MODIFIED, "a"), (DELETED, "a")]
    assert watching.events[0].object.deletion_ms > 0


# ------------------------------------------------------------------------------------------------------ where it begins


@over_all_subjects
async def test_a_watch_from_a_revision_tells_all_behind_it_and_nothing_before(subject: Subject) -> None:
    start = subject.host.head()
    revisions = await some_history(subject)
    for position, revision in enumerate([start, *revisions]):
        watching = subject.watch("configmaps", resource_version=revision)
        await subject.settled(watching)
        assert [event.revision for event in watching.events] == revisions[position:]


@over_all_subjects
async def test_a_watch_from_now_tells_only_what_comes(subject: Subject) -> None:
    await some_history(subject)
    watching = subject.watch("configmaps")
    await subject.settled(watching)
    assert watching.events == []
    await subject.create(config("later"))
    await subject.settled(watching)
    assert watching.brief == [(ADDED, "later")]


@over_all_subjects
async def test_a_watch_from_a_list_misses_nothing_and_repeats_nothing(subject: Subject) -> None:
    await some_history(subject)
    page = await subject.list("configmaps")
    await subject.create(config("c"))
    watching = subject.watch("configmaps", resource_version=page.resource_version)
    await subject.create(config("d"))
    await subject.settled(watching)
    assert watching.brief == [(ADDED, "c"), (ADDED, "d")]


@over_all_subjects
async def test_initial_events_are_the_list_and_end_before_what_comes_later(subject: Subject) -> None:
    await some_history(subject)
    page = await subject.list("configmaps")
    watching = subject.watch("configmaps", initial_events=True)
    await watching.until(lambda: watching.initial is not None)
    await subject.create(config("c"))
    await subject.settled(watching)
    assert watching.initial == 1
    assert [event.object.message for event in watching.events[:1]] == [item.message for item in page.items]
    assert watching.brief == [(ADDED, "a"), (ADDED, "c")]


@over_all_subjects
async def test_initial_events_of_nothing_end_at_once(subject: Subject) -> None:
    watching = subject.watch("configmaps", initial_events=True)
    await watching.until(lambda: watching.initial is not None)
    await subject.settled(watching)
    assert (watching.initial, watching.events) == (0, [])


@over_all_subjects
async def test_initial_events_are_those_selected(subject: Subject) -> None:
    for number in range(4):
        await subject.create(config(f"c-{number}", labels={"odd": str(number % 2)}))
    watching = subject.watch("configmaps", initial_events=True, label_selector="odd=1")
    await subject.settled(watching)
    assert watching.brief == [(ADDED, "c-1"), (ADDED, "c-3")]
    assert watching.initial == 2


@over_all_subjects
async def test_initial_events_of_many_bytes_are_whole_and_of_one_revision(subject: Subject) -> None:
    last = [await subject.create(config(f"c-{number:02}", "x" * 100_000)) for number in range(12)][-1]
    watching = subject.watch("configmaps", initial_events=True)
    await subject.label(last, x="1")
    await subject.settled(watching)
    assert watching.initial in (12, 13)
    assert [event.object.name for event in watching.events[:12]] == [f"c-{number:02}" for number in range(12)]
    view = replayed(watching)
    assert [item.message for item in (await subject.list("configmaps")).items] == [view[name] for name in sorted(view)]


def replayed(watching: Watching) -> dict[str, pb.Object]:
    """What a client has that applies each event in turn."""
    view: dict[str, pb.Object] = {}
    for event in watching.events:
        if event.type == DELETED:
            del view[event.object.name]
        else:
            view[event.object.name] = event.object.message
    return view


# ------------------------------------------------------------------------------------------------------------ selection


@over_all_subjects
async def test_an_object_that_enters_a_selection_is_added_and_that_leaves_it_deleted(subject: Subject) -> None:
    watching = subject.watch("configmaps", resource_version=subject.host.head(), label_selector="x=1")
    plain = await subject.create(config("a"))
    inside = await subject.label(plain, x="1")
    still = await subject.label(inside, x="1", y="2")
    outside = await subject.label(still, x="2")
    back = await subject.label(outside, x="1")
    await subject.delete(back)
    await subject.settled(watching)
    assert [(event.type, event.revision) for event in watching.events] == [
        (ADDED, inside.resource_version),
        (MODIFIED, still.resource_version),
        (DELETED, outside.resource_version),
        (ADDED, back.resource_version),
        (DELETED, back.resource_version + 1),
    ]


@over_all_subjects
async def test_an_object_that_left_a_selection_is_shown_as_it_was_in_it(subject: Subject) -> None:
    inside = await subject.create(config("a", labels={"x": "1"}))
    watching = subject.watch("configmaps", resource_version=subject.host.head(), label_selector="x=1")
    outside = await subject.label(inside, x="2")
    await subject.delete(outside)
    await subject.settled(watching)
    [event] = watching.events
    assert (event.type, event.revision, dict(event.object.labels)) == (DELETED, outside.resource_version, {"x": "1"})


@over_all_subjects
async def test_a_pod_enters_the_watch_of_its_node_when_it_is_bound(subject: Subject) -> None:
    head = subject.host.head()
    watches = {
        node: subject.watch("pods", resource_version=head, field_selector=f"spec.nodeName={node}")
        for node in ("", "n1", "n2")
    }
    created = await subject.create(pod("a"))
    operation = pb.Operation(resource="pods")
    operation.bind.target.CopyFrom(name_of(created))
    operation.bind.preconditions.uid = created.uid
    operation.bind.node, operation.bind.resource_partition = "n1", "rp-1"
    bound = (await subject.do(operation)).resource_version
    await subject.delete(created)
    await subject.settled(*watches.values())
    assert [(event.type, event.revision) for event in watches[""].events] == [
        (ADDED, created.resource_version),
        (DELETED, bound),
    ]
    assert [(event.type, event.revision) for event in watches["n1"].events] == [
        (ADDED, bound),
        (DELETED, bound + 1),
    ]
    assert watches["n2"].events == []


@over_all_subjects
async def test_one_object_is_watched_by_its_name(subject: Subject) -> None:
    watching = subject.watch("configmaps", field_selector="metadata.name=b", resource_version=subject.host.head())
    await some_history(subject)
    await subject.settled(watching)
    assert watching.brief == [(ADDED, "b"), (DELETED, "b")]


@over_all_subjects
async def test_watches_are_of_a_tenant_of_a_namespace_or_of_all(subject: Subject) -> None:
    await subject.create(tenant("acme"))
    await subject.create(namespace("team"))
    head = subject.host.head()
    selections = {
        "": {},
        "acme": {"tenant": "acme"},
        "system": {"tenant": "system"},
        "team": {"tenant": "system", "namespace": "team"},
        "default": {"namespace": "default"},
    }
    watches = {
        name: subject.watch("configmaps", resource_version=head, **options) for name, options in selections.items()
    }
    await subject.create(config("in-acme", tenant="acme"))
    await subject.create(config("in-team", namespace="team"))
    await subject.create(config("in-default"))
    await subject.settled(*watches.values())
    assert {name: [event.object.name for event in each.events] for name, each in watches.items()} == {
        "": ["in-acme", "in-team", "in-default"],
        "acme": ["in-acme"],
        "system": ["in-team", "in-default"],
        "team": ["in-team"],
        "default": ["in-acme", "in-default"],
    }


@over_all_subjects
async def test_a_watch_with_a_selector_tells_of_the_past_what_it_would_have_told_then(subject: Subject) -> None:
    start = subject.host.head()
    live = subject.watch("configmaps", resource_version=start, label_selector="x in (1, 2),!hidden")
    plain = await subject.create(config("a"))
    inside = await subject.label(plain, x="1")
    hidden = await subject.label(inside, x="1", hidden="")
    shown = await subject.label(hidden, x="2")
    await subject.delete(shown)
    late = subject.watch("configmaps", resource_version=start, label_selector="x in (1, 2),!hidden")
    await subject.settled(live, late)
    assert [event.type for event in live.events] == [ADDED, DELETED, ADDED, DELETED]
    for one, other in zip(late.events, live.events, strict=True):
        assert (one.type, one.object.message, one.revision) == (other.type, other.object.message, other.revision)


# ------------------------------------------------------------------------------------------------ bookmarks, going on


@over_all_subjects
async def test_a_quiet_watch_learns_how_far_it_is_complete(subject: Subject) -> None:
    watching = subject.watch("configmaps")
    for number in range(3):
        await subject.create(pod(f"p-{number}"))
    await subject.settled(watching)
    assert watching.events == []
    assert watching.bookmark == subject.host.head()


@over_all_subjects
async def test_a_watch_goes_on_from_its_bookmark_or_its_last_event(subject: Subject) -> None:
    watching = subject.watch("configmaps", resource_version=subject.host.head())
    revisions = await some_history(subject)
    await subject.create(pod("elsewhere"))
    await subject.settled(watching)
    bookmark = watching.bookmark
    watching.stop()
    await subject.create(config("later"))
    for position in (bookmark, revisions[-1]):
        resumed = subject.watch("configmaps", resource_version=position, incarnation="one")
        await subject.settled(resumed)
        assert resumed.brief == [(ADDED, "later")]


@over_all_subjects
async def test_a_watch_goes_on_over_a_crash_of_the_server(subject: Subject) -> None:
    watching = subject.watch("configmaps", resource_version=subject.host.head())
    revisions = await some_history(subject)
    await subject.settled(watching)
    await subject.crash()
    await watching.until(lambda: not watching.open)
    again = await subject.label(await subject.get("configmaps", "a"), x="2")
    resumed = subject.watch("configmaps", resource_version=revisions[1], incarnation="one")
    await subject.settled(resumed)
    assert [event.revision for event in resumed.events] == [*revisions[2:], again.resource_version]
    assert [event.type for event in resumed.events] == [MODIFIED, DELETED, MODIFIED]


@over_all_subjects
async def test_a_stopped_watch_is_told_nothing_more(subject: Subject) -> None:
    stopped = subject.watch("configmaps", resource_version=subject.host.head())
    other = subject.watch("configmaps", resource_version=subject.host.head())
    await subject.create(config("a"))
    await subject.settled(stopped, other)
    stopped.stop()
    await subject.create(config("b"))
    await subject.settled(other)
    assert stopped.brief == [(ADDED, "a")]
    assert other.brief == [(ADDED, "a"), (ADDED, "b")]


# ---------------------------------------------------------------------------------------------------------- how it ends


async def refusal(subject: Subject, resource: str, **options: object) -> ApiError:
    watching = subject.watch(resource, **options)
    await watching.until(lambda: watching.error is not None)
    assert watching.events == []
    assert watching.error is not None
    return watching.error


@over_all_subjects
async def test_a_watch_from_the_future_has_expired_and_is_told_the_newest_revision(subject: Subject) -> None:
    head = subject.host.head()
    for future in (head + 1, head + 1000, 2**63, 2**64 - 1):
        error = await refusal(subject, "configmaps", resource_version=future)
        assert isinstance(error, Expired)
        assert error.resource_version == head


@over_all_subjects
async def test_a_watch_of_another_incarnation_has_expired_whatever_its_revision(subject: Subject) -> None:
    created = await subject.create(config("a"))
    for revision in (created.resource_version, 1, created.resource_version + 50):
        error = await refusal(subject, "configmaps", resource_version=revision, incarnation="another")
        assert isinstance(error, Expired)


@over_all_subjects
async def test_a_watch_of_what_is_compacted_has_expired_and_one_from_the_floor_goes_on(subject: Subject) -> None:
    revisions = await some_history(subject)
    await subject.create(config("c"))
    floor = revisions[2]
    subject.host.compact(floor)
    await subject.crash()  # Its successor has no more than what is kept.
    error = await refusal(subject, "configmaps", resource_version=floor - 1)
    assert isinstance(error, Expired)
    assert error.resource_version == floor
    watching = subject.watch("configmaps", resource_version=floor)
    await subject.settled(watching)
    assert watching.brief == [(DELETED, "b"), (ADDED, "c")]


@over_all_subjects
async def test_a_selection_that_makes_no_sense_ends_its_watch_and_no_other(subject: Subject) -> None:
    good = subject.watch("configmaps")
    for selection in (
        {"resource": "unicorns"},
        {"resource": "nodes"},
        {"resource": "pods", "field_selector": "spec.color=red"},
        {"resource": "pods", "label_selector": "a in b"},
    ):
        assert isinstance(await refusal(subject, **selection), BadRequest)
    await subject.create(config("a"))
    await subject.settled(good)
    assert good.brief == [(ADDED, "a")]


@over_all_subjects
async def test_many_watches_of_one_client_are_each_told_their_own(subject: Subject) -> None:
    head = subject.host.head()
    watches = [
        subject.watch("configmaps", resource_version=head, label_selector=f"n={number % 10}") for number in range(100)
    ]
    for number in range(10):
        await subject.create(config(f"c-{number}", labels={"n": str(number)}))
    await subject.settled(*watches)
    assert [each.brief for each in watches] == [[(ADDED, f"c-{number % 10}")] for number in range(100)]


@over_all_subjects
async def test_a_client_that_reads_slowly_gets_everything_in_the_end(subject: Subject) -> None:
    head = subject.host.head()
    async with subject.stream("Watch") as slow:
        start = pb.WatchStart(id=1, selection=pb.Selection(resource="configmaps"), resource_version=head)
        await slow.send(pb.WatchRequest(start=[start]))
        for number in range(30):
            await subject.create(config(f"c-{number:02}", "x" * 20_000))
        names: list[str] = []
        while len(names) < 30:
            for reply in await slow.receive():
                for batch in reply.batches:
                    assert not batch.HasField("error")
                    names += [event.object.metadata.name for event in batch.events]
    assert names == [f"c-{number:02}" for number in range(30)]
