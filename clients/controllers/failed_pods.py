"""The pause before a pod that failed is replaced again in the same place: it doubles with each.

A pod that no node has room for, or whose containers fail at once, would be made anew as fast as the partition can
write. A place is an ordinal of a StatefulSet, or a node of a DaemonSet.
"""

from __future__ import annotations

from typing import NamedTuple

# As Kubernetes has it for DaemonSets.
PAUSE_MS_MIN = 1_000
PAUSE_MS_MAX = 15 * 60_000
# Whoever has lived for so long has not failed because of what the one before failed of.
CALM_MS = 2 * PAUSE_MS_MAX


class _Replaced(NamedTuple):
    at_ms: int
    pause_ms: int


class FailedPods:
    """When pods of an owner were replaced last, by its uid and their place."""

    def __init__(self, pause_ms_max: int = PAUSE_MS_MAX) -> None:
        self._pause_ms_max = pause_ms_max
        self._replaced: dict[str, dict[str, _Replaced]] = {}

    def wait_ms(self, uid: str, place: str, now_ms: int) -> int:
        """How long to wait before one that has failed there is replaced; 0: no longer."""
        last = self._replaced.get(uid, {}).get(place)
        return max(last.at_ms + last.pause_ms - now_ms, 0) if last is not None else 0

    def replaced(self, uid: str, place: str, now_ms: int) -> None:
        places = self._replaced.setdefault(uid, {})
        last = places.get(place)
        if last is None or now_ms - last.at_ms > CALM_MS:
            places[place] = _Replaced(now_ms, PAUSE_MS_MIN)
        else:
            places[place] = _Replaced(now_ms, min(last.pause_ms * 2, self._pause_ms_max))

    def clear(self, place: str) -> list[str]:
        """What was wrong with this place is so no more. Returns the uids of those who were waiting for it."""
        return [uid for uid, places in self._replaced.items() if places.pop(place, None) is not None]

    def forget(self, uid: str) -> None:
        """There is no such owner any more."""
        self._replaced.pop(uid, None)
