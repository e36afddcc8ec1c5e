"""Nurseries that do not show in the errors of those who use them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_background() -> AsyncIterator[trio.Nursery]:
    """A nursery for tasks that serve the block and are cancelled at its end.

    What the block raises comes out as it was raised, not in an exception group because those tasks exist; so does the
    error of one of the tasks, if it is the only one.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        errors = [leaf for leaf in _leaves(group) if not isinstance(leaf, trio.Cancelled)]
        if len(errors) != 1:
            raise
        raise errors[0] from errors[0].__cause__


async def run_all(functions: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Run all at once and wait for all. The first error cancels the others and comes out bare."""
    try:
        async with trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        first = next((leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)), leaves[0])
        raise first from first.__cause__


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
