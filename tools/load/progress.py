"""Live progress: a bar on a terminal, a plain line a second anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import trio
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

LINE_SECONDS = 1.0
REDRAW_SECONDS = 0.25


class Counts(NamedTuple):
    created: int
    bound: int
    running: int
    waiting: int
    total: int

    def __str__(self) -> str:
        return (
            f"pods: {self.created} created, {self.bound} bound, {self.running} running, "
            f"{self.waiting} waiting of {self.total}"
        )


class Reporter:
    """Shows what a run is doing. Everything goes to standard error: standard output has the verdict."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr)

    def say(self, text: str) -> None:
        """One line about a step of the run."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    async def show(self, counts: Callable[[], Counts]) -> None:
        """Until cancelled; the last line shows the counts at that moment."""
        if self.console.is_terminal:
            await self._show_bar(counts)
        else:
            await self._show_lines(counts)

    async def _show_lines(self, counts: Callable[[], Counts]) -> None:
        try:
            while True:
                await trio.sleep(LINE_SECONDS)
                self.say(str(counts()))
        finally:
            self.say(str(counts()))

    async def _show_bar(self, counts: Callable[[], Counts]) -> None:
        with self._bar() as update:
            try:
                while True:
                    update(counts())
                    await trio.sleep(REDRAW_SECONDS)
            finally:
                update(counts())

    @contextmanager
    def _bar(self) -> Iterator[Callable[[Counts], None]]:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        # Drawn by us, when there is something new: a thread of its own would cost CPU that is measured here.
        with Progress(*columns, console=self.console, auto_refresh=False) as bar:
            task = bar.add_task("pods")

            def update(counts: Counts) -> None:
                bar.update(task, description=str(counts), completed=counts.running, total=counts.total, refresh=True)

            yield update
