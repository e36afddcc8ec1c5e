"""How recordings of real runs are spoilt: one thing is changed, and one promise breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object
from ursa.tools.checking.check import check
from ursa.tools.recording.records import (
    Complete,
    Finished,
    Logged,
    Opened,
    Record,
)

R = TypeVar("R", bound=Record)


def of(kind: type[R], records: Iterable[Record]) -> list[R]:
    return [record for record in records if isinstance(record, kind)]


def changed(records: Sequence[Record], old: Record, *new: Record) -> list[Record]:
    """With `new` in the place of `old`."""
    at = next(number for number, record in enumerate(records) if record is old)
    return [*records[:at], *new, *records[at + 1 :]]


def found(records: Iterable[Record]) -> list[str]:
    return sorted({violation.promise for violation in check(list(records))})


@dataclass(frozen=True)
class Case:
    name: str
    promise: str | tuple[str, ...]
    change: Callable[[], Iterable[Record]]


CASES: list[Case] = []


def breaks(*promise: str) -> Callable[[Callable[[], Iterable[Record]]], Callable[[], Iterable[Record]]]:
    def register(change: Callable[[], Iterable[Record]]) -> Callable[[], Iterable[Record]]:
        CASES.append(Case(change.__name__, promise, change))
        return change

    return register


def truth(records: Iterable[Record], *, healed: bool = False) -> list[Record]:
    """What really was, and nothing of what clients were told."""
    kept = [each for each in records if isinstance(each, Logged | Complete | Opened)]
    return [*kept, Finished(100.0, healed)]


def edited(
    logged: Logged,
    change: Callable[[dict[str, Any]], None] = lambda _: None,
    *,
    request_id: bytes | None = None,
) -> Logged:
    """With another object."""
    message = pb.Object.FromString(logged.data)
    manifest = Object(message).to_dict()
    change(manifest)
    new = Object.from_dict(manifest).message
    new.metadata.request_id = message.metadata.request_id if request_id is None else request_id
    return logged._replace(data=new.SerializeToString(deterministic=True))


def with_objects_edited(
    records: Sequence[Record], where: Callable[[Logged], bool], change: Callable[[dict[str, Any]], None]
) -> Iterator[Record]:
    for record in records:
        yield edited(record, change) if isinstance(record, Logged) and where(record) else record


def last_of(records: Sequence[Record], resource: str) -> list[Logged]:
    """The newest states of what lives at the end."""
    newest = {
        (each.partition, each.key): each
        for each in of(Logged, records)
        if each.key.startswith(f"/registry/{resource}/")
    }
    return [each for each in newest.values() if not each.deleted]
