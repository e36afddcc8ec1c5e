"""What a process does to the files below a folder, recorded by strace and replayed on a simulated disk.

    run      the command under strace, with all data of every call that can change a file
    parse    the trace as events: a call is entered, and later left; what other threads do lies in between
    Replay   carries the events out on a `Disk`, one by one

What a write wants to write can be on the disk from the moment it is entered; a sync makes durable what had been written
when it was entered, from the moment it is left. A call that the disk knows nothing of is an error, not passed over.

A line written to standard output that begins with "mark " is a mark: what the process knew, or promised, at that time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .disk import Directory, Disk, File, Mark

# Not every machine has all of them: "?" lets strace pass over those that are missing.
CALLS = (
    *("openat", "close", "lseek", "write", "pwrite64", "writev", "pwritev", "ftruncate", "fallocate", "mmap"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "fsync", "fdatasync"),
)
REFUSED = (
    *("open", "creat", "truncate", "link", "linkat", "symlink", "symlinkat", "dup", "dup2", "dup3", "pwritev2"),
    *("msync", "sync", "syncfs", "sync_file_range", "copy_file_range", "sendfile", "splice", "io_uring_enter"),
)
MARK = b"mark "
RUN_SECONDS_MAX = 120

_CALL = re.compile(r"(\d+) +(\w+)\((.*)")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)")
# All of them in hexadecimal, so there is no other quotation mark.
_STRING = re.compile(r'"([^"]*)"')
_OUTCOME = re.compile(r"\) += (-?\d+|0x[0-9a-f]+|\?)")


def missing() -> str | None:
    """Why nothing can be traced here, if so."""
    return "needs strace" if shutil.which("strace") is None else None


def run(command: list[str], trace: Path) -> str | None:
    """Run a command under strace. Returns why that is impossible here, if so.

    Raises CalledProcessError if the command itself fails.
    """
    calls = ",".join(f"?{call}" for call in (*CALLS, *REFUSED))
    tracing = ["strace", "-f", "-v", "-xx", "-s", str(1 << 26), "-e", "signal=none", "-e", f"trace={calls}", "-o"]
    done = subprocess.run(
        [*tracing, trace, *command], capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False
    )
    if done.returncode and "strace:" in done.stderr and "ptrace" in done.stderr.lower():
        return f"this sandbox allows no strace: {done.stderr.splitlines()[0]}"
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return None


class Event(NamedTuple):
    """A call is entered (`outcome` None) or left. `call` is the same object both times."""

    call: Call
    outcome: int | None

    def __str__(self) -> str:
        return f"{'enter' if self.outcome is None else 'leave'} {self.call.name} {self.call.about[:100]}"


class Call:
    """A system call, as far as it can be known when it is entered."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.strings = [bytes.fromhex(found.replace("\\x", "")) for found in _STRING.findall(text)]
        # Without the strings, which may be long and, being data, may look like anything.
        self.about = _STRING.sub("~", text)
        # What the process has at this descriptor; filled in when it is entered.
        self.target: Open | None = None
        self.mark: Mark | None = None

    @property
    def arguments(self) -> list[str]:
        return [one.strip() for one in re.sub(r"\[.*\]", "[]", self.about).split(",")]

    def number(self, place: int) -> int:
        return int(re.match(r"-?\d+", self.arguments[place]).group())


def parse(trace: Path) -> Iterator[Event]:
    """The events of a trace, in their order."""
    unfinished: dict[str, Call] = {}
    with trace.open() as lines:
        for line in lines:
            if found := _RESUMED.match(line):
                thread, name, rest = found.groups()
                call = unfinished.pop(thread)
                assert call.name == name
                yield Event(call, _outcome(rest))
            elif found := _CALL.match(line):
                thread, name, rest = found.groups()
                text, cut_off, _ = rest.partition(" <unfinished ...>")
                call = Call(name, text[: text.rindex(") ")] if not cut_off else text)
                yield Event(call, None)
                if cut_off:
                    unfinished[thread] = call
                else:
                    yield Event(call, _outcome(rest))


def _outcome(rest: str) -> int:
    found = _OUTCOME.findall(rest[-200:])
    return int(found[-1], 0) if found and found[-1] != "?" else -1


@dataclass
class Open:
    """An open descriptor of something on the disk."""

    path: str
    node: File | Directory
    synchronous: bool
    position: int = 0


class Replay:
    """Does to a disk what the traced process did to a folder.

    Args:
        on_mark: called with the words of each mark.
    """

    def __init__(self, folder: Path, on_mark: Callable[[list[str]], None]) -> None:
        self.disk = Disk()
        self._prefix = f"{folder}/"
        self._on_mark = on_mark
        self._open: dict[int, Open] = {}

    def apply(self, event: Event) -> bool:
        """Carry one event out; False if it has nothing to do with the disk, nor with a mark."""
        call, outcome = event
        if call.name in REFUSED:
            self._refuse_here(call)
            return False
        if outcome is None:
            return self._enter(call)
        return self._leave(call, outcome)

    def _refuse_here(self, call: Call) -> None:
        concerned = any(self._path(text) is not None for text in call.strings)
        if call.name in ("msync", "sync", "syncfs"):
            concerned = bool(self._open)
        elif descriptor := re.match(r"\d+", call.about):
            concerned = concerned or int(descriptor.group()) in self._open
        assert not concerned, f"the simulated disk cannot do {call.name}({call.about[:80]})"

    def _path(self, text: bytes, folder: str = "") -> str | None:
        path = text.decode(errors="replace")
        if not path.startswith("/"):
            return f"{folder}/{path}".lstrip("/") if folder else None
        if f"{path}/" == self._prefix:
            return ""
        return path.removeprefix(self._prefix) if path.startswith(self._prefix) else None

    def _paths(self, call: Call) -> list[str | None]:
        """Of calls that name something, each by a path or by an open directory and a path."""
        paths, words = [], call.arguments
        for text, place in zip(call.strings, (place for place, word in enumerate(words) if word == "~"), strict=True):
            before = words[place - 1] if place else ""
            base = self._open.get(int(before)) if before.isdigit() else None
            paths.append(self._path(text, base.path if base else ""))
        return paths

    # --- entering ----------------------------------------------------------------------------------------------------

    def _enter(self, call: Call) -> bool:
        if call.name == "write" and call.number(0) == 1 and call.strings[0].startswith(MARK):
            self._on_mark(call.strings[0].decode().split()[1:])
            return True
        if call.name in ("write", "writev", "pwrite64", "pwritev"):
            return self._enter_write(call)
        if call.name in ("fsync", "fdatasync"):
            call.target = self._open.get(call.number(0))
            if call.target is not None and isinstance(call.target.node, File):
                call.mark = call.target.node.mark()
            return call.target is not None
        return False

    def _enter_write(self, call: Call) -> bool:
        call.target = target = self._open.get(call.number(0))
        if target is None:
            return False
        assert isinstance(target.node, File)
        data = b"".join(call.strings)
        offset = int(call.arguments[-1]) if call.name.startswith("p") else target.position
        target.node.write(offset, data)
        if not call.name.startswith("p"):
            target.position += len(data)
        if target.synchronous:
            call.mark = target.node.mark_written(offset, len(data))
        return True

    # --- leaving -----------------------------------------------------------------------------------------------------

    def _leave(self, call: Call, outcome: int) -> bool:
        if call.name.endswith("sync") or "write" in call.name:
            return self._leave_write(call, outcome)
        if outcome == -1:
            return False
        if call.name == "openat":
            return self._leave_open(call, outcome)
        if call.name == "close":
            self._open.pop(call.number(0), None)
            return False
        if call.name in ("lseek", "ftruncate", "fallocate", "mmap"):
            return self._leave_file(call, outcome)
        return self._leave_names(call)

    def _leave_write(self, call: Call, outcome: int) -> bool:
        if call.target is None:
            return False
        if outcome == -1:
            raise AssertionError(f"{call.name} of {call.target.path} failed: what that leaves is not simulated")
        if "write" in call.name:
            assert outcome == sum(map(len, call.strings)), "writes in part are not simulated"
        if call.mark is not None:
            assert isinstance(call.target.node, File)
            call.target.node.sync(call.mark)
        elif isinstance(call.target.node, Directory):
            self.disk.sync_names(call.target.node)
        return True

    def _leave_open(self, call: Call, descriptor: int) -> bool:
        self._open.pop(descriptor, None)
        (path,) = self._paths(call)
        if path is None:
            return False
        flags = call.arguments[2].split("|")
        node = self.disk.find(path)
        created = node is None
        if node is None:
            assert "O_CREAT" in flags, f"{path} was there before it was traced"
            node = self.disk.create(path)
        elif "O_TRUNC" in flags and isinstance(node, File) and node.size:
            node.resize(0)
        assert "O_APPEND" not in flags, "appending is not simulated"
        self._open[descriptor] = Open(path, node, "O_DSYNC" in flags or "O_SYNC" in flags)
        return created or "O_TRUNC" in flags

    def _leave_file(self, call: Call, outcome: int) -> bool:
        if call.name == "mmap":
            descriptor = call.number(4) if re.match(r"\d", call.arguments[4]) else -1
            target = self._open.get(descriptor)
            if target is not None and "MAP_SHARED" in call.arguments[3] and "PROT_WRITE" in call.arguments[2]:
                assert isinstance(target.node, File)
                target.node.unknown = True
            return False
        target = self._open.get(call.number(0))
        if target is None:
            return False
        if call.name == "lseek":
            target.position = outcome
            return False
        assert isinstance(target.node, File)
        if call.name == "ftruncate":
            target.node.resize(call.number(1))
        elif call.arguments[1] == "0":
            target.node.resize(max(target.node.size, call.number(2) + call.number(3)))
        else:
            assert call.arguments[1] == "FALLOC_FL_KEEP_SIZE", f"fallocate {call.arguments[1]} is not simulated"
        return True

    def _leave_names(self, call: Call) -> bool:
        paths = self._paths(call)
        if all(path is None for path in paths):
            return False
        here = [path for path in paths if path is not None]
        assert len(here) == len(paths), f"{call.name} across the edge of the folder"
        if call.name.startswith("mkdir"):
            self.disk.make_directory(here[0])
        elif call.name.startswith("rename"):
            self.disk.rename(here[0], here[1])
        else:
            self.disk.remove(here[0])
        return True
