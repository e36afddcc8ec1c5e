"""The record format of the revision log, and the store's own record in front of it.

The log is one ordered tree. Its key is the revision, 8 bytes, big-endian, so that byte order is revision order and
every write appends. Its value says everything about one change:

    byte  0      flags: bit 0 set if the key was deleted
    byte  1      create_revision    8 bytes, big-endian, as all numbers here
    byte  9      previous_revision  8 bytes
    byte 17      length of the key  2 bytes
    byte 19      the key, UTF-8
                 the value, up to
    last 4       CRC-32 of the revision and of all bytes before the checksum

Worked example: key "/a", created at revision 3, gets the value "hi" at revision 5; its change before that was at 4.

>>> key, data = encode(Record(5, "/a", b"hi", False, create_revision=3, previous_revision=4))
>>> key.hex()
'0000000000000005'
>>> data.hex() == "00" "0000000000000003" "0000000000000004" "0002" "2f61" "6869" "36d66cee"
True

Revision 0 is never given to a change. There lies the store's own record: what it is, its format version, the floor
below which it was compacted, its incarnation. Magic and version keep their place in all versions to come.

>>> encode_description(Description(compacted=7, incarnation="00ff"))[:10]
b'ursalog\\x00\\x00\\x01'
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

from ..proto.errors import StoreCorrupt, StoreIncompatible
from .store import InvalidKey, Record, ValueTooLarge

FORMAT_VERSION = 1

_REVISION = struct.Struct(">Q")
_HEADER = struct.Struct(">BQQH")
_CHECKSUM = struct.Struct(">I")
_HEADER_BYTES, _CHECKSUM_BYTES = _HEADER.size, _CHECKSUM.size
# Ranges and logs decode hundreds of thousands of records: looked up once, and made without Record's own __new__.
_pack_revision, _pack_header, _pack_checksum = _REVISION.pack, _HEADER.pack, _CHECKSUM.pack
_unpack_header, _unpack_checksum = _HEADER.unpack_from, _CHECKSUM.unpack_from
_new_record = tuple.__new__
_DELETED = 1
# What a record takes beside its key and its value.
OVERHEAD_BYTES = _REVISION.size + _HEADER.size + _CHECKSUM.size
# The length of a key has two bytes.
KEY_BYTES_MAX = 0xFFFF
# A value is handled in one piece, several times over in memory. etcd takes 1.5 MiB, and so does an apiserver; the rest
# is for what is written about such an object when it goes: a deletion must not fail for its size.
VALUE_BYTES_MAX = 2 << 20

DESCRIPTION_KEY = _REVISION.pack(0)
_MAGIC = b"ursalog\0"
_IDENTITY = struct.Struct(">8sH")
_DESCRIPTION = struct.Struct(">8sHQB")
# Behind the incarnation, if there is one.
_CHECKPOINT = struct.Struct(">QI")


class CheckpointName(NamedTuple):
    """Which checkpoint of the index may be believed (checkpoint.py)."""

    revision: int
    checksum: int


class Description(NamedTuple):
    """The store's own record."""

    compacted: int
    incarnation: str
    checkpoint: CheckpointName | None = None


def encode_key(revision: int) -> bytes:
    return _REVISION.pack(revision)


def decode_key(key: bytes) -> int:
    """Raises StoreCorrupt if this is no key of the log."""
    if len(key) != _REVISION.size:
        raise StoreCorrupt(f"the log has an entry that is no revision, {key!r}: restore a copy")
    revision: int = _REVISION.unpack(key)[0]
    return revision


def record_bytes(key: str, value: bytes) -> int:
    """What a record counts for: the bytes of its key in the log and of its value there."""
    return OVERHEAD_BYTES + (len(key) if key.isascii() else len(key.encode())) + len(value)


def checked_record_bytes(key: str, value: bytes) -> int:
    """The same of a record that is to be written.

    Raises InvalidKey, ValueTooLarge, or ValueError if they cannot be a record.
    """
    try:
        key_bytes = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError:
        raise InvalidKey(key, "it has no UTF-8") from None
    if not 0 < key_bytes <= KEY_BYTES_MAX:
        why = f"it has {key_bytes} bytes, at most {KEY_BYTES_MAX} are allowed" if key else "it is empty"
        raise InvalidKey(key, why)
    if not isinstance(value, bytes):
        raise ValueError(f"{key}: a value must be bytes, not {type(value).__name__}")
    if len(value) > VALUE_BYTES_MAX:
        raise ValueTooLarge(key, len(value), VALUE_BYTES_MAX)
    return OVERHEAD_BYTES + key_bytes + len(value)


def encode(record: Record) -> tuple[bytes, bytes]:
    """A record as key and value of the log."""
    revision, key, value, deleted, create_revision, previous_revision = record
    key_bytes = key.encode()
    log_key = _pack_revision(revision)
    body = b"".join((_pack_header(deleted, create_revision, previous_revision, len(key_bytes)), key_bytes, value))
    return log_key, body + _pack_checksum(crc32(body, crc32(log_key)))


def decode(key: bytes, data: bytes) -> Record:
    """Raises StoreCorrupt, naming the revision, if the checksum is wrong."""
    return decode_at(decode_key(key), key, data)


def decode_at(revision: int, key: bytes, data: bytes) -> Record:
    """The same, of a record whose revision is known."""
    end = len(data) - _CHECKSUM_BYTES
    # A record too short for its own fields has no checksum to speak of.
    if end < _HEADER_BYTES or _unpack_checksum(data, end)[0] != crc32(data[:end], crc32(key)):
        raise StoreCorrupt(f"revision {revision} fails its checksum: the data is damaged, restore a copy")
    flags, create_revision, previous_revision, key_bytes = _unpack_header(data)
    value_start = _HEADER_BYTES + key_bytes
    name = data[_HEADER_BYTES:value_start].decode()
    deleted = flags & _DELETED != 0
    return _new_record(Record, (revision, name, data[value_start:end], deleted, create_revision, previous_revision))


def encode_description(description: Description) -> bytes:
    incarnation = description.incarnation.encode()
    body = _DESCRIPTION.pack(_MAGIC, FORMAT_VERSION, description.compacted, len(incarnation)) + incarnation
    if description.checkpoint is not None:
        body += _CHECKPOINT.pack(*description.checkpoint)
    return body + _CHECKSUM.pack(crc32(body))


def decode_description(data: bytes | None) -> Description:
    """Raises StoreIncompatible (no store, or of another version), StoreCorrupt."""
    if data is None or len(data) < _IDENTITY.size or not data.startswith(_MAGIC):
        raise StoreIncompatible("this is not the data of an Ursa store: give an empty or a new directory")
    _, version = _IDENTITY.unpack_from(data)
    if version != FORMAT_VERSION:
        raise StoreIncompatible(
            f"the data has format version {version}, this Ursa needs {FORMAT_VERSION}: "
            "use the Ursa that wrote it, or give a new directory"
        )
    end = len(data) - _CHECKSUM.size
    if end < _DESCRIPTION.size or _CHECKSUM.unpack_from(data, end)[0] != crc32(data[:end]):
        raise StoreCorrupt(
            "revision 0, the store's own record, fails its checksum: the data is damaged, restore a copy"
        )
    _, _, compacted, length = _DESCRIPTION.unpack_from(data)
    rest = _DESCRIPTION.size + length
    checkpoint = CheckpointName(*_CHECKPOINT.unpack_from(data, rest)) if end == rest + _CHECKPOINT.size else None
    return Description(compacted, data[_DESCRIPTION.size : rest].decode(), checkpoint)
