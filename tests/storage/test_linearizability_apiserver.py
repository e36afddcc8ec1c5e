"""The same through a whole apiserver: Mutate streams, Lists and Gets, over crashes and answers that never came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf
from random import Random

import pytest
from ursa.partitions import ApiServer
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, NotFound
from ursa.proto.kinds import Role
from ursa.proto.objects import Object
from ursa.proto.sessions import Caller, ServerStream
from ursa.storage import Record
from ursa.tools.checking.linearizability import Entry, Operation, Read, Write, violations

from ..checkers.histories import History, Log, Pending, Recorder, reopen_memory
from ..partitions.conftest import HandRuntime

PREFIX = "/registry/configmaps/system/default/"
PLACE = {"resource": "configmaps", "tenant": "system", "namespace": "default"}
OPERATIONS = 800


def value_of(message: pb.Object) -> bytes:
    """What tells this state of an object from all others: its payload; anything else is told by its bytes."""
    if message.kind != "ConfigMap":
        return message.SerializeToString(deterministic=True)
    return Object(message).rest["data"]["payload"].encode()


def entry_of(message: pb.Object) -> Entry:
    return Entry(message.metadata.resource_version, PREFIX + message.metadata.name, value_of(message))


class ApiRecorder(Recorder):
    """Every client has a Mutate stream of its own; a crash ends the server, its streams and its timers."""

    def __init__(self, random: Random, *, clients: int, keys: int) -> None:
        super().__init__(random, reopen_memory, clients=clients, keys=keys)
        self._keys = [PREFIX + key.rpartition("/")[2] for key in self._keys]
        self._serve()
        for record in self.store.log(0):
            value = value_of(pb.Object.FromString(record.value))
            self.history.append(Write("server", 0, 0, record.key, value, revision=record.revision))

    def _serve(self) -> None:
        self._runtime = HandRuntime()
        self._server = ApiServer("tp-1", Role.TENANT, self.store, self._runtime, self._random)
        self._streams: dict[str, ServerStream] = {}
        self._commit()

    def _commit(self) -> None:
        self._runtime.advance(0.02)
        self._committer.run()

    def _crash(self) -> None:
        super()._crash()
        self._serve()

    def run(self, operations: int, *, crash_probability: float = 0.0) -> tuple[History, Log]:
        history, _ = super().run(operations, crash_probability=crash_probability)
        return history, self._log(history, self.store.log(0))

    def _log(self, history: History, records: Iterable[Record]) -> Log:
        """A deletion does not say whose it is: it is the acknowledged one, or the first that asked for it."""
        deletions = [operation for operation in history if isinstance(operation, Write) and operation.deleted]
        acknowledged = {write.revision: write.value for write in deletions if write.revision}
        unknown: dict[tuple[str, int | None], bytes] = {}
        for write in sorted(deletions, key=lambda write: write.call, reverse=True):
            if write.ret == inf:
                unknown[write.key, write.expected] = write.value
        log = []
        for record in records:
            if record.deleted:
                value = acknowledged.get(record.revision) or unknown.get((record.key, record.previous_revision), b"?")
            else:
                value = value_of(pb.Object.FromString(record.value))
            log.append(Entry(record.revision, record.key, value, record.deleted))
        return log

    # --- what clients do ---

    def _ask(self, client: str) -> Operation:
        asked = super()._ask(client)
        if isinstance(asked, Read):
            return replace(asked, key=PREFIX) if asked.prefix else asked
        known = self.store.get(asked.key)
        if known is None and not asked.deleted:
            return replace(asked, expected=0)
        # Sometimes what was read is outdated by then anyway; sometimes it was from the start.
        return replace(asked, expected=max(1, (known.revision if known else 1) - self._random.choice((0, 0, 0, 1))))

    def _apply(self, client: str, pending: Pending) -> None:
        if isinstance(pending.operation, Read):
            pending.answer = self._list(pending.operation) if pending.operation.prefix else self._get(pending.operation)
            return
        if client not in self._streams:
            self._streams[client] = self._server.open("Mutate", Caller(client), lambda: None)
        request = pb.MutateRequest(operations=[operation_of(pending.operation)])
        self._streams[client].receive(request.SerializeToString())
        pending.answer = pending.operation

    def _answer(self, client: str, pending: Pending) -> Operation | None:
        if isinstance(pending.operation, Read):
            return pending.answer
        reply = self._streams[client].take()
        if reply is None:
            return None
        [result] = pb.MutateReply.FromString(reply).results
        if result.HasField("error"):
            assert result.error.reason in ("AlreadyExists", "Conflict", "NotFound"), result.error
            return replace(pending.operation, found=result.error.resource_version)
        return replace(pending.operation, revision=result.resource_version)

    def _list(self, read: Read) -> Read:
        request = pb.ListRequest(selection=pb.Selection(**PLACE), exact=read.exact)
        if read.exact:
            request.resource_version = str(self._random.randint(1, self.store.head))
        stream = self._server.open("List", Caller("reader"), lambda: None)
        stream.receive(request.SerializeToString())
        reply = pb.ListReply()
        while (chunk := stream.take()) is not None:
            reply.MergeFromString(chunk)
        result = tuple(entry_of(message) for message in reply.items)
        return replace(read, result=result, revision=reply.resource_version)

    def _get(self, read: Read) -> Read:
        answers: list[bytes | ApiError] = []
        request = pb.GetRequest(name=read.key.removeprefix(PREFIX), **PLACE)
        self._server.call("Get", request.SerializeToString(), Caller("reader"), answers.append)
        [answer] = answers
        if isinstance(answer, ApiError):
            assert isinstance(answer, NotFound)
            return read
        return replace(read, result=(entry_of(pb.GetReply.FromString(answer).object),))


def operation_of(write: Write) -> pb.Operation:
    operation = pb.Operation(resource="configmaps")
    name = write.key.removeprefix(PREFIX)
    if write.deleted:
        operation.delete.target.CopyFrom(pb.GetRequest(name=name, **PLACE))
        operation.delete.preconditions.resource_version = write.expected
        return operation
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "tenant": "system", "namespace": "default"},
        "data": {"payload": write.value.decode()},
    }
    message = Object.from_dict(manifest).message
    message.metadata.resource_version = write.expected
    (operation.update if write.expected else operation.create).object.CopyFrom(message)
    return operation


@pytest.mark.parametrize("seed", range(3))
def test_histories_of_an_apiserver_that_crashes_are_linearizable(seed):
    recorder = ApiRecorder(Random(seed), clients=10, keys=5)
    history, log = recorder.run(OPERATIONS, crash_probability=0.003)
    assert violations(history, log) == []
    assert recorder.crashes >= 3
    writes = [operation for operation in history if isinstance(operation, Write)]
    revisions = {entry.value: entry.revision for entry in log}
    assert {write.value in revisions for write in writes if write.ret == inf} == {True, False}
    assert sum(1 for write in writes if write.revision) > OPERATIONS / 10
    assert sum(1 for write in writes if write.found is not None) > OPERATIONS / 20
    assert any(write.deleted and write.revision for write in writes)


class ReadsWhatIsStaged(ApiRecorder):
    """An apiserver whose gets see the newest state, durable or not."""

    commit_probability = 0.03

    def _get(self, read: Read) -> Read:
        entry = self._server._state._latest.get(read.key)
        return replace(read, result=() if entry is None else (entry_of(entry.message()),))


def test_an_apiserver_that_shows_what_is_not_durable_is_found_out():
    for seed in range(3):
        assert violations(*ReadsWhatIsStaged(Random(seed), clients=10, keys=5).run(800, crash_probability=0.02))
