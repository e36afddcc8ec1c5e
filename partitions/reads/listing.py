"""Lists: a stream of chunks joined from ready-made entries, all of one revision.

                          resource_version    ""            "0"       "N"
    limit, match unset                        consistent    any       not older than N
    limit set, match unset                    consistent    any       exactly N, as Kubernetes has it
    `not_older_than`                          Invalid       any       not older than N
    `exact`                                   Invalid       Invalid   exactly N
    `continue_token`                          its own       its own   BadRequest

A list of the newest revision is read from the watch cache: its entries are taken at once, they never change, and are
looked at and sent as the client reads. An older revision is read from the store, a few records at a time with the loop
free in between; if it is compacted meanwhile the list ends with Expired. Consistent means that nothing is missing that
was acknowledged before the list was asked for: the cache must have caught up with the store. See `freshness` for lists
that have to wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.errors import ApiError, BadRequest, Compacted, Expired, NotFound, ServiceUnavailable, StoreError
from ...proto.kinds import Role
from ...storage import Record
from .. import frames
from ..cache.collection import Collection
from ..entries import Entry
from ..history import Histories, History
from ..selections import CompiledSelection, compile_selection
from ..state import State
from .continuing import Continue, format_continue, parse_continue, query_of
from .reading import check_incarnation, check_list_options, parse_revision

# Measured: a list of 10,000 pods costs 11 ms in chunks of 256 KiB, 10 in such, and 9 in twice as large ones.
CHUNK_BYTES = 512 * 1024
# Records of the store looked at in one go, or entries of the cache: up to two milliseconds of the loop.
STEP_RECORDS = 128
STEP_ENTRIES = 2048

_DATA = attrgetter("data")


class Query(NamedTuple):
    """A list that makes sense, and can be read once the cache has reached `awaited`.

    `revision` None: the newest. `remaining`: how many items from `start` on; 0: not known. `continued`: it goes on
    where a page before it ended.
    """

    history: History
    selection: CompiledSelection
    request: pb.ListRequest
    fingerprint: bytes
    awaited: int
    revision: int | None
    start: str
    remaining: int
    continued: bool

    @property
    def collection(self) -> Collection:
        """Raises NotFound: a custom kind has gone while the list waited."""
        resource = self.selection.kind.resource
        collection = self.history.cache.collections.get(resource)
        if collection is None:
            raise NotFound(f"the kind {resource} is no longer defined")
        return collection

    @property
    def selects_by_contents(self) -> bool:
        """Not only by what is in the key."""
        asked = self.request.selection
        return bool(asked.label_selector.strip() or asked.field_selector.strip())


class Lister:
    """Answers lists from the watch cache, and lists at an older revision from the store."""

    def __init__(self, histories: Histories, state: State, role: Role) -> None:
        self._histories = histories
        self._state = state
        self._role = role

    def query(self, request: pb.ListRequest) -> Query:
        """Check a request.

        Raises:
            BadRequest, Invalid: a selector, a token or a combination of options that makes no sense.
            Expired: the revision, or the token, belongs to another incarnation.
        """
        check_list_options(request)
        selection = compile_selection(request.selection, self._role, self._histories.kinds)
        history = self._histories.of(selection.kind)
        check_incarnation(history, request.incarnation)
        fingerprint = query_of(request.selection)
        if request.continue_token:
            return self._continued(history, selection, request, fingerprint)
        asked = parse_revision(request.resource_version)
        awaited = history.store.head if asked is None else asked
        exactly = bool(asked) and (request.exact or (request.limit > 0 and not request.not_older_than))
        return Query(history, selection, request, fingerprint, awaited, asked if exactly else None, "", 0, False)

    def objects(self, query: Query) -> int:
        """About how many objects must be looked at."""
        candidates = query.collection.count(query.selection, query.start)
        limit = query.request.limit
        return min(candidates, limit) if limit and not query.selects_by_contents else candidates

    def read(self, query: Query) -> Iterator[bytes | None]:
        """ListReplies, serialized, each but the last about CHUNK_BYTES long. None: give the loop to others, briefly.

        Raises:
            Expired: the revision is compacted. Also later, out of the iterator.
            ServiceUnavailable: the store is closed, likewise.
        """
        head = query.history.cache.head
        if query.revision is None or query.revision == head:
            return _from_cache(query, head)
        try:
            records = query.history.store.range(_prefix(query), revision=query.revision, start=query.start)
        except StoreError as error:
            raise _refusal(query, error) from None
        return _joined(self._from_store(query, query.revision, records))

    @staticmethod
    def _continued(
        history: History, selection: CompiledSelection, request: pb.ListRequest, fingerprint: bytes
    ) -> Query:
        token = parse_continue(request.continue_token)
        if token.query != fingerprint or not token.start.startswith(_of_kind(selection)):
            raise BadRequest("the continue token belongs to another query: repeat the query it came with")
        check_incarnation(history, token.incarnation)
        head = history.cache.head
        if token.revision > head:
            raise Expired(
                f"the continue token is of revision {token.revision}, which is from the future, the newest is {head}: "
                "list again without it",
                resource_version=head,
            )
        revision = token.revision or None
        awaited = token.revision or history.store.head
        return Query(
            history, selection, request, fingerprint, awaited, revision, token.start, token.remaining, continued=True
        )

    def _from_store(self, query: Query, revision: int, records: Iterator[Record]) -> Iterator[_Item]:
        selection, limit, asked = query.selection, query.request.limit, query.request.selection
        kind, looks_inside = selection.kind, query.selects_by_contents
        taken = 0
        step = max(1, STEP_RECORDS // selection.weight)
        try:
            for looked_at, record in enumerate(records, 1):
                if looked_at % step == 0:
                    yield None
                if looks_inside:
                    entry, _ = self._state.entry_of(kind, record.key, record.value, record.revision)
                    if not selection.matches(entry):
                        continue
                elif not _in_scope(record.key, asked.tenant, asked.namespace):
                    continue
                if limit and taken == limit:
                    remaining = max(0, query.remaining - taken) if query.remaining else 0
                    yield _trailer(query, revision, record.key, remaining)
                    return
                taken += 1
                yield frames.metadata_only(record.value) if selection.metadata_only else record.value
        except StoreError as error:
            raise _refusal(query, error) from None
        yield _trailer(query, revision)


# The data of an object; the last fields of the list; or None: a good moment to pause.
_Item = bytes | pb.ListReply | None


def _from_cache(query: Query, revision: int) -> Iterator[bytes | None]:
    # Taken now, not when the first chunk is: by then the cache may have gone on.
    selection = query.selection
    candidates = query.collection.candidates(selection, query.start)
    if selection.everything:
        return _chunks(query, revision, candidates)
    return _selected(query, revision, candidates)


def _selected(query: Query, revision: int, candidates: list[Entry]) -> Iterator[bytes | None]:
    matches = query.selection.matches
    # One more than the page takes says whether there is another page. What remains is counted if it can be.
    enough = query.request.limit + 1 if query.request.limit and query.selects_by_contents else len(candidates)
    found: list[Entry] = []
    step = max(1, STEP_ENTRIES // query.selection.weight)
    for at in range(0, len(candidates), step):
        if at:
            yield None
        found += [entry for entry in candidates[at : at + step] if matches(entry)]
        if len(found) >= enough:
            break
    yield from _chunks(query, revision, found)


def _chunks(query: Query, revision: int, entries: list[Entry]) -> Iterator[bytes]:
    limit = query.request.limit
    trailer = _trailer(query, revision)
    if limit and limit < len(entries):
        remaining = 0 if query.selects_by_contents else len(entries) - limit
        trailer = _trailer(query, revision, entries[limit].key, remaining)
        del entries[limit:]
    return frames.list_chunks(
        list(map(_DATA, entries)),
        trailer.SerializeToString(),
        CHUNK_BYTES,
        without_contents=query.selection.metadata_only,
    )


def _joined(items: Iterator[_Item]) -> Iterator[bytes | None]:
    """Chunks of the reply."""
    pieces: list[bytes] = []
    size = 0
    for item in items:
        if isinstance(item, bytes):
            pieces.append(frames.list_item(item))
            size += len(item)
            if size >= CHUNK_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
        elif item is None:
            yield None
        else:
            pieces.append(item.SerializeToString())
            yield b"".join(pieces)


def _trailer(query: Query, revision: int, start: str = "", remaining: int = 0) -> pb.ListReply:
    incarnation = query.history.store.incarnation
    reply = pb.ListReply(resource_version=revision, incarnation=incarnation)
    if start:
        reply.remaining = remaining
        reply.continue_token = format_continue(Continue(incarnation, revision, start, query.fingerprint, remaining))
    return reply


def _refusal(query: Query, error: StoreError) -> ApiError:
    if not isinstance(error, Compacted):
        return ServiceUnavailable(f"the list cannot be read: {error}")
    if not query.continued:
        return Expired(str(error), resource_version=error.floor)
    token = Continue(query.history.store.incarnation, 0, query.start, query.fingerprint, 0)
    return Expired(
        f"{error} without the token, or go on with the one given here: what follows is then as it is now, and does not "
        "fit what came before",
        resource_version=error.floor,
        continue_token=format_continue(token),
    )


def _of_kind(selection: CompiledSelection) -> str:
    return f"/registry/{selection.kind.resource}/"


def _prefix(query: Query) -> str:
    """Under which all selected keys lie, as closely as a prefix can say."""
    asked = query.request.selection
    prefix = _of_kind(query.selection)
    if asked.tenant:
        prefix += f"{asked.tenant}/"
        if asked.namespace:
            prefix += f"{asked.namespace}/"
    return prefix


def _in_scope(key: str, tenant: str, namespace: str) -> bool:
    """A prefix does not say all: it has no namespace without a tenant, and what is asked for may have a slash in it."""
    if not (tenant or namespace):
        return True
    _, _, _, of_tenant, of_namespace, _ = key.split("/")
    return tenant in ("", of_tenant) and namespace in ("", of_namespace)
