"""What the contract cannot show of the key index: its memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.storage.index import KeyIndex

KEYS = 5_000
# What the dictionary, the entry and the sorted list may take beside the text of the key itself.
BYTES_A_KEY_MAX = 190


@pytest.mark.parametrize("changes_a_key", [1, 2, 4])
def test_a_key_costs_less_than_300_bytes(changes_a_key):
    keys = [f"/registry/pods/tenant-{i % 50}/default/web-6d4cf56db6-{i:06d}" for i in range(KEYS)]
    tracemalloc.start()
    index = KeyIndex()
    revision = 1_000_000
    for change in range(changes_a_key):
        for position, key in enumerate(keys):
            revision += 1
            index.append(key, revision, False, revision - change * KEYS - position)
    assert len(index.scan("/registry/pods/", revision, "", KEYS + 1)) == KEYS
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The scan's own result is gone by now; the text of a key of this length takes 104 bytes.
    assert taken / KEYS < BYTES_A_KEY_MAX


def test_compaction_gives_the_memory_back():
    index = KeyIndex()
    tracemalloc.start()
    for revision in range(1, 100_001):
        index.append(f"key-{revision % 10}", revision, False, revision % 10 or 10)
    before, _ = tracemalloc.get_traced_memory()
    garbage = index.drop_garbage(index.keys(), 100_000)
    assert len(garbage) == 99_990
    del garbage
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after < before / 20


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.none() | st.integers(0, 3)), max_size=40))
def test_change_is_newest_then_the_precondition_then_append(asked):
    quick, plain = KeyIndex(), KeyIndex()
    for revision, (key, deleted, ago) in enumerate(asked, 1):
        previous, created = plain.newest(key)
        # 0: it must not exist; 1: the newest change, if there is one; others: hardly ever right.
        expected = None if ago is None else previous - ago + 1 if ago and previous else 0
        holds = (expected is None or expected == previous) and not (deleted and not previous)
        if holds:
            plain.append(key, revision, deleted, created or revision)
        assert quick.change(key, revision, deleted, expected) == ((previous, created or revision) if holds else None)
        assert quick.entries(quick.keys()) == plain.entries(plain.keys())
    for at in range(len(asked) + 1):
        assert quick.scan("", at, "", 9) == plain.scan("", at, "", 9)
