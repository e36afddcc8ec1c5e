"""The MVCC store: one contract (`Store`), several backends, one conformance suite (tests/storage)."""

from .committer import Committer, InlineCommitter, ThreadCommitter
from .compaction import AutoCompaction
from .lmdb_store import LmdbStore
from .memory import MemoryStore
from .store import NOSPACE, Change, Record, StageConflict, Store, StoreStatus, StoreWatch, Value

__all__ = [
    "NOSPACE",
    "AutoCompaction",
    "Change",
    "Committer",
    "InlineCommitter",
    "LmdbStore",
    "MemoryStore",
    "Record",
    "StageConflict",
    "Store",
    "StoreStatus",
    "StoreWatch",
    "ThreadCommitter",
    "Value",
]
