"""What concurrent clients see of a store in a process of its own, which is killed with SIGKILL again and again.

Clients ask over a pipe and know the time by one clock. What had no answer when the process died may have happened or
not; what was answered, a refusal or a read as well, must fit together with all that is found afterwards.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from random import Random

from ursa.storage import InlineCommitter, LmdbStore
from ursa.tools.checking.histories import Batch, Demand, Entry, Operation, Part, Read
from ursa.tools.checking.linearizability import violations

from ..checkers.histories import History, Log, log_of
from ..checkers.store_model import Finish, StoreModel
from ..checkers.wgl import is_linearizable

SOAK = "URSA_SOAK" in os.environ
KILLS = 100 if SOAK else 3
ANSWERS_EACH = 600
SMALL_HISTORIES = 40 if SOAK else 3
SECONDS_MAX = 600 if SOAK else 60

# Answers a line of JSON with a line of JSON, once all that the answer rests on is durable.
SERVER = """
import json, os, queue, sys, threading
from random import Random
from ursa.storage import Change, Guard, LmdbStore, StageConflict, ThreadCommitter

loop = queue.SimpleQueue()
store = LmdbStore.open(sys.argv[1], ThreadCommitter(loop.put), incarnation_random=Random(1))
waiting, committing = [], False

def handle(line):
    asked = json.loads(line)
    answer = {"id": asked["id"]}
    if "prefix" in asked:
        records = store.range(asked["prefix"])
        answer |= {"revision": store.head, "items": [(r.revision, r.key, r.value.decode()) for r in records]}
        os.write(1, f"{json.dumps(answer)}\\n".encode())
        return
    changes = [Change(key, value.encode(), deleted, expected) for key, value, deleted, expected in asked["parts"]]
    try:
        answer["revision"] = store.stage(changes, [Guard(*guard) for guard in asked["demands"]])[0].revision
    except StageConflict as conflict:
        answer |= {"key": conflict.key, "found": conflict.found, "of_life": conflict.of_life}
    waiting.append((store.staged_head, answer))
    go_on()

def go_on():
    global committing, waiting
    ready = [answer for rests_on, answer in waiting if rests_on <= store.head]
    waiting = waiting[len(ready):]
    for answer in ready:
        os.write(1, f"{json.dumps(answer)}\\n".encode())
    if not committing and store.staged_head > store.head:
        committing = True
        store.commit(done)

def done(batch):
    global committing
    committing = False
    go_on()

def listen():
    for line in sys.stdin:
        loop.put(lambda line=line: handle(line))

threading.Thread(target=listen, daemon=True).start()
while True:
    loop.get()()
"""


class Killed(Exception):
    """The process died before it answered."""


@dataclass
class Server:
    """The process, and what it has been asked."""

    process: asyncio.subprocess.Process
    pending: dict[int, asyncio.Future[dict]] = field(default_factory=dict)
    answers_left: int = 0
    dead: bool = False

    @classmethod
    async def start(cls, path: Path, answers: int) -> Server:
        command = (sys.executable, "-c", SERVER, os.fspath(path))
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 20)
        return cls(process, answers_left=answers)

    async def ask(self, number: int, **asked: object) -> dict:
        if self.dead:
            raise Killed
        self.pending[number] = future = asyncio.get_running_loop().create_future()
        self.process.stdin.write(f"{json.dumps({'id': number, **asked})}\n".encode())
        return await future

    async def serve_until_killed(self) -> None:
        while line := await self.process.stdout.readline():
            if not line.endswith(b"\n"):
                break  # Cut off by the kill.
            answer = json.loads(line)
            self.pending.pop(answer["id"]).set_result(answer)
            self.answers_left -= 1
            if self.answers_left == 0:
                self.process.kill()  # What it has written until it dies is answered, too.
        self.dead = True
        self.process.stdin.close()
        assert await self.process.wait() == -signal.SIGKILL
        for future in self.pending.values():
            future.set_exception(Killed)


class Clients:
    """Concurrent clients of one server after the other, and what they saw."""

    def __init__(self, random: Random, path: Path, *, clients: int, keys: int) -> None:
        self._random, self._path = random, path
        self._clients = clients
        self._keys = [f"/{number % 2}/{number}" for number in range(keys)]
        # The newest revision of each key that somebody was told.
        self._known: dict[str, int] = {}
        self._count = 0
        self.history: History = []

    async def run(self, kills: int, answers: int) -> tuple[History, Log]:
        for _ in range(kills):
            server = await Server.start(self._path, answers)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(server.serve_until_killed())
                    for number in range(self._clients):
                        group.create_task(self._client(f"client-{number}", server))
            finally:
                if not server.dead:
                    server.process.kill()
                    await server.process.wait()
        store = LmdbStore.open(self._path, InlineCommitter(), incarnation_random=Random(1))
        log = log_of(store)
        store.close()
        return self.history, log

    async def _client(self, name: str, server: Server) -> None:
        while True:
            self._count += 1
            number = self._count
            operation = self._draw(name, number)
            try:
                if isinstance(operation, Read):
                    answer = await server.ask(number, prefix=operation.key)
                else:
                    parts = [part[:4] for part in operation.parts]
                    parts = [(key, value.decode(), deleted, expected) for key, value, deleted, expected in parts]
                    answer = await server.ask(number, parts=parts, demands=operation.demands)
            except Killed:
                if isinstance(operation, Batch):
                    self.history.append(operation)
                return
            self.history.append(self._told(operation, answer))

    def _draw(self, name: str, number: int) -> Read | Batch:
        random, now = self._random, time.perf_counter()
        if random.random() < 0.3:
            return Read(name, now, inf, random.choice(("/0", "/1", "/")), (), prefix=True)
        parts = []
        for place, key in enumerate(random.sample(self._keys, random.randint(1, min(3, len(self._keys))))):
            known = self._known.get(key, 0)
            expected = known if random.random() < 0.5 else None
            deleted = known > 0 and random.random() < 0.2
            parts.append(Part(key, b"%d/%d" % (number, place), deleted, expected))
        key = random.choice(self._keys)
        demands = (Demand(key, self._known.get(key, 0)),) if random.random() < 0.2 else ()
        return Batch(name, now, inf, tuple(parts), demands)

    def _told(self, operation: Read | Batch, answer: dict) -> Operation:
        now = time.perf_counter()
        if isinstance(operation, Read):
            result = tuple(Entry(revision, key, value.encode()) for revision, key, value in answer["items"])
            self._known.update((entry.key, entry.revision) for entry in result)
            return replace(operation, ret=now, revision=answer["revision"], result=result)
        if "found" in answer:
            if not answer["of_life"]:
                self._known[answer["key"]] = answer["found"]
            return replace(
                operation, ret=now, found_key=answer["key"], found=answer["found"], found_life=answer["of_life"]
            )
        for revision, part in enumerate(operation.parts, answer["revision"]):
            self._known[part.key] = 0 if part.deleted else revision
        return replace(operation, ret=now, revision=answer["revision"])


def history_over_kills(clients: Clients, kills: int, answers: int) -> tuple[History, Log]:
    return asyncio.run(asyncio.wait_for(clients.run(kills, answers), timeout=SECONDS_MAX))


def outcomes_of_the_unknown(history: Sequence[Operation], log: Log) -> set[bool]:
    there = {entry.value for entry in log}
    return {batch.parts[0].value in there for batch in history if isinstance(batch, Batch) and batch.ret == inf}


def test_a_history_over_kill_9_is_linearizable(tmp_path: Path):
    clients = Clients(Random(1), tmp_path, clients=16, keys=8)
    history, log = history_over_kills(clients, KILLS, ANSWERS_EACH)
    assert violations(history, log) == []
    batches = [operation for operation in history if isinstance(operation, Batch)]
    assert sum(1 for batch in batches if batch.revision) > KILLS * ANSWERS_EACH / 10
    assert sum(1 for batch in batches if batch.found is not None) > KILLS * ANSWERS_EACH / 50
    assert outcomes_of_the_unknown(history, log)
    # The judge was awake: with any of the acknowledged batches lost it says so.
    lost = next(batch for batch in reversed(batches) if batch.revision)
    assert violations(history, log[: lost.revision - 1])


def test_small_histories_over_kill_9_are_linearizable_to_the_judge_that_tries_every_order(tmp_path: Path):
    for seed in range(SMALL_HISTORIES):
        random = Random(seed)
        clients = Clients(random, tmp_path / str(seed), clients=3, keys=2)
        history, log = history_over_kills(clients, 2, random.randint(3, 6))
        assert violations(history, log) == []
        end = max(moment for operation in history for moment in (operation.call, operation.ret) if moment < inf)
        assert is_linearizable([*history, Finish(end + 1, end + 2)], (), StoreModel(log).step)
