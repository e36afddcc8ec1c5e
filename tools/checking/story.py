"""Everything that happened to one object, in the order of time, for a person who asks how it came to that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from operator import itemgetter

from ...proto import ursa_pb2 as pb
from ...proto.objects import decode
from ..recording.records import (
    OK,
    UNKNOWN,
    Event,
    Finished,
    Get,
    Happened,
    Instance,
    Listed,
    Logged,
    Opened,
    Record,
    View,
    Watched,
    WatchEnded,
    WatchStarted,
    Write,
)

_TYPES = ("ADDED", "MODIFIED", "DELETED")
_PREFIX = "/registry/"


def full_key(records: Iterable[Record], text: str) -> str:
    """The storage key that a person means by `pods/tenant/namespace/name`, or by the end of one that was written.

    Empty: there is none, or several.
    """
    keys = dict.fromkeys(
        record.key for record in records if isinstance(record, Logged | Write) and record.key.startswith(_PREFIX)
    )
    wanted = text if text.startswith(_PREFIX) else _PREFIX + text.lstrip("/")
    if wanted in keys:
        return wanted
    found = [key for key in keys if key.endswith("/" + text.lstrip("/"))]
    return found[0] if len(found) == 1 else ""


def story(records: Iterable[Record], key: str) -> list[str]:
    """One line for each thing that happened to it, or to all, with the time in seconds.

    Faults stand in it, and stores that were opened. Of what lists and informers showed only the changes are told. A
    change of which the log does not say when it was made stands where somebody was first told of it.
    """
    records = list(records)
    teller = _Teller(key, records)
    lines = [line for record in records for line in teller.tell(record)]
    return [f"{time:12.6f}  {text}" for time, text in sorted(lines, key=itemgetter(0))]


class _Teller:
    def __init__(self, key: str, records: Iterable[Record]) -> None:
        self._key = key
        self._selections: dict[int, str] = {}
        self._shown: dict[tuple[str, ...], int] = {}  # The revision that lists and views of a client showed last.
        self._logged: dict[tuple[str, str, int], None] = {}
        self._told: dict[tuple[str, str, int], float] = {}  # When somebody was first told of a revision.
        for record in records:
            self._learn(record)

    def _learn(self, record: Record) -> None:
        if isinstance(record, Write) and record.key == self._key and record.code == OK:
            name = record.partition, record.incarnation, record.revision
            self._told[name] = min(record.ret, self._told.get(name, inf))
        elif isinstance(record, Watched):
            for event in record.events:
                if event[1] == self._key:
                    name = record.partition, record.incarnation, event[3]
                    self._told[name] = min(record.time, self._told.get(name, inf))

    def tell(self, record: Record) -> Iterator[tuple[float, str]]:
        if isinstance(record, Write):
            yield from self._write(record)
        elif isinstance(record, Logged):
            if record.key == self._key:
                yield from self._change(record)
        elif isinstance(record, Get | Listed | View):
            yield from self._read(record)
        elif isinstance(record, WatchStarted):
            selection = record.selection
            selectors = [selection.label_selector, selection.field_selector]
            self._selections[record.watch] = " ".join(filter(None, [selection.resource, *selectors]))
        elif isinstance(record, Watched):
            for event in record.events:
                if event[1] == self._key:
                    yield (
                        record.time,
                        f"{record.client} is told by its watch {record.watch} {self._event(record, event)}",
                    )
        elif isinstance(record, WatchEnded):
            if record.code and self._selections.get(record.watch, "").split(" ")[0] == self._key.split("/")[2]:
                yield record.time, f"the watch {record.watch} of {record.client} is refused: {record.code}"
        else:
            yield from self._other(record)

    def _change(self, logged: Logged) -> Iterator[tuple[float, str]]:
        name = logged.partition, logged.incarnation, logged.revision
        if name in self._logged:
            return  # Read again, when its store was opened again.
        self._logged[name] = None
        time = logged.time or self._told.get(name, 0.0)
        yield time, f"{logged.partition} has it at revision {logged.revision}: {_what(logged)}"

    def _write(self, write: Write) -> Iterator[tuple[float, str]]:
        if write.key != self._key:
            return
        asked = "".join(
            [
                f" of uid {write.uid_asked}" if write.uid_asked else "",
                f" at revision {write.revision_asked}" if write.revision_asked else "",
                " as a dry run" if write.dry_run else "",
            ]
        )
        what = f"{write.verb} by {write.client} at {write.partition}"
        yield write.call, f"{what}: asked{asked}"
        if write.code == OK:
            yield write.ret, f"{what}: acknowledged with revision {write.revision}"
        elif write.code != UNKNOWN and write.ret < inf:
            yield write.ret, f"{what}: refused, {write.reason or write.code}"
        else:
            yield write.call, f"{what}: its answer never came"

    def _read(self, read: Get | Listed | View) -> Iterator[tuple[float, str]]:
        if isinstance(read, Get):
            if read.key == self._key:
                told = f"revision {read.object_revision}" if read.code == OK else f"{read.code}"
                yield read.ret, f"{read.client} gets it ({read.match}) at {read.partition}:{read.revision}: {told}"
            return
        time, verb = (read.ret, "lists") if isinstance(read, Listed) else (read.time, "holds")
        found = next((revision for key, revision, _ in read.items if key == self._key), 0)
        name = read.client, verb, read.partition, *map(str, read.selection)
        if found == self._shown.get(name, 0) or (isinstance(read, Listed) and not (found or read.complete)):
            return
        self._shown[name] = found
        told = f"it as of {read.partition}:{read.revision}: revision {found}" if found else "it no longer"
        yield time, f"{read.client} {verb} {told}"

    def _event(self, told: Watched, event: Event) -> str:
        kind, _, object_revision, revision, _ = event
        of = "" if object_revision == revision else f" as it was at {object_revision}"
        return f"({self._selections.get(told.watch, 'unknown')}): {_TYPES[kind]} at {told.partition}:{revision}{of}"

    def _other(self, record: Record) -> Iterator[tuple[float, str]]:
        if isinstance(record, Instance) and record.key == self._key:
            verb = "starts" if record.started else "stops"
            where = f"{record.node} of {record.node_partition}"
            yield record.time, f"{record.host} {verb} {record.uid} of {record.pod_partition} on {where}"
        elif isinstance(record, Opened):
            store = f"the store {record.store} of {record.partition}"
            yield record.time, f"{store} is opened, incarnation {record.incarnation[:8]}, at revision {record.head}"
        elif isinstance(record, Happened) and record.key in ("", self._key):
            yield record.time, f"{record.partition + ': ' if record.partition else ''}{record.what}"
        elif isinstance(record, Finished):
            yield (
                record.time,
                f"the end{', healed' if record.healed else ''}{f': {record.note}' if record.note else ''}",
            )


def _what(logged: Logged) -> str:
    """What a record of the log made of the object, as short as can be."""
    message = pb.Object.FromString(logged.data)
    metadata = message.metadata
    if logged.deleted:
        return f"deleted, uid {metadata.uid}"
    said = ["created" if not logged.previous_revision else "changed", f"uid {metadata.uid}"]
    if metadata.deletion_ms:
        said.append("terminating")
    said += [f"{name} {value}" for name, value in _shown(message)]
    return ", ".join(said)


def _shown(message: pb.Object) -> Iterator[tuple[str, str]]:
    for part, names in (
        (message.spec, ("nodeName", "replicas", "node")),
        (message.status, ("phase", "replicas", "readyReplicas", "observedGeneration")),
    ):
        contents = decode(part)
        if isinstance(contents, dict):
            yield from ((name, str(contents[name])) for name in names if name in contents)
