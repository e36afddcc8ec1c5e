"""Leases over every backend: sentence by sentence, then against a model with reopening and time."""

from __future__ import annotations

import math
import shutil
import tempfile
from random import Random
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from ursa.proto.errors import StoreFull
from ursa.storage import (
    RESERVED_PREFIX,
    Change,
    InlineCommitter,
    LeaseExists,
    LeaseNotFound,
    LmdbStore,
    MemoryStore,
    StageConflict,
    Store,
    leases,
)
from ursa.storage.records import record_bytes


def commit(store: Store) -> None:
    store.commit(lambda _: None)


def keys(store: Store) -> list[str]:
    return [record.key for record in store.range("") if not record.key.startswith(RESERVED_PREFIX)]


def own_keys(store: Store) -> list[str]:
    return [record.key for record in store.range(RESERVED_PREFIX)]


# --- the contract ----------------------------------------------------------------------------------------------------


def test_the_story_of_the_module(store):
    assert store.grant(10, 30, now=0.0) == 10
    assert [record.key for record in store.stage([Change("/a", b"1", lease=10), Change("/b", b"2", lease=10)])] == [
        "/a",
        "/b",
    ]
    store.stage([Change("/a", b"3")])
    commit(store)
    lease = f"{RESERVED_PREFIX}leases/000000000000000a"
    assert [(record.key, record.value, record.deleted) for record in store.log(0)] == [
        (lease, b"30.0", False),
        ("/a", b"1", False),
        ("/b", b"2", False),
        (f"{lease}//a", b"", False),
        (f"{lease}//b", b"", False),
        ("/a", b"3", False),
        (f"{lease}//a", b"", True),
    ]
    store.revoke(10)
    commit(store)
    assert [record.key for record in store.log(7)] == ["/b", f"{lease}//b", lease]
    assert [record.key for record in store.range("")] == ["/a"]


@pytest.mark.parametrize("start", [0.0, 1e9 + 0.1])
def test_a_lease_ends_at_its_time_exactly_and_not_before(store, start):
    lease = store.grant(0, 30, start)
    store.stage([Change("a", b"", lease=lease)])
    end = start + 30
    assert store.expire(math.nextafter(end, 0)) == 0
    assert store.status().leases == 1
    assert store.expire(end) == 1
    commit(store)
    assert keys(store) == own_keys(store) == []
    assert store.status().leases == 0


def test_a_renewal_moves_the_end_forward_and_never_back(store):
    lease = store.grant(0, 30, 100)
    assert store.keep_alive(lease, 110) == 140
    assert store.keep_alive(lease, 105) == 140  # A clock that jumped back.
    assert store.expire(139) == 0
    assert store.keep_alive(lease, 200) == 230  # Its time was over, but nobody had ended it.
    assert store.expire(229) == 0
    assert store.expire(230) == 1
    with pytest.raises(LeaseNotFound, match=f"no lease {lease}"):
        store.keep_alive(lease, 230)
    with pytest.raises(LeaseNotFound):
        store.revoke(lease)


def test_numbers_asked_for_and_given(store):
    assert store.grant(1, 30, 0) == 1
    assert store.grant(3, 30, 0) == 3
    given = [store.grant(0, 30, 0) for _ in range(3)]
    assert len({1, 3, *given}) == 5
    assert 0 not in given
    with pytest.raises(LeaseExists) as refusal:
        store.grant(3, 30, 0)
    assert refusal.value.lease == 3
    store.revoke(3)
    assert store.grant(3, 30, 0) == 3
    assert store.status().leases == 5


@pytest.mark.parametrize(
    ("lease", "ttl_seconds"), [(-1, 30), (1 << 63, 30), (1, 0), (1, -1), (1, math.nan), (1, math.inf)]
)
def test_a_lease_that_cannot_be(store, lease, ttl_seconds):
    with pytest.raises(ValueError, match="a lease"):
        store.grant(lease, ttl_seconds, 0)
    assert (store.staged_head, store.status().leases) == (0, 0)


def test_a_lease_granted_again_under_its_number_lives_its_own_time(store):
    store.grant(7, 10, 0)
    store.revoke(7)
    store.grant(7, 100, 0)
    assert store.expire(10) == 0
    assert store.expire(100) == 1
    assert store.expire(1000) == 0


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (Change("b", b"", lease=9), LeaseNotFound),
        (Change("a", b"", deleted=True, lease=1), ValueError),
        (Change(RESERVED_PREFIX, b""), ValueError),
        (Change(RESERVED_PREFIX + "x", b""), ValueError),
        (Change(RESERVED_PREFIX + "\U0010ffff\U0010ffff", b""), ValueError),
        (Change("k" * 65_530, b"", lease=1), ValueError),  # The key of its attachment is too long.
        (Change("a", b"", expected_revision=9, lease=1), StageConflict),
    ],
)
def test_what_is_refused_applies_nothing(store, change, error):
    store.grant(1, 30, 0)
    store.stage([Change("a", b"1")])
    called = []
    with pytest.raises(error):
        store.stage([Change("x", lambda _: called.append(1) or b"", lease=1), change])
    with pytest.raises(error):
        store.stage([change])
    assert store.staged_head == 2
    assert called == [1] * (len(change.key) > 60_000)
    store.stage([Change("x", b"", expected_revision=0, lease=1)])
    store.revoke(1)
    commit(store)
    assert keys(store) == ["a"]


def test_keys_that_only_look_reserved_are_anybodys(store):
    store.stage([Change(key, b"") for key in ("\0", "\0ursa", "\0ursa0", "\0z")])
    commit(store)
    assert len(list(store.range(""))) == 4


def test_a_key_goes_with_the_lease_it_was_last_given(store):
    store.grant(1, 10, 0)
    store.grant(2, 20, 0)
    store.stage([Change("a", b"", lease=1), Change("b", b"", lease=1), Change("c", b"", lease=1)])
    store.stage([Change("a", b"", lease=2), Change("b", b"", lease=2), Change("b", b"", lease=1), Change("c", b"")])
    assert store.expire(10) == 1
    commit(store)
    assert keys(store) == ["a", "c"]
    assert store.expire(20) == 1
    commit(store)
    assert keys(store) == ["c"]
    assert own_keys(store) == []


def test_a_key_that_was_deleted_and_came_back_is_not_taken_by_the_old_lease(store):
    store.grant(1, 10, 0)
    store.stage([Change("a", b"", lease=1)])
    store.stage([Change("a", b"", deleted=True)])
    store.stage([Change("a", b"")])
    store.stage([Change("b", b"", lease=1), Change("b", b"", deleted=True), Change("b", b"", lease=0)])
    assert store.expire(10) == 1
    commit(store)
    assert keys(store) == ["a", "b"]


def test_the_same_lease_again_writes_no_attachment_again(store):
    store.grant(1, 10, 0)
    for value in (b"1", b"2", b"3"):
        store.stage([Change("a", value, lease=1)])
    assert store.staged_head == 1 + 2 + 1 + 1


def test_the_end_of_leases_is_one_batch_and_bounded(store):
    for lease in range(1, 6):
        store.grant(lease, lease, 0)
        store.stage([Change(f"k{lease}/{number}", b"", lease=lease) for number in range(4)])
    commit(store)
    with mock.patch.object(leases, "EXPIRE_CHANGES", 20):
        assert store.expire(5) == 2  # Nine changes each; the longest over first.
        batches: list[object] = []
        store.commit(batches.append)
        assert len(batches[0]) == 18
        assert [key.split("/")[0] for key in keys(store)] == ["k3"] * 4 + ["k4"] * 4 + ["k5"] * 4
    with mock.patch.object(leases, "EXPIRE_CHANGES", 1):  # One always goes, however large.
        assert [store.expire(5) for _ in range(4)] == [1, 1, 1, 0]
    commit(store)
    assert list(store.range("")) == []


def test_leases_in_a_full_store(open_store, sweep):
    store = open_store(bytes_max=1_000)
    store.grant(1, 10, 0)
    store.grant(2, 10, 0)
    store.stage([Change("a", bytes(2_000), lease=1), Change("b", b"", lease=2)])
    with pytest.raises(StoreFull):
        store.grant(3, 10, 0)
    with pytest.raises(StoreFull):
        store.stage([Change("c", b"", lease=1)])
    assert store.status().leases == 2
    store.stage([Change("c", b"", lease=1, reserve=True)])
    assert store.keep_alive(2, 5) == 15
    assert store.expire(10) == 1
    store.revoke(2)
    commit(store)
    assert list(store.range("")) == []
    store.compact(store.head)
    sweep(store)
    assert store.status().bytes == 0
    assert store.grant(0, 10, 0)


def test_the_queue_of_ends_does_not_grow_with_leases_that_were_revoked(store):
    for _ in range(1000):
        store.revoke(store.grant(0, 1_000_000, 0))
    assert len(store._leases._ends) <= leases.OUTDATED_MAX + 1
    assert not store._leases._untimed
    assert not store._leases.attached


def test_leases_are_found_by_whatever_is_asked_first_after_opening(tmp_path):
    for first in (
        lambda store: store.status().leases == 1,
        lambda store: store.keep_alive(1, 0.5) == 10.5,
        lambda store: store.expire(100) == 0,
        lambda store: store.grant(2, 10, 0) == 2 and store.revoke(2) is None,
        lambda store: store.stage([Change("a", b"")]),
        lambda store: store.revoke(1) is None,
    ):
        path = tmp_path / str(len(list(tmp_path.iterdir())))
        store = LmdbStore.open(path, InlineCommitter(), incarnation_random=Random(1))
        store.grant(1, 10, 0)
        store.stage([Change("a", b"", lease=1), Change("b", b"", lease=1)])
        commit(store)
        store.close()
        store = LmdbStore.open(path, InlineCommitter(), incarnation_random=Random(1))
        assert first(store)
        commit(store)
        assert store.expire(0) == 0
        assert own_keys(store) in (
            [leases.lease_key(1), leases.attachment_key(1, "a"), leases.attachment_key(1, "b")],
            [leases.lease_key(1), leases.attachment_key(1, "b")],
            [],
        )
        store.close()


# --- against a model -------------------------------------------------------------------------------------------------

KEYS = ["a", "b", "b/1", "c"]
IDS = [1, 2, 3]


class LeaseMachine(RuleBasedStateMachine):
    """`keys`: each with its lease or 0. `granted`: each lease's time to live, and its end (None: not yet known)."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000
        self.keys: dict[str, int] = {}
        self.granted: dict[int, tuple[int, int | None]] = {}
        self.committed: tuple[dict[str, int], dict[int, tuple[int, int | None]]] = ({}, {})
        self.patch = mock.patch.object(leases, "EXPIRE_CHANGES", 6)
        self.patch.start()

    def teardown(self) -> None:
        self.commit()
        self.sweep()
        kept = list(self.store.log(self.store.compacted))
        assert not kept
        assert self.store.status().bytes == sum(record_bytes(r.key, r.value) for r in self.store.range(""))
        self.store.close()
        self.patch.stop()

    @rule(lease=st.sampled_from([0, *IDS]), ttl=st.integers(1, 9))
    def grant(self, lease: int, ttl: int) -> None:
        if lease in self.granted:
            with pytest.raises(LeaseExists):
                self.store.grant(lease, ttl, self.now)
        else:
            given = self.store.grant(lease, ttl, self.now)
            assert given not in self.granted
            assert given == lease or not lease
            self.granted[given] = (ttl, self.now + ttl)

    @rule(changes=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from([None, 0, *IDS])), min_size=1, max_size=4))
    def write(self, changes: list[tuple[str, int | None]]) -> None:
        state, batch, wrong = dict(self.keys), [], None
        for key, lease in changes:
            if lease is None:
                wrong = wrong or (None if key in state else StageConflict)
                state.pop(key, None)
            else:
                state[key] = lease
            batch.append(Change(key, b"", deleted=lease is None, lease=lease or 0))
        if wrong is None and any(lease and lease not in self.granted for _, lease in changes):
            wrong = LeaseNotFound
        if wrong:
            with pytest.raises(wrong):
                self.store.stage(batch)
        else:
            assert len(self.store.stage(batch)) == len(batch)
            self.keys = state

    @rule(lease=st.sampled_from(IDS))
    def keep_alive(self, lease: int) -> None:
        if lease in self.granted:
            ttl, _ = self.granted[lease]
            assert self.store.keep_alive(lease, self.now) == self.now + ttl
            self.granted[lease] = (ttl, self.now + ttl)
        else:
            with pytest.raises(LeaseNotFound):
                self.store.keep_alive(lease, self.now)

    @rule(lease=st.sampled_from(IDS))
    def revoke(self, lease: int) -> None:
        if lease in self.granted:
            self.store.revoke(lease)
            self.end(lease)
        else:
            with pytest.raises(LeaseNotFound):
                self.store.revoke(lease)

    def end(self, lease: int) -> None:
        del self.granted[lease]
        self.keys = {key: of for key, of in self.keys.items() if of != lease}

    @rule(seconds=st.integers(0, 4))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(exactly=st.booleans())
    def time_comes(self, exactly: bool) -> None:
        """Up to the next end, or just before it."""
        ends = [ends_at for _, ends_at in self.granted.values() if ends_at is not None and ends_at > self.now]
        if ends:
            self.now = min(ends) - (not exactly)

    @rule()
    def expire(self) -> None:
        for lease, (ttl, ends_at) in self.granted.items():
            if ends_at is None:
                self.granted[lease] = (ttl, self.now + ttl)
        over = [lease for lease, (_, ends_at) in self.granted.items() if ends_at <= self.now]
        ended = 0
        while more := self.store.expire(self.now):
            ended += more
        assert ended == len(over)
        for lease in over:
            self.end(lease)

    @rule()
    def commit(self) -> None:
        self.store.commit(lambda _: None)
        self.committed = (dict(self.keys), dict(self.granted))
        assert keys(self.store) == sorted(self.keys)
        attached = [leases.attachment_key(lease, key) for key, lease in self.keys.items() if lease]
        assert own_keys(self.store) == sorted([*map(leases.lease_key, self.granted), *attached])

    @rule()
    def sweep(self) -> None:
        self.store.compact(self.store.head)
        while self.store.sweep_step():
            pass

    @invariant()
    def what_is_known_is_what_was_staged(self) -> None:
        assert self.store.status().leases == len(self.granted)
        assert self.store._leases.attached == {key: lease for key, lease in self.keys.items() if lease}


class MemoryLeaseMachine(LeaseMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore(incarnation="of-the-test")


class LmdbLeaseMachine(LeaseMachine):
    def __init__(self) -> None:
        super().__init__()
        self.path = tempfile.mkdtemp()
        self.store = self.open()

    def open(self) -> Store:
        return LmdbStore.open(self.path, InlineCommitter(), incarnation_random=Random(1))

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.path)

    @rule(clock=st.integers(0, 3000))
    def reopen(self, clock: int) -> None:
        """What was not committed is lost; every lease has its whole time again, on whatever clock there is now."""
        self.store.close()
        self.store = self.open()
        self.keys, granted = dict(self.committed[0]), self.committed[1]
        self.granted = {lease: (ttl, None) for lease, (ttl, _) in granted.items()}
        self.now = clock


TestLeasesInMemory = MemoryLeaseMachine.TestCase
TestLeasesInMemory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLeasesInLmdb = LmdbLeaseMachine.TestCase
TestLeasesInLmdb.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
