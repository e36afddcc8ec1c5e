"""Small recordings of a partition that does one thing at a time, and a model for the judge that tries every order.

Clients each do one thing at a time; a request takes its time to arrive and its answer to come back, and some answers
never do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from typing import NamedTuple

from ursa.clients.mutations import COUNTER_BYTES
from ursa.proto import ursa_pb2 as pb
from ursa.tools.recording.objects import crc_of
from ursa.tools.recording.records import (
    ANY,
    CONSISTENT,
    EXACT,
    NOT_OLDER,
    Complete,
    Get,
    Listed,
    Logged,
    Selection,
    Write,
)

Operation = Write | Get | Listed
RESOURCE = "configmaps"
STORE = ("tp-1", "main", "i")
_UNKNOWN = 0


class Done(NamedTuple):
    """One change of the log: everything that a model needs to know of it."""

    revision: int
    key: str
    deleted: bool
    request_id: bytes


State = tuple[Done, ...]


# What is there before anybody asks: no read is of revision 0, which stands for an answer that does not say.
BEGINNING: State = (Done(1, f"/registry/{RESOURCE}/t/n/first", False, b""),)


def newest(state: Sequence[Done], key: str) -> int:
    """The revision of what is there; 0: nothing."""
    last = next((done for done in reversed(state) if done.key == key), None)
    return 0 if last is None or last.deleted else last.revision


def holds(state: Sequence[Done]) -> list[tuple[str, int]]:
    keys = sorted(dict.fromkeys(done.key for done in state))
    return [(key, newest(state, key)) for key in keys if newest(state, key)]


def message_of(done: Done) -> pb.Object:
    metadata = pb.ObjectMeta(resource_version=done.revision, request_id=done.request_id)
    return pb.Object(metadata=metadata)


def crc(revision: int, state: Sequence[Done]) -> int:
    return crc_of(message_of(state[revision - 1]))


def log_records(state: Sequence[Done]) -> list[Logged | Complete]:
    records: list[Logged | Complete] = []
    lives: dict[str, int] = {}
    for done in state:
        previous = newest(state[: done.revision - 1], done.key)
        create = lives.setdefault(done.key, done.revision) if previous else done.revision
        lives[done.key] = create
        data = message_of(done).SerializeToString(deterministic=True)
        records.append(Logged(*STORE, done.revision, done.key, done.deleted, create, previous, data))
    return [*records, Complete(*STORE, 0, len(state))]


def attempt(state: State, write: Write) -> tuple[State, Write]:
    """What the partition does, and answers."""
    there = newest(state, write.key)
    if write.verb == "create" and there:
        return state, write._replace(code=409, reason="AlreadyExists", found=there, found_key=write.key)
    if write.verb != "create" and not there:
        return state, write._replace(code=404, reason="NotFound", found_key=write.key)
    if write.revision_asked not in (0, there):
        return state, write._replace(code=409, reason="Conflict", found=there, found_key=write.key)
    done = Done(len(state) + 1, write.key, write.verb == "delete", write.request_id)
    return (*state, done), write._replace(code=200, revision=done.revision)


# ------------------------------------------------------------------------------------------------------ a recording


class Clients:
    """Draws a recording."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._state: State = BEGINNING
        self._now = 0.0
        self._count = 0
        self._pending: dict[str, tuple[Operation, Operation | None] | None] = {
            f"c-{number}#1": None for number in range(random.randint(2, 4))
        }
        self._keys = [f"/registry/{RESOURCE}/t/n/{number}" for number in range(random.randint(1, 3))]
        self._done: list[Operation] = []

    def run(self, operations: int) -> tuple[list[Operation], State]:
        while self._count < operations or any(self._pending.values()):
            self._step()
        return self._done, self._state

    def _step(self) -> None:
        self._now += 1
        client = self._random.choice(list(self._pending))
        pending = self._pending[client]
        if pending is None:
            self._count += 1
            self._pending[client] = self._ask(client), None
        elif pending[1] is None:
            self._pending[client] = pending[0], self._answer(pending[0])
        else:
            lost = self._random.random() < 0.15
            self._pending[client] = None
            if not lost:
                self._done.append(pending[1]._replace(ret=self._now))
            elif isinstance(pending[0], Write):
                self._done.append(pending[0])

    def _ask(self, client: str) -> Operation:
        random, key, now = self._random, self._random.choice(self._keys), self._now
        if random.random() < 0.6:
            verb = random.choice(["create", "create", "update", "delete"])
            there = newest(self._state, key)
            asked = there if verb == "update" and random.random() < 0.5 else 0
            request_id = client.encode() + self._count.to_bytes(COUNTER_BYTES, "big")
            return Write(
                client, "tp-1", now, inf, verb, RESOURCE, key, request_id, "", asked, code=_UNKNOWN, store="main"
            )._replace(incarnation="i")
        asked = random.randint(0, len(self._state))
        match = random.choice([CONSISTENT, CONSISTENT, ANY, NOT_OLDER]) if asked else CONSISTENT
        if random.random() < 0.5:
            return Get(client, "tp-1", now, inf, key, match, asked if match == NOT_OLDER else 0, 200, "main", "i")
        match = EXACT if asked and random.random() < 0.3 else match
        asked = asked if match in (NOT_OLDER, EXACT) else 0
        return Listed(client, "tp-1", now, inf, Selection(RESOURCE), match, asked, 200, "main", "i")

    def _answer(self, operation: Operation) -> Operation:
        state = self._state
        if isinstance(operation, Write):
            self._state, answer = attempt(state, operation)
            return answer
        head = len(state)
        if operation.match == ANY or (operation.match == NOT_OLDER and self._random.random() < 0.5):
            head = self._random.randint(max(1, operation.asked), head)
        if operation.match == EXACT:
            head = operation.asked
        state = state[:head]
        if isinstance(operation, Listed):
            items = tuple((key, revision, crc(revision, state)) for key, revision in holds(state))
            return operation._replace(revision=head, items=items)
        there = newest(state, operation.key)
        if not there:
            return operation._replace(code=404, revision=head)
        return operation._replace(revision=head, object_revision=there, crc=crc(there, state))


def variants(random: Random, operation: Operation) -> Iterator[Operation]:
    """The same with one thing changed; it may still be possible."""
    shift = random.choice((-6.0, -3.0, 3.0, 6.0))
    yield operation._replace(call=operation.call + shift, ret=max(operation.ret, operation.call) + shift)
    yield operation._replace(call=operation.call - abs(shift))
    off = random.choice((-1, 1))
    if isinstance(operation, Write):
        yield operation._replace(code=_UNKNOWN, ret=inf)
        yield operation._replace(revision_asked=random.randint(0, 3))
        if operation.code == 200:
            yield operation._replace(revision=max(2, operation.revision + off))
            yield operation._replace(code=409, reason="AlreadyExists", found=1, found_key=operation.key)
            yield operation._replace(code=404, reason="NotFound", found_key=operation.key)
            yield operation._replace(request_id=operation.request_id[:-1] + b"x")
        elif operation.reason == "NotFound":
            yield operation._replace(code=409, reason="AlreadyExists", found=random.randint(1, 3))
        elif operation.found:
            yield operation._replace(found=max(1, operation.found + off))
            yield operation._replace(code=404, reason="NotFound")
        return
    yield operation._replace(revision=max(1, operation.revision + off))
    yield operation._replace(match=CONSISTENT)
    if isinstance(operation, Listed):
        yield operation._replace(items=operation.items[:-1])
    elif operation.code == 200:
        yield operation._replace(object_revision=max(1, operation.object_revision + off), crc=0)
        yield operation._replace(code=404)


# ------------------------------------------------------------------------------------------------------- the model


@dataclass(frozen=True)
class Finish:
    """When all is over the log is what it is."""

    call: float
    ret: float


class Model:
    """Knows nothing but what the log was in the end."""

    def __init__(self, final: State) -> None:
        self._final = final

    def step(self, state: State, operation: Operation | Finish) -> list[State]:
        if isinstance(operation, Finish):
            return [state] if state == self._final else []
        if isinstance(operation, Write):
            return [after for after in self._written(state, operation) if after == self._final[: len(after)]]
        return [state] if self._may_read(state, operation) else []

    @staticmethod
    def _written(state: State, write: Write) -> Iterator[State]:
        after, answer = attempt(state, write)
        if write.code == _UNKNOWN:
            yield state
            if after != state:
                yield after
        elif write.code == 200:
            if answer.code == 200 and answer.revision == write.revision:
                yield after
            if write.verb != "create" and newest(state, write.key) == write.revision:
                yield state  # It was as wanted already.
        elif write.reason == "NotFound":
            if not newest(state, write.key):
                yield state
        elif newest(state, write.key) == write.found:
            yield state

    @staticmethod
    def _may_read(state: State, read: Get | Listed) -> bool:
        at = read.revision
        if at > len(state) or (read.match == CONSISTENT and at < len(state)):
            return False
        if (read.match == NOT_OLDER and at < read.asked) or (read.match == EXACT and at != read.asked):
            return False
        seen = state[:at]
        if isinstance(read, Listed):
            return holds(seen) == [(key, revision) for key, revision, _ in read.items]
        there = newest(seen, read.key)
        return there == read.object_revision and bool(there) if read.code == 200 else not there or not at
