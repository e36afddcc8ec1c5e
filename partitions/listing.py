"""Lists: a stream of chunks joined from ready-made entries."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgpack

from ..proto import ursa_pb2 as pb
from ..proto.errors import BadRequest, Compacted, Expired, FutureRevision, Timeout
from ..proto.kinds import Role
from ..storage import Store
from . import frames
from .entries import Entry
from .history import Histories, History
from .requests import parse_request
from .selections import CompiledSelection, compile_selection
from .state import State

# Measured: 256 KiB chunks cost the server least for a list of 20 MB.
CHUNK_BYTES = 256 * 1024
# A client that asks for a revision this partition has not reached is told to come back.
RETRY_AFTER_MS = 1000


class _Continue(NamedTuple):
    """Where the next page starts, at which revision, of which query."""

    revision: int
    start: str
    query: str


class Lister:
    """Answers lists from the watch cache, and lists at an older revision from the store."""

    def __init__(self, histories: Histories, state: State, role: Role) -> None:
        self._histories = histories
        self._state = state
        self._role = role

    def chunks(self, request: pb.ListRequest) -> Iterator[bytes]:
        """ListReplies, serialized; each but the last about CHUNK_BYTES long.

        Raises (before the first chunk):
            BadRequest: a selector or a token that makes no sense. Expired: the revision is compacted.
            Timeout: the revision is from the future.
        """
        selection = compile_selection(request.selection, self._role)
        query = _query(request)
        history = self._histories.of(selection.kind)
        start, revision = "", self._revision(request, history.cache.head)
        if request.continue_token:
            token = _parse_continue(request.continue_token)
            if token.query != query:
                raise BadRequest("the continue token belongs to another query: repeat the query it came with")
            start, revision = token.start, token.revision
        return self._joined(self._entries(history, selection, revision, start), request.limit, revision, query)

    @staticmethod
    def _revision(request: pb.ListRequest, head: int) -> int:
        text = request.resource_version
        if not text or text == "0":
            return head
        if not text.isdecimal():
            raise BadRequest(f"resource_version {text!r} is no decimal number")
        revision = int(text)
        if revision > head:
            raise Timeout(
                f"too large resource version: {revision}, the newest is {head}",
                resource_version=head,
                retry_after_ms=RETRY_AFTER_MS,
            )
        return revision if request.exact else head

    def _entries(self, history: History, selection: CompiledSelection, revision: int, start: str) -> Iterator[Entry]:
        if revision == history.cache.head:
            entries = history.cache.collections[selection.kind.resource].select(selection)
            return (entry for entry in entries if entry.key >= start)
        try:
            return self._stored(history.store, selection, revision, start)
        except Compacted as error:
            raise Expired(str(error), resource_version=error.floor) from None
        except FutureRevision as error:
            raise Expired(f"{error}: list again", resource_version=error.head) from None

    def _stored(self, store: Store, selection: CompiledSelection, revision: int, start: str) -> Iterator[Entry]:
        kind = selection.kind
        records = store.range(f"/registry/{kind.resource}/", revision=revision, start=start)
        entries = (self._state.entry_of(kind, r.key, r.value, r.revision)[0] for r in records)
        return (entry for entry in entries if selection.matches(entry))

    @staticmethod
    def _joined(entries: Iterator[Entry], limit: int, revision: int, query: str) -> Iterator[bytes]:
        chunk: list[bytes] = []
        size = 0
        for count, entry in enumerate(entries):
            if limit and count == limit:
                token = _Continue(revision, entry.key, query)
                remaining = 1 + sum(1 for _ in entries)
                chunk.append(frames.list_trailer(revision, _format_continue(token), remaining))
                yield b"".join(chunk)
                return
            item = frames.list_item(entry.data)
            chunk.append(item)
            size += len(item)
            if size >= CHUNK_BYTES:
                yield b"".join(chunk)
                chunk, size = [], 0
        chunk.append(frames.list_trailer(revision))
        yield b"".join(chunk)


class ListStream:
    """The server's end of one List: a `sessions.ServerStream`."""

    def __init__(self, lister: Lister, wake: Callable[[], None]) -> None:
        self._lister = lister
        self._wake = wake
        self._chunks: Iterator[bytes] | None = None
        self._finished = False

    def receive(self, data: bytes) -> None:
        if self._chunks is not None:
            raise BadRequest("a List takes one request")
        self._chunks = self._lister.chunks(parse_request(pb.ListRequest, data))
        self._wake()

    def end_requests(self) -> None:
        if self._chunks is None:
            self._finished = True
        self._wake()

    def take(self) -> bytes | None:
        chunk = next(self._chunks, None) if self._chunks is not None else None
        if chunk is None and self._chunks is not None:
            self._finished = True
        return chunk

    @property
    def finished(self) -> bool:
        return self._finished

    def close(self) -> None:
        self._chunks = iter(())
        self._finished = True


def _query(request: pb.ListRequest) -> str:
    """What a token is bound to: the selection, in a form that does not depend on the process."""
    selection = request.selection
    return "|".join(
        (
            selection.resource,
            selection.tenant,
            selection.namespace,
            selection.label_selector,
            selection.field_selector,
        )
    )


def _format_continue(token: _Continue) -> str:
    return base64.urlsafe_b64encode(msgpack.packb(tuple(token))).decode()


def _parse_continue(text: str) -> _Continue:
    try:
        revision, start, query = msgpack.unpackb(base64.urlsafe_b64decode(text))
    except (ValueError, binascii.Error, msgpack.UnpackException):
        raise BadRequest("the continue token is none of this server's: list again without it") from None
    if not (isinstance(revision, int) and isinstance(start, str) and isinstance(query, str)):
        raise BadRequest("the continue token is none of this server's: list again without it")
    return _Continue(revision, start, query)
