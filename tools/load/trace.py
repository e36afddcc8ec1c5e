"""Traces of real clusters: two CSV files, one of nodes and one of pods.

Columns, found by the name in the first line, in any order; others are ignored:

    nodes   sn, cpu_milli, memory_mib, gpu (how many), model (of the GPUs; may be empty)
    pods    name, cpu_milli, memory_mib, num_gpu, gpu_milli (thousandths of one GPU, where num_gpu is 1), qos,
            creation_time, deletion_time (empty: never), and, if there is one, gpu_spec (allowed models, `|` between)

Times are seconds from the trace's start. The public trace "cluster-trace-gpu-v2023" of alibaba/clusterdata has this
form. A file that does not is refused as a whole, with the line and the column of the first thing wrong in it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ...proto.errors import InputError

NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
POD_COLUMNS = ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "qos", "creation_time", "deletion_time")
POD_COLUMNS_OPTIONAL = ("gpu_spec",)

MILLI_PER_GPU = 1000

# One cell, to find the column at which the n-th one begins.
_CELL = re.compile(r'(?:"(?:[^"]|"")*"|[^,])*(?:,|$)')
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NAME_LENGTH_MAX = 253

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class TraceNode:
    name: str
    cpu_milli: int
    memory_mib: int
    gpu_milli: int  # summed over its GPUs
    model: str = ""


@dataclass(frozen=True)
class TracePod:
    """`deletion_seconds` is None where it was never deleted. `tenant` is its qos as a name."""

    name: str
    tenant: str
    cpu_milli: int
    memory_mib: int
    gpu_milli: int  # summed over the GPUs it asks for
    creation_seconds: float
    deletion_seconds: float | None
    models: tuple[str, ...] = ()


def read_nodes(path: Path) -> list[TraceNode]:
    """In the order of the file.

    Raises:
        InputError: it cannot be read as the module says.
    """
    nodes = [
        TraceNode(
            name=row.name("sn"),
            cpu_milli=row.count("cpu_milli"),
            memory_mib=row.count("memory_mib"),
            gpu_milli=row.count("gpu") * MILLI_PER_GPU,
            model=row.text("model"),
        )
        for row in _read(path, NODE_COLUMNS)
    ]
    if not nodes:
        raise InputError("there are no nodes in it", file=str(path))
    return nodes


def read_pods(path: Path) -> list[TracePod]:
    """In the order of their creation; those created at the same time in the order of the file.

    Raises:
        InputError: it cannot be read as the module says.
    """
    pods = [_pod(row) for row in _read(path, POD_COLUMNS, POD_COLUMNS_OPTIONAL)]
    if not pods:
        raise InputError("there are no pods in it", file=str(path))
    return sorted(pods, key=lambda pod: pod.creation_seconds)


def _pod(row: _Row) -> TracePod:
    gpus, gpu_milli = row.count("num_gpu"), row.count("gpu_milli")
    creation, deletion = row.seconds("creation_time"), row.seconds_or_none("deletion_time")
    if deletion is not None and deletion < creation:
        raise row.error("deletion_time", f"{deletion:g} is before the pod's creation at {creation:g}")
    if gpus == 1 and gpu_milli > MILLI_PER_GPU:
        raise row.error("gpu_milli", f"a share of one GPU is at most {MILLI_PER_GPU}, not {gpu_milli}")
    return TracePod(
        name=row.name("name"),
        tenant=row.tenant("qos"),
        cpu_milli=row.count("cpu_milli"),
        memory_mib=row.count("memory_mib"),
        # A share is only ever of one GPU; who asks for several gets them whole.
        gpu_milli=gpus * MILLI_PER_GPU if gpus > 1 else gpus * gpu_milli,
        creation_seconds=creation,
        deletion_seconds=deletion,
        models=tuple(model for model in row.text("gpu_spec").split("|") if model),
    )


# ------------------------------------------------------------------------------------------------------------- csv


def _read(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[_Row]:
    """The rows below the header.

    Raises:
        InputError: no such file, no text, a column missing, a row of another width, a name twice.
    """
    lines = _lines(path)
    if not lines:
        raise InputError("the file is empty; its first line must name the columns", file=str(path))
    header = _cells(path, lines, 1)
    for column in required:
        if column not in header:
            raise InputError(
                f"there is no column {column!r}; needed are {', '.join(required)}", file=str(path), line=1, column=1
            )
    columns = {column: header.index(column) for column in (*required, *optional) if column in header}
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = _cells(path, lines, number)
        row = _Row(path, number, line, columns, cells)
        if len(cells) != len(header):
            last = min(len(cells), len(header))
            raise row.error_at(last, f"the line has {len(cells)} fields, the header {len(header)}")
        first = seen.setdefault(cells[columns[required[0]]], number)
        if first != number:
            raise row.error(required[0], f"the name {cells[columns[required[0]]]!r} stands in line {first} already")
        yield row


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError("is no text in UTF-8", file=str(path), line=line) from error


def _cells(path: Path, lines: Sequence[str], number: int) -> list[str]:
    try:
        return next(csv.reader([lines[number - 1]], strict=True), [])
    except csv.Error as error:
        raise InputError(f"is no CSV: {error}", file=str(path), line=number, column=1) from error


class _Row:
    """One line: cells by column, converted, or refused with their place."""

    def __init__(self, path: Path, number: int, line: str, columns: Mapping[str, int], cells: Sequence[str]) -> None:
        self._path, self._number, self._line = path, number, line
        self._columns, self._cells = columns, cells

    def text(self, column: str) -> str:
        """Empty where the file has no such column."""
        return self._cells[self._columns[column]].strip() if column in self._columns else ""

    def name(self, column: str) -> str:
        text = self.text(column)
        if len(text) > NAME_LENGTH_MAX or not _SUBDOMAIN.fullmatch(text):
            raise self.error(column, f"{text!r} is no DNS name; use lower-case letters, digits, '-' and '.'")
        return text

    def tenant(self, column: str) -> str:
        text = self.text(column).lower()
        if not _LABEL.fullmatch(text):
            raise self.error(column, f"{text!r} is no DNS label; use letters, digits and '-', like BE")
        return text

    def count(self, column: str) -> int:
        return self._number_of(column, int, "a whole number")

    def seconds(self, column: str) -> float:
        return self._number_of(column, float, "a number of seconds")

    def seconds_or_none(self, column: str) -> float | None:
        return self.seconds(column) if self.text(column) else None

    def _number_of(self, column: str, convert: Callable[[str], _Value], what: str) -> _Value:
        text = self.text(column)
        # `convert` alone would take 1_000, nan and infinity.
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) or ("." in text and convert is int):
            raise self.error(column, f"{column} must be {what}, not {text!r}")
        if text.startswith("-"):
            raise self.error(column, f"{column} must not be negative: {text}")
        return convert(text)

    def error(self, column: str, message: str) -> InputError:
        return self.error_at(self._columns[column], message)

    def error_at(self, index: int, message: str) -> InputError:
        position = 0
        for _ in range(index):
            match = _CELL.match(self._line, position)
            position = match.end() if match else position
        return InputError(message, file=str(self._path), line=self._number, column=position + 1)
