"""Completion indexes, as the status of an Indexed Job tells them: `0,2-5,9`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator


class Indexes:
    """Numbers from 0 on, kept as ranges: there may be a million of them, and most lie side by side."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []  # The last of each range.

    @classmethod
    def parse(cls, text: str, below: int) -> Indexes:
        """Of those told only the ones below this bound: an Indexed Job may have shrunk."""
        found = cls()
        for part in text.split(","):
            first, _, last = part.partition("-")
            if not first.isdecimal() or (last and not last.isdecimal()):
                continue
            start, end = int(first), min(int(last or first), below - 1)
            if start > end or (found._ends and start <= found._ends[-1]):
                continue
            if found._ends and start == found._ends[-1] + 1:
                found._ends[-1] = end
            else:
                found._starts.append(start)
                found._ends.append(end)
        return found

    def __str__(self) -> str:
        """Two that lie side by side are a list, more are a range, as in Kubernetes."""
        ranges = zip(self._starts, self._ends, strict=True)
        return ",".join(_told(start, end) for start, end in ranges)

    def __len__(self) -> int:
        return sum(self._ends) - sum(self._starts) + len(self._starts)

    def __contains__(self, index: int) -> bool:
        place = bisect_right(self._starts, index) - 1
        return place >= 0 and index <= self._ends[place]

    def add(self, index: int) -> None:
        if index in self:
            return
        place = bisect_right(self._starts, index)
        joins_before = place > 0 and self._ends[place - 1] == index - 1
        joins_after = place < len(self._starts) and self._starts[place] == index + 1
        if joins_before and joins_after:
            self._ends[place - 1] = self._ends[place]
            del self._starts[place], self._ends[place]
        elif joins_before:
            self._ends[place - 1] = index
        elif joins_after:
            self._starts[place] = index
        else:
            self._starts.insert(place, index)
            self._ends.insert(place, index)

    def missing(self, below: int) -> Iterator[int]:
        """Those that are not here, in order."""
        following = 0
        for start, end in zip(self._starts, self._ends, strict=True):
            yield from range(following, min(start, below))
            following = end + 1
        yield from range(following, below)


def _told(start: int, end: int) -> str:
    if start == end:
        return str(start)
    return f"{start},{end}" if end == start + 1 else f"{start}-{end}"
