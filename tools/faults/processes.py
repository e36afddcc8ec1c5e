"""Faults of a one box: written to its file, and then every process that one of them concerns is told to read it.

A process that is dead meanwhile reads the file when it is started again, so it is told for as long as it takes it to
come back, and no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from ...clients.nurseries import run_all
from ...proto.errors import UrsaError
from ..addresses import Address
from .control import Change
from .file import locked, read_faults, write_faults
from .rules import Fault, Names

PATH = "/faults"
# A process leads its links around (three seconds at most), or starts, which takes a second or two on an idle machine.
ANSWER_SECONDS = 15.0
RETRY_SECONDS = 0.1

_APISERVER = "apiserver"


class Process(Protocol):
    """As the one box and its cluster.json list them."""

    @property
    def name(self) -> str: ...
    @property
    def component(self) -> str: ...
    @property
    def metrics(self) -> str: ...


class FaultsOfProcesses:
    """`processes`: those of the one box, as they are now. `path`: its file of faults."""

    def __init__(self, path: Path, processes: Callable[[], Iterable[Process]]) -> None:
        self._path = path
        self._processes = processes

    def names(self) -> Names:
        processes = list(self._processes())
        partitions = [each.name for each in processes if each.component == _APISERVER]
        return Names([each.name for each in processes if each.component != _APISERVER], partitions)

    def in_force(self) -> list[Fault]:
        return read_faults(self._path)

    async def change(self, change: Change) -> tuple[list[Fault], list[Fault]]:
        with locked(self._path):
            before = read_faults(self._path)
            after = change(before)
            write_faults(self._path, after)
        changed = [fault for fault in (*before, *after) if fault not in before or fault not in after]
        await self._tell(changed)
        return before, after

    async def _tell(self, changed: Sequence[Fault]) -> None:
        ends = dict.fromkeys(name for fault in changed for name in (fault.source, fault.target))
        told = [each for each in self._processes() if each.name in ends and each.component != _APISERVER]
        silent: list[str] = []

        async def tell(process: Process) -> None:
            problem = await _read_again(process)
            if problem:
                silent.append(f"{process.name} ({problem})")

        await run_all([partial(tell, process) for process in told])
        if silent:
            raise UrsaError(
                f"not told to {', '.join(silent)}: it is noted, and holds for it as soon as it answers or starts again"
            )


async def _read_again(process: Process) -> str:
    """Returns why it could not be told; empty: it was, and its links are so."""
    problem = f"no answer within {ANSWER_SECONDS:g} s"
    with trio.move_on_after(ANSWER_SECONDS):
        while True:
            try:
                status = await _post(Address.parse(process.metrics))
            except (OSError, trio.BrokenResourceError) as error:
                problem = str(error) or type(error).__name__
            else:
                if status:  # Else it has ended before it answered.
                    return "" if status.split(" ")[1:2] == ["200"] else status
            await trio.sleep(RETRY_SECONDS)
    return problem


async def _post(address: Address) -> str:
    """The first line of the answer."""
    async with await trio.open_tcp_stream(address.host, address.port) as stream:
        await stream.send_all(f"POST {PATH} HTTP/1.0\r\nContent-Length: 0\r\n\r\n".encode())
        answer = b"".join([chunk async for chunk in stream])
    return answer.partition(b"\r\n")[0].decode(errors="replace")
