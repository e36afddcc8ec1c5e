"""A digest of a state: equal for equal states, whatever keeps them.

SHA-256 over all records, in key order; of each the lengths of key and value, the two revisions, the key, the value. The
lengths keep `("ab", "c")` apart from `("a", "bc")`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

from .store import Record

_HEADER = struct.Struct(">QQQQ")


def digest_of(records: Iterable[Record]) -> str:
    """The digest of these records, which are the state at one revision, in key order: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for record in records:
        key = record.key.encode()
        digest.update(_HEADER.pack(len(key), len(record.value), record.create_revision, record.revision))
        digest.update(key)
        digest.update(record.value)
    return digest.hexdigest()
