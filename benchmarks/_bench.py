"""What the main job's benchmarks share: a figure with its bound, the runs, the table and the file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from ursa.tools.report.folder import REPORT_FILE, write_json
from ursa.tools.report.observations import Threshold

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench"
RUNS = BUILD / "runs"


@dataclass(frozen=True)
class Figure:
    """One measured figure. `bound` None: stated, and held against nothing."""

    figure: str
    value: float | None
    unit: str
    bound: Threshold | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.bound is None:
            return None
        return self.value is not None and self.bound.met_by(self.value)

    @property
    def bound_text(self) -> str:
        return "" if self.bound is None else str(self.bound).removeprefix(f"{self.bound.figure} ")

    def to_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "figure": self.figure,
            "value": self.value,
            "unit": self.unit,
            "bound": self.bound_text or None,
            "met": self.met,
        }
        return {**document, "note": self.note} if self.note else document


def at_most(bound: float) -> Threshold:
    return Threshold("", at_most=bound)


def at_least(bound: float) -> Threshold:
    return Threshold("", at_least=bound)


def run_ursa(arguments: Sequence[str], seconds_max: float) -> dict[str, Any]:
    """Run `ursa ARGUMENTS --output build/bench/runs` and return its report.json; it is kept, with its page.

    Raises:
        RuntimeError: there is no report: the command failed, or took longer than it may.
    """
    command = [sys.executable, "-P", "-m", "ursa", *arguments, "--output", str(RUNS)]
    print(f"\n$ ursa {' '.join(arguments)}", flush=True)
    before = set(RUNS.glob(f"*/{REPORT_FILE}"))
    try:
        status = subprocess.run(command, timeout=seconds_max, check=False).returncode
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"`ursa {arguments[0]}` took longer than {seconds_max:.0f} s") from error
    new = set(RUNS.glob(f"*/{REPORT_FILE}")) - before
    if len(new) != 1:
        raise RuntimeError(f"`ursa {arguments[0]}` ended with status {status} and left no report")
    return read_report(new.pop())


def read_report(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def print_figures(title: str, figures: Sequence[Figure]) -> None:
    """A table with what was reached."""
    table = Table("figure", "value", "bound", "", title=title)
    marks = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}
    for item in figures:
        value = "not measured" if item.value is None else f"{item.value:,g} {item.unit}"
        table.add_row(item.figure, value, item.bound_text, marks[item.met] + (f" {item.note}" if item.note else ""))
    Console().print(table)


def save_figures(name: str, figures: Sequence[Figure]) -> Path:
    """Write build/bench/NAME.json, whole or not at all."""
    path = BUILD / f"{name}.json"
    write_json(path, [item.to_dict() for item in figures])
    return path
