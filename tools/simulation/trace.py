"""Everything that happened in a run, in order: each draw, each message, each fault, with the time it was at.

Two runs are the same if their traces are. A digest is kept always, the lines only where somebody will look at them.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random
from typing import Any

import trio


class Trace:
    """`lines` is empty unless they are to be kept."""

    def __init__(self, *, keep: bool = False) -> None:
        self.lines: list[str] = []
        self.count = 0
        self._keep = keep
        self._digest = blake2b(digest_size=16)

    def __call__(self, line: str) -> None:
        """A line that has its time already."""
        self.count += 1
        self._digest.update(f"{line}\n".encode())
        if self._keep:
            self.lines.append(line)

    def note(self, line: str) -> None:
        self(f"{trio.current_time():.6f} {line}")

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


class TracedRandom(Random):
    """A Random whose every draw is in the trace."""

    def __init__(self, seed: str, trace: Trace) -> None:
        self._name = seed
        self._trace = trace
        super().__init__(seed)

    def random(self) -> float:
        drawn = super().random()
        self._trace(f"{self._name} {drawn!r}")
        return drawn

    def getrandbits(self, k: int, /) -> int:
        drawn = super().getrandbits(k)
        self._trace(f"{self._name} {drawn:x}")
        return drawn

    def __reduce__(self) -> Any:
        raise TypeError("a traced Random belongs to its run")
