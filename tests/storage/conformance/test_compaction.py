"""Compaction: what can no longer be asked for, and that nothing else is touched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from ursa.proto.errors import Compacted, FutureRevision

from .stages import over_every_subject
from .subject import ADDED, DELETED, MODIFIED, Delete, Put, Subject

Ask = Callable[[int], Awaitable[object]]


async def five_states(subject: Subject) -> list[int]:
    return [await subject.put("red/a", f"{i}") for i in range(1, 6)]


async def refused(ask: Ask, revision: int, floor: int) -> None:
    with pytest.raises(Compacted) as refusal:
        await ask(revision)
    assert (refusal.value.revision, refusal.value.floor) == (revision, floor)


# -------------------------------------------------------------------------------------------------------------- reading


@over_every_subject
async def test_the_floor_is_still_readable(subject: Subject) -> None:
    revisions = await five_states(subject)
    await subject.compact(revisions[2])
    assert [await subject.values(revision=revision) for revision in revisions[2:]] == [
        {"red/a": "3"},
        {"red/a": "4"},
        {"red/a": "5"},
    ]


@over_every_subject
async def test_a_range_below_the_floor_is_refused_and_told_the_floor(subject: Subject) -> None:
    revisions = await five_states(subject)
    await subject.compact(revisions[2])
    for below in revisions[:2]:
        await refused(lambda revision: subject.range(revision=revision), below, revisions[2])
        await refused(lambda revision: subject.range("blue/", revision=revision), below, revisions[2])


@over_every_subject
async def test_a_key_below_the_floor_is_refused_and_told_the_floor(subject: Subject) -> None:
    revisions = await five_states(subject)
    await subject.compact(revisions[2])
    for key in ("red/a", "red/never"):
        await refused(lambda revision, key=key: subject.get(key, revision), revisions[1], revisions[2])
    item = await subject.get("red/a", revisions[2])
    assert item is not None
    assert item.value == "3"


@over_every_subject
async def test_the_floor_that_a_refusal_tells_can_be_read(subject: Subject) -> None:
    revisions = await five_states(subject)
    await subject.compact(revisions[3])
    with pytest.raises(Compacted) as refusal:
        await subject.range(revision=revisions[0])
    assert await subject.values(revision=refusal.value.floor) == {"red/a": "4"}


@over_every_subject
async def test_the_newest_state_is_not_touched(subject: Subject) -> None:
    await five_states(subject)
    await subject.write(Put("red/b", "1"), Put("blue/a", "1"), Delete("red/b"))
    before = await subject.range()
    await subject.compact(before.revision)
    assert await subject.range() == before
    assert await subject.range(revision=before.revision) == before


@over_every_subject
async def test_what_is_unchanged_since_long_before_the_floor_is_kept(subject: Subject) -> None:
    old = await subject.put("blue/a", "1")
    revisions = await five_states(subject)
    await subject.compact(revisions[3])
    item = await subject.get("blue/a", revisions[3])
    assert item is not None
    assert (item.value, item.revision) == ("1", old)


@over_every_subject
async def test_a_key_deleted_at_the_floor_is_gone_and_may_come_back(subject: Subject) -> None:
    await subject.put("red/a", "1")
    deleted = await subject.delete("red/a")
    await subject.compact(deleted)
    assert await subject.values(revision=deleted) == {}
    assert await subject.put("red/a", "2", expected=0) == deleted + 1
    assert await subject.values() == {"red/a": "2"}


@over_every_subject
async def test_a_key_deleted_just_above_the_floor_is_there_at_the_floor(subject: Subject) -> None:
    await subject.put("red/a", "1")
    floor = await subject.put("red/a", "2")
    await subject.delete("red/a")
    await subject.forget(floor)
    assert await subject.values(revision=floor) == {"red/a": "2"}
    assert [event.brief for event in await subject.watch("", floor).news()] == [(DELETED, "red/a", "2")]


@over_every_subject
async def test_a_key_that_comes_back_again_and_again_is_there_once(subject: Subject) -> None:
    await subject.put("red/b", "1")
    for value in ("1", "2", "3"):
        await subject.put("red/a", value, expected=0)
        await subject.compact(await subject.delete("red/a"))
    await subject.put("red/a", "4")
    assert await subject.values() == {"red/a": "4", "red/b": "1"}


@over_every_subject
async def test_a_life_keeps_its_beginning(subject: Subject) -> None:
    await subject.put("red/a", "1")
    begun = await subject.get("red/a")
    second = await subject.put("red/a", "2")
    await subject.compact(second)
    await subject.put("red/a", "3", expected=second)
    now = await subject.get("red/a")
    assert begun is not None
    assert now is not None
    assert now.life == begun.life


# ------------------------------------------------------------------------------------------------------ where it may be


@over_every_subject
async def test_compacting_at_the_floor_is_nothing_and_below_it_is_refused(subject: Subject) -> None:
    revisions = await five_states(subject)
    for _ in range(2):
        await subject.compact(revisions[2])
    await refused(subject.compact, revisions[1], revisions[2])
    assert await subject.values(revision=revisions[2]) == {"red/a": "3"}


@over_every_subject
async def test_compacting_in_the_future_is_refused_and_forgets_nothing(subject: Subject) -> None:
    revisions = await five_states(subject)
    with pytest.raises(FutureRevision) as refusal:
        await subject.compact(revisions[-1] + 1)
    assert refusal.value.head == revisions[-1]
    assert await subject.values(revision=revisions[0]) == {"red/a": "1"}


@over_every_subject
async def test_compacting_takes_no_revision(subject: Subject) -> None:
    revisions = await five_states(subject)
    await subject.compact(revisions[4])
    assert await subject.head() == revisions[4]
    assert await subject.put("red/a", "6") == revisions[4] + 1


# ------------------------------------------------------------------------------------------------------------- watching


@over_every_subject
async def test_a_watch_from_below_the_floor_is_refused_and_told_the_floor(subject: Subject) -> None:
    revisions = await five_states(subject)
    await subject.forget(revisions[2])
    for prefix in ("", "blue/"):
        await refused(
            lambda revision, prefix=prefix: subject.watch(prefix, revision).settle(), revisions[1], revisions[2]
        )


@over_every_subject
async def test_a_watch_from_the_floor_is_told_all_behind_it(subject: Subject) -> None:
    revisions = await five_states(subject)
    await subject.forget(revisions[2])
    events = await subject.watch("", revisions[2]).news()
    assert [event.brief for event in events] == [(MODIFIED, "red/a", "4"), (MODIFIED, "red/a", "5")]
    assert [event.revision for event in events] == revisions[3:]


@over_every_subject
async def test_a_watch_that_has_been_told_everything_goes_on(subject: Subject) -> None:
    watching = subject.watch("red/", await subject.head())
    revisions = await five_states(subject)
    assert len(await watching.news()) == 5
    await subject.forget(revisions[-1])
    await subject.put("red/b", "1")
    assert [event.brief for event in await watching.news()] == [(ADDED, "red/b", "1")]


@over_every_subject
async def test_a_quiet_watch_goes_on(subject: Subject) -> None:
    watching = subject.watch("blue/", await subject.head())
    revisions = await five_states(subject)
    await watching.settle()
    await subject.forget(revisions[-1])
    await subject.put("blue/a", "1")
    assert [event.brief for event in await watching.news()] == [(ADDED, "blue/a", "1")]


@over_every_subject
async def test_who_was_refused_reads_again_and_goes_on_from_there(subject: Subject) -> None:
    revisions = await five_states(subject)
    await subject.forget(revisions[3])
    with pytest.raises(Compacted):
        await subject.watch("", revisions[0]).settle()
    page = await subject.range()
    watching = subject.watch("", page.revision)
    await subject.put("red/a", "6")
    assert page.values == {"red/a": "5"}
    assert [event.brief for event in await watching.news()] == [(MODIFIED, "red/a", "6")]
