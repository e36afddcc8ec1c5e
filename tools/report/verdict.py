"""The boxed verdict on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .summarise import Report

STYLE = {"pass": "green", "fail": "red", "timeout": "yellow", "error": "red"}
FAILURES_SHOWN_MAX = 10  # The report has them all; a terminal should still show the figures.


def print_verdict(report: Report, folder: Path | None, console: Console | None = None) -> None:
    """Print the box, and under it the path of the report."""
    console = console or Console()
    style = STYLE[report.verdict]
    parts: list[Text | Table] = [_table(report.document)]
    for failure in report.failures[:FAILURES_SHOWN_MAX]:
        parts.append(Text(f"✗ {failure}", style=style))
    if (hidden := len(report.failures) - FAILURES_SHOWN_MAX) > 0:
        parts.append(Text(f"  and {hidden} more, in the report", style=style))
    title = Text(f" {report.document['command']}: {report.verdict.upper()} ", style=f"bold {style}")
    console.print(Panel(Group(*parts), title=title, border_style=style, box=box.HEAVY, expand=False, padding=(0, 2)))
    if folder is not None:
        console.print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False, markup=False)


def _table(document: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    for name, value in figure_rows(document):
        table.add_row(name, value)
    return table


# Name, section of the report, what it says.
_ROWS = (
    ("cluster", "topology", "{tenantPartitions} tenant and {resourcePartitions} resource partitions, {nodes:,} nodes"),
    ("pods", "pods", "{running:,} running of {requested:,} requested"),
    ("", "pods", "{created:,} created, {bound:,} bound, {failed:,} failed, {unschedulable:,} unschedulable"),
    ("load", "seconds", "{load:.1f} s of {total:.1f} s in all"),
    ("throughput", "throughputPodsPerSecond", "{mean:,.0f} pods/s (per second: p50 {p50:,.0f}, max {max:,.0f})"),
    ("startup", "podStartupMilliseconds", "p50 {p50:,.0f} ms, p90 {p90:,.0f} ms, p99 {p99:,.0f} ms, max {max:,.0f} ms"),
    ("placements", "placements", "{attempted:,} tried, {rejected} refused, {overcommittedNodes} nodes over-committed"),
    ("CPU", "resources", "{cpuMillisecondsPerPod:.2f} ms a pod over all processes"),
)  # fmt: skip


def figure_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures a reader wants first, as text. The page and the terminal show the same."""
    rows = [(name, text.format_map(document[section])) for name, section, text in _ROWS]
    resident = sum(document["resources"]["residentBytesMax"].values())
    rows.append(("memory", f"{resident / 2**20:,.0f} MiB over all processes at most"))
    rows.extend((str(name), str(value)) for name, value in document.get("notes", {}).items())
    return rows
