"""How long ago each component of a one box last heard of each partition, as the components themselves say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import trio

from ..clients.contact import Seen
from ..clients.nurseries import run_all
from .addresses import Address

# A process answers from a thread of its own, however busy it is.
ANSWER_SECONDS = 3.0


class Process(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def metrics(self) -> str: ...


class View(NamedTuple):
    """Of one component. `problem`: why it did not say; empty: it did."""

    component: str
    seen: Sequence[Seen]
    problem: str = ""


async def partition_views(processes: Iterable[Process]) -> list[View]:
    """One for each process, in their order."""
    views: dict[str, View] = {}

    async def ask(process: Process) -> None:
        try:
            with trio.fail_after(ANSWER_SECONDS):
                views[process.name] = View(process.name, await _fetch(process.metrics))
        except (OSError, ValueError, TypeError, trio.BrokenResourceError, trio.TooSlowError) as error:
            problem = str(error) or f"no answer within {ANSWER_SECONDS:g} s"
            views[process.name] = View(process.name, (), problem)

    processes = list(processes)
    await run_all([partial(ask, process) for process in processes])
    return [views[process.name] for process in processes]


async def _fetch(metrics_address: str) -> list[Seen]:
    address = Address.parse(metrics_address)
    async with await trio.open_tcp_stream(address.host, address.port) as stream:
        await stream.send_all(b"GET /partitions HTTP/1.0\r\n\r\n")
        answer = b"".join([chunk async for chunk in stream])
    rows = json.loads(answer.partition(b"\r\n\r\n")[2])
    return [Seen(**row | {"seconds": float("inf") if row["seconds"] is None else row["seconds"]}) for row in rows]
