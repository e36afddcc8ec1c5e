"""The MVCC store: one contract (`Store`), several backends, one conformance suite (tests/storage)."""

from .committer import Committer, InlineCommitter, ThreadCommitter
from .compaction import AutoCompaction
from .lmdb_store import LmdbStore
from .memory import MemoryStore
from .store import (
    NOSPACE,
    RESERVED_PREFIX,
    Change,
    LeaseExists,
    LeaseNotFound,
    Record,
    StageConflict,
    Store,
    StoreStatus,
    StoreWatch,
    Value,
)

__all__ = [
    "NOSPACE",
    "RESERVED_PREFIX",
    "AutoCompaction",
    "Change",
    "Committer",
    "InlineCommitter",
    "LeaseExists",
    "LeaseNotFound",
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
