"""In production, too, the watch cache is compared with the store.

A cache that has lost a change answers wrongly until the next restart, and nobody notices: no read looks at the store
(kubernetes/kubernetes#123072: a deletion that never came left a ghost). So every few minutes all of a store is walked,
in the order of keys, a few records at a time with the loop free in between. A step reads the store at the very revision
that the cache has, and compares what lies between two keys in both, so that nothing has to stand still meanwhile:

    step 1, both at revision 90      store: a b c    cache: a b c
    (d is deleted, e created)
    step 2, both at revision 92      store: e        cache: d e         d is not in the store: a ghost

What was found is counted in `apiserver_watch_cache_consistency_checks_total`, under Kubernetes' name, and logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from functools import partial

from ...proto.errors import StoreError
from ...storage import Record
from ..entries import Entry
from ..history import Histories, History
from ..pacing import Runtime

log = logging.getLogger("ursa.consistency")

# As often as Kubernetes does: a check of 100,000 objects reads them all, half a minute long for one part in fifty of
# the loop.
CHECK_SECONDS = 300.0
# Records of one step, half a millisecond of the loop, and how long it is free afterwards.
STEP_RECORDS = 128
PAUSE_SECONDS = 0.025
# One difference is as bad as many; the first ones say where to look.
DIFFERENCES_MAX = 10

SUCCESS, FAILURE, ERROR = "success", "failure", "error"

Steps = Generator[None, None, list[str]]


def compare(history: History) -> Steps:
    """Compare a cache with its store; between two steps anything may happen. Returns the differences, at most
    DIFFERENCES_MAX of them.

    Raises:
        StoreError: the store cannot be read.
    """
    differences: list[str] = []
    collections = history.cache.collections
    for resource in list(collections):
        prefix = f"/registry/{resource}/"
        start, end = prefix, f"{prefix[:-1]}0"  # "0" comes behind "/".
        # A custom kind may go while it is looked at.
        while start < end and resource in collections and len(differences) < DIFFERENCES_MAX:
            head = history.cache.head
            records = list(history.store.range(prefix, revision=head, start=start, limit=STEP_RECORDS))
            behind = f"{records[-1].key}\0" if len(records) == STEP_RECORDS else end
            differences += _differences(records, collections[resource].between(start, behind), head)
            start = behind
            yield
    return differences[:DIFFERENCES_MAX]


def _differences(records: Iterable[Record], entries: Iterable[Entry], revision: int) -> Iterable[str]:
    stored = {record.key: record for record in records}
    cached = {entry.key: entry for entry in entries}
    for key, record in stored.items():
        entry = cached.get(key)
        if entry is None:
            yield f"{key}: written at revision {record.revision}, missing in the cache at {revision}"
        elif entry.revision != record.revision:
            yield f"{key}: of revision {record.revision}, the cache has {entry.revision} at {revision}"
        elif entry.data != record.value:
            yield f"{key}: of revision {record.revision}, the cache has other bytes at {revision}"
    for key, entry in cached.items():
        if key not in stored:
            yield f"{key}: the cache has it of revision {entry.revision}, it is not in the store at {revision}"


class ConsistencyChecker:
    """Checks one store after the other, from the moment it is made until it is stopped.

    Args:
        counted: is told the store's name and SUCCESS, FAILURE (there are differences) or ERROR (it cannot be said).
    """

    def __init__(self, histories: Histories, runtime: Runtime, counted: Callable[[str, str], None]) -> None:
        self._histories = histories
        self._runtime = runtime
        self._counted = counted
        self._stopped = False
        runtime.call_later(CHECK_SECONDS, self._check_all)

    def stop(self) -> None:
        self._stopped = True

    def _check_all(self) -> None:
        self._check(list(self._histories))

    def _check(self, histories: list[History]) -> None:
        if histories:
            self._step(compare(histories[0]), histories)
        else:
            self._runtime.call_later(CHECK_SECONDS, self._check_all)

    def _step(self, steps: Steps, histories: list[History]) -> None:
        if self._stopped:
            return
        name = histories[0].name
        try:
            next(steps)
        except StopIteration as last:
            self._found(name, last.value)
        except StoreError as error:
            log.warning("the cache of the %s store cannot be compared with it: %s", name, error)
            self._counted(name, ERROR)
        else:
            self._runtime.call_later(PAUSE_SECONDS, partial(self._step, steps, histories))
            return
        self._check(histories[1:])

    def _found(self, name: str, differences: list[str]) -> None:
        self._counted(name, FAILURE if differences else SUCCESS)
        if differences:
            log.error(
                "the cache of the %s store is not what the store holds, restart the partition, which reads it anew: %s",
                name,
                "; ".join(differences),
            )
