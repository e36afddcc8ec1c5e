"""The fast checker and the one that tries every order say the same of thousands of small histories, good and spoilt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from random import Random

import pytest
from ursa.tools.checking.histories import (
    Batch,
    Compaction,
    Delivery,
    Demand,
    Entry,
    Grant,
    Operation,
    Part,
    Read,
    Renewal,
    Revocation,
    TooOld,
    Write,
)
from ursa.tools.checking.linearizability import violations

from .histories import History, Log, Recorder, reopen_memory, spoilt
from .store_histories import StoreRecorder
from .store_model import Finish, StoreModel
from .wgl import is_linearizable

HISTORIES = 1500
SPOILT_EACH = 3


def judged(history: History, log: Log) -> bool:
    end = max((time for operation in history for time in (operation.call, operation.ret) if time < inf), default=0.0)
    return is_linearizable([*history, Finish(end + 1, end + 2)], (), StoreModel(log).step)


def small_history(seed: int) -> tuple[History, Log]:
    random = Random(seed)
    clients, keys = random.randint(2, 4), random.randint(1, 3)
    recorder: Recorder
    if seed % 2:
        recorder = Recorder(random, reopen_memory, clients=clients, keys=keys)
    else:  # With batches; of watches and leases the judge knows nothing.
        recorder = StoreRecorder(
            random, reopen_memory, clients=clients, keys=keys, watchers=0, leases=False, compaction=False
        )
    return recorder.run(random.randint(4, 12), crash_probability=0.05)


def test_both_agree_on_thousands_of_small_histories_good_and_spoilt():
    verdicts: Counter[tuple[str, bool]] = Counter()
    for seed in range(HISTORIES):
        history, log = small_history(seed)
        assert violations(history, log) == [], seed
        assert judged(history, log), seed
        if not history:
            continue
        random = Random(seed)
        for _ in range(SPOILT_EACH):
            changed = spoilt(random, history, log)
            found = violations(*changed)
            assert judged(*changed) == (not found), (seed, changed, found)
            verdicts["spoilt", not found] += 1
    # Neither always yes nor always no.
    assert verdicts["spoilt", True] > HISTORIES / 2
    assert verdicts["spoilt", False] > HISTORIES / 2


# --- what each rule catches, in the words a person will read ---


def put(value: str, call: float, ret: float = inf, *, revision: int = 0, **more: object) -> Write:
    return Write("a", call, ret, "k", value.encode(), revision=revision, **more)


def get(call: float, ret: float, *entries: Entry, revision: int | None = None) -> Read:
    return Read("b", call, ret, "k", entries, revision=revision)


ONE, TWO = Entry(1, "k", b"1"), Entry(2, "k", b"2")
CASES: list[tuple[str, Sequence[Operation], Sequence[Entry], str]] = [
    ("lost", [put("1", 0, 1, revision=1)], [], "the log has it at no revision"),
    ("moved", [put("1", 0, 1, revision=1), put("2", 0, 9)], [TWO._replace(revision=1), ONE._replace(revision=2)],
     "the log has it at 2"),
    ("hole", [put("2", 0, 1, revision=2)], [TWO], "revision 2 where 1 should be"),
    ("out of the air", [], [ONE], "nobody wrote"),
    ("twice", [put("1", 0)], [ONE, ONE._replace(revision=2)], "done twice"),
    ("against time", [put("2", 0, 1, revision=2), put("1", 2, 3, revision=1)], [ONE, TWO], "2 was known before"),
    ("before it was asked", [put("2", 0, 1, revision=2), put("1", 2)], [ONE, TWO], "2 was known before"),
    ("stale", [put("1", 0, 1, revision=1), get(2, 3, revision=0)], [ONE], "1 was known before"),
    ("stale, unnamed", [put("1", 0, 1, revision=1), get(2, 3)], [ONE], "true at no revision from 1"),
    ("back in time", [put("1", 0), get(1, 2, ONE, revision=1), get(3, 4, revision=0)], [ONE], "1 was known before"),
    ("from the future", [get(0, 1, ONE), put("1", 2, 3, revision=1)], [ONE], "1 was known before"),
    ("dirty", [put("1", 0), get(1, 2, ONE, revision=1)], [], "the log ends at 0"),
    ("refused and done", [put("1", 0, 1, found=7, expected=0)], [ONE], "refused, but the log has it"),
    ("refused for nothing", [put("1", 0, 1, found=0, expected=0)], [], "without a reason"),
    ("refused for what was never there", [put("1", 0, 1, found=7, expected=0)], [], "true at no revision"),
    ("against its precondition", [put("1", 0, 1, revision=1), put("2", 0, 9, revision=2, expected=0)], [ONE, TWO],
     "newest change was 1"),
    ("gone twice", [put("1", 0, 1, revision=1, deleted=True)], [ONE._replace(deleted=True)], "did not exist"),
]  # fmt: skip


@pytest.mark.parametrize(("history", "log", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_must_not_happen_is_named(history, log, message):
    history = [replace_end(operation) for operation in history]
    assert message in violations(history, log)[0]
    assert not judged(history, list(log))


def batch(call: float, ret: float, revision: int, *parts: Part, **more: object) -> Batch:
    return Batch("a", call, ret, parts, revision=revision, **more)


A, B = Part("a", b"1"), Part("b", b"2")
BOTH = [Entry(1, "a", b"1"), Entry(2, "b", b"2")]
DONE = batch(0, 1, 1, A, B)
BATCH_CASES: list[tuple[str, Sequence[Operation], Sequence[Entry], str]] = [
    ("torn", [DONE], BOTH[:1], "not done as one, but at [1, 0]"),
    ("the other way round", [DONE], [Entry(1, "b", b"2"), Entry(2, "a", b"1")], "not done as one, but at [2, 1]"),
    ("half seen", [DONE, Read("b", 0, 1, "", tuple(BOTH[:1]), prefix=True, revision=1)], BOTH, "the middle of a batch"),
    ("half seen by a get", [batch(0, 9, 1, A, B), Read("b", 1, 2, "a", (BOTH[0],)), Read("b", 3, 4, "b", ())], BOTH,
     "true at no revision from 2"),
    ("half seen by a watch", [DONE, Delivery("w", 0, 1, "", 0, (BOTH[0],), 1, True)], BOTH, "caught up in the middle"),
    ("a begun one was known", [DONE, Read("b", -2, -1, "", (BOTH[0],), prefix=True, revision=1, exact=True)], BOTH,
     "at revision 1, but 1 was known before"),
    ("against its guard", [batch(0, 1, 1, A, B, demands=(Demand("a", revision=7),))], BOTH, "did not hold"),
    ("against a guard on another life", [batch(0, 1, 1, A, B, demands=(Demand("a", None, 7),))], BOTH, "did not hold"),
    ("refused for nothing", [batch(0, 1, 0, A, found=0, found_key="a")], [], "without a reason"),
    ("refused for another life that never was",
     [batch(0, 1, 0, A, demands=(Demand("a", None, 3),), found=2, found_key="a", found_life=True)], [],
     "true at no revision"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("history", "log", "message"), [case[1:] for case in BATCH_CASES], ids=[case[0] for case in BATCH_CASES]
)
def test_what_must_not_happen_to_a_batch_is_named(history, log, message):
    assert message in violations(history, log)[0]
    if not any(isinstance(operation, Delivery) for operation in history):
        assert not judged(history, list(log))


def lease(number: int, key: str = "") -> str:
    return f"\0ursa/leases/{number:016x}" + (f"/{key}" if key else "")


GRANTED = Grant("a", 0, 1, 1, ends_at=11)
ATTACHED = [Entry(1, lease(1), b"10.0"), Entry(2, "k", b"1"), Entry(3, lease(1, "k"), b"")]
ENDED = [*ATTACHED, Entry(4, "k", b"", True), Entry(5, lease(1, "k"), b"", True), Entry(6, lease(1), b"", True)]
WITH_LEASE = put("1", 1, 2, revision=2, lease=1)
GONE = Read("b", 5, 10.5, "k", (), revision=6)
OTHER_CASES: list[tuple[str, Sequence[Operation], Sequence[Entry], str]] = [
    ("the watch of another log", [Delivery("w", 0, 1, "", 0, (TWO,), 1, False)], [ONE], "nobody wrote"),
    ("a watch that skips", [put("1", 0), Delivery("w", 1, 2, "", 0, (), 1, False)], [ONE], "gave 0 of 1 changes"),
    ("a watch of the future", [Delivery("w", 1, 2, "", 0, (), 1, False)], [], "but the log ends at 0"),
    ("a watch that goes back", [put("1", 0), Delivery("w", 1, 2, "", 1, (), 0, False)], [ONE], "came from 1 to 0"),
    ("known by a watch", [put("1", 0), Delivery("w", 1, 2, "", 0, (ONE,), 1, False), get(3, 4)], [ONE],
     "true at no revision from 1"),
    ("not caught up", [put("1", 0, 1, revision=1), Delivery("w", 2, 3, "", 0, (), 0, True)], [ONE], "1 was known"),
    ("never compacted", [TooOld("b", 1, 2, 0, 1)], [], "nobody had compacted"),
    ("compacted later", [TooOld("b", 1, 2, 0, 1), Compaction("c", 3, 4, 1)], [], "nobody had compacted"),
    ("not below the floor", [Compaction("c", 0, 1, 1), TooOld("b", 1, 2, 1, 1)], [], "nobody had compacted"),
    ("ended too early", [GRANTED, WITH_LEASE, GONE], ENDED, "had ended at revision 6, which was known at 10.5"),
    ("ended although renewed", [GRANTED, WITH_LEASE, Renewal("a", 3, 4, 1, ends_at=13),
                                replace(GONE, call=11, ret=12)], ENDED, "which was known at 12"),
    ("not attached", [GRANTED, WITH_LEASE], ATTACHED[:2], "with lease 1, but goes with 0"),
    ("attached for nothing", [GRANTED, replace(WITH_LEASE, lease=0)], ATTACHED, "with lease 0, but goes with 1"),
    ("ended without its key", [GRANTED, WITH_LEASE], [*ATTACHED, Entry(4, lease(1), b"", True)], "not with its keys"),
    ("left behind", [GRANTED, WITH_LEASE, Write("b", 0, 9, "x", b"2", revision=4)],
     [*ATTACHED, Entry(4, "x", b"2"), ENDED[4]], "left k behind"),
    ("deleted by nobody", [put("1", 1, 2, revision=1)], [ONE, Entry(2, "k", b"", True)], "goes with no lease"),
    ("deleted while its lease goes on", [GRANTED, WITH_LEASE], ENDED[:4], "whose lease goes on"),
    ("granted, and lost", [GRANTED], [], "true at no revision"),
    ("renewed behind its end", [GRANTED, WITH_LEASE, replace(GONE, call=12, ret=13), Renewal("a", 14, 15, 1, 25)],
     ENDED, "true at no revision"),
    ("told that it is gone", [GRANTED, Renewal("a", 2, 3, 1, None)], ATTACHED[:1], "true at no revision"),
    ("revoked, and still there", [GRANTED, Revocation("a", 2, 3, 1, True)], ATTACHED[:1], "true at no revision"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("history", "log", "message"), [case[1:] for case in OTHER_CASES], ids=[case[0] for case in OTHER_CASES]
)
def test_what_watches_compaction_and_leases_must_not_do_is_named(history, log, message):
    assert message in violations(history, log)[0]


def test_a_lease_that_ends_in_time_and_one_that_is_revoked_are_right():
    late = replace(GONE, call=12, ret=13)
    assert violations([GRANTED, WITH_LEASE, late, Renewal("a", 14, 15, 1, None)], ENDED) == []
    assert violations([GRANTED, WITH_LEASE, Revocation("c", 3, 4, 1, True), GONE], ENDED) == []
    assert violations([GRANTED, WITH_LEASE, Revocation("c", 3, inf, 1, None), GONE], ENDED) == []


def test_a_read_of_the_past_may_be_in_the_middle_of_a_batch():
    middle = Read("b", 2, 3, "", tuple(BOTH[:1]), prefix=True, revision=1, exact=True)
    assert violations([DONE, middle], BOTH) == []


def replace_end(operation: Operation) -> Operation:
    """A put without an answer never ends, whatever the case says."""
    if isinstance(operation, Write) and not operation.revision and operation.found is None:
        return put(operation.value.decode(), operation.call)
    return operation


@pytest.mark.parametrize("log", [[], [ONE]], ids=["not done", "done"])
def test_a_write_whose_answer_was_lost_may_have_happened_or_not(log):
    assert violations([put("1", 0)], log) == []


def test_a_history_against_the_rules_of_histories_is_refused():
    for history in (
        [put("1", 0), put("1", 1)],
        [put("1", 1, 0, revision=1)],
        [put("1", 0, 1)],
        [Read("b", 0, 1, "k", (), prefix=True)],
    ):
        with pytest.raises(ValueError, match=r"value|begins|end|revision"):
            violations(history, [])
