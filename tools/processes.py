"""Processes that belong to a parent: started, watched, started again when they die, and never left behind.

A child prints one JSON line on its standard output once it serves (`ReadyLine`), and keeps the addresses it chose then:
when it dies it is started again under the same name, on the same ports, with the same arguments. Its log goes to a
file, and what it said last is the reason given when it does not start.

Nothing outlives the parent. A stop is SIGTERM, then a bounded wait, then SIGKILL; and every child holds the read end of
a pipe of its parent as standard input, and exits when that ends (`--parent-pipe`), so a parent that is killed takes its
children with it. Children are a process group of their own each: Ctrl-C in a terminal reaches the parent alone, which
then stops them in order.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from ..clients.nurseries import open_background, run_all
from ..proto.errors import UrsaError
from .children import URSA_COMMAND, CannotLaunch, Child, Launcher
from .lifetime import ReadyLine
from .usage import Usage, UsageMeter

# The first start imports trio, numpy and grpc: a second alone, many times that on a loaded pair of cores.
READY_SECONDS = 60.0
# Children give themselves five seconds (lifetime.STOP_SECONDS); one that takes longer than this is stuck.
STOP_SECONDS = 8.0
# A process that dies is started again at once the first time; one that keeps dying must not eat the machine.
BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 5.0
# A process that was up for this long had started well: its next death is a new story.
SETTLED_SECONDS = 10.0
# A ready line is under 300 bytes; a child that prints more than this without a line's end is no component.
READY_BYTES_MAX = 64 * 1024
# How much of a child's log is read to find out why it died.
LOG_TAIL_BYTES = 16 * 1024
# How often each process is asked for its CPU time and memory: fifty microseconds a process.
SAMPLE_SECONDS = 1.0

__all__ = [
    "URSA_COMMAND",
    "ProcessFailed",
    "ProcessInfo",
    "ProcessSpec",
    "ReadyLine",
    "Supervisor",
    "open_supervisor",
]

log = logging.getLogger("ursa.processes")


class ProcessFailed(UrsaError):
    """A process did not start. The text holds the reason it gave."""


@dataclass(frozen=True)
class ProcessSpec:
    """How to start a process.

    `listen_flag` and `metrics_flag` are given the address to use: port 0 first, then the one the child chose.
    """

    name: str
    component: str
    command: Sequence[str]
    listen_flag: str = ""
    metrics_flag: str = ""


@dataclass(frozen=True)
class ProcessInfo:
    """A process as it is now. `running` is false while it is dead and waits to be started again."""

    name: str
    component: str
    pid: int
    address: str
    metrics: str
    running: bool
    restarts: int


class Supervisor:
    """Use `open_supervisor`. One task at a time may start and stop processes."""

    def __init__(
        self, nursery: trio.Nursery, launcher: Launcher, log_directory: Path, on_change: Callable[[], None]
    ) -> None:
        self._nursery = nursery
        self._launcher = launcher
        self._log_directory = log_directory
        self._on_change = on_change
        self._processes: dict[str, _Process] = {}
        self._gone: dict[str, Usage] = {}

    @property
    def processes(self) -> dict[str, ProcessInfo]:
        """By name, in the order they were started."""
        return {name: process.info for name, process in self._processes.items()}

    async def start(self, specs: Sequence[ProcessSpec]) -> None:
        """Start processes, all at once, and wait until each is ready.

        Raises:
            ProcessFailed: one died, or was not ready within READY_SECONDS; those started with it are stopped.
        """
        names = [spec.name for spec in specs]
        if running := [name for name in names if name in self._processes]:
            raise ProcessFailed(f"{running[0]} is running already: stop it first")
        for spec in specs:
            log_path = self._log_directory / f"{spec.name}.log"
            self._processes[spec.name] = _Process(spec, self._launcher, log_path, self._on_change)
        try:
            await run_all([partial(self._nursery.start, self._processes[name].run) for name in names])
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.stop(names)
            raise

    async def stop(self, names: Sequence[str]) -> None:
        """Stop processes for good, all at once, within STOP_SECONDS and a little."""
        for name in names:
            self._processes[name].scope.cancel()
        for name in names:
            await self._processes[name].ended.wait()
            self._gone[name] = self._processes.pop(name).meter.usage

    def signal(self, name: str, number: int) -> None:
        """Send a signal. After SIGKILL a process is started again, as after a crash.

        Raises:
            UrsaError: there is no such process.
        """
        if name not in self._processes:
            raise UrsaError(f"there is no process {name!r}; known are {', '.join(self._processes)}")
        self._processes[name].signal(number)

    def kill_all(self) -> None:
        """SIGKILL to all, for a stop that must not take its time."""
        for process in self._processes.values():
            process.signal(signal.SIGKILL)

    def usage(self) -> dict[str, Usage]:
        """By name, over all lives of each, sampled now; those that were stopped included."""
        for process in self._processes.values():
            process.meter.sample()
        return self._gone | {name: process.meter.usage for name, process in self._processes.items()}

    async def sample_forever(self) -> None:
        while True:
            for process in self._processes.values():
                process.meter.sample()
            await trio.sleep(SAMPLE_SECONDS)


@asynccontextmanager
async def open_supervisor(
    log_directory: Path, on_change: Callable[[], None] = lambda: None
) -> AsyncIterator[Supervisor]:
    """When the block ends, however it ends, every process is stopped. The directory must exist.

    `on_change` is called whenever a process has died, and when it is ready again.
    """
    async with Launcher(log_directory / "fork-server.log") as launcher, open_background() as nursery:
        supervisor = Supervisor(nursery, launcher, log_directory, on_change)
        nursery.start_soon(supervisor.sample_forever)
        yield supervisor


class _Process:
    """One name: a process, its successors, and what they used."""

    def __init__(self, spec: ProcessSpec, launcher: Launcher, log_path: Path, on_change: Callable[[], None]) -> None:
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.meter = UsageMeter()
        self._spec = spec
        self._launcher = launcher
        self._log_path = log_path
        self._on_change = on_change
        self._log_offset = 0
        self._process: Child | None = None
        self._running = False
        self._ready = ReadyLine(spec.component, spec.name, 0, "127.0.0.1:0", "127.0.0.1:0")
        self._restarts = 0

    @property
    def info(self) -> ProcessInfo:
        ready = self._ready
        return ProcessInfo(
            self._spec.name, ready.component, ready.pid, ready.address, ready.metrics, self._running, self._restarts
        )

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Until the scope is cancelled. Raises ProcessFailed if the first start fails."""
        try:
            with self.scope:
                await self._live(task_status)
        finally:
            self.ended.set()

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        backoff_seconds = BACKOFF_SECONDS_MIN
        first = True
        while True:
            started = trio.current_time()
            try:
                reason = await self._one_life(task_status if first else trio.TASK_STATUS_IGNORED)
            except ProcessFailed as failure:
                if first:
                    raise
                reason = str(failure)
            first = False
            self._restarts += 1
            if trio.current_time() - started > SETTLED_SECONDS:
                backoff_seconds = BACKOFF_SECONDS_MIN
            log.warning("%s: %s; starting it again in %.1f s", self._spec.name, reason, backoff_seconds)
            await trio.sleep(backoff_seconds)
            backoff_seconds = min(2 * backoff_seconds, BACKOFF_SECONDS_MAX)

    async def _one_life(self, task_status: trio.TaskStatus[None]) -> str:
        """From start to death; returns why it died. Raises ProcessFailed if it died before it was ready."""
        process = self._process = await self._launch()
        self.meter.follow(process.pid)
        try:
            self._ready = await self._wait_ready(process)
            self._running = True
            self.meter.sample()
            task_status.started()
            self._on_change()
            await self._wait_exit(process)
            self._running = False
            self._on_change()
            return self._cause_of_death(process)
        finally:
            self._running = False
            with trio.CancelScope(shield=True):
                await self._terminate(process)
            self._process = None

    async def _launch(self) -> Child:
        command = [*self._spec.command]
        if self._spec.listen_flag:
            command += [self._spec.listen_flag, self._ready.address]
        if self._spec.metrics_flag:
            command += [self._spec.metrics_flag, self._ready.metrics]
        with self._log_path.open("ab") as log_file:
            self._log_offset = log_file.tell()
            try:
                return await self._launcher.launch(command, log_file)
            except CannotLaunch as error:
                raise ProcessFailed(f"{self._spec.name} did not start: {error}") from None

    async def _wait_ready(self, process: Child) -> ReadyLine:
        received = b""
        with trio.move_on_after(READY_SECONDS):
            while b"\n" not in received and len(received) < READY_BYTES_MAX:
                if not (data := await process.stdout.receive_some()):
                    await self._wait_exit(process)
                    raise ProcessFailed(f"{self._spec.name} did not start: {self._cause_of_death(process)}")
                received += data
            try:
                return ReadyLine.parse(received.partition(b"\n")[0])
            except ValueError:
                raise ProcessFailed(f"{self._spec.name} printed no ready line but {received[:80]!r}") from None
        raise ProcessFailed(f"{self._spec.name} was not ready after {READY_SECONDS:.0f} s; see {self._log_path}")

    async def _wait_exit(self, process: Child) -> None:
        # As a zombie, between its end and our wait for it, a process still tells the CPU time of its whole life.
        await process.wait(ended=self.meter.sample)

    async def _terminate(self, process: Child) -> None:
        if process.returncode is None:
            process.terminate()
            with trio.move_on_after(STOP_SECONDS):
                await self._wait_exit(process)
        if process.returncode is None:
            log.warning("%s did not stop within %.0f s: killed", self._spec.name, STOP_SECONDS)
            process.kill()
            await self._wait_exit(process)
        self.meter.unfollow()
        await process.aclose()

    def _cause_of_death(self, process: Child) -> str:
        code = process.returncode
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        with self._log_path.open("rb") as log_file:
            size = log_file.seek(0, os.SEEK_END)
            log_file.seek(max(self._log_offset, size - LOG_TAIL_BYTES))
            lines = log_file.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1].removeprefix("error: ") if said else f"exited with status {code} without a word"
