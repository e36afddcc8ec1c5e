"""The MVCC store: one contract (`Store`), several backends, one conformance suite (tests/storage/conformance)."""

from .committer import Committer, InlineCommitter, ThreadCommitter
from .compaction import AutoCompaction
from .lmdb_store import LmdbStore
from .memory import MemoryStore
from .store import (
    NOSPACE,
    RESERVED_PREFIX,
    Change,
    CopyUnderWay,
    Guard,
    InvalidKey,
    LeaseExists,
    LeaseNotFound,
    Record,
    StageConflict,
    Store,
    StoreDigest,
    StoreStatus,
    StoreWatch,
    Value,
    ValueTooLarge,
)

__all__ = [
    "NOSPACE",
    "RESERVED_PREFIX",
    "AutoCompaction",
    "Change",
    "Committer",
    "CopyUnderWay",
    "Guard",
    "InlineCommitter",
    "InvalidKey",
    "LeaseExists",
    "LeaseNotFound",
    "LmdbStore",
    "MemoryStore",
    "Record",
    "StageConflict",
    "Store",
    "StoreDigest",
    "StoreStatus",
    "StoreWatch",
    "ThreadCommitter",
    "Value",
    "ValueTooLarge",
]
