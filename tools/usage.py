"""What processes use: CPU time and memory, sampled from outside."""

from __future__ import annotations

from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Usage:
    """Of one name, over all its lives. CPU is user and system time, of all threads."""

    cpu_seconds: float = 0.0
    resident_bytes_max: int = 0


class UsageMeter:
    """Follows one process after another and adds up what they use.

    A sample is a point in the life of a process: its CPU time so far, its memory now. What a killed process used after
    the last sample would be lost, so sample it once more before its parent waits for it.
    """

    def __init__(self) -> None:
        self._process: psutil.Process | None = None
        self._earlier_cpu_seconds = 0.0
        self._cpu_seconds = 0.0
        self._resident_bytes_max = 0

    def follow(self, pid: int) -> None:
        self.unfollow()
        self._process = psutil.Process(pid)
        self.sample()

    def unfollow(self) -> None:
        self._earlier_cpu_seconds += self._cpu_seconds
        self._cpu_seconds = 0.0
        self._process = None

    def sample(self) -> None:
        if self._process is None:
            return
        try:
            times = self._process.cpu_times()
            self._cpu_seconds = max(self._cpu_seconds, times.user + times.system)
            self._resident_bytes_max = max(self._resident_bytes_max, self._process.memory_info().rss)
        except psutil.NoSuchProcess:
            # It ended, and what it used up to the last sample stands.
            pass

    @property
    def usage(self) -> Usage:
        return Usage(self._earlier_cpu_seconds + self._cpu_seconds, self._resident_bytes_max)
