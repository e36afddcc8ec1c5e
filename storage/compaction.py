"""When to compact, and at which revision: history is kept for a while, and never more than so many changes of it.

Nobody wants to know the revision of every moment. A few samples of (time, head) are enough: the newest one that is old
enough says where history may end. A compaction looks at every key once, so each step forward must be worth it: a tenth
of what is kept.

    keep 300 s; head was 10 at 0 s, 50 at 30 s, 90 at 60 s      at 300 s -> 10      at 330 s -> 50      at 350 s -> none
    keep 100,000 changes; compacted at 0                        head 109,999 -> none    head 110,000 -> 10,000
"""

from __future__ import annotations

from collections import deque

# Samples in `keep_seconds`: how finely the age of history is known, and the most compactions by age in that time.
SAMPLES = 10
# The part of `keep_changes` by which history must exceed it before it is cut.
EXCESS_PART = 10


class AutoCompaction:
    """Says, each time it is asked, whether a compaction is due. No clock of its own.

    Args:
        keep_seconds: what happened within this time stays readable, unless it is more than `keep_changes`.
        keep_changes: the newest changes that stay; a tenth more may pile up before a compaction is due.
        compacted: the store's floor.
    """

    def __init__(self, keep_seconds: float = 300.0, keep_changes: int = 100_000, *, compacted: int = 0) -> None:
        if keep_seconds <= 0 or keep_changes <= 0:
            raise ValueError(f"history to keep must be positive: {keep_seconds} seconds, {keep_changes} changes")
        self._keep_seconds = keep_seconds
        self._keep_changes = keep_changes
        self._samples: deque[tuple[float, int]] = deque()
        self._compacted = compacted

    def due(self, head: int, now: float) -> int | None:
        """The revision to compact at, or None. Each is told once; they only ever grow.

        To be asked from time to time, some seconds apart. If somebody else compacted beyond it, there is nothing to do.

        Args:
            head: the store's newest committed revision.
            now: seconds of a clock that never goes back.
        """
        revision = self._old_enough(now)
        if head - self._compacted >= self._keep_changes + self._keep_changes // EXCESS_PART:
            revision = max(revision, head - self._keep_changes)
        if not self._samples or now - self._samples[-1][0] >= self._keep_seconds / SAMPLES:
            self._samples.append((now, head))
        if revision <= self._compacted:
            return None
        self._compacted = revision
        return revision

    def _old_enough(self, now: float) -> int:
        """The head of the newest sample that is old enough; it and those before it are forgotten. 0: none is."""
        revision = 0
        while self._samples and now - self._samples[0][0] >= self._keep_seconds:
            _, revision = self._samples.popleft()
        return revision
