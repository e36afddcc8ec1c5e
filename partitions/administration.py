"""Looking after the stores of a partition that goes on serving: compact, defragment, digest, snapshot.

Each is a stream: one request, replies that say only `working` while the work goes on, then a last reply with all that
was asked for, or with an error. The work is a generator that the loop resumes:

    yields seconds    go on after so long: the rest of the partition has the loop in between
    yields a reply    go on when the client has taken it, so that nothing piles up here
    returns a reply   the last one

A client that goes away closes the generator, and with it the file that it reads from. What the store itself has begun,
a copy in steps on its committer, comes to its end unseen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from functools import partial
from hashlib import sha256
from typing import Any, BinaryIO

from google.protobuf.message import Message

from ..proto import ursa_pb2 as pb
from ..proto.errors import (
    ApiError,
    BadRequest,
    Compacted,
    Conflict,
    Expired,
    FutureRevision,
    InternalError,
    NotFound,
    ServiceUnavailable,
    StoreError,
    Timeout,
)
from ..proto.kinds import MAIN_STORE
from ..proto.sessions import METHODS
from ..storage import CopyUnderWay, Store
from .pacing import Runtime
from .requests.request import parse_request

# Between two steps of a digest, each a millisecond: at most half of the loop goes to it.
DIGEST_PAUSE_SECONDS = 0.001
# Between two steps of a sweep, each a transaction that a commit waits behind.
SWEEP_PAUSE_SECONDS = 0.005
# How often to ask whether a copy is whole.
COPY_PAUSE_SECONDS = 0.05
# A client hears so often that the work goes on; it may take several times as long for a lost link.
PROGRESS_SECONDS = 5.0
# A client that takes nothing for so long is given up, and the file that is kept for it.
TAKE_SECONDS_MAX = 60.0
# The disk takes half a second to free a gigabyte, and whoever closes a file without a name waits for it: so it is cut
# off first, some milliseconds' worth at a time.
FREE_BYTES = 4 << 20
FREE_PAUSE_SECONDS = 0.01
# Sent at a time: the read and the hash take half a millisecond of the loop.
CHUNK_BYTES = 256 * 1024

Reply = pb.CompactReply | pb.DefragmentReply | pb.DigestReply | pb.SnapshotReply
Work = Generator[float | Reply, None, Reply]


class Administration:
    """The work under way at the stores of one partition.

    Args:
        stores: by the names that requests call them by.
    """

    def __init__(self, partition: str, stores: Mapping[str, Store], runtime: Runtime) -> None:
        self._partition = partition
        self._stores = stores
        self.runtime = runtime
        self._under_way: dict[tuple[str, str], AdministrationStream] = {}

    def open(self, method: str, wake: Callable[[], None]) -> AdministrationStream:
        """A stream of one of ADMINISTRATION_METHODS."""
        return AdministrationStream(self, method, wake)

    def begin(self, stream: AdministrationStream, request: Any) -> Work:
        """The work asked for, which the stream has to end.

        Raises:
            NotFound: no store of that name.
            Conflict: the same is being done to it already.
        """
        name = request.store or MAIN_STORE
        store = self._stores.get(name)
        if store is None:
            raise NotFound(f"{self._partition} has no store {name!r}: its stores are {', '.join(self._stores)}")
        if (stream.method, name) in self._under_way:
            raise Conflict(
                f"{self._partition}: somebody else's {stream.method.lower()} of store {name} is under way: "
                "wait for its end"
            )
        self._under_way[stream.method, name] = stream
        return _WORKS[stream.method](store, request, self.runtime)

    def ended(self, stream: AdministrationStream) -> None:
        for key, other in list(self._under_way.items()):
            if other is stream:
                del self._under_way[key]

    def close(self) -> None:
        """End all work: the partition is stopping."""
        for stream in list(self._under_way.values()):
            stream.end(ServiceUnavailable(f"{self._partition} is stopping"))


class AdministrationStream:
    """The server's end of one call: a `sessions.ServerStream`."""

    def __init__(self, administration: Administration, method: str, wake: Callable[[], None]) -> None:
        self.method = method
        self._administration = administration
        self._runtime = administration.runtime
        self._shape = METHODS[method]
        self._wake = wake
        self._work: Work | None = None
        self._outbox: bytes | None = None
        self._waits_for_room = False
        self._taken_at = 0.0
        self._over = False

    def receive(self, data: bytes) -> None:
        if self._work is not None or self._over:
            raise BadRequest(f"{self.method} takes one request")
        self._work = self._administration.begin(self, parse_request(self._shape.request, data))
        self._taken_at = self._runtime.monotonic()
        self._runtime.call_later(PROGRESS_SECONDS, self._tell_progress)
        self._go_on()

    def end_requests(self) -> None:
        if self._work is None:
            self._over = True
            self._wake()

    def take(self) -> bytes | None:
        self._taken_at = self._runtime.monotonic()
        if self._outbox is None and self._waits_for_room:
            self._go_on()
        data, self._outbox = self._outbox, None
        return data

    @property
    def finished(self) -> bool:
        return self._over and self._outbox is None

    def close(self) -> None:
        self._outbox = None
        self._stop()

    def end(self, error: ApiError) -> None:
        """Leave the work undone; the client is told why."""
        if not self._over:
            self._stop()
            self._send(self._shape.reply(error=error.status))

    def _go_on(self) -> None:
        """Until the work waits for something."""
        self._waits_for_room = False
        if self._work is None:
            return  # A timer of work that was given up.
        try:
            item = next(self._work)
        except StopIteration as last:
            self._stop()
            self._send(last.value)
        except StoreError as error:
            self.end(_refusal(error))
        except Exception as error:
            self.end(InternalError(f"the partition failed on this request: {error!r}"))
            raise
        else:
            if isinstance(item, float):
                self._runtime.call_later(item, self._go_on)
            else:
                self._waits_for_room = True
                self._send(item)

    def _send(self, reply: Message) -> None:
        self._outbox = reply.SerializeToString(deterministic=True)
        self._wake()

    def _tell_progress(self) -> None:
        if self._over:
            return
        if self._outbox is None:
            self._send(self._shape.reply(working=True))
        elif self._runtime.monotonic() - self._taken_at >= TAKE_SECONDS_MAX:
            self.end(Timeout(f"nothing was taken for {TAKE_SECONDS_MAX:.0f} s: ask again"))
            return
        self._runtime.call_later(PROGRESS_SECONDS, self._tell_progress)

    def _stop(self) -> None:
        self._over = True
        self._waits_for_room = False
        work, self._work = self._work, None
        if work is not None:
            work.close()
        self._administration.ended(self)


def _compact(store: Store, request: pb.CompactRequest, _runtime: Runtime) -> Work:
    bytes_before = store.status().bytes
    store.compact(request.resource_version or store.head)
    while store.sweep_step():
        yield SWEEP_PAUSE_SECONDS
    return pb.CompactReply(
        compacted_resource_version=store.compacted, bytes_before=bytes_before, bytes=store.status().bytes
    )


def _defragment(store: Store, _request: pb.DefragmentRequest, _runtime: Runtime) -> Work:
    before = store.status().bytes_on_disk
    outcomes: list[BaseException | None] = []
    store.defragment(outcomes.append)
    while not outcomes:
        yield COPY_PAUSE_SECONDS
    if outcomes[0] is not None:
        raise outcomes[0]
    return pb.DefragmentReply(bytes_on_disk_before=before, bytes_on_disk=store.status().bytes_on_disk)


def _digest(store: Store, request: pb.DigestRequest, _runtime: Runtime) -> Work:
    steps = store.digest_steps(request.resource_version or None)
    while (digest := steps.step()) is None:
        yield DIGEST_PAUSE_SECONDS
    return pb.DigestReply(digest=digest, resource_version=steps.revision, incarnation=store.incarnation)


class _Opened:
    """The file of a snapshot, once there is one; closed by whoever comes last."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.outcome: BinaryIO | BaseException | None = None
        self._closed = False

    def take(self, outcome: BinaryIO | BaseException) -> None:
        self.outcome = outcome
        if self._closed:
            self.close()

    def close(self) -> None:
        self._closed = True
        if self.outcome is not None and not isinstance(self.outcome, BaseException):
            _free(self.outcome, self._runtime)


def _free(file: BinaryIO, runtime: Runtime) -> None:
    left = os.fstat(file.fileno()).st_size - FREE_BYTES
    if left <= 0:
        file.close()
    else:
        file.truncate(left)
        runtime.call_later(FREE_PAUSE_SECONDS, partial(_free, file, runtime))


def _snapshot(store: Store, _request: pb.SnapshotRequest, runtime: Runtime) -> Work:
    revision = store.head
    with closing(_Opened(runtime)) as opened:
        store.open_snapshot(opened.take)
        while opened.outcome is None:
            yield COPY_PAUSE_SECONDS
        file = opened.outcome
        if isinstance(file, BaseException):
            raise file
        checksum, size = sha256(), 0
        for data in iter(partial(file.read, CHUNK_BYTES), b""):
            checksum.update(data)
            size += len(data)
            yield pb.SnapshotReply(data=data)
    return pb.SnapshotReply(
        sha256=checksum.digest(), bytes_total=size, resource_version=revision, incarnation=store.incarnation
    )


_WORKS: dict[str, Callable[..., Work]] = {
    "Compact": _compact,
    "Defragment": _defragment,
    "Digest": _digest,
    "Snapshot": _snapshot,
}
ADMINISTRATION_METHODS = tuple(_WORKS)


def _refusal(error: StoreError) -> ApiError:
    if isinstance(error, Compacted):
        return Expired(str(error), resource_version=error.floor)
    if isinstance(error, FutureRevision):
        return BadRequest(str(error), resource_version=error.head)
    if isinstance(error, CopyUnderWay):
        return Conflict(str(error))
    return InternalError(str(error))
