"""Watches over every backend: the promises one by one on drawn histories, and the edges of the contract."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from random import Random
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.proto.errors import Compacted, FutureRevision, StoreError
from ursa.storage import Change, LmdbStore, MemoryStore, Record, Store, watch

from . import watch_promises
from .conftest import ManualCommitter
from .watch_promises import Seen

KEYS = ["a", "a/1", "a/2", "b", "b/a/1"]


def never() -> None:
    raise AssertionError("not to be woken")


# --- the promises ----------------------------------------------------------------------------------------------------


def make_memory(committer: ManualCommitter, path: str) -> Store:
    return MemoryStore(committer, incarnation="of-the-test")


def make_lmdb(committer: ManualCommitter, path: str) -> Store:
    return LmdbStore.open(path, committer, incarnation_random=Random(1))


class Watcher:
    """Watches, breaks off and goes on, and writes down what it sees."""

    def __init__(self, store: Store, prefix: str, after: int) -> None:
        self.store = store
        self.woken = 0
        self.seen = [Seen(prefix, after)]
        self.watch = store.watch(prefix, after, self.wake)

    def wake(self) -> None:
        self.woken += 1

    def take(self, limit: int) -> None:
        records = self.watch.take(limit)
        assert len(records) <= limit
        self.seen[-1].deliveries.append((records, self.watch.revision))

    def resume(self, at_bookmark: bool) -> None:
        last = self.seen[-1]
        after = last.bookmark if at_bookmark or not last.records else last.records[-1].revision
        self.watch.close()
        self.seen.append(Seen(last.prefix, after))
        self.watch = self.store.watch(last.prefix, after, self.wake)


class Story:
    """A store, its watchers, and what may happen to them."""

    def __init__(self, make: Callable[[ManualCommitter, str], Store], path: str) -> None:
        self.committer = ManualCommitter()
        self.store = make(self.committer, path)
        self.batches: list[list[Record]] = []
        self.watchers: list[Watcher] = []
        self.commits = 0
        for prefix in ("", "a"):
            self.watch(prefix)

    def stage(self, keys: list[str]) -> None:
        self.batches.append(self.store.stage([Change(key, b"%d" % self.store.staged_head) for key in keys]))

    def commit(self) -> None:
        if not self.committer.waiting:
            self.store.commit(self.done)

    def done(self, batch: list[Record]) -> None:
        self.commits += bool(batch)

    def finish(self) -> None:
        if self.committer.waiting:
            woken, commits = [watcher.woken for watcher in self.watchers], self.commits
            self.committer.run_one()
            more = self.commits - commits
            assert [watcher.woken for watcher in self.watchers] == [count + more for count in woken]

    def watch(self, prefix: str) -> None:
        self.watchers.append(Watcher(self.store, prefix, self.store.head // 2))

    def take(self, limit: int, which: int) -> None:
        if self.watchers:
            self.watchers[which % len(self.watchers)].take(limit)

    def resume(self, at_bookmark: bool, which: int) -> None:
        if self.watchers:
            self.watchers[which % len(self.watchers)].resume(at_bookmark)

    def catch_up(self) -> None:
        committed = [batch for batch in self.batches if batch[-1].revision <= self.store.head]
        for watcher in self.watchers:
            while watcher.watch.revision < self.store.head:
                watcher.take(4)
            deliveries = [delivery for seen in watcher.seen for delivery in seen.deliveries]
            whole = Seen(watcher.seen[0].prefix, watcher.seen[0].after, deliveries)
            assert whole.bookmark == self.store.head
            watch_promises.atomic(whole, list(self.store.log(0)), committed)

    def check(self) -> None:
        log = list(self.store.log(0))
        for watcher in self.watchers:
            for seen in watcher.seen:
                for promise in watch_promises.OF_ONE_WATCH:
                    promise(seen, log)
            for first, second in zip(watcher.seen, watcher.seen[1:], strict=False):
                watch_promises.resumable(first, second, log)


which = st.integers(0, 3)
steps = st.lists(
    st.one_of(
        st.builds(
            lambda keys: lambda story: story.stage(keys), st.lists(st.sampled_from(KEYS), min_size=1, max_size=5)
        ),
        st.just(Story.commit),
        st.just(Story.finish),
        st.builds(lambda prefix: lambda story: story.watch(prefix), st.sampled_from(["", "a", "a/", "b", "c"])),
        st.builds(lambda limit, which: lambda story: story.take(limit, which), st.integers(1, 4), which),
        st.builds(lambda bookmark, which: lambda story: story.resume(bookmark, which), st.booleans(), which),
        st.just(Story.catch_up),
    ),
    max_size=40,
)


@pytest.mark.parametrize("make", [make_memory, make_lmdb])
@given(steps=steps)
@settings(max_examples=60, deadline=None)
def test_a_watch_keeps_its_promises(make: Callable[[ManualCommitter, str], Store], steps):
    with tempfile.TemporaryDirectory() as path, mock.patch.object(watch, "LOOK_RECORDS", 3):
        story = Story(make, path)
        for step in [*steps, lambda story: story.stage(KEYS), Story.finish, Story.commit, Story.finish]:
            step(story)
        story.catch_up()
        story.check()
        story.store.close()


LOG = [Record(number, key, b"", False, number, 0) for number, key in enumerate(["a", "b", "a/1", "a/2"], 1)]
A, B, A1, A2 = LOG


@pytest.mark.parametrize(
    ("promise", "broken"),
    [
        (watch_promises.ordered, Seen("a", 0, [([A1, A], 4)])),
        (watch_promises.unique, Seen("a", 0, [([A], 1), ([A], 1)])),
        (watch_promises.reliable, Seen("a", 0, [([A, A2], 4)])),
        (watch_promises.bookmarkable, Seen("a", 0, [([A], 3)])),
        (watch_promises.bookmarkable, Seen("a", 0, [([A], 2), ([], 1)])),
        (watch_promises.filtered, Seen("a", 0, [([A, B], 2)])),
        (watch_promises.filtered, Seen("a", 1, [([A], 1)])),
        (watch_promises.filtered, Seen("a", 0, [([A._replace(value=b"other")], 1)])),
        (lambda seen, log: watch_promises.atomic(seen, log, [[A1, A2]]), Seen("a", 0, [([A, A1], 3)])),
        (lambda seen, log: watch_promises.resumable(seen, Seen("a", 3, [([A2], 4)]), log), Seen("a", 0, [([A], 1)])),
        (lambda seen, log: watch_promises.resumable(seen, Seen("a", 1, [([A2], 4)]), log), Seen("a", 0, [([A], 1)])),
    ],
)
def test_each_validator_can_fail(promise, broken):
    with pytest.raises(AssertionError):
        promise(broken, LOG)


# --- the edges -------------------------------------------------------------------------------------------------------


def test_a_watch_begins_behind_its_revision_and_sees_only_what_is_committed(open_store, manual_committer):
    store = open_store(manual_committer)
    store.stage([Change("a", b"1"), Change("b", b"2"), Change("a", b"3")])
    watching = store.watch("a", 0, lambda: None)
    assert watching.take(10) == []
    store.commit(lambda _: None)
    assert watching.take(10) == []
    manual_committer.run_one()
    assert [record.value for record in watching.take(10)] == [b"1", b"3"]
    assert [record.value for record in store.watch("a", 1, never).take(10)] == [b"3"]
    assert [record.value for record in store.watch("", 0, never).take(2)] == [b"1", b"2"]


def test_a_prefix_is_the_beginning_of_a_key(store):
    store.stage([Change(key, b"") for key in ("a", "ba", "a/1", "/", "b/a/1", "ab")])
    store.commit(lambda _: None)
    assert [record.key for record in store.watch("a", 0, never).take(10)] == ["a", "a/1", "ab"]


def test_deletions_are_seen_with_what_the_deleter_says(store, write):
    write(store, a=b"1")
    watching = store.watch("a", 1, lambda: None)
    store.stage([Change("a", b"last state", deleted=True)])
    store.commit(lambda _: None)
    assert watching.take(1) == [Record(2, "a", b"last state", True, create_revision=1, previous_revision=1)]


def test_out_of_reach_is_refused(store, write):
    for _ in range(3):
        write(store, a=b"")
    store.compact(2)
    with pytest.raises(Compacted, match="revision 1 has been compacted, the oldest kept is 2"):
        store.watch("", 1, never)
    with pytest.raises(FutureRevision):
        store.watch("", 4, never)
    assert len(store.watch("", 2, never).take(5)) == 1
    with pytest.raises(ValueError, match="at least one"):
        store.watch("", 2, never).take(0)


def test_a_watch_that_falls_below_the_floor_is_told_the_floor(store, write, sweep):
    write(store, a=b"1", b=b"1")
    watching = store.watch("", 0, lambda: None)
    watching.take(1)
    write(store, a=b"2")
    store.compact(3)
    with pytest.raises(Compacted) as told:
        watching.take(1)
    assert (told.value.revision, told.value.floor) == (1, 3)
    sweep(store)
    with pytest.raises(Compacted):
        watching.take(1)


def test_a_call_looks_at_a_bounded_part_of_the_log_and_holds_a_bounded_part_of_it(store):
    with mock.patch.multiple(watch, LOOK_RECORDS=10, TAKE_BYTES=1000):
        store.stage([Change("b", b"") for _ in range(25)] + [Change("a", bytes(600)) for _ in range(4)])
        store.commit(lambda _: None)
        watching = store.watch("a", 0, never)
        assert (watching.take(9), watching.revision) == ([], 10)
        assert (watching.take(9), watching.revision) == ([], 20)
        assert (len(watching.take(9)), watching.revision) == (2, 27)
        assert (len(watching.take(9)), watching.revision) == (2, 29)


def test_wakes_come_after_done_and_not_for_a_commit_of_nothing(store):
    order = []
    store.watch("", 0, lambda: order.append(f"wake at {store.head}"))
    store.commit(lambda _: order.append("done"))
    store.stage([Change("a", b"")])
    store.commit(lambda _: order.append("done"))
    assert order == ["done", "done", "wake at 1"]


def test_a_closed_watch_is_not_woken_even_if_it_was_closed_by_the_one_before_it(store, write):
    woken = []

    def close_both() -> None:
        woken.append("first")
        first.close()
        second.close()

    first = store.watch("", 0, close_both)
    second = store.watch("", 0, lambda: woken.append("second"))
    write(store, a=b"1")
    write(store, a=b"2")
    assert woken == ["first"]
    with pytest.raises(StoreError, match="the watch is closed"):
        first.take(1)
    first.close()
    assert not store._watches


def test_a_watch_opened_by_a_wake_is_woken_from_the_next_commit_on(store, write):
    woken = []

    def open_another() -> None:
        if not woken:
            store.watch("", store.head, lambda: woken.append("another"))
        woken.append("first")

    store.watch("", 0, open_another)
    write(store, a=b"1")
    assert woken == ["first"]
    write(store, a=b"2")
    assert woken == ["first", "first", "another"]


def test_the_watches_of_a_closed_store_say_so(store, write):
    watching = store.watch("", 0, lambda: None)
    write(store, a=b"1")
    store.close()
    with pytest.raises(StoreError, match="the store is closed"):
        watching.take(1)
    with pytest.raises(StoreError, match="the store is closed"):
        store.watch("", 0, never)
