"""A checkpoint of the key index: a file beside the log, so that opening need not read the whole log.

The log stays the truth. A checkpoint is believed only if the store's own record in the log names it, by revision and
checksum; that name is written in a transaction after the file was synced, and is withdrawn in the very transaction that
erases anything from the log. So a file that is torn, missing, of another store or of another time is never used: then
the whole log is read.

It is taken while the store goes on writing, some keys at a time, and is therefore fuzzy: a key has in it all changes up
to the moment when it was looked at.

    after      everything up to here was committed when the capture began: what lies behind is read from the log again,
               and what a key has already is passed over
    revision   nothing above this is in it; the file is named only once all of that is committed

    8 bytes    magic
    the head   struct _HEAD, little-endian as everything here: version, after, revision, the bytes of all records up
               to `revision`, the numbers of keys and of numbers, the length of the text, that of the incarnation
    the incarnation
    lengths    4 bytes a key: its length in characters
    counts     4 bytes a key: how many numbers its entry has
    numbers    8 bytes each: the entries of the index (index.py), one behind the other
    text       the keys, UTF-8, one behind the other
    4 bytes    CRC-32 of all before it
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zlib import crc32

from .directory import sync_directory
from .failpoints import failpoint
from .index import KeyIndex
from .records import CheckpointName

# Keys looked at in one step: half a millisecond of the loop.
CAPTURE_KEYS = 1024
# Written and synced in one step, which a commit waits behind: a few milliseconds.
WRITE_BYTES = 1 << 20

_MAGIC = b"ursaindx"
_VERSION = 1
_HEAD = struct.Struct("<HQQQQQQH")
_CHECKSUM = struct.Struct("<I")
_GLOB = "index-*.checkpoint*"


class Image(NamedTuple):
    """What a checkpoint says."""

    key_index: KeyIndex
    after: int
    revision: int
    bytes: int
    keys: int  # That exist, that is, whose last change is no deletion.
    changes: int


class Draft:
    """A checkpoint in the making: `capture` until it says so, `finish`, then `write` until it says so, `publish`."""

    def __init__(self, index: KeyIndex, after: int) -> None:
        self.after = after
        self.revision = 0
        self.captured = self.writing = False
        self._index = index
        self._keys: Iterator[str] = iter(index.keys())
        self._text: list[str] = []
        self._lengths, self._counts, self._numbers = array("I"), array("I"), array("q")
        self._data = b""
        self._written = 0
        self._path: Path | None = None
        self._file: BinaryIO | None = None

    def capture(self) -> bool:
        """Look at some more keys; True once all were looked at. Nothing may leave the index in the meantime."""
        keys = list(islice(self._keys, CAPTURE_KEYS))
        for key, entry in self._index.entries(keys):
            self._text.append(key)
            if isinstance(entry, int):
                self._counts.append(1)
                self._numbers.append(entry)
            else:
                self._counts.append(len(entry))
                self._numbers.extend(entry)
        self._lengths.extend(map(len, keys))
        self.captured = len(keys) < CAPTURE_KEYS
        return self.captured

    def finish(self, revision: int, record_bytes: int, incarnation: str) -> None:
        """To be called with the capture's last step.

        Args:
            revision: the newest staged at this moment.
            record_bytes: of all records up to it.
        """
        self.revision = revision
        self._finish = (record_bytes, incarnation.encode())

    @property
    def name(self) -> CheckpointName:
        return CheckpointName(self.revision, _CHECKSUM.unpack(self._data[-_CHECKSUM.size :])[0])

    def write(self, directory: Path) -> bool:
        """Write and sync some more of the file, under a temporary name; True once all is written."""
        if self._file is None:
            failpoint("checkpoint-before-write")
            self._data = self._encode()
            self._path = directory / f"{_file_name(self.revision)}.new"
            self._file = self._path.open("wb", buffering=0)
        piece = memoryview(self._data)[self._written : self._written + WRITE_BYTES]
        self._written += self._file.write(piece)
        os.fsync(self._file.fileno())
        failpoint("checkpoint-after-write")
        return self._written == len(self._data)

    def publish(self) -> None:
        """Give the whole file its name, durably."""
        assert self._path is not None
        assert self._file is not None
        assert self._written == len(self._data)
        self._file.close()
        self._path.rename(self._path.with_suffix(""))
        sync_directory(self._path.parent)
        failpoint("checkpoint-after-rename")

    def discard(self) -> None:
        """Leave nothing of an unfinished file."""
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            with suppress(OSError):  # The disk may be what made it fail. Opening clears away what is left.
                self._path.unlink(missing_ok=True)

    def _encode(self) -> bytes:
        record_bytes, incarnation = self._finish
        text = "".join(self._text).encode()
        numbers = (self._lengths, self._counts, self._numbers)
        if sys.byteorder != "little":
            for one in numbers:
                one.byteswap()
        head = _HEAD.pack(
            _VERSION,
            self.after,
            self.revision,
            record_bytes,
            len(self._counts),
            len(self._numbers),
            len(text),
            len(incarnation),
        )
        body = b"".join((_MAGIC, head, incarnation, *(one.tobytes() for one in numbers), text))
        return body + _CHECKSUM.pack(crc32(body))


def read(directory: Path, name: CheckpointName, incarnation: str) -> Image | None:
    """The checkpoint of this name; None if it is not there, or not what it should be."""
    try:
        data = (directory / _file_name(name.revision)).read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + _HEAD.size
    end = len(data) - _CHECKSUM.size
    if end < start or not data.startswith(_MAGIC):
        return None
    if _CHECKSUM.unpack_from(data, end)[0] != name.checksum or crc32(memoryview(data)[:end]) != name.checksum:
        return None
    version, after, revision, record_bytes, keys, numbers, text_bytes, incarnation_bytes = _HEAD.unpack_from(
        data, len(_MAGIC)
    )
    of = data[start : start + incarnation_bytes]
    start += incarnation_bytes
    whole = start + 4 * keys + 4 * keys + 8 * numbers + text_bytes == end
    if version != _VERSION or revision != name.revision or of != incarnation.encode() or not whole:
        return None
    lengths, start = _numbers("I", data, start, keys)
    counts, start = _numbers("I", data, start, keys)
    changes, start = _numbers("q", data, start, numbers)
    return _image(after, revision, record_bytes, lengths, counts, changes, data[start:end].decode())


def _numbers(kind: str, data: bytes, start: int, count: int) -> tuple[array[int], int]:
    numbers: array[int] = array(kind)
    end = start + count * numbers.itemsize
    numbers.frombytes(data[start:end])
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers, end


def _image(
    after: int,
    revision: int,
    record_bytes: int,
    lengths: array[int],
    counts: array[int],
    numbers: array[int],
    text: str,
) -> Image:
    keys = [text[start:end] for start, end in pairwise(accumulate(lengths, initial=0))]
    entries: list[int | array[int]] = [
        numbers[start] if end - start == 1 else numbers[start:end]
        for start, end in pairwise(accumulate(counts, initial=0))
    ]
    living = len(keys) - sum(numbers[end - 1] & 1 for end in accumulate(counts))
    # An entry of several numbers begins with the beginning of a life, which is no change.
    changes = len(numbers) - sum(1 for count in counts if count > 1)
    index = KeyIndex()
    index.load(keys, entries)
    return Image(index, after, revision, record_bytes, living, changes)


def remove_others(directory: Path, name: CheckpointName | None) -> None:
    """Remove every checkpoint but this one: what a crash left, and what has been replaced."""
    kept = None if name is None else _file_name(name.revision)
    for path in directory.glob(_GLOB):
        if path.name != kept:
            path.unlink(missing_ok=True)


def _file_name(revision: int) -> str:
    return f"index-{revision}.checkpoint"
