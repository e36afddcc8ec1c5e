"""What this process holds, to be compared before and after something that must leave nothing behind."""

from __future__ import annotations

import gc
import os
import threading
from typing import NamedTuple

import psutil


def children() -> list[int]:
    """The processes below this one. Other tests' servers may be among them: compare, do not count."""
    return [child.pid for child in psutil.Process().children(recursive=True)]


def title(process: psutil.Process) -> str:
    """What `ps` shows of it. A title that was set has the rest of the old one behind it, as nothing."""
    return " ".join(process.cmdline()).strip()


def threads() -> int:
    """Threads but for trio's idle workers, which it keeps for ten seconds, as many as were needed at once."""
    return len([each for each in threading.enumerate() if not each.name.startswith("Trio thread")])


class Held(NamedTuple):
    """Open descriptors, threads, children."""

    descriptors: int
    threads: int
    children: frozenset[int]

    def left_by(self, before: Held) -> str:
        """What is held now and was not before; empty: nothing. Less than before is no fault: what an earlier test
        left to gRPC's own threads, those close in their own time."""
        more = [
            f"{now - then} {name}"
            for name, now, then in zip(("descriptors", "threads"), self, before, strict=False)
            if now > then
        ]
        return ", ".join([*more, *(f"process {pid}" for pid in sorted(self.children - before.children))])


def held() -> Held:
    gc.collect()
    return Held(len(os.listdir("/proc/self/fd")), threads(), frozenset(children()))
