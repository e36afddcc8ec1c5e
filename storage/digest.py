"""A digest of a state: equal for equal states, whatever keeps them.

SHA-256 over all records, in key order; of each the lengths of key and value, the two revisions, the key, the value. The
lengths keep `("ab", "c")` apart from `("a", "bc")`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from itertools import islice

from .store import Record, StoreDigest

_HEADER = struct.Struct(">QQQQ")
# What one step takes up: a millisecond of the loop, reading included, unless values are large; then a step stops early.
STEP_RECORDS = 128
STEP_BYTES = 1 << 20


class RecordsDigest(StoreDigest):
    """The digest of records that are read as it goes on.

    Args:
        records: the state at `revision`, in key order.
    """

    def __init__(self, records: Iterable[Record], revision: int) -> None:
        self.revision = revision
        self._records: Iterator[Record] = iter(records)
        self._hash = hashlib.sha256()

    def step(self) -> str | None:
        size, left = 0, STEP_RECORDS
        for record in islice(self._records, STEP_RECORDS):
            key = record.key.encode()
            self._hash.update(_HEADER.pack(len(key), len(record.value), record.create_revision, record.revision))
            self._hash.update(key)
            self._hash.update(record.value)
            size += len(record.value)
            if size >= STEP_BYTES:
                return None
            left -= 1
        return None if left == 0 else self._hash.hexdigest()


def digest_of(records: Iterable[Record]) -> str:
    """The digest of these records, which are the state at one revision, in key order: 64 hexadecimal digits."""
    digest = RecordsDigest(records, 0)
    while (whole := digest.step()) is None:
        pass
    return whole
