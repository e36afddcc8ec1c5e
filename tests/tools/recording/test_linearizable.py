"""The fast judge of recordings and the one that tries every order say the same of small ones, good and spoilt."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.mutations import COUNTER_BYTES
from ursa.tools.checking import linearizable, real_time, watch_promises
from ursa.tools.checking.check import check
from ursa.tools.recording.records import CONSISTENT, Get, Write

from .small_recordings import BEGINNING, RESOURCE, Clients, Done, Finish, Model, Operation, State, log_records, variants

JUDGES = (
    linearizable.writes_happen_once,
    linearizable.reads_tell_what_was,
    real_time.real_time_order,
    watch_promises.watches_lists_and_informers,
)
SPOILT_EACH = 4


def _judge_of_every_order() -> Callable[..., bool]:
    """It belongs to the other checkers' tests."""
    path = Path(__file__).parents[2] / "checkers" / "wgl.py"
    spec = importlib.util.spec_from_file_location("wgl", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    judge: Callable[..., bool] = module.is_linearizable
    return judge


is_linearizable = _judge_of_every_order()


def judged(history: list[Operation], final: State) -> bool:
    end = max((time for each in history for time in (each.call, each.ret) if time < inf), default=0.0)
    return is_linearizable([*history, Finish(end + 1, end + 2)], BEGINNING, Model(final).step)


def found(history: list[Operation], final: State) -> list[Any]:
    return check([*history, *log_records(final)], JUDGES)


VERDICTS: Counter[bool] = Counter()


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def both_agree(seed: int) -> None:
    random = Random(seed)
    history, final = Clients(random).run(random.randint(3, 9))
    assert found(history, final) == []
    assert judged(history, final)
    for _ in range(SPOILT_EACH if history else 0):
        place = random.randrange(len(history))
        changed = random.choice(list(variants(random, history[place])))
        spoilt = [*history[:place], changed, *history[place + 1 :]]
        verdict = judged(spoilt, final)
        violations = found(spoilt, final)
        assert verdict == (not violations), "\n".join(map(str, [*spoilt, changed, final, verdict, violations]))
        VERDICTS[verdict] += 1


def test_both_agree_on_small_recordings_good_and_spoilt() -> None:
    both_agree()
    # Neither always yes nor always no.
    assert VERDICTS[True] > 100
    assert VERDICTS[False] > 100


def test_an_update_that_finds_what_changed_without_an_id_changed_nothing_and_is_a_read() -> None:
    # An eviction changes its pod and its budget in one step, and only the pod bears its id.
    budget, other = f"/registry/{RESOURCE}/t/n/budget", f"/registry/{RESOURCE}/t/n/other"
    somebody = Write("somebody", "tp-1", 0.0, inf, "create", RESOURCE, budget, b"", code=0)
    writes = [somebody, somebody._replace(key=other), somebody._replace(verb="update")]
    final = (*BEGINNING, *(Done(number, each.key, False, b"") for number, each in enumerate(writes, start=2)))
    told = Get("c-2#1", "tp-1", 1.0, 2.0, other, CONSISTENT, 0, 200, "main", "i", 3, 3)
    update = Write("c-1#1", "tp-1", 3.0, 4.0, "update", RESOURCE, budget, b"c-1#1" + b"1" * COUNTER_BYTES)
    update = update._replace(store="main", incarnation="i", revision=2)
    assert found([told, update], final) == []
    assert judged([*writes, told, update], final)
    # What was over when it was asked it cannot have found.
    told = told._replace(key=budget, revision=4, object_revision=4)
    assert [each.promise for each in found([told, update], final)] == [real_time.REAL_TIME]
    assert not judged([*writes, told, update], final)
