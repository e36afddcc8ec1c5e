"""What of the store's contract only its caller can see, sentence by sentence, over every backend.

What readers, writers and watchers rely on at any distance is conformance/'s, over the cache and the client, too; where
it stands here again, it is told of staging, batches or sweeps as well.
"""

from __future__ import annotations

import pytest
from ursa.proto.errors import Compacted, FutureRevision, StoreError, StoreFull
from ursa.storage import NOSPACE, Change, MemoryStore, Record, StageConflict


def keys_and_values(records):
    return [(record.key, record.value) for record in records]


# --- staging and committing ------------------------------------------------------------------------------------------


def test_the_story_of_the_contract(store, sweep):
    store.stage([Change("a", b"1"), Change("b", b"1")])
    store.stage([Change("a", b"last state", deleted=True)])
    assert (store.staged_head, store.head) == (3, 0)
    store.commit(lambda _: None)
    assert store.head == 3
    assert keys_and_values(store.range("", revision=2)) == [("a", b"1"), ("b", b"1")]
    assert keys_and_values(store.range("", revision=3)) == [("b", b"1")]
    assert list(store.log(after=1)) == [
        Record(2, "b", b"1", False, create_revision=2, previous_revision=0),
        Record(3, "a", b"last state", True, create_revision=1, previous_revision=1),
    ]
    store.compact(3)
    with pytest.raises(Compacted):
        store.range("", revision=2)
    sweep(store)
    assert keys_and_values(store.range("")) == [("b", b"1")]
    assert store.status().bytes == len(b"1") + len("b") + 31  # One record is left, with its overhead.


def test_a_record_says_when_its_life_began_and_what_came_before(store, write):
    write(store, a=b"1")
    write(store, a=b"2")
    write(store, a=None)
    (again,) = write(store, a=b"3")
    assert [(r.revision, r.create_revision, r.previous_revision) for r in store.log(0)] == [
        (1, 1, 0),
        (2, 1, 1),
        (3, 1, 2),
        (4, 4, 0),
    ]
    assert again == store.get("a")


def test_staged_changes_are_seen_by_nobody_but_the_next_stage(open_store, manual_committer):
    store = open_store(manual_committer)
    store.stage([Change("a", b"1")])
    acknowledged = []
    store.commit(acknowledged.append)
    store.stage([Change("a", b"2", expected_revision=1)])
    assert (store.head, store.staged_head) == (0, 2)
    assert store.get("a") is None
    assert list(store.range("")) == list(store.log(0)) == acknowledged == []
    manual_committer.run_one()
    assert store.head == 1
    assert acknowledged == [[store.get("a")]]
    assert store.get("a").value == b"1"
    assert keys_and_values(store.range("")) == keys_and_values(store.log(0)) == [("a", b"1")]
    with pytest.raises(FutureRevision, match="revision 2 does not exist yet, the newest is 1"):
        store.get("a", 2)


def test_what_is_staged_during_a_commit_is_the_next_commit(open_store, manual_committer):
    store = open_store(manual_committer)
    batches = []
    store.stage([Change("a", b"1")])
    store.commit(batches.append)
    store.stage([Change("b", b"2")])
    store.stage([Change("c", b"3")])
    manual_committer.run_one()
    store.commit(batches.append)
    manual_committer.run_one()
    assert [[record.key for record in batch] for batch in batches] == [["a"], ["b", "c"]]


def test_a_second_commit_in_flight_is_a_programming_error(open_store, manual_committer):
    store = open_store(manual_committer)
    store.commit(lambda _: None)
    with pytest.raises(AssertionError, match="at most one commit"):
        store.commit(lambda _: None)


def test_a_commit_of_nothing_is_acknowledged(store):
    batches = []
    store.commit(batches.append)
    assert batches == [[]]
    assert store.head == 0


def test_done_may_commit_again(store):
    order = []

    def first_done(batch):
        order.append(batch[0].revision)
        store.stage([Change("b", b"2")])
        store.commit(lambda batch: order.append(batch[0].revision))

    store.stage([Change("a", b"1")])
    store.commit(first_done)
    assert order == [1, 2]


def test_a_value_made_from_its_revision(store, write):
    write(store, a=b"1")
    (record,) = store.stage([Change("b", lambda revision: f"made at {revision}".encode())])
    assert record.value == b"made at 2"


def test_the_value_may_be_empty_and_the_key_any_text(store, write):
    keys = [" ", "/registry/pods/å", "a", "a\0", "日本", "😀"]
    store.stage([Change(key, b"") for key in keys])
    store.commit(lambda _: None)
    assert [record.key for record in store.range("")] == keys  # Code points sort as their UTF-8 does.
    assert store.get("😀").value == b""


# --- preconditions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected", "found"),
    [
        (Change("a", b"", expected_revision=0), 0, 2),  # It exists.
        (Change("a", b"", expected_revision=1), 1, 2),  # It has changed since.
        (Change("a", b"", deleted=True, expected_revision=1), 1, 2),
        (Change("gone", b"", expected_revision=4), 4, 0),  # Its deletion is no revision to build on.
        (Change("gone", b"", deleted=True), None, 0),  # There is nothing to delete.
        (Change("never", b"", expected_revision=1), 1, 0),
        (Change("never", b"", deleted=True, expected_revision=0), None, 0),
    ],
)
def test_a_precondition_that_does_not_hold_applies_nothing(store, write, change, expected, found):
    write(store, a=b"1")
    write(store, a=b"2")
    write(store, gone=b"")
    write(store, gone=None)
    called = []
    before = store.status()
    with pytest.raises(StageConflict) as refusal:
        store.stage([Change("b", lambda revision: called.append(revision) or b""), change])
    assert (refusal.value.key, refusal.value.expected, refusal.value.found) == (change.key, expected, found)
    assert called == []
    store.commit(lambda _: None)
    assert store.status() == before
    assert store.get("b") is None


def test_preconditions_that_hold(store, write):
    write(store, a=b"1", gone=b"")
    write(store, gone=None)
    records = store.stage(
        [
            Change("a", b"2", expected_revision=1),
            Change("gone", b"back", expected_revision=0),
            Change("never", b"", expected_revision=0),
            Change("a", b"", deleted=True, expected_revision=4),
        ]
    )
    assert [record.revision for record in records] == [4, 5, 6, 7]


def test_a_batch_may_change_a_key_several_times(store):
    records = store.stage(
        [
            Change("a", b"1", expected_revision=0),
            Change("a", b"2", expected_revision=1),
            Change("a", b"", deleted=True),
            Change("a", b"3", expected_revision=0),
        ]
    )
    assert [(r.create_revision, r.previous_revision) for r in records] == [(1, 0), (1, 1), (1, 2), (4, 0)]
    store.commit(lambda _: None)
    assert store.get("a").value == b"3"
    assert store.get("a", 2).value == b"2"
    assert store.get("a", 3) is None
    assert store.status().keys == 1


def fails(revision):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (Change("b", fails), ZeroDivisionError),
        (Change("b", lambda _: "text"), ValueError),
        (Change("b" * 70_000, b""), ValueError),
        (Change("\ud800", b""), ValueError),
    ],
    ids=["value-raises", "value-no-bytes", "key-too-long", "key-no-utf8"],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_applied(store, change, error):
    with pytest.raises(error):
        store.stage([Change("a", b"1"), change])
    assert store.staged_head == 0
    store.stage([Change("a", b"1", expected_revision=0)])
    store.commit(lambda _: None)
    assert [record.key for record in store.log(0)] == ["a"]


# --- reading ---------------------------------------------------------------------------------------------------------


def test_range_by_prefix_start_limit_and_revision(store):
    store.stage([Change(f"/pods/{i:03}", str(i).encode()) for i in range(300)])
    store.stage([Change("/nodes/a", b""), Change("/pods", b""), Change("/podsets/a", b"")])
    store.stage([Change(f"/pods/{i:03}", b"", deleted=True) for i in range(0, 300, 2)])
    store.commit(lambda _: None)
    assert [record.value for record in store.range("/pods/")] == [b"%d" % i for i in range(1, 300, 2)]
    assert [record.value for record in store.range("/pods/", revision=303)] == [b"%d" % i for i in range(300)]
    assert [r.key for r in store.range("/pods/", revision=303, start="/pods/297")] == [
        "/pods/297",
        "/pods/298",
        "/pods/299",
    ]
    assert [record.key for record in store.range("/pods/", start="/pods/297\0", limit=5)] == ["/pods/299"]
    assert len(list(store.range("/pods/", limit=140))) == 140
    assert [record.key for record in store.range("/nodes/", start="/a")] == ["/nodes/a"]
    assert list(store.range("/pods/", start="/q")) == []
    assert len(list(store.range(""))) == 153
    assert list(store.range("", revision=0)) == []


def test_keys_come_in_order_however_they_were_created(store):
    def create(keys):
        store.stage([Change(key, b"") for key in keys])
        store.commit(lambda _: None)

    create(["m", "c", "x"])
    assert [record.key for record in store.range("")] == ["c", "m", "x"]
    create(["d", "a", "z"])  # A few: inserted.
    assert [record.key for record in store.range("")] == ["a", "c", "d", "m", "x", "z"]
    create([f"k{(7 * i) % 100:02}" for i in range(100)])  # Many: merged.
    assert [record.key for record in store.range("k")] == [f"k{i:02}" for i in range(100)]
    assert len(list(store.range(""))) == 106


def test_log_is_complete_in_order_and_limited(store):
    store.stage([Change(f"k{i % 7}", b"%d" % i) for i in range(1, 401)])
    store.commit(lambda _: None)
    assert [record.value for record in store.log(0)] == [b"%d" % i for i in range(1, 401)]
    assert [record.revision for record in store.log(390)] == list(range(391, 401))
    assert [record.revision for record in store.log(100, limit=200)] == list(range(101, 301))
    assert list(store.log(400)) == []
    with pytest.raises(FutureRevision):
        store.log(401)


def test_large_values_are_read_in_slices(store):
    store.stage([Change(f"k{i}", bytes([i]) * (1 << 20)) for i in range(9)])
    store.commit(lambda _: None)
    assert [record.value[0] for record in store.range("")] == list(range(9))
    assert [record.value[0] for record in store.log(2)] == list(range(2, 9))


def test_a_range_stays_at_its_revision_while_the_store_moves_on(store):
    store.stage([Change(f"k{i:03}", b"old") for i in range(300)])
    store.commit(lambda _: None)
    reading = store.range("")
    first = next(reading)
    store.stage([Change(f"k{i:03}", b"new") for i in range(300)] + [Change("k0005", b"new key")])
    store.stage([Change("k299", b"", deleted=True)])
    store.commit(lambda _: None)
    assert [first.value] + [record.value for record in reading] == [b"old"] * 300


# --- digest ----------------------------------------------------------------------------------------------------------


def test_stores_that_hold_the_same_have_the_same_digest_whatever_they_have_forgotten(store, write, sweep):
    other = MemoryStore(incarnation="another")
    for one in (store, other):
        write(one, a=b"1", b=b"2", c=b"3")
        write(one, b=b"4", c=None)
    assert store.digest() == store.digest(5) == other.digest()
    assert store.digest(4) == other.digest(4) != store.digest()
    store.compact(5)
    sweep(store)
    assert store.digest() == other.digest()
    with pytest.raises(Compacted):
        store.digest(4)
    with pytest.raises(FutureRevision):
        store.digest(6)


@pytest.mark.parametrize(
    "changes",
    [
        [Change("a", b"1")],
        [Change("ab", b""), Change("a", b"b")],
        [Change("ab", b""), Change("a", b"b"), Change("ab", b"")],
        [Change("a", b"b"), Change("ab", b"")],
        [Change("a", b""), Change("a", b"", deleted=True), Change("a", b"b"), Change("ab", b"")],
        [Change("a", b""), Change("c", b""), Change("a", b"b"), Change("ab", b"")],
        [],
    ],
)
def test_a_digest_tells_keys_values_and_both_revisions_apart(open_store, changes):
    reference, store = open_store(), open_store()
    reference.stage([Change("a", b"b"), Change("a", b"b"), Change("a", b"b"), Change("ab", b"")])
    store.stage(changes)
    for one in (reference, store):
        one.commit(lambda _: None)
    assert reference.digest() != store.digest()


def test_a_digest_tells_where_a_key_ends(open_store):
    digests = []
    for key, value in (("abc", b""), ("ab", b"c"), ("a", b"bc")):
        store = open_store()
        store.stage([Change(key, value)])
        store.commit(lambda _: None)
        digests.append(store.digest())
    assert len(dict.fromkeys(digests)) == 3


# --- compaction ------------------------------------------------------------------------------------------------------


def test_the_floor_is_still_readable_and_what_is_below_is_not(store, write, sweep):
    for i in range(1, 6):
        write(store, a=b"%d" % i)
    store.compact(3)
    for _ in range(2):  # Before the sweep and after it.
        assert store.compacted == 3
        assert store.get("a", 3).value == b"3"
        assert [record.value for record in store.range("", revision=4)] == [b"4"]
        assert [record.revision for record in store.log(3)] == [4, 5]
        for read in (lambda: store.get("a", 2), lambda: store.range("", revision=2), lambda: store.log(2)):
            with pytest.raises(Compacted, match="revision 2 has been compacted, the oldest kept is 3"):
                read()
        sweep(store)


def test_compacting_out_of_reach_is_refused_and_at_the_floor_is_nothing(store, write):
    write(store, a=b"1")
    write(store, a=b"2")
    store.compact(2)
    store.compact(2)
    with pytest.raises(Compacted):
        store.compact(1)
    with pytest.raises(FutureRevision):
        store.compact(3)


def test_compaction_at_a_tombstone_that_is_the_head(store, write, sweep):
    write(store, a=b"1")
    write(store, a=None)
    store.compact(2)
    sweep(store)
    status = store.status()
    assert (status.head, status.compacted, status.keys, status.bytes) == (2, 2, 0, 0)
    (record,) = store.stage([Change("a", b"again", expected_revision=0)])
    assert (record.revision, record.create_revision, record.previous_revision) == (3, 3, 0)


def test_compaction_just_below_a_tombstone_keeps_what_it_deletes(store, write, sweep):
    write(store, a=b"1")
    write(store, a=b"2")
    write(store, a=None)
    store.compact(2)
    sweep(store)
    assert store.get("a", 2).value == b"2"
    assert [(record.revision, record.deleted) for record in store.log(2)] == [(3, True)]


def test_a_life_keeps_its_beginning_over_compaction(store, write, sweep):
    write(store, a=b"1", b=b"1")
    write(store, a=b"2")
    store.compact(3)
    sweep(store)
    (record,) = write(store, a=b"3")
    assert (record.create_revision, record.previous_revision) == (1, 3)


def test_a_deleted_key_that_comes_back_is_listed_once(store, write, sweep):
    write(store, a=b"1", b=b"1")
    assert len(list(store.range(""))) == 2
    write(store, a=None)
    store.compact(3)
    sweep(store)
    write(store, a=b"2")
    write(store, a=None)
    store.compact(5)
    sweep(store)
    write(store, a=b"3", c=b"1")
    assert [record.key for record in store.range("")] == ["a", "b", "c"]


def test_a_sweep_goes_in_bounded_steps_and_may_be_overtaken(store):
    for _ in range(3):
        store.stage([Change(f"k{i}", b"") for i in range(3000)])
        store.commit(lambda _: None)
    store.compact(6000)
    steps = 0
    while store.sweep_step():
        steps += 1
        if steps == 6:
            store.compact(9000)  # In the middle of erasing.
    assert steps > 2 * 3000 / 512
    assert [record.revision for record in store.log(9000)] == []
    assert len(list(store.range(""))) == 3000
    assert store.status().bytes == sum(31 + len(record.key) for record in store.range(""))
    assert not store.sweep_step()


@pytest.mark.parametrize("read", [lambda store: store.range("", revision=300), lambda store: store.log(0)])
def test_a_reader_overtaken_by_compaction_is_told_rather_than_shown_gaps(store, sweep, read):
    store.stage([Change(f"k{i % 150}", b"") for i in range(600)])
    store.commit(lambda _: None)
    reading = read(store)
    next(reading)
    store.compact(600)
    sweep(store)
    with pytest.raises(Compacted):
        list(reading)


def test_sweeping_nothing_costs_nothing(open_store, manual_committer):
    store = open_store(manual_committer)
    assert not store.sweep_step()
    assert not manual_committer.waiting


# --- copies ----------------------------------------------------------------------------------------------------------


def test_defragmenting_changes_nothing_that_can_be_read(store, write, sweep):
    for _ in range(3):
        write(store, a=b"1", b=b"2")
    store.compact(6)
    sweep(store)
    digest, outcomes = store.digest(), []
    store.defragment(outcomes.append)
    assert outcomes == [None]
    write(store, c=b"3")
    assert (store.digest(6), store.head) == (digest, 7)


# --- quota, status, end ----------------------------------------------------------------------------------------------


def test_over_the_quota_only_deletions_pass(open_store, sweep):
    store = open_store(bytes_max=10_000)
    store.stage([Change("a", bytes(9_000)), Change("b", bytes(2_000))])
    store.commit(lambda _: None)
    assert store.status().bytes > store.status().bytes_max == 10_000
    for changes in ([Change("c", b"")], [Change("a", b"", deleted=True), Change("c", b"")]):
        with pytest.raises(StoreFull, match="delete objects and compact"):
            store.stage(changes)
    store.stage([Change("b", b"marked for deletion", reserve=True)])
    store.stage([Change("a", b"", deleted=True)])
    store.commit(lambda _: None)
    with pytest.raises(StoreFull):
        store.stage([Change("c", b"")])
    store.compact(store.head)
    sweep(store)
    store.stage([Change("c", b"")])


def test_the_alarm_is_raised_by_a_refusal_and_clears_itself_once_there_is_room(open_store, sweep):
    store = open_store(bytes_max=1_000)
    store.stage([Change("a", bytes(2_000))])
    store.commit(lambda _: None)
    assert store.status().alarms == ()  # Nothing was refused yet.
    with pytest.raises(StoreFull):
        store.stage([Change("b", b"")])
    assert store.status().alarms == (NOSPACE,)
    store.stage([Change("a", b"", deleted=True)])
    store.commit(lambda _: None)
    store.compact(1)
    sweep(store)  # It freed nothing: the deletion is above the floor.
    assert store.status().alarms == (NOSPACE,)
    store.compact(2)
    sweep(store)
    assert store.status().alarms == ()
    store.stage([Change("b", b"")])


def test_a_store_is_full_at_its_quota_exactly(open_store, sweep):
    store = open_store(bytes_max=2 * 33)
    store.stage([Change("a", b"1")])
    store.stage([Change("a", b"2")])
    with pytest.raises(StoreFull):
        store.stage([Change("b", b"3")])
    store.stage([Change("b", b"3", reserve=True)])
    store.commit(lambda _: None)
    store.compact(3)
    sweep(store)
    assert (store.status().bytes, store.status().alarms) == (2 * 33, (NOSPACE,))
    with pytest.raises(StoreFull):
        store.stage([Change("b", b"3")])


def test_the_quota_counts_what_is_staged(open_store):
    store = open_store(bytes_max=1_000)
    store.stage([Change("a", bytes(1_000))])
    with pytest.raises(StoreFull):
        store.stage([Change("b", b"")])


def test_status(store, write):
    write(store, a=b"1", b=b"2")
    write(store, a=None)
    store.stage([Change("c", b"")])
    status = store.status()
    assert status.incarnation == store.incarnation
    assert (status.head, status.compacted, status.keys) == (3, 0, 1)
    assert (status.bytes_on_disk > 0) == (status.backend == "lmdb")


def test_closing_finishes_the_commit_in_flight_and_forgets_the_rest(open_store, manual_committer):
    store = open_store(manual_committer)
    store.stage([Change("a", b"1")])
    batches = []
    store.commit(batches.append)
    store.stage([Change("b", b"2")])
    store.close()
    assert [[record.key for record in batch] for batch in batches] == [["a"]]
    store.close()
    for use in (
        lambda: store.stage([Change("c", b"")]),
        lambda: store.commit(batches.append),
        lambda: store.get("a"),
        lambda: store.range(""),
        lambda: store.log(0),
        lambda: store.compact(1),
        store.sweep_step,
    ):
        with pytest.raises(StoreError, match="the store is closed"):
            use()


class BrokenDisk:
    """A committer whose disk fails."""

    def submit(self, work, done):
        done(OSError(5, "Input/output error"))

    def close(self):
        pass


def test_a_commit_that_fails_is_fatal_and_never_acknowledged(open_store):
    fatal = []
    store = open_store(BrokenDisk(), on_fatal=fatal.append)
    store.stage([Change("a", b"1")])
    batches = []
    store.commit(batches.append)
    assert batches == []
    assert store.head == 0
    (error,) = fatal
    assert isinstance(error, StoreError)
    assert isinstance(error.__cause__, OSError)
    assert "Input/output error" in str(error)
    assert "\n" not in str(error)
    for use in (lambda: store.stage([Change("b", b"")]), lambda: store.commit(batches.append), store.sweep_step):
        with pytest.raises(StoreError) as again:
            use()
        assert again.value is error


def test_a_commit_that_fails_raises_by_default(open_store):
    store = open_store(BrokenDisk())
    store.stage([Change("a", b"1")])
    with pytest.raises(StoreError, match="writing the commit failed"):
        store.commit(lambda _: None)


def test_a_sweep_step_that_fails_is_fatal_too(open_store, manual_committer, write):
    fatal = []
    store = open_store(manual_committer, on_fatal=fatal.append)
    for value in (b"1", b"2"):
        store.stage([Change("a", value)])
        store.commit(lambda _: None)
        manual_committer.run_one()
    store.compact(2)
    while not manual_committer.waiting:
        store.sweep_step()
    _, done = manual_committer.waiting.popleft()
    done(OSError(5, "Input/output error"))
    assert "erasing compacted revisions failed" in str(fatal[0])
