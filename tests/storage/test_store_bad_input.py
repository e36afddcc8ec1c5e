"""What a store refuses, over every backend: one class of error each, its fields, a line that says what to do.

And whatever was refused has left no trace: the store is as it was, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ursa.proto.errors import Compacted, FutureRevision, StoreError
from ursa.storage import (
    RESERVED_PREFIX,
    Change,
    Guard,
    InvalidKey,
    LeaseExists,
    LeaseNotFound,
    StageConflict,
    Store,
    ValueTooLarge,
)
from ursa.storage.records import KEY_BYTES_MAX, VALUE_BYTES_MAX

# At the head 6: `a` lives since 2 and was changed at 3, `gone` lived from 4 to 5; what needs less than 3 is compacted.
FLOOR, HEAD = 3, 6


@pytest.fixture
def filled(store, write, sweep) -> Store:
    write(store, first=b"")
    write(store, a=b"1")
    write(store, a=b"2")
    write(store, gone=b"")
    write(store, gone=None)
    write(store, last=b"")
    store.compact(FLOOR)
    sweep(store)
    return store


def stage(*changes: Change, guards: tuple[Guard, ...] = ()) -> Callable[[Store], object]:
    return lambda store: store.stage(changes, guards)


CASES: dict[str, tuple[Callable[[Store], object], type[StoreError], dict[str, object], str]] = {
    "an oversized value": (
        stage(Change("b", bytes(VALUE_BYTES_MAX + 1))),
        ValueTooLarge,
        {"key": "b", "bytes": VALUE_BYTES_MAX + 1, "bytes_max": VALUE_BYTES_MAX},
        "b: the value has 2097153 bytes, at most 2097152 are stored: split it",
    ),
    "an oversized value that is made from its revision": (
        stage(Change("b", lambda _: bytes(VALUE_BYTES_MAX + 1))),
        ValueTooLarge,
        {"key": "b", "bytes": VALUE_BYTES_MAX + 1, "bytes_max": VALUE_BYTES_MAX},
        "at most 2097152 are stored",
    ),
    "an oversized value of a deletion": (
        stage(Change("a", bytes(VALUE_BYTES_MAX + 1), deleted=True)),
        ValueTooLarge,
        {"key": "a", "bytes": VALUE_BYTES_MAX + 1, "bytes_max": VALUE_BYTES_MAX},
        "at most 2097152 are stored",
    ),
    "an empty key": (
        stage(Change("", b"1")),
        InvalidKey,
        {"key": "", "why": "it is empty"},
        "'' cannot be a key: it is empty",
    ),
    "a long key": (
        stage(Change("k" * (KEY_BYTES_MAX + 1), b"1")),
        InvalidKey,
        {"key": "k" * (KEY_BYTES_MAX + 1), "why": "it has 65536 bytes, at most 65535 are allowed"},
        "kkk'... cannot be a key: it has 65536 bytes",
    ),
    "a key long in bytes only": (
        stage(Change("å" * (KEY_BYTES_MAX // 2 + 1), b"1")),
        InvalidKey,
        {"why": "it has 65536 bytes, at most 65535 are allowed"},
        "cannot be a key",
    ),
    "a key without UTF-8": (
        stage(Change("\ud800", b"1")),
        InvalidKey,
        {"key": "\ud800", "why": "it has no UTF-8"},
        "'\\ud800' cannot be a key: it has no UTF-8",
    ),
    "a key of the store's own": (
        stage(Change(f"{RESERVED_PREFIX}x", b"1")),
        InvalidKey,
        {"key": f"{RESERVED_PREFIX}x"},
        "is the store's own",
    ),
    "an update of nothing": (
        stage(Change("never", b"1", expected_revision=2)),
        StageConflict,
        {"key": "never", "expected": 2, "found": 0, "of_life": False},
        "never: expected revision 2, found nothing: read it again",
    ),
    "an update of what is gone": (
        stage(Change("gone", b"1", expected_revision=4)),
        StageConflict,
        {"key": "gone", "expected": 4, "found": 0, "of_life": False},
        "gone: expected revision 4, found nothing",
    ),
    "an update of what is gone, by the revision of its deletion": (
        stage(Change("gone", b"1", expected_revision=5)),
        StageConflict,
        {"key": "gone", "expected": 5, "found": 0, "of_life": False},
        "found nothing",
    ),
    "a precondition on a revision of the future": (
        stage(Change("a", b"1", expected_revision=99)),
        StageConflict,
        {"key": "a", "expected": 99, "found": 3, "of_life": False},
        "a: expected revision 99, found revision 3",
    ),
    "a negative precondition": (
        stage(Change("never", b"1", expected_revision=-1)),
        StageConflict,
        {"key": "never", "expected": -1, "found": 0, "of_life": False},
        "found nothing",
    ),
    "a creation of what is there": (
        stage(Change("a", b"1", expected_revision=0)),
        StageConflict,
        {"key": "a", "expected": 0, "found": 3, "of_life": False},
        "a: expected it not to exist, found revision 3",
    ),
    "a deletion of nothing": (
        stage(Change("never", b"", deleted=True)),
        StageConflict,
        {"key": "never", "expected": None, "found": 0, "of_life": False},
        "never: expected it to exist, found nothing",
    ),
    "a guard on nothing": (
        stage(Change("b", b"1"), guards=(Guard("never"),)),
        StageConflict,
        {"key": "never", "expected": None, "found": 0, "of_life": False},
        "never: expected it to exist, found nothing",
    ),
    "a guard on another life": (
        stage(Change("b", b"1"), guards=(Guard("a", create_revision=1),)),
        StageConflict,
        {"key": "a", "expected": 1, "found": 2, "of_life": True},
        "a: expected a life begun at revision 1, found a life begun at revision 2",
    ),
    "a key with an unknown lease": (
        stage(Change("b", b"1", lease=7)),
        LeaseNotFound,
        {"lease": 7},
        "there is no lease 7: it has ended, grant another one",
    ),
    "a renewal of an unknown lease": (lambda store: store.keep_alive(7, 0.0), LeaseNotFound, {"lease": 7}, "lease 7"),
    "the end of an unknown lease": (lambda store: store.revoke(7), LeaseNotFound, {"lease": 7}, "lease 7"),
}
for name, read in {
    "get": lambda store, revision: store.get("a", revision),
    "range": lambda store, revision: store.range("", revision=revision),
    "log": lambda store, revision: store.log(revision),
    "digest": lambda store, revision: store.digest(revision),
    "watch": lambda store, revision: store.watch("", revision, lambda: None),
    "compact": lambda store, revision: store.compact(revision),
}.items():
    CASES[f"{name} at a future revision"] = (
        lambda store, read=read: read(store, HEAD + 1),
        FutureRevision,
        {"revision": HEAD + 1, "head": HEAD},
        "revision 7 does not exist yet, the newest is 6",
    )
    for below in (FLOOR - 1, 0, -1):
        CASES[f"{name} at {below}, which is compacted"] = (
            lambda store, read=read, below=below: read(store, below),
            Compacted,
            {"revision": below, "floor": FLOOR},
            f"revision {below} has been compacted, the oldest kept is 3: list again",
        )


@pytest.mark.parametrize(("ask", "error", "fields", "line"), CASES.values(), ids=CASES)
def test_it_is_refused_by_name_and_leaves_no_trace(filled, ask, error, fields, line):
    before = filled.status(), filled.staged_head, list(filled.log(FLOOR)), filled.digest()
    with pytest.raises(StoreError) as refusal:
        ask(filled)
    assert type(refusal.value) is error
    assert {name: getattr(refusal.value, name) for name in fields} == fields
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)
    filled.commit(lambda _: None)
    assert (filled.status(), filled.staged_head, list(filled.log(FLOOR)), filled.digest()) == before
    filled.stage([Change("a", b"3", expected_revision=3), Change("b", b"1", expected_revision=0)])


@pytest.mark.parametrize(
    "bad",
    [Change("", b"1"), Change("b", bytes(VALUE_BYTES_MAX + 1)), Change("b", b"1", lease=7), Change("\ud800", b"")],
    ids=["key", "value", "lease", "text"],
)
def test_one_bad_change_refuses_its_whole_batch(filled, bad):
    with pytest.raises(StoreError):
        filled.stage([Change("a", b"3"), Change("new", b"1"), bad])
    assert filled.staged_head == HEAD
    filled.stage([Change("a", b"3", expected_revision=3), Change("new", b"1", expected_revision=0)])


@pytest.mark.parametrize(
    "change",
    [
        Change("a", b"", expected_revision=2),
        Change("gone", b"", expected_revision=4),
        Change("never", b"", expected_revision=1),
        Change("never", b"", deleted=True),
        Change("gone", b"", deleted=True),
        Change("a", b"", lease=7),
        Change(f"{RESERVED_PREFIX}x", b""),
    ],
    ids=str,
)
def test_the_value_of_what_is_refused_is_not_even_made(filled, change):
    made: list[int] = []

    def make(revision: int) -> bytes:
        made.append(revision)
        return b"made"

    with pytest.raises(StoreError):
        filled.stage([change._replace(value=make)])
    assert made == []
    filled.stage([Change("a", make)])
    assert made == [HEAD + 1]


def test_what_is_just_not_too_large_is_kept(store):
    key, value = "k" * KEY_BYTES_MAX, bytes(VALUE_BYTES_MAX)
    store.stage([Change(key, value), Change("å" * (KEY_BYTES_MAX // 2), b"")])
    store.commit(lambda _: None)
    assert store.get(key).value == value


def test_a_grant_of_a_number_that_is_taken_and_of_an_impossible_time(store):
    store.grant(7, 10.0, now=0.0)
    with pytest.raises(LeaseExists, match="lease 7 exists already") as refusal:
        store.grant(7, 10.0, now=0.0)
    assert refusal.value.lease == 7
    for lease, ttl_seconds in ((-1, 1.0), (1 << 63, 1.0), (1, 0.0), (1, 9.1e9)):
        with pytest.raises(ValueError, match="a lease"):
            store.grant(lease, ttl_seconds, now=0.0)
    assert store.status().leases == 1


# --- guards: preconditions on keys that a batch need not change ------------------------------------------------------


def test_guards_that_hold_let_a_batch_pass(filled):
    guards = [
        Guard("a"),
        Guard("a", revision=3),
        Guard("a", create_revision=2),
        Guard("a", revision=3, create_revision=2),
        Guard("gone", revision=0),
        Guard("never", create_revision=0),
    ]
    [record] = filled.stage([Change("b", b"1")], guards)
    assert record.revision == 7
    assert filled.stage([], guards) == []


@pytest.mark.parametrize(
    ("guard", "expected", "found", "of_life"),
    [
        (Guard("gone"), None, 0, False),
        (Guard("a", revision=2), 2, 3, False),
        (Guard("a", revision=0), 0, 3, False),
        (Guard("gone", revision=5), 5, 0, False),
        (Guard("a", create_revision=3), 3, 2, True),
        (Guard("a", create_revision=0), 0, 2, True),
        (Guard("gone", create_revision=4), 4, 0, True),
        (Guard("a", revision=3, create_revision=3), 3, 2, True),
        (Guard("a", revision=2, create_revision=2), 2, 3, False),
    ],
)
def test_a_guard_that_does_not_hold_applies_nothing(filled, guard, expected, found, of_life):
    for guards in ([guard], [Guard("a"), guard], [guard, Guard("a")]):
        for changes in ([Change("b", b"1")], []):
            with pytest.raises(StageConflict) as refusal:
                filled.stage(changes, guards)
            conflict = refusal.value
            assert (conflict.key, conflict.expected, conflict.found) == (guard.key, expected, found)
            assert conflict.of_life is of_life
    assert filled.staged_head == HEAD


def test_guards_see_the_state_before_the_batch_whose_expected_revisions_see_the_changes_before_them(filled):
    filled.stage(
        [Change("a", b"", deleted=True), Change("a", b"again", expected_revision=0)], [Guard("a", create_revision=2)]
    )
    with pytest.raises(StageConflict):
        filled.stage([Change("b", b"1")], [Guard("a", create_revision=2)])
    filled.stage([Change("b", b"1")], [Guard("a", revision=8, create_revision=8)])


def test_guards_see_what_is_staged_and_not_yet_committed(open_store, manual_committer):
    store = open_store(manual_committer)
    store.stage([Change("a", b"1")])
    store.stage([Change("b", b"1")], [Guard("a", revision=1)])
    with pytest.raises(StageConflict):
        store.stage([Change("b", b"2")], [Guard("a", revision=0)])


def test_a_guard_does_not_make_room_and_is_looked_at_before_it(open_store):
    store = open_store(bytes_max=40)
    store.stage([Change("a", bytes(20))])
    with pytest.raises(StoreError, match="delete objects and compact"):
        store.stage([Change("b", b"")], [Guard("a")])
    with pytest.raises(StageConflict):
        store.stage([Change("b", b"")], [Guard("b")])


def test_a_leader_whose_term_is_over_writes_no_more(store):
    """Its term is the life of its key, which goes with its lease: renewals do not end it, another leader does."""
    store.grant(1, 10.0, now=0.0)
    [leader] = store.stage([Change("leader", b"first", lease=1)], [Guard("leader", revision=0)])
    fence = [Guard("leader", create_revision=leader.create_revision)]
    store.keep_alive(1, now=5.0)
    store.stage([Change("leader", b"still the first", lease=1), Change("work", b"1")], fence)
    store.commit(lambda _: None)
    assert store.expire(now=15.0) == 1
    with pytest.raises(StageConflict, match="leader: expected a life begun"):
        store.stage([Change("work", b"2")], fence)
    store.grant(2, 10.0, now=15.0)
    store.stage([Change("leader", b"second", lease=2)], [Guard("leader", revision=0)])
    with pytest.raises(StageConflict):
        store.stage([Change("work", b"2")], fence)
    store.commit(lambda _: None)
    assert store.get("work").value == b"1"
