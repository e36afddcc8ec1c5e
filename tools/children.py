"""One child process: how it begins, and how its parent hears of its end.

A command of Ursa's own begins as a copy of a process that has all imported already (`fork_server.py`); any other is
executed. What either of them is told and tells is the same.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, Any, Self

import trio

from ..proto.errors import UrsaError
from .fork_server import LENGTH_BYTES

URSA_COMMAND = (sys.executable, "-P", "-m", "ursa")
FORK_SERVER_COMMAND = (sys.executable, "-P", "-m", "ursa.tools.fork_server")

# The fork server imports everything before its first answer; then it takes some milliseconds.
ANSWER_SECONDS = 60.0
STOP_SECONDS = 5.0
# Of a child whose fork server died before it: the system has told nobody.
STATUS_UNKNOWN = 255


class CannotLaunch(UrsaError):
    """A child process could not be made."""


class Child:
    """A process. It holds the read end of `stdin`, and writes to `stdout`."""

    def __init__(
        self,
        pid: int,
        stdin: trio.lowlevel.FdStream,
        stdout: trio.lowlevel.FdStream,
        reap: Callable[[], Awaitable[int]],
    ) -> None:
        self.pid = pid
        self.stdout = stdout
        # A number may be another's once its fork server is gone: nobody here says when it is given up.
        self._handle = os.pidfd_open(pid)
        self.returncode: int | None = None  # as of `subprocess.Popen`; None: it has not been waited for
        self._stdin = stdin
        self._reap = reap

    def send_signal(self, number: int) -> None:
        """Nothing, once it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self, ended: Callable[[], None] = lambda: None) -> int:
        """Its return code. `ended` is called in between: it is dead, but the system still knows what it used."""
        if self.returncode is None:
            await trio.lowlevel.wait_readable(self._handle)
            ended()
            self.returncode = await self._reap()
        return self.returncode

    async def aclose(self) -> None:
        """Let go of it and of its streams: it is neither heard of nor told anything any more."""
        os.close(self._handle)
        for stream in (self._stdin, self.stdout):
            await stream.aclose()


class Launcher:
    """Makes children, and ends its fork server when the block ends: wait for all of them before that."""

    def __init__(self, fork_server_log: Path) -> None:
        self._fork_server = _ForkServer(fork_server_log)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._fork_server.aclose()

    async def launch(self, command: Sequence[str], log_file: IO[bytes]) -> Child:
        """A process group of its own, so that Ctrl-C in a terminal reaches its parent alone.

        Raises:
            CannotLaunch: there is no such command, the system has no room for it, or the fork server is broken.
        """
        try:
            if tuple(command[: len(URSA_COMMAND)]) == URSA_COMMAND:
                return await self._fork_server.launch(command[len(URSA_COMMAND) :], log_file)
            return await _execute(command, log_file)
        except OSError as error:
            raise CannotLaunch(f"{command[0]}: {error.strerror}") from None


async def _execute(command: Sequence[str], log_file: IO[bytes]) -> Child:
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log_file,
        process_group=0,
    )
    assert isinstance(process.stdin, trio.lowlevel.FdStream)
    assert isinstance(process.stdout, trio.lowlevel.FdStream)
    return Child(process.pid, process.stdin, process.stdout, process.wait)


class _ForkServer:
    """Started with the first child, and again if it is gone. One question at a time."""

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self._lock = trio.Lock()
        self._process: trio.Process | None = None
        self._channel: trio.SocketStream | None = None

    async def launch(self, arguments: Sequence[str], log_file: IO[bytes]) -> Child:
        stdin_read, stdin_write = os.pipe()
        stdout_read, stdout_write = os.pipe()
        directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        stdin, stdout = trio.lowlevel.FdStream(stdin_write), trio.lowlevel.FdStream(stdout_read)
        try:
            request = {"arguments": list(arguments), "environment": dict(os.environ)}
            streams = (stdin_read, stdout_write, log_file.fileno(), directory)
            async with self._lock:
                if self._channel is None:
                    await self._start()
                answer, server = await self._ask(request, streams), self._process
            if answer is None:
                raise CannotLaunch(f"its fork server died; see {self._log_path}")
            if "error" in answer:
                raise CannotLaunch(answer["error"])
        except BaseException:
            with trio.CancelScope(shield=True):
                await stdin.aclose()
                await stdout.aclose()
            raise
        finally:
            for descriptor in (stdin_read, stdout_write, directory):
                os.close(descriptor)
        pid = answer["pid"]

        async def reap() -> int:
            async with self._lock:
                known = await self._ask({"reap": pid}) if self._process is server else None
            return known["status"] if known else STATUS_UNKNOWN

        return Child(pid, stdin, stdout, reap)

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await self._stop()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, self._log_path.open("ab") as log_file:
            self._process = await trio.lowlevel.open_process(
                FORK_SERVER_COMMAND, stdin=theirs, stdout=log_file, stderr=log_file, process_group=0
            )
        self._channel = trio.SocketStream(trio.socket.from_stdlib_socket(ours))

    async def _ask(self, request: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any] | None:
        """None: it has died, and is forgotten."""
        # Half a question, or an answer that nobody has heard, would put all others out of step.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + ANSWER_SECONDS):
            try:
                return await self._exchange(request, descriptors)
            except (OSError, trio.BrokenResourceError, EOFError):
                pass
        await self.aclose()
        return None

    async def _exchange(self, request: dict[str, Any], descriptors: Sequence[int]) -> dict[str, Any]:
        assert self._channel is not None
        data = json.dumps(request).encode()
        message = len(data).to_bytes(LENGTH_BYTES) + data
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        sent = await self._channel.socket.sendmsg([message], rights)
        await self._channel.send_all(message[sent:])
        length = int.from_bytes(await self._receive_exactly(LENGTH_BYTES))
        answer: dict[str, Any] = json.loads(await self._receive_exactly(length))
        return answer

    async def _receive_exactly(self, length: int) -> bytes:
        assert self._channel is not None
        received = b""
        while len(received) < length:
            data = await self._channel.receive_some(length - len(received))
            if not data:
                raise EOFError
            received += data
        return received

    async def _stop(self) -> None:
        channel, process = self._channel, self._process
        self._channel = self._process = None
        if channel is not None:
            await channel.aclose()
        if process is not None:
            with trio.move_on_after(STOP_SECONDS):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()
