"""What concurrent clients asked of a store, when, and what they were told: the material that a judge looks at.

Times may come from any one clock. An operation without an answer never ends: its `ret` is infinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Entry(NamedTuple):
    """One change in the log, and one item of what a read was told (then never `deleted`)."""

    revision: int
    key: str
    value: bytes
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """A put or a deletion of one key. No two writes of a history have the same value, deletions included.

    `expected`: its precondition, as in `storage.Change`. How it ended: `revision` is that of the acknowledgement;
    `found` is the newest revision of the key (0: it does not exist) with which it was refused; neither: nobody knows,
    and `ret` is infinite: it may have happened or not.
    """

    client: str
    call: float
    ret: float
    key: str
    value: bytes
    deleted: bool = False
    expected: int | None = None
    revision: int = 0
    found: int | None = None
    lease: int = 0


class Part(NamedTuple):
    """One write of a batch."""

    key: str
    value: bytes
    deleted: bool = False
    expected: int | None = None
    lease: int = 0


class Demand(NamedTuple):
    """A guard of a batch, as in `storage.Guard`."""

    key: str
    revision: int | None = None
    create_revision: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Writes that happen all, one behind the other, or not at all. Each of its keys is written once.

    How it ended: `revision` is that of its first write. Or it was refused for the key `found_key`, whose newest
    revision was `found`, or whose life began there if `found_life`. Neither: nobody knows.
    """

    client: str
    call: float
    ret: float
    parts: tuple[Part, ...]
    demands: tuple[Demand, ...] = ()
    revision: int = 0
    found_key: str = ""
    found: int | None = None
    found_life: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """A get of `key`, or with `prefix` a range of all keys that begin with it, that was answered.

    `revision`: at which it was made; None if the answer did not say (a get). `exact`: the client had asked for this
    very revision, however old.
    """

    client: str
    call: float
    ret: float
    key: str
    result: tuple[Entry, ...]
    prefix: bool = False
    revision: int | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a watch gave at one time: the changes of the keys under a prefix behind `after`, up to the bookmark.

    `caught_up`: the store had no more at this moment.
    """

    client: str
    call: float
    ret: float
    prefix: str
    after: int
    entries: tuple[Entry, ...]
    bookmark: int
    caught_up: bool


@dataclass(frozen=True, slots=True)
class Compaction:
    """Somebody asked for a compaction at a revision."""

    client: str
    call: float
    ret: float
    revision: int


@dataclass(frozen=True, slots=True)
class TooOld:
    """A read or a watch at or behind a revision was refused, because the floor is above it."""

    client: str
    call: float
    ret: float
    revision: int
    floor: int


@dataclass(frozen=True, slots=True)
class Grant:
    """A lease was asked for. `ends_at`: the time, on the clock of the history, before which it does not end."""

    client: str
    call: float
    ret: float
    lease: int
    ends_at: float


@dataclass(frozen=True, slots=True)
class Renewal:
    """A lease was renewed; `ends_at` None: it was told that there is no such lease."""

    client: str
    call: float
    ret: float
    lease: int
    ends_at: float | None


@dataclass(frozen=True, slots=True)
class Revocation:
    """The end of a lease was asked for. `done` False: it was told that there is no such lease; None: nobody knows."""

    client: str
    call: float
    ret: float
    lease: int
    done: bool | None


Operation = Write | Batch | Read | Delivery | Compaction | TooOld | Grant | Renewal | Revocation
