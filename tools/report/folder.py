"""The folder of a run: whole or not there.

Files are written into a hidden folder beside the final one, flushed, and the folder is renamed. Who looks into DIR
never sees half a report, and every run has a folder of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...proto.errors import InputError
from .summarise import Report, perf_data

REPORT_FILE = "report.json"
PAGE_FILE = "report.html"
PERF_DATA_FILE = "PodStartupLatency.json"


def require_writable(directory: Path) -> None:
    """Make the output directory now, so that a run of minutes does not end with nowhere to go.

    Raises:
        InputError: it cannot be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise InputError(f"cannot write reports into {directory}: {error.strerror}; name another --output") from error


def write_report(directory: Path, report: Report) -> Path:
    """Write the run's folder and return its path.

    Raises:
        InputError: the directory cannot be written.
    """
    from .page import render_page  # plotly is only needed here

    require_writable(directory)
    final = directory / report.folder_name
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=directory))
    try:
        _write(partial / REPORT_FILE, _json(report.document))
        _write(partial / PERF_DATA_FILE, _json(perf_data(report)))
        _write(partial / PAGE_FILE, render_page(report.document))
        partial.chmod(0o755)
        partial.rename(final)
    except OSError as error:
        raise InputError(f"cannot write the report {final}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def write_json(path: Path, document: Any) -> None:
    """Replace one file by a whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    _write(partial, _json(document))
    partial.replace(path)


def _json(document: Mapping[str, Any] | list[Any]) -> str:
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
