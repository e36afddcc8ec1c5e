"""Replicas that want to lead, on a clock, a network and a partition that a test moves by hand.

The partition is a real apiserver. Each replica has a clock of its own, which starts somewhere and runs at its own rate,
and may stand still for any time without noticing (only its clock notices). A message is carried when the test says so,
late or never.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from ursa.clients.leader_election_core import ElectionCore, ElectionOptions, Question, Term
from ursa.partitions import ApiServer
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError
from ursa.proto.kinds import Role
from ursa.proto.leases import LEASES, holding, leader_lease
from ursa.proto.objects import Object
from ursa.proto.sessions import Caller
from ursa.storage import InlineCommitter, MemoryStore

KEY = leader_lease("controller-manager-p-1")
TARGET = {"resource": LEASES, "tenant": KEY.tenant, "namespace": KEY.namespace, "name": KEY.name}
START_MS = 1_790_000_000_000


class Partition:
    """`now` is real time, which nobody can read."""

    def __init__(self, role: Role = Role.TENANT) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, object]] = []
        self.store = MemoryStore(InlineCommitter(), incarnation="one")
        self.server = ApiServer("p-1", role, self.store, self, Random(7))
        self.advance(0.1)

    # As a `pacing.Runtime`.

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return START_MS + round(self.now * 1000)

    def call_later(self, seconds: float, callback: object) -> None:
        self._timers.append((self.now + seconds, len(self._timers), callback))

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self._timers if timer[0] <= until]:
            timer = min(due, key=lambda each: each[:2])
            self._timers.remove(timer)
            self.now = max(self.now, timer[0])
            timer[2]()  # type: ignore[operator]
        self.now = until

    # What replicas ask.

    def call(self, method: str, request: object) -> bytes | ApiError:
        answers: list[bytes | ApiError] = []
        self.server.call(method, request.SerializeToString(), Caller("test"), answers.append)  # type: ignore[attr-defined]
        now = self.now
        while not answers:
            self.advance(0.02)
        self.now = now  # As if commits took no time: what a test asks for happens at one moment.
        return answers[0]

    def write(self, operation: pb.Operation, **fields: object) -> pb.Result:
        answer = self.call("Write", pb.MutateRequest(operations=[operation], **fields))  # type: ignore[arg-type]
        assert isinstance(answer, bytes)
        return pb.MutateReply.FromString(answer).results[0]

    def lease(self) -> Object | None:
        answer = self.call("Get", pb.GetRequest(**TARGET))
        return Object(pb.GetReply.FromString(answer).object) if isinstance(answer, bytes) else None

    def held(self) -> Term | None:
        """The term that the lease grants now."""
        lease = self.lease()
        if lease is None:
            return None
        held = holding(lease.spec)
        return Term(lease.uid, held.term, held.holder) if held.holder else None

    def delete_lease(self) -> None:
        operation = pb.Operation(resource=LEASES, delete=pb.Delete(target=pb.GetRequest(**TARGET)))
        self.write(operation)


@dataclass
class Message:
    """A question on its way; `answer` when it is the way back."""

    question: Question
    answer: pb.Result | Object | None = None
    answered: bool = False


@dataclass
class Candidate:
    """One replica. `rate`: seconds of its clock in a second."""

    partition: Partition
    identity: str
    rate: float = 1.0
    offset: float = 0.0
    options: ElectionOptions = field(default_factory=ElectionOptions)
    paused: bool = False
    message: Message | None = None
    core: ElectionCore = field(init=False)

    def __post_init__(self) -> None:
        self.core = ElectionCore(KEY, self.identity, self.options, Random(self.identity))

    @property
    def clock(self) -> float:
        return self.offset + self.rate * self.partition.now

    @property
    def leads(self) -> bool:
        return self.core.leads(self.clock)

    def ask(self) -> None:
        """Send a question, if it is time to."""
        if self.paused or self.message is not None:
            return
        question = self.core.next_question(self.clock, round(self.clock * 1000))
        if question is not None:
            self.message = Message(question)

    def carry(self) -> None:
        """Its message goes one way: to the partition, or back."""
        message = self.message
        if message is None:
            return
        if not message.answered:
            operation = message.question.operation
            message.answer = self.partition.lease() if operation is None else self.partition.write(operation)
            message.answered = True
        elif not self.paused:
            self.message = None
            if message.question.operation is None:
                assert message.answer is None or isinstance(message.answer, Object)
                self.core.was_read(message.answer, self.clock)
            else:
                assert isinstance(message.answer, pb.Result)
                self.core.was_written(message.question, message.answer, self.clock)

    def lose(self) -> None:
        """Its message never arrives; some time later that is noticed."""
        if self.message is not None and not self.paused:
            self.message = None
            self.core.unanswered(self.clock)

    def turn(self) -> None:
        """Ask, and have the answer at once."""
        self.ask()
        self.carry()
        self.carry()

    def run(self, seconds: float, step: float = 0.25) -> None:
        run([self], seconds, step)


def run(candidates: list[Candidate], seconds: float, step: float = 0.25) -> None:
    """Let time pass, and all messages arrive."""
    partition = candidates[0].partition
    until = partition.now + seconds
    while partition.now < until:
        for candidate in candidates:
            for _ in range(3):  # To look, to take it, and to see that there is nothing to do.
                candidate.turn()
        partition.advance(step)
