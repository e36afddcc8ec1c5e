"""Revisions of one history are in order; those of different partitions and histories cannot be compared."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
from ursa.clients.revisions import Revision

COMPARISONS = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
Comparison = Callable[[object, object], bool]


def test_those_of_one_history_are_in_order() -> None:
    early, late = Revision("rp-1", 9, "i"), Revision("rp-1", 10, "i")
    assert early < late
    assert early <= late
    assert late > early
    assert early != late
    assert early == Revision("rp-1", 9, "i")
    assert max(early, late) is late


def test_an_answer_that_does_not_say_its_history_is_of_the_one_there_is() -> None:
    assert Revision("rp-1", 9) < Revision("rp-1", 10, "i")


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("other", [Revision("rp-2", 9, "i"), Revision("rp-1", 9, "j"), Revision("rp-2", 9)])
def test_those_of_two_histories_cannot_be_compared(compare: Comparison, other: Revision) -> None:
    with pytest.raises(TypeError, match="each counts in a history of its own"):
        compare(Revision("rp-1", 9, "i"), other)


@pytest.mark.parametrize("compare", COMPARISONS[2:])
def test_a_bare_number_is_no_revision(compare: Comparison) -> None:
    with pytest.raises(TypeError):
        compare(Revision("rp-1", 9), 9)


def test_they_are_no_keys() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Revision("rp-1", 9))
