"""Writes: revisions, preconditions, lives, and what is committed."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest
import trio
from ursa.storage import StageConflict

from .stages import over_every_subject
from .subject import Delete, Put, Subject

# ------------------------------------------------------------------------------------------------------------ revisions


@over_every_subject
async def test_each_change_has_the_next_revision(subject: Subject) -> None:
    before = await subject.head()
    revisions = [
        await subject.put("red/a", "1"),
        await subject.put("blue/a", "1"),
        await subject.put("red/a", "2"),
        await subject.delete("red/a"),
        await subject.put("red/a", "3"),
    ]
    assert revisions == [before + 1, before + 2, before + 3, before + 4, before + 5]
    assert await subject.head() == before + 5


@over_every_subject
async def test_the_changes_of_a_batch_have_revisions_in_their_order(subject: Subject) -> None:
    before = await subject.head()
    writes = [Put("red/b", "1"), Put("red/a", "1"), Put("blue/z", "1"), Put("red/a", "2")]
    assert await subject.write(*writes) == [before + 1, before + 2, before + 3, before + 4]
    assert [(item.key, item.revision) for item in (await subject.range()).items] == [
        ("blue/z", before + 3),
        ("red/a", before + 4),
        ("red/b", before + 1),
    ]


@over_every_subject
async def test_a_batch_may_delete_and_create_a_key(subject: Subject) -> None:
    first, last, deleted, again = await subject.write(
        Put("red/a", "1"), Put("red/a", "2"), Delete("red/a"), Put("red/a", "3", expected=0)
    )
    states = [await subject.values(revision=revision) for revision in (first, last, deleted, again)]
    assert states == [{"red/a": "1"}, {"red/a": "2"}, {}, {"red/a": "3"}]


@over_every_subject
async def test_what_is_written_is_read_back_at_once(subject: Subject) -> None:
    for value in ("1", "2", "3"):
        revision = await subject.put("red/a", value)
        item = await subject.get("red/a")
        assert item is not None
        assert (item.key, item.value, item.revision) == ("red/a", value, revision)
        assert (await subject.range()).items == [item]


@over_every_subject
async def test_values_may_be_empty_long_or_in_any_script(subject: Subject) -> None:
    values = {"red/a": "", "red/b": "å日本😀\0\n", "red/c": "x" * 100_000}
    await subject.write(*(Put(key, value) for key, value in values.items()))
    watching = subject.watch("", await subject.head() - 3)
    assert await subject.values() == values
    assert {event.key: event.value for event in await watching.news()} == values


# -------------------------------------------------------------------------------------------------------- preconditions


async def refused(subject: Subject, write: Awaitable[object]) -> None:
    """It is, and nothing has changed."""
    before = await subject.range()
    with pytest.raises(StageConflict):
        await write
    assert await subject.range() == before


@over_every_subject
async def test_what_exists_cannot_be_created(subject: Subject) -> None:
    await subject.put("red/a", "1", expected=0)
    await refused(subject, subject.put("red/a", "2", expected=0))


@over_every_subject
async def test_only_what_has_not_changed_since_is_updated(subject: Subject) -> None:
    first = await subject.put("red/a", "1")
    second = await subject.put("red/a", "2", expected=first)
    await refused(subject, subject.put("red/a", "3", expected=first))
    await refused(subject, subject.put("red/a", "3", expected=second + 1))
    assert await subject.put("red/a", "3", expected=second) == second + 1


@over_every_subject
async def test_changes_of_other_keys_are_nothing_to_a_precondition(subject: Subject) -> None:
    mine = await subject.put("red/a", "1")
    await subject.put("red/b", "1")
    await subject.put("blue/a", "1")
    await subject.put("red/a", "2", expected=mine)


@over_every_subject
async def test_what_never_was_cannot_be_updated(subject: Subject) -> None:
    other = await subject.put("red/b", "1")
    await refused(subject, subject.put("red/a", "1", expected=other))


@over_every_subject
async def test_what_was_deleted_cannot_be_updated(subject: Subject) -> None:
    created = await subject.put("red/a", "1")
    deleted = await subject.delete("red/a")
    await refused(subject, subject.put("red/a", "2", expected=created))
    await refused(subject, subject.put("red/a", "2", expected=deleted))


@over_every_subject
async def test_only_what_has_not_changed_since_is_deleted(subject: Subject) -> None:
    first = await subject.put("red/a", "1")
    second = await subject.put("red/a", "2")
    await refused(subject, subject.delete("red/a", expected=first))
    await subject.delete("red/a", expected=second)
    assert await subject.get("red/a") is None


@over_every_subject
async def test_what_does_not_exist_cannot_be_deleted(subject: Subject) -> None:
    await refused(subject, subject.delete("red/a"))
    await subject.put("red/a", "1")
    await subject.delete("red/a")
    await refused(subject, subject.delete("red/a"))


@over_every_subject
async def test_a_conflict_tells_the_revision_that_it_found(subject: Subject) -> None:
    first = await subject.put("red/a", "1")
    second = await subject.put("red/a", "2")
    for write in (
        subject.put("red/a", "3", expected=first),
        subject.put("red/a", "3", expected=0),
        subject.delete("red/a", expected=first),
    ):
        with pytest.raises(StageConflict) as conflict:
            await write
        assert conflict.value.found == second


@over_every_subject
async def test_a_refused_write_takes_no_revision(subject: Subject) -> None:
    first = await subject.put("red/a", "1")
    with pytest.raises(StageConflict):
        await subject.put("red/a", "2", expected=0)
    with pytest.raises(StageConflict):
        await subject.delete("red/b")
    assert await subject.put("red/b", "1") == first + 1


@over_every_subject
async def test_of_writers_that_have_seen_the_same_one_wins(subject: Subject) -> None:
    seen = await subject.put("red/a", "0")
    won: list[str] = []

    async def write(value: str) -> None:
        try:
            await subject.put("red/a", value, expected=seen)
        except StageConflict:
            return
        won.append(value)

    async with trio.open_nursery() as nursery:
        for value in ("1", "2", "3"):
            nursery.start_soon(write, value)
    assert await subject.values() == {"red/a": won[0]}
    assert (len(won), await subject.head()) == (1, seen + 1)


# ---------------------------------------------------------------------------------------------------------------- lives


async def life_of(subject: Subject, key: str) -> str:
    item = await subject.get(key)
    assert item is not None
    return item.life


@over_every_subject
async def test_a_life_lasts_over_updates(subject: Subject) -> None:
    await subject.put("red/a", "1")
    begun = await life_of(subject, "red/a")
    revision = await subject.put("red/a", "2")
    await subject.put("red/a", "3", expected=revision)
    assert await life_of(subject, "red/a") == begun


@over_every_subject
async def test_what_is_created_again_is_something_else(subject: Subject) -> None:
    created = await subject.put("red/a", "1")
    before = await life_of(subject, "red/a")
    await subject.delete("red/a")
    await subject.put("red/a", "2", expected=0)
    assert await life_of(subject, "red/a") != before
    assert (await subject.range(revision=created)).items[0].life == before


# ----------------------------------------------------------------------------------------------------------- committing


@over_every_subject
async def test_what_is_not_committed_is_seen_by_nobody(subject: Subject) -> None:
    head = await subject.put("red/a", "1")
    watching = subject.watch("", head)
    await watching.settle()
    async with trio.open_nursery() as nursery:
        subject.hold_commits()
        nursery.start_soon(subject.put, "red/b", "1")
        await subject.staged(head + 1)
        assert await subject.get("red/b") is None
        page = await subject.range()
        assert (page.values, page.revision) == ({"red/a": "1"}, head)
        assert await watching.news() == []
        subject.release_commits()
    assert await subject.values() == {"red/a": "1", "red/b": "1"}
    assert [event.brief for event in await watching.news()] == [("ADDED", "red/b", "1")]


@over_every_subject
async def test_an_update_that_is_not_committed_does_not_replace_what_is(subject: Subject) -> None:
    head = await subject.put("red/a", "1")
    before = await subject.get("red/a")
    async with trio.open_nursery() as nursery:
        subject.hold_commits()
        nursery.start_soon(subject.put, "red/a", "2")
        await subject.staged(head + 1)
        assert await subject.get("red/a") == before
        subject.release_commits()
    assert await subject.values() == {"red/a": "2"}


@over_every_subject
async def test_a_write_is_answered_only_when_it_is_committed(subject: Subject) -> None:
    head = await subject.head()
    answered: list[int] = []

    async def write() -> None:
        answered.append(await subject.put("red/a", "1"))

    async with trio.open_nursery() as nursery:
        subject.hold_commits()
        nursery.start_soon(write)
        await subject.staged(head + 1)
        for _ in range(20):
            await subject.turn()
        assert answered == []
        subject.release_commits()
    assert answered == [head + 1]
