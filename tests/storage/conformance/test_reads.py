"""Reads: one key or a range, newest or at a revision."""

from __future__ import annotations

import pytest
from ursa.proto.errors import FutureRevision

from .stages import over_every_subject
from .subject import Delete, Put, Subject

# Enough that whoever reads in steps takes several (partitions/reads/listing.py: 128 records), few enough for a batch.
MANY = 200


async def some_states(subject: Subject) -> dict[int, dict[str, str]]:
    """A short history; its states by revision."""
    states = {}
    state: dict[str, str] = {}
    for write in (
        Put("red/a", "1"),
        Put("blue/a", "2"),
        Put("red/a", "3"),
        Put("red/b", "4"),
        Delete("red/a"),
        Put("red-x/c", "5"),
        Put("red/a", "6"),
        Delete("blue/a"),
    ):
        [revision] = await subject.write(write)
        if isinstance(write, Put):
            state[write.key] = write.value
        else:
            del state[write.key]
        states[revision] = dict(sorted(state.items()))
    return states


# --------------------------------------------------------------------------------------------------------------- newest


@over_every_subject
async def test_a_range_of_nothing_tells_its_revision(subject: Subject) -> None:
    before = await subject.head()
    await subject.put("red/a", "1")
    page = await subject.range("blue/")
    assert (page.items, page.revision, page.following) == ([], before + 1, None)


@over_every_subject
async def test_what_was_never_there_is_not_found(subject: Subject) -> None:
    await subject.put("red/a", "1")
    for key in ("red/b", "blue/a", "red-x/a", "red/a-b", "red/0"):
        assert await subject.get(key) is None


@over_every_subject
async def test_a_range_has_the_keys_of_its_prefix(subject: Subject) -> None:
    keys = ["blue/a", "red-x/a", "red-x/b", "red/a", "red/a-b", "red/a.b", "red/ab"]
    await subject.write(*(Put(key, key) for key in reversed(keys)))
    assert list(await subject.values()) == keys
    assert list(await subject.values("red/")) == keys[3:]
    assert list(await subject.values("red-x/")) == keys[1:3]
    assert list(await subject.values("blue/")) == ["blue/a"]


@over_every_subject
async def test_keys_come_in_order_however_they_were_created(subject: Subject) -> None:
    await subject.write(*(Put(f"red/{name}", "1") for name in "mcx"))
    assert list(await subject.values()) == ["red/c", "red/m", "red/x"]
    keys = ["red/c", "red/m", "red/x", *[f"red/k{i:03}" for i in range(MANY)]]
    await subject.write(*(Put(f"red/k{(7 * i) % MANY:03}", "1") for i in range(MANY)))  # Many: merged.
    assert list(await subject.values()) == sorted(keys)
    await subject.put("red/a", "1")  # One among many: put in its place.
    assert list(await subject.values()) == sorted([*keys, "red/a"])
    await subject.delete("red/k100")
    assert list(await subject.values()) == sorted([*keys[:103], *keys[104:], "red/a"])


@over_every_subject
async def test_an_item_has_the_revision_of_its_own_last_change(subject: Subject) -> None:
    mine = await subject.put("red/a", "1")
    await subject.put("red/b", "1")
    await subject.put("red/b", "2")
    item = await subject.get("red/a")
    assert item is not None
    assert item.revision == mine
    assert (await subject.range()).items[0] == item


@over_every_subject
async def test_reading_changes_nothing(subject: Subject) -> None:
    await some_states(subject)
    first = await subject.range()
    await subject.get("red/a")
    await subject.values("red/", revision=first.revision - 2)
    assert await subject.range() == first


# -------------------------------------------------------------------------------------------------------- at a revision


@over_every_subject
async def test_a_range_at_any_revision_is_the_state_of_then(subject: Subject) -> None:
    states = await some_states(subject)
    for revision, state in states.items():
        page = await subject.range(revision=revision)
        assert (page.values, page.revision) == (state, revision)


@over_every_subject
async def test_a_range_by_prefix_at_any_revision_is_the_state_of_then(subject: Subject) -> None:
    states = await some_states(subject)
    for revision, state in states.items():
        for prefix in ("red/", "red-x/", "blue/"):
            then = {key: value for key, value in state.items() if key.startswith(prefix)}
            assert await subject.values(prefix, revision) == then


@over_every_subject
async def test_a_key_at_any_revision_is_what_it_was_then(subject: Subject) -> None:
    states = await some_states(subject)
    for revision, state in states.items():
        for key in ("red/a", "blue/a"):
            item = await subject.get(key, revision)
            assert (item and item.value) == state.get(key)


@over_every_subject
async def test_the_newest_revision_reads_as_no_revision_does(subject: Subject) -> None:
    await some_states(subject)
    newest = await subject.range()
    assert await subject.range(revision=newest.revision) == newest
    for item in newest.items:
        assert await subject.get(item.key, newest.revision) == await subject.get(item.key) == item


@over_every_subject
async def test_an_older_state_has_the_revisions_of_then(subject: Subject) -> None:
    first = await subject.put("red/a", "1")
    second = await subject.put("red/b", "1")
    then = await subject.range()
    await subject.write(Put("red/a", "2"), Delete("red/b"))
    assert [item.revision for item in then.items] == [first, second]
    assert await subject.range(revision=second) == then


@over_every_subject
async def test_before_its_first_change_there_is_nothing(subject: Subject) -> None:
    before = await subject.head()
    await subject.put("red/a", "1")
    assert await subject.values(revision=before) == {}
    assert await subject.get("red/a", before) is None


@over_every_subject
async def test_a_deleted_key_is_there_until_the_revision_of_its_deletion(subject: Subject) -> None:
    await subject.put("red/a", "1")
    deleted = await subject.delete("red/a")
    await subject.put("red/a", "2")
    values = []
    for revision in (deleted - 1, deleted, deleted + 1):
        item = await subject.get("red/a", revision)
        values.append(item and item.value)
    assert values == ["1", None, "2"]


@over_every_subject
async def test_a_long_range_at_an_older_revision_is_complete(subject: Subject) -> None:
    await subject.write(*(Put(f"red/k{i:03}", f"{i}") for i in range(MANY)))
    then = await subject.range()
    await subject.write(*(Delete(f"red/k{i:03}") for i in range(0, MANY, 2)))
    assert len(then.items) == MANY
    assert await subject.range(revision=then.revision) == then
    assert list(await subject.values()) == [f"red/k{i:03}" for i in range(1, MANY, 2)]


@over_every_subject
async def test_a_range_of_the_future_is_refused(subject: Subject) -> None:
    head = await subject.put("red/a", "1")
    with pytest.raises(FutureRevision) as refusal:
        await subject.range(revision=head + 1)
    assert (refusal.value.revision, refusal.value.head) == (head + 1, head)


@over_every_subject
async def test_a_key_of_the_future_is_refused(subject: Subject) -> None:
    head = await subject.put("red/a", "1")
    with pytest.raises(FutureRevision) as refusal:
        await subject.get("red/a", head + 5)
    assert (refusal.value.revision, refusal.value.head) == (head + 5, head)
