"""When a compaction is due: by age, by count, and never for nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.storage import AutoCompaction


def test_the_examples_of_the_docstring():
    policy = AutoCompaction(keep_seconds=300)
    heads = {0: 10, 30: 50, 60: 90}
    due = {now: policy.due(heads.get(now, 90), now) for now in (0, 30, 60, 299, 300, 330, 350)}
    assert due == {0: None, 30: None, 60: None, 299: None, 300: 10, 330: 50, 350: None}
    policy = AutoCompaction(keep_changes=100_000)
    assert [policy.due(head, 0) for head in (109_999, 110_000, 119_999, 120_000)] == [None, 10_000, None, 20_000]


def test_nothing_happens_to_a_store_where_nothing_happens():
    policy = AutoCompaction(keep_seconds=10, compacted=7)
    assert [policy.due(7, now) for now in range(100)] == [None] * 100


def test_a_reopened_store_is_not_compacted_below_its_floor():
    policy = AutoCompaction(keep_changes=100, compacted=950)
    assert policy.due(1000, 0) is None
    assert policy.due(1060, 1) == 960


@pytest.mark.parametrize("options", [{"keep_seconds": 0}, {"keep_changes": 0}])
def test_history_to_keep_is_positive(options):
    with pytest.raises(ValueError, match="must be positive"):
        AutoCompaction(**options)


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 9)), max_size=100))
def test_what_is_kept_is_young_or_few_and_what_is_dropped_is_old_or_many(steps):
    policy = AutoCompaction(keep_seconds=20, keep_changes=100)
    head, now, floor = 0, 0.0, 0
    asked: list[tuple[float, int]] = []
    for more, seconds in steps:
        head, now = head + more, now + seconds
        revision = policy.due(head, now)
        if revision is not None:
            assert floor < revision <= head
            was_head_long_ago = any(at <= now - 20 and revision <= then for at, then in asked)
            assert was_head_long_ago or revision == head - 100
            floor = revision
        assert head - floor < 110
        # Samples are two seconds apart, and taken when asked: what is older by both is gone.
        old = max((then for at, then in asked if at <= now - 20 - 2 - 9), default=0)
        assert floor >= old
        asked.append((now, head))
