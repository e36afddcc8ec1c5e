"""A recording in a file: a stream of msgpack, a header and then one array for each record.

    {"format": "ursa-recording", "version": 1}  [number of its kind, [fields]]  ...  [-1, [how many there were]]

The last one says that nothing was cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from ...proto.errors import InputError
from .records import KINDS, Record, Selection

FORMAT, VERSION = "ursa-recording", 1
_WRITE_BYTES = 1 << 20
# A list of a hundred thousand objects is some ten megabytes; more is no recording.
_RECORD_BYTES_MAX = 1 << 30

_END = -1
_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}


def write_recording(path: Path, records: Iterable[Record]) -> None:
    """Raises InputError: the file cannot be written."""
    try:
        with path.open("wb", buffering=_WRITE_BYTES) as file:
            pack = msgpack.Packer().pack
            file.write(pack({"format": FORMAT, "version": VERSION}))
            count = 0
            for record in records:
                file.write(pack((_NUMBERS[type(record)], record)))
                count += 1
            file.write(pack((_END, (count,))))
    except OSError as error:
        raise InputError(f"{path}: the recording cannot be written: {error.strerror}") from None


def read_recording(path: Path) -> Iterator[Record]:
    """The records of a file, in their order.

    Raises:
        InputError: it is none, of another version, or cut off; one line that says which.
    """
    try:
        with path.open("rb") as file:
            yield from _records(path, file)
    except OSError as error:
        raise InputError(f"{path}: the recording cannot be read: {error.strerror}") from None


def _records(path: Path, file: BinaryIO) -> Iterator[Record]:
    unpacker = msgpack.Unpacker(file, use_list=False, max_buffer_size=_RECORD_BYTES_MAX, strict_map_key=False)
    _check_header(path, unpacker)
    count, texts = 0, _Shared()
    try:
        for number, fields in unpacker:
            if number == _END and fields == (count,):
                return
            # Names come again and again, and are kept once.
            shared = [texts[field] if type(field) is str else field for field in fields]
            yield _MAKERS[_number(number)](shared)
            count += 1
    except (ValueError, TypeError, IndexError, msgpack.UnpackException):
        raise InputError(f"{path}: behind record {count} it is damaged: no recording from there on") from None
    raise InputError(f"{path}: it is cut off behind record {count}: the run that wrote it did not come to its end")


class _Shared(dict[str, str]):
    """Each text by itself."""

    def __missing__(self, text: str) -> str:
        self[text] = text
        return text


def _number(number: object) -> int:
    if not isinstance(number, int) or number < 0:
        raise ValueError(number)
    return number


def _check_header(path: Path, unpacker: Any) -> None:
    try:
        header = unpacker.unpack()
    except (ValueError, msgpack.UnpackException):
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{path}: this is no recording of Ursa")
    if header.get("version") != VERSION:
        raise InputError(f"{path}: it is a recording of version {header.get('version')}, this is for {VERSION}")


def _maker(kind: type[Record]) -> Callable[[Sequence[Any]], Record]:
    make: Callable[[Sequence[Any]], Record] = kind._make
    if "selection" not in kind._fields:
        return make
    at = kind._fields.index("selection")

    def with_selection(fields: Sequence[Any]) -> Record:
        return make((*fields[:at], Selection._make(fields[at]), *fields[at + 1 :]))

    return with_selection


_MAKERS = [_maker(kind) for kind in KINDS]
