"""The truth of a run: the logs of the stores, as they are written, or as they are read at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...storage import Record as StoreRecord
from ...storage import Store
from .recorder import Recorder
from .records import Complete, Logged

RECORDS_AT_ONCE = 1000


class LogTap:
    """Follows a store inside this program: every commit is noted when it is published, so that no crash can lose it.

    Open it before the store is used. `close`, before the store is closed, says up to where the log is complete.
    """

    def __init__(
        self,
        recorder: Recorder,
        partition: str,
        name: str,
        store: Store,
        on_closed: Callable[[str, str, int], None] = lambda *_: None,
    ) -> None:
        self._recorder = recorder
        self._on_closed = on_closed  # Told of the store's name, its incarnation, and up to where the log was noted.
        self._of = partition, name, store.incarnation
        self._after = store.head
        for record in store.range(""):
            recorder.note(_logged(*self._of, record))
        recorder.opened(partition, name, store.incarnation, store.head)
        self._watch = store.watch("", store.head, self._take)
        self._closed = False

    def close(self) -> None:
        """Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._recorder.note(Complete(*self._of, self._after, self._watch.revision))
        self._on_closed(*self._of[1:], self._watch.revision)
        self._watch.close()

    def _take(self) -> None:
        while records := self._watch.take(RECORDS_AT_ONCE):
            for record in records:
                self._recorder.note(_logged(*self._of, record, self._recorder.notes.now()))


def record_log(
    recorder: Recorder, partition: str, store: str, incarnation: str, records: Iterable[StoreRecord], after: int = 0
) -> None:
    """Note records of a store's log behind a revision; if that is above 0, those of `range("", revision=after)` first:
    see `record_store`."""
    to = after
    for record in records:
        to = max(to, record.revision)
        recorder.note(_logged(partition, store, incarnation, record))
    recorder.note(Complete(partition, store, incarnation, after, to))


def record_store(recorder: Recorder, partition: str, name: str, store: Store) -> None:
    """Note what a store holds now of its history."""
    for record in store.range("", revision=store.compacted) if store.compacted else ():
        recorder.note(_logged(partition, name, store.incarnation, record))
    record_log(recorder, partition, name, store.incarnation, store.log(store.compacted), store.compacted)


def _logged(partition: str, store: str, incarnation: str, record: StoreRecord, time: float = 0.0) -> Logged:
    revision, key, value, deleted, create_revision, previous_revision = record
    return Logged(
        partition, store, incarnation, revision, key, deleted, create_revision, previous_revision, value, time
    )
