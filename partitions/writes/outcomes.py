"""What was done before is not done again: outcomes of operations by the id that their client gave them.

A write whose answer was lost is sent again with the same request id. The id of the operation that wrote an object last
stands in the object's stored metadata, so every change in the window of recent changes says whose it was, also after a
crash:

    log      ... 41 pod a (id 7) │ 42 pod b │ 43 pod a (id 9) ...      ids 7 and 9 were carried out
             └ floor: what was written before is forgotten, and a client that asks for it is told so

Only what changed something needs to be remembered. An operation that was refused, or found all as it wanted, may be
carried out when it comes again: nobody was told of the first time, and it left nothing.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from random import Random

from ...proto import ursa_pb2 as pb
from ...proto.errors import BadRequest, Conflict
from ...proto.kinds import Kind
from ..entries import Entry
from ..history import Histories, History
from .subresources import check_subresource, scale_of

REQUEST_ID_BYTES_MAX = 32
WRITER_BYTES = 8
# Clients whose streams are told apart, some 200 bytes each. What an older stream still has on its way arrives within
# seconds; a partition has fewer clients than that come in this time.
WRITERS_MAX = 65_536


class Outcomes:
    """See the module. `Entry` is the object as the operation left it; of a deletion, its last state."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories
        self._entries: dict[bytes, Entry] = {}
        # By history, in order of revisions: what to forget first.
        self._ids: dict[str, deque[tuple[int, bytes]]] = {history.name: deque() for history in histories}

    def note(self, history: History, request_id: bytes, entry: Entry) -> None:
        """It was carried out, at the entry's revision."""
        ids = self._ids[history.name]
        floor = history.cache.floor
        while ids and ids[0][0] <= floor:
            _, forgotten = ids.popleft()
            self._entries.pop(forgotten, None)
        ids.append((entry.revision, request_id))
        self._entries[request_id] = entry

    def find(self, operation: pb.Operation) -> Entry | None:
        """What an operation left, if it was carried out before.

        Raises:
            BadRequest: the id is too long, or was another operation's.
        """
        request_id = operation.request_id
        if len(request_id) > REQUEST_ID_BYTES_MAX:
            raise BadRequest(f"a request_id has at most {REQUEST_ID_BYTES_MAX} bytes, this one {len(request_id)}")
        entry = self._entries.get(request_id)
        if entry is not None and not _concerns(operation, entry):
            raise BadRequest(f"the request_id was that of an operation on {entry.key}: give each operation its own")
        return entry

    @property
    def position(self) -> str:
        """Where the stores are: what is carried out from now on is behind it."""
        return " ".join(f"{history.store.incarnation}:{history.store.staged_head}" for history in self._histories)

    def knows_behind(self, position: str) -> bool:
        """All that was carried out behind the position is remembered."""
        parts = position.split(" ")
        histories = tuple(self._histories)
        if len(parts) != len(histories):
            return False
        for history, part in zip(histories, parts, strict=True):
            incarnation, _, revision = part.rpartition(":")
            if incarnation != history.store.incarnation or not (revision.isascii() and revision.isdigit()):
                return False
            if int(revision) < history.cache.floor:
                return False
        return True


class Writers:
    """Of each writer the newest of its streams."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._newest: OrderedDict[bytes, int] = OrderedDict()

    def new_name(self) -> bytes:
        return self._random.getrandbits(8 * WRITER_BYTES).to_bytes(WRITER_BYTES, "big")

    def opened(self, writer: bytes, stream: int) -> None:
        """A stream has said whose it is.

        Raises:
            BadRequest: the writer's name is too long. Conflict: there is a newer one of the writer.
        """
        if len(writer) > REQUEST_ID_BYTES_MAX:
            raise BadRequest(f"a writer has at most {REQUEST_ID_BYTES_MAX} bytes, this one {len(writer)}")
        self.require_newest(writer, stream)
        self._newest[writer] = stream
        self._newest.move_to_end(writer)
        if len(self._newest) > WRITERS_MAX:
            self._newest.popitem(last=False)

    def require_newest(self, writer: bytes, stream: int) -> None:
        """Raises Conflict: the writer has gone on, on a newer stream."""
        if writer and self._newest.get(writer, 0) > stream:
            raise Conflict("the writer has a newer stream: this batch is too late, and was not carried out")


def _concerns(operation: pb.Operation, entry: Entry) -> bool:
    _, _, resource, tenant, namespace, name = entry.key.split("/")
    if operation.resource != resource:
        return False
    verb = operation.WhichOneof("verb")
    if verb in ("create", "update", "transfer"):
        metadata = getattr(operation, verb).object.metadata
        asked = metadata.name
    elif verb == "delete_collection" or verb is None:
        return False
    else:
        metadata = getattr(operation, verb).target
        asked = metadata.name
    # Of an object without a namespace the key has none, whatever was asked for; a name may have been made up.
    return (not namespace or (metadata.tenant, metadata.namespace) == (tenant, namespace)) and asked in ("", name)


def tell_again(kind: Kind, operation: pb.Operation, entry: Entry, result: pb.Result) -> None:
    """The result of an operation that was carried out before, from what it left.

    Raises:
        BadRequest: it cannot have been this one.
    """
    message = entry.message()
    metadata = message.metadata
    result.resource_version, result.uid = entry.revision, entry.uid
    if metadata.generate_name:
        result.name = metadata.name
    if operation.return_object:
        verb = operation.WhichOneof("verb")
        subresource = getattr(operation, verb).subresource if verb in ("update", "patch") else ""
        check_subresource(kind, subresource)  # It need not be the operation that had the id.
        result.object.CopyFrom(scale_of(kind, message) if subresource == "scale" else message)
