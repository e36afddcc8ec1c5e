"""Watches: what is told, from where on, in which order, and what may be relied on."""

from __future__ import annotations

import pytest
import trio
from ursa.proto.errors import FutureRevision
from ursa.storage import StageConflict

from .. import watch_promises
from .stages import over_every_subject
from .subject import ADDED, DELETED, MODIFIED, Delete, Event, Put, Subject, Watching


async def some_history(subject: Subject) -> list[int]:
    return [
        await subject.put("red/a", "1"),
        await subject.put("blue/b", "2"),
        await subject.put("red/a", "3"),
        await subject.delete("blue/b"),
        await subject.put("red-x/c", "4"),
        await subject.delete("red/a"),
        await subject.put("red/a", "5"),
    ]


TOLD = [
    (ADDED, "red/a", "1"),
    (ADDED, "blue/b", "2"),
    (MODIFIED, "red/a", "3"),
    (DELETED, "blue/b", "2"),
    (ADDED, "red-x/c", "4"),
    (DELETED, "red/a", "3"),
    (ADDED, "red/a", "5"),
]


def briefs(events: list[Event]) -> list[tuple[str, str, str]]:
    return [event.brief for event in events]


# --------------------------------------------------------------------------------------------------------- what is told


@over_every_subject
async def test_a_watch_tells_every_change_with_its_revision_in_order(subject: Subject) -> None:
    watching = subject.watch("", await subject.head())
    revisions = await some_history(subject)
    events = await watching.news()
    assert briefs(events) == TOLD
    assert [event.revision for event in events] == revisions


@over_every_subject
async def test_a_watch_tells_what_has_happened_before_it_was_opened(subject: Subject) -> None:
    before = await subject.head()
    await some_history(subject)
    assert briefs(await subject.watch("", before).news()) == TOLD


@over_every_subject
async def test_a_watch_begins_behind_its_revision(subject: Subject) -> None:
    revisions = await some_history(subject)
    for told, revision in enumerate(revisions, 1):
        assert briefs(await subject.watch("", revision).news()) == TOLD[told:]


@over_every_subject
async def test_a_watch_tells_what_is_under_its_prefix(subject: Subject) -> None:
    before = await subject.head()
    early = {prefix: subject.watch(prefix, before) for prefix in ("red/", "red-x/", "blue/")}
    await some_history(subject)
    for prefix, watching in early.items():
        due = [told for told in TOLD if told[1].startswith(prefix)]
        assert briefs(await watching.news()) == due
        assert briefs(await subject.watch(prefix, before).news()) == due


@over_every_subject
async def test_an_event_shows_what_a_read_shows(subject: Subject) -> None:
    watching = subject.watch("", await subject.head())
    for value in ("1", "2"):
        await subject.put("red/a", value)
        [event] = await watching.news()
        item = await subject.get("red/a")
        assert item is not None
        assert (event.key, event.value, event.revision, event.life) == item


@over_every_subject
async def test_a_deletion_shows_what_was_deleted_and_its_own_revision(subject: Subject) -> None:
    await subject.put("red/a", "1")
    head = await subject.put("red/a", "2")
    item = await subject.get("red/a")
    watching = subject.watch("", head)
    deleted = await subject.delete("red/a")
    [event] = await watching.news()
    assert item is not None
    assert event == Event(DELETED, "red/a", "2", deleted, item.life)


@over_every_subject
async def test_what_is_created_again_is_told_as_another_life(subject: Subject) -> None:
    head = await subject.put("red/a", "1")
    watching = subject.watch("red/", head)
    await subject.write(Delete("red/a"), Put("red/a", "2"), Put("red/a", "3"))
    events = await watching.news()
    assert [event.type for event in events] == [DELETED, ADDED, MODIFIED]
    lives = [event.life for event in events]
    assert (lives[0] != lives[1], lives[1] == lives[2]) == (True, True)


@over_every_subject
async def test_refused_writes_are_not_told(subject: Subject) -> None:
    head = await subject.put("red/a", "1")
    watching = subject.watch("", head)
    for write in (subject.put("red/a", "2", expected=0), subject.put("red/a", "2", expected=head + 1)):
        with pytest.raises(StageConflict):
            await write
    with pytest.raises(StageConflict):
        await subject.delete("red/b")
    assert await watching.news() == []


@over_every_subject
async def test_what_waits_for_its_commit_is_not_told_and_then_is(subject: Subject) -> None:
    head = await subject.head()
    watching = subject.watch("red/", head)
    async with trio.open_nursery() as nursery:
        subject.hold_commits()
        nursery.start_soon(subject.write, Put("red/a", "1"), Put("red/b", "1"))
        await subject.staged(head + 2)
        assert await watching.news() == []
        assert await subject.watch("red/", head).news() == []
        subject.release_commits()
    assert briefs(await watching.news()) == [(ADDED, "red/a", "1"), (ADDED, "red/b", "1")]


@over_every_subject
async def test_a_batch_is_told_whole_and_one_by_one(subject: Subject) -> None:
    watching = subject.watch("red/", await subject.head())
    revisions = await subject.write(
        Put("red/a", "1"), Put("blue/a", "1"), Put("red/b", "1"), Put("red/a", "2"), Delete("red/b")
    )
    events = await watching.news()
    assert briefs(events) == [
        (ADDED, "red/a", "1"),
        (ADDED, "red/b", "1"),
        (MODIFIED, "red/a", "2"),
        (DELETED, "red/b", "1"),
    ]
    assert [event.revision for event in events] == [revisions[0], *revisions[2:]]


@over_every_subject
async def test_all_watches_are_told_the_same(subject: Subject) -> None:
    before = await subject.head()
    watches = [subject.watch(prefix, before) for prefix in ("", "red/", "", "red/")]
    await some_history(subject)
    told = [await watching.news() for watching in watches]
    assert told[0] == told[2]
    assert told[1] == told[3] == [event for event in told[0] if event.key.startswith("red/")]


@over_every_subject
async def test_a_watch_that_was_stopped_is_told_nothing(subject: Subject) -> None:
    before = await subject.head()
    stopped, other = subject.watch("", before), subject.watch("", before)
    await subject.put("red/a", "1")
    assert len(await stopped.news()) == 1
    stopped.stop()
    await subject.put("red/a", "2")
    assert len(await other.news()) == 2
    assert await stopped.news() == []


@over_every_subject
async def test_a_long_log_is_told_completely(subject: Subject) -> None:
    before = await subject.head()
    writes = [Put(f"red/k{i % 7}", f"{i}") for i in range(200)]
    early = subject.watch("", before)
    await subject.write(*writes)
    events = await early.news()
    assert [(event.key, event.value) for event in events] == [(put.key, put.value) for put in writes]
    assert [event.revision for event in events] == list(range(before + 1, before + 201))
    assert await subject.watch("", before).news() == events
    assert await subject.watch("", before + 150).news() == events[150:]


# --------------------------------------------------------------------------------------------------- where it may begin


@over_every_subject
async def test_a_watch_from_the_head_tells_what_comes(subject: Subject) -> None:
    head = await subject.put("red/a", "1")
    watching = subject.watch("", head)
    assert await watching.news() == []
    await subject.put("red/b", "2")
    assert briefs(await watching.news()) == [(ADDED, "red/b", "2")]


@over_every_subject
async def test_a_watch_from_the_future_is_refused(subject: Subject) -> None:
    head = await subject.put("red/a", "1")
    for future in (head + 1, head + 1000):
        with pytest.raises(FutureRevision) as refusal:
            await subject.watch("", future).settle()
        assert (refusal.value.revision, refusal.value.head) == (future, head)


@over_every_subject
async def test_a_range_and_a_watch_behind_it_are_the_present_state(subject: Subject) -> None:
    await some_history(subject)
    page = await subject.range()
    watching = subject.watch("", page.revision)
    await subject.write(Put("red/z", "6"), Delete("red-x/c"), Put("red/a", "7"))
    view = page.values
    for event in await watching.news():
        if event.type == DELETED:
            del view[event.key]
        else:
            view[event.key] = event.value
    assert dict(sorted(view.items())) == await subject.values()


# ------------------------------------------------------------------------------------------------------------- resuming


@over_every_subject
async def test_a_watch_goes_on_behind_its_last_event(subject: Subject) -> None:
    first = subject.watch("red/", await subject.head())
    await subject.put("red/a", "1")
    last = await subject.put("red/a", "2")
    await subject.put("blue/a", "1")
    assert (await first.news())[-1].revision == last
    first.stop()
    await subject.put("red/a", "3")
    assert briefs(await subject.watch("red/", last).news()) == [(MODIFIED, "red/a", "3")]


@over_every_subject
async def test_a_watch_goes_on_behind_its_bookmark(subject: Subject) -> None:
    first = subject.watch("red/", await subject.head())
    await subject.put("red/a", "1")
    await subject.put("blue/a", "1")
    await first.settle()
    bookmark = first.seen.bookmark
    first.stop()
    await subject.put("red/a", "2")
    assert briefs(await subject.watch("red/", bookmark).news()) == [(MODIFIED, "red/a", "2")]


@over_every_subject
async def test_a_bookmark_goes_on_though_nothing_under_the_prefix_changes(subject: Subject) -> None:
    watching = subject.watch("blue/", await subject.head())
    await watching.settle()
    head = (await some_history(subject))[-1]
    await subject.put("red/d", "1")
    await watching.settle()
    assert watching.seen.bookmark == head + 1


# ------------------------------------------------------------------------------------------------------------- promises


@over_every_subject
async def test_every_watch_keeps_the_promises(subject: Subject) -> None:
    before = await subject.head()
    watches: list[Watching] = []
    whole = subject.watch("", before)
    for round_ in range(6):
        for prefix in ("", "red/"):
            watches.append(subject.watch(prefix, await subject.head()))
        await subject.write(*(Put(f"red/{name}", f"{round_}") for name in "abc"), Put("blue/a", f"{round_}"))
        await watches[round_].settle()
        await subject.delete("red/b")
    log = await whole.news()
    assert [event.revision for event in log] == list(range(before + 1, await subject.head() + 1))
    for watching in watches:
        await watching.settle()
        for promise in watch_promises.OF_ONE_WATCH:
            promise(watching.seen, log)
        watch_promises.atomic(watching.seen, log, [log[i : i + 4] for i in range(0, len(log), 5)])
