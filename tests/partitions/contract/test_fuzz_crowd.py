"""Strange requests of many users at once, before a partition with hardly any seats: each is answered once, or refused
and told when to ask again; and when all have gone no seat is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.partitions.flow import FlowOptions, Level, Schema
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError
from ursa.proto.kinds import Role
from ursa.proto.objects import Object
from ursa.proto.sessions import METHODS, Caller, ServerStream
from ursa.storage import MemoryStore

from ..conftest import HandCommitter, Partition
from .fuzzing import Case, Fuzz, Given
from .fuzzing_kinds import DEFINITION, WIDGET
from .fuzzing_values import DEPLOYMENT
from .objects import config, pod
from .test_fuzz import check_reply, check_status

CROWDS = 600 if os.environ.get("URSA_SOAK") else 30
CASES_PER_CROWD = 150
# One of each user's, and one more; what waits behind them is soon too much.
NARROW = FlowOptions(
    (Level("few", 2, queue_length=2, waiting_max=5), Level("none", 2, queue_length=0)),
    (Schema("writes", "few", verbs=("mutate",)), Schema("others", "none")),
)
USERS = [Caller(user, "fuzz") for user in ("ann", "bob", "", "system:masters", "kubelet-1", "scheduler-tp-1")]


class Crowd:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        events = MemoryStore(HandCommitter(), incarnation="two")
        self.partition = Partition(Role.TENANT, events_store=events, flow_options=NARROW)
        for manifest in (DEFINITION, DEPLOYMENT, pod("a"), *(config(f"c-{number}") for number in range(40))):
            self.partition.create(manifest)
        widget = pb.Operation(resource="widgets.example.com")
        widget.create.object.CopyFrom(Object.from_dict(WIDGET).message)
        self.partition.do(widget)
        self.fuzz = Fuzz(seed, Given([self.partition.list("configmaps", limit=1).continue_token], ["x"], [b"one"]))
        self.calls: list[tuple[str, list[bytes | ApiError]]] = []
        self.streams: list[tuple[str, ServerStream, list[bytes]]] = []
        self.refused = 0

    def ask(self, case: Case) -> None:
        caller, method = self.random.choice(USERS), METHODS[case.method]
        if method.streams_replies:
            stream = self.partition.server.open(case.method, caller, lambda: None)
            self.streams.append((case.method, stream, list(case.messages)))
            return
        answers: list[bytes | ApiError] = []
        self.calls.append((case.method, answers))
        self.partition.server.call(case.method, case.messages[0], caller, answers.append)

    def step(self) -> None:
        """Something happens to a stream, to the store, or to the time."""
        random = self.random
        match random.randrange(8):
            case 0:
                self.partition.committer.automatic = random.random() < 0.5
            case 1:
                self.partition.committer.finish()
            case 2:
                self.partition.runtime.advance(random.choice((0.001, 0.1, 3.0)))
            case _ if self.streams:
                place = random.randrange(len(self.streams))
                if not self._go_on(*self.streams[place], leaves=random.random() < 0.05):
                    del self.streams[place]

    def _go_on(self, method: str, stream: ServerStream, messages: list[bytes], *, leaves: bool) -> bool:
        """Whether there may be more to come."""
        try:
            if messages and not leaves:
                stream.receive(messages.pop(0))
                if not METHODS[method].streams_requests:
                    stream.end_requests()
            elif (data := stream.take()) is not None:
                check_reply(METHODS[method].reply.FromString(data))
            leaves = leaves or stream.finished
        except ApiError as error:
            self._refused(error)
            leaves = True
        if leaves:
            stream.close()
        return not leaves

    def _refused(self, error: ApiError) -> None:
        check_status(error.status)
        if error.reason == "TooManyRequests":
            self.refused += 1
            assert error.retry_after_ms or error.status.retry_after_ms, error

    def leave(self) -> None:
        """Everybody hangs up, and whoever asked without a stream is answered."""
        self.partition.committer.automatic = True
        self.partition.committer.finish()
        for _, stream, _ in self.streams:
            stream.close()
        self.partition.runtime.advance(60)
        for method, answers in self.calls:
            [answer] = answers
            if isinstance(answer, ApiError):
                self._refused(answer)
            else:
                check_reply(METHODS[method].reply.FromString(answer))


def crowd_of(seed: int, look: Callable[[Crowd], Any] = lambda _: None) -> None:
    crowd = Crowd(seed)
    for _ in range(CASES_PER_CROWD):
        crowd.ask(crowd.fuzz.case())
        for _ in range(crowd.random.choice((0, 1, 5))):
            crowd.step()
    crowd.leave()
    for number in range(3):
        crowd.partition.create(config(f"after-{number}"))
    listed = crowd.partition.list("configmaps", tenant="system", namespace="default")
    names = [item.metadata.name for item in listed.items]
    assert [name for name in names if name.startswith("after-")] == [f"after-{number}" for number in range(3)]
    look(crowd)
    crowd.partition.server.close()


@settings(max_examples=CROWDS)
@given(st.integers(0, 2**64 - 1))
def test_a_crowd_is_answered_or_refused_and_leaves_no_seat_taken(seed: int) -> None:
    crowd_of(seed)


def test_a_good_part_of_a_crowd_is_refused() -> None:
    refused: list[int] = []
    crowd_of(1, lambda crowd: refused.append(crowd.refused))
    assert refused[0] > 1
