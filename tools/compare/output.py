"""The table of a comparison, and its folder: compare.html, and the same figures as report.json."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ...proto.errors import InputError
from .page import COLUMNS, heading, render_compare_page, rows

PAGE_FILE, REPORT_FILE = "compare.html", "report.json"
_WIDTH_MAX = 1000


def print_table(document: Mapping[str, Any]) -> None:
    """A terminal that is too narrow breaks the lines; no figure is cut."""
    table = Table(title=heading(document), title_justify="left", box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("profile", no_wrap=True)
    for name, _, _ in COLUMNS:
        table.add_column(name, justify="right")
    for row in rows(document):
        table.add_row(*row)
    console = Console()
    unbounded = console.options.update(max_width=_WIDTH_MAX)
    console.width = max(console.width, console.measure(table, options=unbounded).maximum)
    console.print(table)


def write_comparison(directory: Path, document: Mapping[str, Any]) -> Path:
    """Write a new folder, whole, and return its path.

    Raises:
        InputError: the directory cannot be written.
    """
    number = 1
    while (final := directory / f"compare-{document['workload']}-{number}").exists():
        number += 1
    try:
        directory.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=directory))
        try:
            (partial / PAGE_FILE).write_text(render_compare_page(document), encoding="utf-8")
            (partial / REPORT_FILE).write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            partial.chmod(0o755)
            partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot write the comparison {final}: {error.strerror}") from error
    return final
