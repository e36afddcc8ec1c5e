"""Digests: one state, one digest."""

from __future__ import annotations

import pytest
from ursa.proto.errors import Compacted, FutureRevision
from ursa.storage import Change, MemoryStore, Record

from .stages import over_every_subject
from .subject import Delete, Put, Subject


async def some_history(subject: Subject) -> list[int]:
    return [
        *await subject.write(Put("red/a", "1"), Put("red/b", "1")),
        await subject.put("red/a", "2"),
        await subject.delete("red/b"),
        await subject.put("red/b", "1"),
    ]


def digest_of(records: list[Record]) -> str:
    """Of a plain store that has been written the same."""
    store = MemoryStore(incarnation="another")
    store.stage([Change(record.key, record.value, deleted=record.deleted) for record in records])
    store.commit(lambda _: None)
    return store.digest()


@over_every_subject
async def test_a_digest_is_that_of_any_store_with_the_same_log(subject: Subject) -> None:
    revisions = await some_history(subject)
    log = subject.log()
    for revision in revisions:
        assert await subject.digest(revision) == digest_of(log[:revision])
    assert await subject.digest() == digest_of(log)


@over_every_subject
async def test_the_newest_digest_is_that_of_the_newest_revision(subject: Subject) -> None:
    revisions = await some_history(subject)
    assert await subject.digest() == await subject.digest(revisions[-1])


@over_every_subject
async def test_every_change_changes_the_digest(subject: Subject) -> None:
    digests = [await subject.digest(revision) for revision in await some_history(subject)]
    assert len(dict.fromkeys(digests)) == len(digests)


@over_every_subject
async def test_the_digest_of_a_revision_stays(subject: Subject) -> None:
    revisions = await some_history(subject)
    before = [await subject.digest(revision) for revision in revisions]
    await subject.write(Put("red/a", "3"), Delete("red/b"), Put("blue/a", "1"))
    assert [await subject.digest(revision) for revision in revisions] == before


@over_every_subject
async def test_what_was_forgotten_is_nothing_to_the_digest(subject: Subject) -> None:
    revisions = await some_history(subject)
    before = [await subject.digest(revision) for revision in revisions[2:]]
    await subject.compact(revisions[2])
    assert [await subject.digest(revision) for revision in revisions[2:]] == before


@over_every_subject
async def test_a_digest_below_the_floor_is_refused(subject: Subject) -> None:
    revisions = await some_history(subject)
    await subject.compact(revisions[2])
    with pytest.raises(Compacted) as refusal:
        await subject.digest(revisions[1])
    assert refusal.value.floor == revisions[2]


@over_every_subject
async def test_a_digest_of_the_future_is_refused(subject: Subject) -> None:
    revisions = await some_history(subject)
    with pytest.raises(FutureRevision) as refusal:
        await subject.digest(revisions[-1] + 1)
    assert refusal.value.head == revisions[-1]
