"""A failing plan made small: the fewest faults and operations that still break the same promise.

Delta debugging (Zeller and Hildebrandt, 2002) over the faults, then over the operations, then over what is left of
them: shorter faults, calmer knobs, an earlier end. Every candidate is run; what still fails is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from .plan import Knobs, Plan

_Item = TypeVar("_Item")
# A minute or two of a core for ordinary plans.
RUNS_MAX = 200
# What comes to rest must be given the time for what was going on.
_SECONDS_BEHIND = 5.0


class _Spent(Exception):
    """The runs are used up."""


def shrink(plan: Plan, fails: Callable[[Plan], bool], *, runs_max: int = RUNS_MAX) -> Plan:
    """A plan that fails, and none of whose parts could be left out within so many runs. `fails`: still as before."""
    left = runs_max
    smallest = plan

    def still(candidate: Plan) -> bool:
        nonlocal left, smallest
        if not left:
            raise _Spent
        left -= 1
        if fails(candidate):
            smallest = candidate
            return True
        return False

    try:
        while True:
            before = smallest
            _fewest(smallest.faults, lambda faults: still(smallest.with_(faults=faults)))
            _fewest(smallest.operations, lambda operations: still(smallest.with_(operations=operations)))
            for change in _SIMPLER:
                for candidate in change(smallest):
                    if still(candidate):
                        break
            if smallest == before:
                return smallest
    except _Spent:
        return smallest


def _fewest(items: Sequence[_Item], still: Callable[[tuple[_Item, ...]], bool]) -> None:
    """Leave out ever smaller parts. `still` is told of what is left, and keeps it if that fails, too."""
    kept = tuple(items)
    if kept and still(()):
        return
    size = len(kept) // 2
    while size >= 1:
        start = 0
        while start < len(kept):
            without = (*kept[:start], *kept[start + size :])
            if len(without) < len(kept) and still(without):
                kept = without
            else:
                start += size
        size //= 2


def _earlier_end(plan: Plan) -> Iterator[Plan]:
    times = [operation.at for operation in plan.operations] + [fault.at for fault in plan.faults]
    last = max(times, default=0.0) + _SECONDS_BEHIND
    if last < plan.seconds:
        yield plan.with_(seconds=round(last, 3))


def _shorter_faults(plan: Plan) -> Iterator[Plan]:
    for number, fault in enumerate(plan.faults):
        if fault.seconds > 1.0:
            shorter = fault._replace(seconds=round(fault.seconds / 2, 3))
            yield plan.with_(faults=(*plan.faults[:number], shorter, *plan.faults[number + 1 :]))


def _calmer_knobs(plan: Plan) -> Iterator[Plan]:
    if plan.knobs != Knobs():
        yield plan.with_(knobs=Knobs())


_SIMPLER: tuple[Callable[[Plan], Iterator[Plan]], ...] = (_calmer_knobs, _earlier_end, _shorter_faults)
