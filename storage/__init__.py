"""The MVCC store: one contract (`Store`), several backends, one conformance suite (tests/storage)."""

from .committer import Committer, InlineCommitter, ThreadCommitter
from .lmdb_store import LmdbStore
from .memory import MemoryStore
from .store import Change, Record, StageConflict, Store, StoreStatus, Value

__all__ = [
    "Change",
    "Committer",
    "InlineCommitter",
    "LmdbStore",
    "MemoryStore",
    "Record",
    "StageConflict",
    "Store",
    "StoreStatus",
    "ThreadCommitter",
    "Value",
]
