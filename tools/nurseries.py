"""A nursery that lives behind an object, and does not show in the errors of the block it surrounds.

`async with Cluster(...)` runs tasks beside the caller's block. What the block raises should come out as it was raised,
not wrapped in an exception group because those tasks exist.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_background() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks are cancelled when the block ends; an only error comes out bare."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        only = only_error(group)
        if only is None:
            raise
        raise only from only.__cause__


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


def only_error(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The one error in a group that is not a cancellation; a cancellation if there is nothing else; None: several."""
    leaves = list(_leaves(group))
    errors = [leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)]
    if len(errors) > 1:
        return None
    return errors[0] if errors else leaves[0]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
