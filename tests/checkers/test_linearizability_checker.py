"""The fast checker and the one that tries every order say the same of thousands of small histories, good and spoilt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from random import Random

import pytest
from ursa.tools.checking.linearizability import Entry, Operation, Read, Write, violations

from .histories import History, Log, Recorder, reopen_memory, spoilt
from .wgl import is_linearizable

HISTORIES = 1500
SPOILT_EACH = 3


@dataclass(frozen=True)
class Finish:
    """When all is over the store holds just this log."""

    call: float
    ret: float


State = tuple[Entry, ...]


def model_of(log: Log) -> Callable[[State, Operation | Finish], Iterable[State]]:
    """A store is the list of its changes; nothing else is known to the judge."""
    final = tuple(log)

    def newest(state: State, key: str) -> Entry | None:
        last = next((entry for entry in reversed(state) if entry.key == key), None)
        return None if last is None or last.deleted else last

    def told(read: Read, state: State) -> bool:
        keys = sorted(dict.fromkeys(entry.key for entry in state))
        asked = [key for key in keys if (key.startswith(read.key) if read.prefix else key == read.key)]
        return read.result == tuple(entry for key in asked if (entry := newest(state, key)))

    def step(state: State, operation: Operation | Finish) -> Iterable[State]:
        if isinstance(operation, Finish):
            return [state] if state == final else []
        if isinstance(operation, Read):
            at = len(state) if operation.revision is None else operation.revision
            possible = at <= len(state) if operation.exact else at == len(state)
            return [state] if possible and told(operation, state[:at]) else []
        before = newest(state, operation.key)
        there = before.revision if before else 0
        allowed = operation.expected in (None, there) and not (operation.deleted and not there)
        if operation.found is not None:
            return [state] if not allowed and there == operation.found else []
        after = (*state, Entry(len(state) + 1, operation.key, operation.value, operation.deleted))
        possible = allowed and operation.revision in (0, len(after)) and after == final[: len(after)]
        return [after] if possible else []

    return step


def judged(history: History, log: Log) -> bool:
    end = max((time for operation in history for time in (operation.call, operation.ret) if time < inf), default=0.0)
    return is_linearizable([*history, Finish(end + 1, end + 2)], (), model_of(log))


def small_history(seed: int) -> tuple[History, Log]:
    random = Random(seed)
    recorder = Recorder(random, reopen_memory, clients=random.randint(2, 4), keys=random.randint(1, 3))
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
