"""Many things at once, and one error for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

import trio

from ..clients.nurseries import open_background

__all__ = ["open_background", "run_all"]


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
