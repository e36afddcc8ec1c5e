"""What a store may answer, for the judge that tries every order (wgl.py): it is the list of its changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ursa.tools.checking.histories import Batch, Demand, Entry, Operation, Part, Read, Write

State = tuple[Entry, ...]
# The key that is not as demanded, what was found there, and whether that is the beginning of its life.
Refusal = tuple[str, int, bool]


@dataclass(frozen=True)
class Finish:
    """When all is over the store holds just the final log."""

    call: float
    ret: float


def newest(state: State, key: str) -> Entry | None:
    last = next((entry for entry in reversed(state) if entry.key == key), None)
    return None if last is None or last.deleted else last


def revision_of(state: State, key: str) -> int:
    there = newest(state, key)
    return there.revision if there else 0


def life_of(state: State, key: str) -> int:
    begun = 0
    for entry in state:
        if entry.key == key:
            begun = 0 if entry.deleted else begun or entry.revision
    return begun


class StoreModel:
    """Nothing is known to it but what the log was in the end."""

    def __init__(self, log: Iterable[Entry]) -> None:
        self._final = tuple(log)

    def step(self, state: State, operation: Operation | Finish) -> list[State]:
        """The states after an operation that was told what it was told; none: that was not possible."""
        if isinstance(operation, Finish):
            return [state] if state == self._final else []
        if isinstance(operation, Read):
            return [state] if self._may_read(state, operation) else []
        assert isinstance(operation, Write | Batch)
        if isinstance(operation, Batch):
            parts, demands, told = operation.parts, operation.demands, (operation.found_key, operation.found_life)
        else:
            parts = (Part(operation.key, operation.value, operation.deleted, operation.expected),)
            demands, told = (), (operation.key, False)
        refusals = [*self._refused_parts(state, parts), *self._refused_demands(state, demands)]
        if operation.found is not None:
            return [state] if (told[0], operation.found, told[1]) in refusals else []
        after = state
        for part in parts:
            after = (*after, Entry(len(after) + 1, part.key, part.value, part.deleted))
        possible = operation.revision in (0, len(state) + 1) and after == self._final[: len(after)]
        return [after] if possible and not refusals else []

    @staticmethod
    def _may_read(state: State, read: Read) -> bool:
        at = len(state) if read.revision is None else read.revision
        if at > len(state) or (at < len(state) and not read.exact):
            return False
        seen = state[:at]
        keys = sorted(dict.fromkeys(entry.key for entry in seen))
        asked = [key for key in keys if (key.startswith(read.key) if read.prefix else key == read.key)]
        return read.result == tuple(entry for key in asked if (entry := newest(seen, key)))

    @staticmethod
    def _refused_parts(state: State, parts: Iterable[Part]) -> Iterator[Refusal]:
        for part in parts:
            revision = revision_of(state, part.key)
            if part.expected not in (None, revision) or (part.deleted and not revision):
                yield part.key, revision, False

    @staticmethod
    def _refused_demands(state: State, demands: Iterable[Demand]) -> Iterator[Refusal]:
        for demand in demands:
            revision, life = revision_of(state, demand.key), life_of(state, demand.key)
            if demand.revision not in (None, revision) or (demand == Demand(demand.key) and not revision):
                yield demand.key, revision, False
            if demand.create_revision not in (None, life):
                yield demand.key, life, True
