"""What this process holds, to be compared before and after something that must leave nothing behind."""

from __future__ import annotations

import gc
import os
import threading

import psutil


def children() -> list[int]:
    """The processes below this one. Other tests' servers may be among them: compare, do not count."""
    return [child.pid for child in psutil.Process().children(recursive=True)]


def threads() -> int:
    """Threads but for trio's idle workers, which it keeps for ten seconds, as many as were needed at once."""
    return len([each for each in threading.enumerate() if not each.name.startswith("Trio thread")])


def held() -> tuple[int, int, list[int]]:
    """Open descriptors, threads, children."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threads(), children()
