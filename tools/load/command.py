"""The end of every load command: from its observations to a report, a verdict and an exit status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
    report = summarise(trio.run(run, reporter or Reporter()))
    folder = write_report(output, report)
    print_verdict(report, folder)
    return report, folder
