"""What leases promise, judged by the log and by what clients were told.

A key is attached to the lease that it was last written with, and to no other.
A lease ends together with its keys, in one batch: with all of them, and with nothing else.
It does not end before the time that was told with its last acknowledged grant or renewal, unless it was revoked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf

from ...storage import RESERVED_PREFIX
from ...storage.leases import lease_key, parse_key
from .histories import Entry, Grant, Operation, Renewal, Revocation
from .replay import Replay


def is_of_the_store(entry: Entry) -> bool:
    """Whether the store itself made this change. What clients write, deletions included, has a value."""
    return entry.key.startswith(RESERVED_PREFIX) or (entry.deleted and not entry.value)


def check_log(log: Sequence[Entry], leases: Mapping[bytes, int]) -> Iterator[str]:
    """Replay the store's own changes.

    Args:
        leases: the lease with which each value was written (0: none).
    """
    rules = _Rules(leases)
    for entry in log:
        yield from rules.learn(entry)
    yield from rules.end_of_run()


class _Rules:
    """One pass over the log. A run: the clients' changes of one batch, or several, and the store's own behind them."""

    def __init__(self, leases: Mapping[bytes, int]) -> None:
        self._leases_of_values = leases
        self._leases: dict[int, dict[str, None]] = {}
        self._attached: dict[str, int] = {}
        # Of this run.
        self._written: dict[str, int] = {}
        self._ended: dict[str, Entry] = {}
        self._in_own_part = False

    def learn(self, entry: Entry) -> Iterator[str]:
        if not is_of_the_store(entry):
            if self._in_own_part:
                yield from self.end_of_run()
            self._written[entry.key] = self._leases_of_values.get(entry.value, 0)
            return
        self._in_own_part = True
        if not entry.key.startswith(RESERVED_PREFIX):
            if entry.key not in self._attached:
                yield f"the store deleted what goes with no lease: {entry}"
            self._ended[entry.key] = entry
            return
        lease, key = parse_key(entry.key)
        if key is None:
            yield from self._learn_lease(lease, entry)
        elif lease not in self._leases:
            yield f"attached to a lease that does not exist: {entry}"
        elif entry.deleted:
            if key not in self._written and key not in self._ended:
                yield f"its lease left {key} behind: {entry}"
            self._leases[lease].pop(key, None)
            if self._attached.get(key) == lease:
                del self._attached[key]
        else:
            self._leases[lease][key] = None
            self._attached[key] = lease

    def _learn_lease(self, lease: int, entry: Entry) -> Iterator[str]:
        if not entry.deleted:
            self._leases[lease] = {}
            return
        left = self._leases.pop(lease, {})
        if left:
            yield f"a lease ended, but not with its keys {list(left)}: {entry}"

    def end_of_run(self) -> Iterator[str]:
        for key, lease in self._written.items():
            found = self._attached.get(key, 0)
            if key not in self._ended and found != lease:
                yield f"{key} was written with lease {lease}, but goes with {found}"
        for key, entry in self._ended.items():
            if key in self._attached:
                yield f"the store deleted a key whose lease goes on: {entry}"
        self._written, self._ended, self._in_own_part = {}, {}, False


def places(operation: Grant | Renewal | Revocation, answered: int, replay: Replay[Entry]) -> tuple[int, int] | None:
    """Where in the order it belongs (linearizability.py), None: nowhere. Numbers of leases are not used twice."""
    changes = replay.changes_of(lease_key(operation.lease))
    granted = changes[0] if changes else 0
    ended = changes[1] if len(changes) > 1 else 0
    if isinstance(operation, Grant | Revocation):
        revision = granted if isinstance(operation, Grant) else ended
        if isinstance(operation, Grant) or operation.done is not False:
            if operation.ret == inf:
                return (answered, answered)  # It may have happened, or something else in its place.
            return (2 * revision, 2 * revision) if revision else None
    told = granted if isinstance(operation, Renewal) and operation.ends_at is not None else 0
    if told == 0 and isinstance(operation, Renewal) and operation.ends_at is not None:
        return None  # Renewed what was never granted.
    first = replay.first_with(lease_key(operation.lease), told, answered // 2)
    return None if first is None else (2 * first + 1, 2 * first + 1)


def check_time(history: Sequence[Operation], replay: Replay[Entry], known_at: Callable[[int], float]) -> Iterator[str]:
    """No lease ends before its time.

    Args:
        known_at: when somebody knew for the first time that a revision was there.
    """
    revoked = {operation.lease for operation in history if isinstance(operation, Revocation)}
    promised: dict[int, Grant | Renewal] = {}
    for operation in history:
        if isinstance(operation, Grant | Renewal) and operation.ret < inf and operation.ends_at is not None:
            last = promised.get(operation.lease)
            if last is None or (last.ends_at or 0) < operation.ends_at:
                promised[operation.lease] = operation
    for lease, promise in promised.items():
        changes = replay.changes_of(lease_key(lease))
        if len(changes) > 1 and lease not in revoked and known_at(changes[1]) < (promise.ends_at or 0):
            yield f"it had ended at revision {changes[1]}, which was known at {known_at(changes[1])}: {promise}"
