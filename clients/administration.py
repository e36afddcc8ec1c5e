"""Looking after the stores of a partition that is running: status, compact, defragment, digest, snapshot."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp
from typing import Any, BinaryIO

import trio
from google.protobuf.message import Message

from ..proto import ursa_pb2 as pb
from ..proto.errors import InputError, Unreachable, from_status
from .transport.interface import Transport

# The partition says every 5 s that the work goes on; one that says nothing for so long is not there any more.
SILENCE_SECONDS_MAX = 30.0
# A file on its way, beside the name that it will get.
PARTIAL_SUFFIX = ".partial"


class Administration:
    """What can be asked of one partition about its stores. `store`: a name in its status; empty for the main one.

    Any method raises NotFound for a store that the partition does not have, Conflict while somebody else asks for the
    same, and Unreachable if there is no answer: all of them can be repeated.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def status(self) -> pb.PartitionStatus:
        reply = await self._transport.unary("Status", pb.StatusRequest(), timeout_seconds=SILENCE_SECONDS_MAX)
        assert isinstance(reply, pb.PartitionStatus)
        return reply

    async def compact(self, *, store: str = "", resource_version: int = 0) -> pb.CompactReply:
        """Forget what only older revisions need (0: than the newest), and wait until it is erased.

        Raises:
            Expired: older ones were forgotten already. BadRequest: there is no such revision yet.
        """
        request = pb.CompactRequest(store=store, resource_version=resource_version)
        reply = await self._ask("Compact", request)
        assert isinstance(reply, pb.CompactReply)
        return reply

    async def defragment(self, *, store: str = "") -> pb.DefragmentReply:
        """Give the room that the store's files no longer need back to the disk."""
        reply = await self._ask("Defragment", pb.DefragmentRequest(store=store))
        assert isinstance(reply, pb.DefragmentReply)
        return reply

    async def digest(self, *, store: str = "", resource_version: int = 0) -> pb.DigestReply:
        """Hash the state at a revision (0: the newest).

        Raises:
            Expired: it was forgotten, perhaps meanwhile. BadRequest: there is no such revision yet.
        """
        request = pb.DigestRequest(store=store, resource_version=resource_version)
        reply = await self._ask("Digest", request)
        assert isinstance(reply, pb.DigestReply)
        return reply

    async def snapshot(self, path: str | os.PathLike[str], *, store: str = "") -> pb.SnapshotReply:
        """Copy the store as it is now into a new file; `ursa store restore` makes a store from it.

        There is nothing of that name until the whole file has arrived, was checked and is on the disk, and nothing is
        left of it if that does not come about. Writing is done in place, so the loop waits for the disk.

        Raises:
            InputError: the file exists, or cannot be written.
        """
        checksum, size = sha256(), 0

        with _new_file(Path(path)) as file:

            def take(data: bytes) -> None:
                nonlocal size
                file.write(data)
                checksum.update(data)
                size += len(data)

            reply = await self._ask("Snapshot", pb.SnapshotRequest(store=store), take)
            assert isinstance(reply, pb.SnapshotReply)
            if (reply.sha256, reply.bytes_total) != (checksum.digest(), size):
                raise self._unreachable("the snapshot that arrived is not the one it sent")
        return reply

    async def _ask(self, method: str, request: Message, take: Callable[[bytes], None] | None = None) -> Any:
        """The last reply. `take` is called with the `data` of those before it."""
        async with self._transport.stream(method) as stream:
            await stream.send(request)
            while True:
                with trio.move_on_after(SILENCE_SECONDS_MAX) as scope:
                    replies = await stream.receive()
                if scope.cancelled_caught:
                    raise self._unreachable(f"no word of its {method} for {SILENCE_SECONDS_MAX:.0f} s")
                if not replies:
                    raise self._unreachable(f"its {method} ended without an answer")
                for reply in replies:
                    if reply.HasField("error"):
                        raise from_status(reply.error)
                    if take is not None and reply.data:
                        take(reply.data)
                    elif not reply.working:
                        return reply

    def _unreachable(self, what: str) -> Unreachable:
        return Unreachable(self._transport.partition, f"{what}: ask again")


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that comes to its name, durably, at the end of the block, and vanishes if that raises."""
    path = path.absolute()
    if path.exists():
        raise InputError(f"{path}: exists already: give the snapshot another name")
    try:
        descriptor, partial = mkstemp(prefix=f"{path.name}.", suffix=PARTIAL_SUFFIX, dir=path.parent)
        try:
            with open(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            # Unlike a renaming, this takes nobody's place.
            os.link(partial, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(partial)
        _sync_directory(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
