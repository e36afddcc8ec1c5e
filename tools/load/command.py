"""The end of every load command: from its observations to a report, a verdict and an exit status."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from ..report.folder import require_writable, write_report
from ..report.observations import Observations
from ..report.summarise import Report, summarise
from ..report.verdict import print_verdict
from .progress import Reporter

Run = Callable[[Reporter], Awaitable[Observations]]


def run_and_report(run: Run, output: Path, reporter: Reporter | None = None) -> tuple[Report, Path]:
    """Run in a trio loop of its own, write the report into a new folder of `output`, and print the verdict.

    Raises:
        UrsaError: the run could not be made, or its report not be written; then there is no folder.
    """
    require_writable(output)
    with _terminate_as_interrupt():
        observations = trio.run(run, reporter or Reporter())
    report = summarise(observations)
    folder = write_report(output, report)
    print_verdict(report, folder)
    return report, folder


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: its processes are stopped and its temporary files removed."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # Ctrl-C has been switched off (a background job), and would do nothing.
        return
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
