"""The apiserver as a process: an asyncio loop, gRPC, and LMDB on disk."""

from __future__ import annotations

import asyncio
import math
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom

import uvloop
from prometheus_client import CollectorRegistry

from ..proto.kinds import Role
from ..proto.long_lived import expect_long_lives
from ..storage import ThreadCommitter
from .apiserver import ApiServer
from .frontends.grpc import Connections, serve
from .frontends.webhooks import HttpWebhookCaller
from .pacing import COMMITS_PER_SECOND
from .requests.audit import SLOW_SECONDS
from .requests.audit_file import FILE_BYTES_MAX, AuditFile
from .stores import EVENTS_QUOTA_BYTES, QUOTA_BYTES, open_stores


@dataclass(frozen=True)
class ApiServerOptions:
    """`listen`: host:port, port 0 for any free one. `data_dir`: made if it is not there."""

    name: str
    role: Role
    data_dir: Path
    listen: str = "127.0.0.1:0"
    commits_per_second: float = COMMITS_PER_SECOND
    quota_bytes: int = QUOTA_BYTES
    events_quota_bytes: int = EVENTS_QUOTA_BYTES  # 0: the main store keeps the Events, too.
    audit_log: Path | None = None  # A line of JSON for every request.
    audit_log_bytes_max: int = FILE_BYTES_MAX  # Then it is put aside, and another begun.
    slow_request_seconds: float = SLOW_SECONDS  # One that took so long has a line in the log.
    connections: Connections = field(default_factory=Connections)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


class AsyncioRuntime:
    """Time of the system, timers of the running asyncio loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def monotonic(self) -> float:
        return time.monotonic()  # A loop's own may stand still for a turn, and be a millisecond coarse.

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        # In whole milliseconds, which is what timers are made of: never before its time.
        self._loop.call_later(math.ceil(seconds * 1000) / 1000, callback)


def run_apiserver(options: ApiServerOptions, *, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is called with the bound address.

    Raises:
        UrsaError: the data directory or the address cannot be used; the message says what to do.
    """
    # uvloop: a lone call wakes the loop six times, and each time takes a fifth of what it takes asyncio's own.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(options, ready))


async def _run(options: ApiServerOptions, ready: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    failures: list[BaseException] = []

    def on_fatal(error: BaseException) -> None:
        """A commit failed: what was staged on top of it must not be served. The next start reads what is durable."""
        failures.append(error)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    random = Random(SystemRandom().getrandbits(128))
    with (
        _audit(options) as audit,
        open_stores(
            options.data_dir,
            lambda: ThreadCommitter(loop.call_soon_threadsafe),
            random,
            quota_bytes=options.quota_bytes,
            events_quota_bytes=options.events_quota_bytes,
            on_fatal=on_fatal,
        ) as stores,
    ):
        webhook_caller = HttpWebhookCaller()
        server = ApiServer(
            options.name,
            options.role,
            stores.main,
            AsyncioRuntime(),
            random,
            options.registry,
            events_store=stores.events,
            commits_per_second=options.commits_per_second,
            audit=audit,
            slow_request_seconds=options.slow_request_seconds,
            webhook_caller=webhook_caller,
        )
        expect_long_lives()
        try:
            await serve(
                server, options.listen, stop=stop, ready=ready, connections=options.connections, name=options.name
            )
        finally:
            server.close()
            await webhook_caller.close()
    if failures:
        sys.exit(f"{options.name}: the store failed: {failures[0]}")


def _audit(options: ApiServerOptions) -> AbstractContextManager[AuditFile | None]:
    if options.audit_log is None:
        return nullcontext()
    return AuditFile(options.audit_log, options.name, options.registry, file_bytes_max=options.audit_log_bytes_max)
