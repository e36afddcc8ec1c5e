"""The requests of the last minute or two, by who asked for what.

Rows are gathered in windows of a minute. There are two, the one that fills and the one before it, and what is shown is
both together:

    ┆   forgotten   ┆   the window before   ┆   this window   now
                    └─────────── shown ─────────────────────┘

So a row goes away when its client has been quiet for two minutes, and rates are of now, not of since the start. A
window has a bounded number of rows; what does not fit is counted in one row, `others`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from ...proto import ursa_pb2 as pb
from ...proto.buckets import SECONDS_BUCKETS
from .request import Counts, Phase

Split = tuple[float, ...]  # Seconds by phase.
_Key = tuple[str, str, str, str]  # User, program, verb, resource.

WINDOW_SECONDS = 60.0
# Some 300 bytes each. A cluster has fewer programs; their names are theirs to choose, so there is a bound.
ROWS_MAX = 2048
OTHERS: _Key = ("", "others", "", "")
# Reads from memory take less than the smallest bucket of all histograms.
BUCKETS = (0.0001, 0.0002, 0.0005, *SECONDS_BUCKETS)


class _Row:
    __slots__ = ("buckets", "bytes_in", "bytes_out", "errors", "level", "operations", "requests", "split")

    def __init__(self) -> None:
        self.requests = 0
        self.operations = 0
        self.errors = 0
        self.level = ""
        self.split = [0.0] * len(Phase)
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.bytes_in = 0
        self.bytes_out = 0

    def merge(self, other: _Row) -> None:
        self.requests += other.requests
        self.operations += other.operations
        self.errors += other.errors
        self.level = other.level or self.level
        self.split = [mine + theirs for mine, theirs in zip(self.split, other.split, strict=True)]
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out


class RequestTable:
    """See the module."""

    def __init__(self, now: float) -> None:
        self._rows: dict[_Key, _Row] = {}
        self._rows_before: dict[_Key, _Row] = {}
        self._began = now
        self._began_before = now

    def add(
        self,
        now: float,
        user: str,
        agent: str,
        level: str,
        counts: Counts,
        seconds: float,
        split: Split,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """A request; its bytes are shared out among its rows by the number of operations."""
        self._turn(now)
        bucket = bisect_left(BUCKETS, seconds)
        operations = sum(counts.values())
        seen: dict[_Key, None] = {}
        for (verb, resource, code), number in counts.items():
            key = (user, agent, verb, resource)
            row = self._row(key)
            row.operations += number
            if code >= 400:
                row.errors += number
            row.bytes_in += bytes_in * number // operations
            row.bytes_out += bytes_out * number // operations
            if key in seen:
                continue  # Another code of the same: still one request.
            seen[key] = None
            row.requests += 1
            row.level = level
            row.buckets[bucket] += 1
            of_row = row.split
            for phase, spent in enumerate(split):
                of_row[phase] += spent

    def rows(self, now: float) -> tuple[float, list[pb.RequestsRow]]:
        """For how many seconds they were gathered, and the rows: those that took most time first."""
        self._turn(now)
        merged: dict[_Key, _Row] = {}
        for window in (self._rows_before, self._rows):
            for key, row in window.items():
                merged.setdefault(key, _Row()).merge(row)
        rows = sorted(merged.items(), key=lambda item: (-sum(item[1].split), item[0]))
        return now - self._began_before, [_message(key, row) for key, row in rows]

    def _row(self, key: _Key) -> _Row:
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= ROWS_MAX:
                key = OTHERS
            row = self._rows.setdefault(key, _Row())
        return row

    def _turn(self, now: float) -> None:
        age = now - self._began
        if age < WINDOW_SECONDS:
            return
        quiet = age >= 2 * WINDOW_SECONDS
        self._rows_before = {} if quiet else self._rows
        self._began_before = now - WINDOW_SECONDS if quiet else self._began
        self._rows, self._began = {}, now


def quantile(buckets: Sequence[int], share: float) -> float:
    """The seconds within which that share of the requests was answered, as near as the buckets can tell."""
    wanted = share * sum(buckets)
    below = 0
    for bucket, number in enumerate(buckets):
        if number and below + number >= wanted:
            if bucket == len(BUCKETS):
                return BUCKETS[-1]
            low = BUCKETS[bucket - 1] if bucket else 0.0
            return low + (BUCKETS[bucket] - low) * (wanted - below) / number
        below += number
    return 0.0


def _message(key: _Key, row: _Row) -> pb.RequestsRow:
    user, agent, verb, resource = key
    mean = {phase.name.lower(): row.split[phase] / max(row.requests, 1) for phase in Phase}
    return pb.RequestsRow(
        user=user,
        agent=agent,
        verb=verb,
        resource=resource,
        level=row.level,
        requests=row.requests,
        operations=row.operations,
        errors=row.errors,
        p50_seconds=quantile(row.buckets, 0.5),
        p99_seconds=quantile(row.buckets, 0.99),
        mean=pb.PhaseSeconds(**mean),
        bytes_in=row.bytes_in,
        bytes_out=row.bytes_out,
    )
