"""The audit log on disk: one line of JSON for each request, written by a thread of its own.

The loop leaves what it has to say in a bounded line and goes on; the thread gathers for a moment, then writes all of it
at once. When the disk is slower than the requests, lines are dropped, and their number is a metric and a line of its
own. A file that has grown too large becomes `FILE.1`, that one `FILE.2`, and so on; the oldest goes.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TextIO

from prometheus_client import CollectorRegistry, Counter

from ...proto.errors import InputError
from .audit import Answered
from .request import Phase

# Some 10 MB, or several seconds of a partition at its ceiling.
LINES_WAITING_MAX = 20_000
# How long the thread gathers: a few wake-ups a second instead of one a request.
GATHER_SECONDS = 0.2
FILE_BYTES_MAX = 100 * 1024 * 1024
FILES_MAX = 5
CLOSE_SECONDS_MAX = 5.0

log = logging.getLogger("ursa.audit")


class AuditFile:
    """An `AuditSink`. `put` is called on one thread. Use it as a block, or close it.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        partition: str,
        registry: CollectorRegistry | None = None,
        *,
        file_bytes_max: int = FILE_BYTES_MAX,
        files_max: int = FILES_MAX,
    ) -> None:
        self._path = path
        self._partition = partition
        self._file_bytes_max = file_bytes_max
        self._files_max = files_max
        registry = registry or CollectorRegistry()
        self._written = Counter("apiserver_audit_event_total", "Lines of the audit log", registry=registry)
        self._dropped = Counter("apiserver_audit_dropped_total", "Lines that were not written", registry=registry)
        self._line: deque[Answered] = deque()
        self._news = threading.Event()
        self._closing = threading.Event()
        self._failed = False
        try:
            self._file: TextIO | None = path.open("a", encoding="utf-8")
        except OSError as error:
            raise InputError(f"the audit log cannot be written: {error.strerror}", file=str(path)) from None
        self._size = path.stat().st_size
        self._thread = threading.Thread(target=self._run, name="ursa-audit", daemon=True)
        self._thread.start()

    def put(self, answered: Answered) -> None:
        """Never waits."""
        if len(self._line) >= LINES_WAITING_MAX:
            self._dropped.inc()
            return
        self._line.append(answered)
        if not self._news.is_set():
            self._news.set()

    def close(self) -> None:
        """Write what is waiting, and end."""
        self._closing.set()
        self._news.set()
        self._thread.join(CLOSE_SECONDS_MAX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------------------------------------- on the thread

    def _run(self) -> None:
        while not self._closing.is_set():
            self._news.wait()
            self._closing.wait(GATHER_SECONDS)
            self._news.clear()  # Before looking: what is put meanwhile wakes again, at worst for nothing.
            self._write()
        self._write()
        if self._file is not None:
            self._file.close()

    def _write(self) -> None:
        waiting = [self._line.popleft() for _ in range(len(self._line))]
        if not waiting:
            return
        text = "".join(f"{line}\n" for line in _lines(self._partition, waiting))
        size = len(text.encode())
        try:
            if self._size and self._size + size > self._file_bytes_max:
                self._rotate()
            if self._file is None:
                self._file = self._path.open("a", encoding="utf-8")
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self._dropped.inc(len(waiting))
            if not self._failed:
                log.warning("the audit log %s cannot be written, lines are dropped until it can: %s", self._path, error)
            self._failed = True
            self._give_up_file()
            return
        self._failed = False
        self._size += size
        self._written.inc(len(waiting))

    def _rotate(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        for number in range(self._files_max - 1, 0, -1):
            source = self._path if number == 1 else self._numbered(number - 1)
            if source.exists():
                source.replace(self._numbered(number))
        if self._files_max <= 1:
            self._path.unlink(missing_ok=True)
        self._size = 0

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _give_up_file(self) -> None:
        """What it holds unwritten would fail again; the next write opens it anew."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                log.debug("closing the audit log: %s", error)


def _lines(partition: str, waiting: Iterable[Answered]) -> Iterable[str]:
    for answered in waiting:
        yield json.dumps(_fields(partition, answered), ensure_ascii=False, separators=(",", ":"))


def _fields(partition: str, answered: Answered) -> dict[str, Any]:
    """As documented in `docs/`: seconds with microseconds, sizes in bytes. A request with one kind of operation has its
    verb, resource and code at the top; a batch of several has `operations`, and the worst code."""
    at = datetime.fromtimestamp(answered.time_ms / 1000, UTC)
    fields: dict[str, Any] = {
        "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "partition": partition,
        "trace": answered.trace,
        "user": answered.user,
        "agent": answered.agent,
        "request": answered.verb,
        "level": answered.level,
        "code": answered.code,
    }
    counts = answered.counts
    if len(counts) == 1:
        fields["verb"], fields["resource"], _, fields["count"] = counts[0]
    else:
        fields["operations"] = [
            {"verb": verb, "resource": resource, "code": code, "count": number}
            for verb, resource, code, number in counts
        ]
    fields["seconds"] = {"total": round(answered.seconds, 6)} | {
        phase.name.lower(): round(answered.split[phase], 6) for phase in Phase
    }
    fields["bytes"] = {"in": answered.bytes_in, "out": answered.bytes_out}
    return fields
