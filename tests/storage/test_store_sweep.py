"""The sweep behind a compaction: in which order, and what a crash in the middle of it leaves."""

from __future__ import annotations

from pathlib import Path
from random import Random
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.storage import Change, InlineCommitter, LmdbStore, sweep
from ursa.storage.index import KeyIndex

from .conftest import ManualCommitter


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_garbage_is_handed_out_oldest_first_whatever_order_the_keys_have(keys, keys_a_step, records_a_step):
    index = KeyIndex()
    for revision, key in enumerate(keys, 1):
        index.append(key, revision, False, revision)
    garbage = []
    with mock.patch.multiple(sweep, SWEEP_KEYS=keys_a_step, SWEEP_RECORDS=records_a_step):
        one = sweep.Sweep(index, len(keys))
        while not one.look():
            pass
        while step := one.take():
            assert len(step) <= records_a_step
            garbage += step
    newest = {key: revision for revision, key in enumerate(keys, 1)}
    assert garbage == [revision for revision, key in enumerate(keys, 1) if newest[key] != revision]


def open_store(path: Path, committer: ManualCommitter | InlineCommitter) -> LmdbStore:
    return LmdbStore.open(path, committer, incarnation_random=Random(1))


@pytest.mark.parametrize("steps", range(6))
def test_a_crash_in_the_middle_of_a_sweep_brings_nothing_deleted_back(tmp_path, steps):
    committer = ManualCommitter()
    with mock.patch.object(sweep, "SWEEP_RECORDS", 1):
        store = open_store(tmp_path, committer)
        store.stage([Change("a", b"1"), Change("b", b"2"), Change("a", b"3"), Change("a", b"", deleted=True)])
        store.commit(lambda _: None)
        committer.run_one()
        store.compact(4)
        for _ in range(steps):
            store.sweep_step()
            if committer.waiting:
                committer.run_one()
        store.close()
        store = open_store(tmp_path, InlineCommitter())
        assert [record.key for record in store.range("")] == ["b"]
        assert store.stage([Change("a", b"", expected_revision=0)])[0].create_revision == 5
        store.commit(lambda _: None)
        store.compact(5)
        while store.sweep_step():
            pass
        assert store.status().bytes == 2 * (31 + 1) + 1  # Nothing is left of the old a.
        store.close()


@pytest.mark.parametrize("how", ["commit", "sweep"])
def test_the_floor_reaches_the_disk_with_a_commit_of_nothing_or_a_sweep_of_nothing(tmp_path, how):
    store = open_store(tmp_path, InlineCommitter())
    store.stage([Change("a", b"1"), Change("b", b"2")])
    store.commit(lambda _: None)
    store.compact(2)
    if how == "commit":
        store.commit(lambda _: None)
    else:
        while store.sweep_step():
            pass
    store.close()
    store = open_store(tmp_path, InlineCommitter())
    assert store.compacted == 2
    store.close()


def test_a_floor_that_did_not_reach_the_disk_moves_back_with_everything_above_it(tmp_path):
    store = open_store(tmp_path, InlineCommitter())
    store.stage([Change("a", b"1"), Change("a", b"2")])
    store.commit(lambda _: None)
    store.compact(2)
    store.close()
    store = open_store(tmp_path, InlineCommitter())
    assert store.compacted == 0
    assert store.get("a", 1).value == b"1"
    store.close()
