"""The vocabulary of a recording: what clients asked and were told, and what really happened.

All times are of one clock (trio's), in seconds, and no two moments of a recording are the same: of what happened at one
instant, what was noted first came first. A client's name says which life of it this is (`scheduler-tp-1#2` after its
first restart). A key is the storage key, `/registry/pods/tenant/namespace/name`. Revisions belong to a partition, a
store of it and that store's incarnation; those of different ones are never compared.

Objects that clients were told of are kept as a triple, `Item`; whole objects stand in `Logged` alone. A CRC of 0: it is
not known, or the client did not get the whole object.
"""

from __future__ import annotations

from typing import NamedTuple

from ...proto import ursa_pb2 as pb

# (key, the object's revision, CRC-32 of its bytes)
Item = tuple[str, int, int]
# (type: ADDED, MODIFIED or DELETED, key, the object's revision, the event's revision, CRC-32 of the object's bytes)
Event = tuple[int, str, int, int, int]
ADDED, MODIFIED, DELETED = int(pb.WatchEvent.ADDED), int(pb.WatchEvent.MODIFIED), int(pb.WatchEvent.DELETED)

OK = 200
UNKNOWN = 0
# How a read says which revisions will do: see partitions/reads/listing.py.
CONSISTENT, ANY, NOT_OLDER, EXACT = "consistent", "any", "not older", "exact"


class Selection(NamedTuple):
    """As on the wire. Empty: everything."""

    resource: str
    tenant: str = ""
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = False


# (key of the Lease, its uid, the term, its holder)
Fence = tuple[str, str, int, str]


class Write(NamedTuple):
    """One operation, however often it was sent.

    `code`: 200, that of its refusal, or 0: nobody knows whether it happened, and `ret` is infinite. `revision` and
    `uid` are those of the acknowledgement, `found` the revision that a refusal names, as that of `found_key`.
    `uid_asked` and `revision_asked` are its preconditions. `incarnation` is that of the store which answered, where it
    said so. `fence`: the term in which a leader decided on it.
    """

    client: str
    partition: str
    call: float
    ret: float
    verb: str
    resource: str
    key: str
    request_id: bytes = b""
    uid_asked: str = ""
    revision_asked: int = 0
    dry_run: bool = False
    code: int = OK
    reason: str = ""
    store: str = ""
    incarnation: str = ""
    revision: int = 0
    uid: str = ""
    crc: int = 0
    found: int = 0
    found_key: str = ""
    fence: Fence | None = None


class Get(NamedTuple):
    """A get that was answered. `revision` is that of the store, 0 where the answer did not say; of an object that is
    not there (`code` 404) the incarnation is not told."""

    client: str
    partition: str
    call: float
    ret: float
    key: str
    match: str = CONSISTENT
    asked: int = 0
    code: int = OK
    store: str = ""
    incarnation: str = ""
    revision: int = 0
    object_revision: int = 0
    crc: int = 0


class Listed(NamedTuple):
    """A list that was answered: all its pages, which are of one revision.

    `complete` False: some of its pages, one behind the other, but not from the first to the last.
    """

    client: str
    partition: str
    call: float
    ret: float
    selection: Selection
    match: str = CONSISTENT
    asked: int = 0
    code: int = OK
    store: str = ""
    incarnation: str = ""
    revision: int = 0
    items: tuple[Item, ...] = ()
    complete: bool = True


class WatchStarted(NamedTuple):
    """A watch was asked for, on a stream that it shares with others. `watch` and `stream` are numbers of the recording.

    `after` 0: from now on; with `initial`, from the objects there are now.
    """

    client: str
    partition: str
    time: float
    watch: int
    stream: int
    selection: Selection
    after: int = 0
    initial: bool = False
    incarnation: str = ""


class Watched(NamedTuple):
    """What a watch was given at once.

    `bookmark` (0: none) holds for all watches of the stream on this store that have been given anything; a message
    with batches for several of them has it in the last one's, or behind it. `watch` 0: a bookmark and nothing else.
    """

    client: str
    partition: str
    time: float
    watch: int
    stream: int
    store: str
    incarnation: str
    events: tuple[Event, ...] = ()
    initial_end: bool = False
    bookmark: int = 0


class WatchEnded(NamedTuple):
    """`code`: of the partition's refusal, which names `found`; 0: the client stopped it, or its stream was lost."""

    client: str
    partition: str
    time: float
    watch: int
    code: int = 0
    found: int = 0


class Logged(NamedTuple):
    """The truth: a record of a store. `data`: the object, encoded; of a deletion its last state."""

    partition: str
    store: str
    incarnation: str
    revision: int
    key: str
    deleted: bool
    create_revision: int
    previous_revision: int
    data: bytes
    time: float = 0.0  # When it was noted, where that was at once.


class Complete(NamedTuple):
    """What is Logged of a store is all that changed behind `after`, up to `to`; the state at `after` is Logged as well.

    `resources`: only of these kinds; empty: everything, so that there is no gap between revisions.
    """

    partition: str
    store: str
    incarnation: str
    after: int
    to: int
    resources: tuple[str, ...] = ()


class Opened(NamedTuple):
    """A store was opened. Another incarnation than before: it was restored, or made anew (then `head` is 0)."""

    partition: str
    store: str
    incarnation: str
    head: int
    time: float


class View(NamedTuple):
    """What an informer held when it said that it was complete up to `revision`."""

    client: str
    partition: str
    time: float
    selection: Selection
    store: str
    incarnation: str
    revision: int
    items: tuple[Item, ...]


class Instance(NamedTuple):
    """A kubelet has started (or adopted), or stopped, an instance of a pod. `host` is its process, with its life."""

    host: str
    time: float
    node_partition: str
    node: str
    pod_partition: str
    uid: str
    key: str
    started: bool


class Happened(NamedTuple):
    """A fault, or a note, for the story."""

    time: float
    what: str
    partition: str = ""
    key: str = ""


class Finished(NamedTuple):
    """The end. `healed`: faults were over, and long enough for everything to converge."""

    time: float
    healed: bool = False
    note: str = ""


Record = (
    Write
    | Get
    | Listed
    | WatchStarted
    | Watched
    | WatchEnded
    | Logged
    | Complete
    | Opened
    | View
    | Instance
    | Happened
    | Finished
)
# The number of a kind of record in a file is its place here: new ones come behind.
KINDS: tuple[type[Record], ...] = (
    Write,
    Get,
    Listed,
    WatchStarted,
    Watched,
    WatchEnded,
    Logged,
    Complete,
    Opened,
    View,
    Instance,
    Happened,
    Finished,
)
