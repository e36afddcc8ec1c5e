"""Linearizability by trying every order: Wing and Gong's search with Lowe's memory of (what was done, state).

It knows nothing of revisions or logs, only a model that says which states may follow when an operation is done next.
Exponential in how many operations overlap: for small histories, as the judge of faster checkers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from math import inf
from typing import Protocol, TypeVar


class Timed(Protocol):
    @property
    def call(self) -> float: ...

    @property
    def ret(self) -> float:
        """Infinite: never answered; it may be done at any time after its call, or never."""


State = TypeVar("State", bound=Hashable)
Operation = TypeVar("Operation", bound=Timed)


def is_linearizable(
    history: Sequence[Operation],
    initial: State,
    step: Callable[[State, Operation], Iterable[State]],
) -> bool:
    """Is there an order of these operations that keeps to time, in which each did what the model allows?

    Args:
        step: the states an operation may leave behind, given what it was told; none: it can't be done there.
    """
    answered = sum(1 << number for number, operation in enumerate(history) if operation.ret < inf)
    todo: list[tuple[int, State]] = [(0, initial)]
    seen = {todo[0]}
    while todo:
        done, state = todo.pop()
        if done & answered == answered:
            return True
        left = [(1 << number, operation) for number, operation in enumerate(history) if not done >> number & 1]
        # Nothing may be done before something that was answered before it was asked.
        horizon = min(operation.ret for _, operation in left)
        for bit, operation in left:
            if operation.call > horizon:
                continue
            for state_after in step(state, operation):
                if (node := (done | bit, state_after)) not in seen:
                    seen.add(node)
                    todo.append(node)
    return False
