"""Pages: a range in parts, all of one revision."""

from __future__ import annotations

import pytest
from ursa.proto.errors import Compacted

from .stages import over_every_subject
from .subject import Delete, Page, Put, Subject

KEYS = ["blue/a", "blue/b", "red-x/a", "red/a", "red/b", "red/c", "red/d"]


async def filled(subject: Subject) -> int:
    return (await subject.write(*(Put(key, "old") for key in KEYS)))[-1]


def keys_of(pages: list[Page]) -> list[list[str]]:
    return [list(page.values) for page in pages]


@over_every_subject
async def test_the_pages_together_are_the_range(subject: Subject) -> None:
    await filled(subject)
    whole = await subject.range()
    for limit in range(1, len(KEYS) + 2):
        pages = await subject.pages("", limit)
        assert [item for page in pages for item in page.items] == whole.items


@over_every_subject
async def test_a_page_has_as_many_as_asked_for_and_the_last_one_the_rest(subject: Subject) -> None:
    await filled(subject)
    assert keys_of(await subject.pages("", 3)) == [KEYS[:3], KEYS[3:6], KEYS[6:]]


@over_every_subject
async def test_behind_the_last_item_there_is_no_page(subject: Subject) -> None:
    await filled(subject)
    for limit in (len(KEYS), len(KEYS) + 1):
        page = await subject.range(limit=limit)
        assert (list(page.values), page.following) == (KEYS, None)


@over_every_subject
async def test_pages_stay_within_their_prefix(subject: Subject) -> None:
    await filled(subject)
    assert keys_of(await subject.pages("red/", 3)) == [KEYS[3:6], KEYS[6:]]
    assert keys_of(await subject.pages("blue/", 1)) == [["blue/a"], ["blue/b"]]
    assert keys_of(await subject.pages("red-x/", 1)) == [["red-x/a"]]


@over_every_subject
async def test_all_pages_are_of_one_revision_whatever_is_written_meanwhile(subject: Subject) -> None:
    revision = await filled(subject)
    whole = await subject.range()
    written = 0

    async def write() -> None:
        nonlocal written
        written += 1
        # Behind the page just read, before it, and in its place.
        await subject.write(Put(f"red/bb{written}", "new"), Put(f"blue/aa{written}", "new"), Put("red/d", f"{written}"))
        if written == 1:
            await subject.write(Delete("red/c"), Delete("blue/a"))

    pages = await subject.pages("", 2, write)
    assert written == 3
    assert [page.revision for page in pages] == [revision] * 4
    assert [item for page in pages for item in page.items] == whole.items


@over_every_subject
async def test_pages_of_an_older_revision(subject: Subject) -> None:
    revision = await filled(subject)
    await subject.write(Delete("red/a"), Put("red/aa", "new"), Put("red/b", "new"))
    pages = await subject.pages("red/", 2, revision=revision)
    assert [page.revision for page in pages] == [revision, revision]
    assert keys_of(pages) == [KEYS[3:5], KEYS[5:]]
    assert {value for page in pages for value in page.values.values()} == {"old"}


@over_every_subject
async def test_a_page_may_be_asked_for_again(subject: Subject) -> None:
    await filled(subject)
    first = await subject.range(limit=2)
    second = await subject.range(limit=2, following=first.following)
    await subject.put("red/a", "new")
    assert await subject.range(limit=2, following=first.following) == second


@over_every_subject
async def test_the_next_page_may_be_of_another_size(subject: Subject) -> None:
    await filled(subject)
    first = await subject.range(limit=1)
    rest = await subject.range(following=first.following)
    assert (list(rest.values), rest.following) == (KEYS[1:], None)


@over_every_subject
async def test_a_page_of_a_compacted_revision_is_refused(subject: Subject) -> None:
    revision = await filled(subject)
    first = await subject.range(limit=2)
    head = await subject.put("red/d", "new")
    await subject.compact(head)
    with pytest.raises(Compacted) as refusal:
        await subject.range(limit=2, following=first.following)
    assert refusal.value.floor == head == revision + 1


@over_every_subject
async def test_pages_of_the_floor_go_on(subject: Subject) -> None:
    revision = await filled(subject)
    first = await subject.range(limit=3)
    await subject.put("red/d", "new")
    await subject.compact(revision)
    second = await subject.range(limit=9, following=first.following)
    assert (second.values, second.revision) == (dict.fromkeys(KEYS[3:], "old"), revision)
