"""Whatever bytes a client sends, it gets Kubernetes' answer, and the partition goes on."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ursa.partitions.reads.continuing import format_continue, parse_continue
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError
from ursa.proto.objects import Object
from ursa.proto.sessions import METHODS

from .fuzzing import Case, Fuzz, Given
from .fuzzing_kinds import DEFINITION, WIDGET, WIDGETS
from .fuzzing_values import DEPLOYMENT
from .objects import config, pod
from .subjects import Subject, stage

# Of cases, in one run of a test.
CASES = {"core": 3_000, "memory": 300, "grpc": 300}
if os.environ.get("URSA_SOAK"):
    CASES = {"core": 100_000, "memory": 5_000, "grpc": 5_000}
# On one partition, one after the other: what one leaves behind the next one meets.
CASES_PER_PARTITION = 60
# A partition that fails on a request says so; nothing here may make it say so.
FAULTS = ("InternalError", "")


class Bytes(NamedTuple):
    """Sent as they are, where a message is expected."""

    data: bytes

    def SerializeToString(self, deterministic: bool = False) -> bytes:  # noqa: N802 - protobuf's name
        return self.data


@pytest.mark.parametrize("subject_name", CASES)
def test_no_bytes_make_a_partition_fail(subject_name: str) -> None:
    with stage(subject_name) as chosen:

        @settings(max_examples=CASES[subject_name] // CASES_PER_PARTITION, suppress_health_check=[HealthCheck.too_slow])
        @given(st.integers(0, 2**64 - 1))
        def feed(seed: int) -> None:
            async def tell(subject: Subject) -> None:
                fuzz = Fuzz(seed, await given_by(subject))
                for _ in range(CASES_PER_PARTITION):
                    case = fuzz.case()
                    try:
                        await attempt(subject, case)
                    except Exception as error:
                        error.add_note(f"after {case}")
                        raise
                await goes_on(subject)

            chosen.play(tell)

        feed()


async def given_by(subject: Subject) -> Given:
    """Tokens of other queries, of older revisions and of another incarnation; positions and a writer."""
    for manifest in (DEFINITION, DEPLOYMENT, pod("a"), config("a"), config("b", labels={"app": "web"})):
        await subject.create(manifest)
    widget = pb.Operation(resource=WIDGETS)
    widget.create.object.CopyFrom(Object.from_dict(WIDGET).message)
    positions, writers = [], []
    for number in range(3):
        await subject.create(config(f"c-{number}"))
        reply = await subject.call("Write", pb.MutateRequest(operations=[widget], writer=b"", stream=1))
        positions.append(reply.position)
        writers.append(reply.writer)
    tokens = [(await subject.list("configmaps", limit=limit)).continue_token for limit in (1, 2)]
    tokens.append((await subject.list("configmaps", limit=1, namespace="default")).continue_token)
    tokens += [other for token in tokens if (other := of_another(token))]
    return Given(tokens, positions, writers)


def of_another(token: str) -> str:
    """The same of another incarnation, from a revision that is not there yet."""
    return format_continue(parse_continue(token)._replace(incarnation="two", revision=10**6))


async def attempt(subject: Subject, case: Case) -> None:
    try:
        if METHODS[case.method].streams_replies:
            await over_stream(subject, case)
        else:
            reply = await subject.while_time_passes(subject.call, case.method, Bytes(case.messages[0]))
            check_reply(reply)
    except ApiError as error:
        check_status(error.status)


async def over_stream(subject: Subject, case: Case) -> None:
    async with subject.stream(case.method) as stream:
        for data in case.messages:
            await stream.send(Bytes(data))  # type: ignore[arg-type]
        for _ in range(case.reads):
            replies: list[Any] = []
            with trio.move_on_after(5 * subject.turn_seconds):
                replies = list(await stream.receive())
            for reply in replies:
                check_reply(reply)
            if not replies:
                return


def check_reply(reply: Any) -> None:
    if isinstance(reply, pb.MutateReply):
        for result in reply.results:
            if result.HasField("error"):
                check_status(result.error)
    elif isinstance(reply, pb.WatchReply):
        for batch in reply.batches:
            if batch.HasField("error"):
                check_status(batch.error)
    elif "error" in reply.DESCRIPTOR.fields_by_name and reply.HasField("error"):
        check_status(reply.error)


def check_status(status: pb.Status) -> None:
    """The Kubernetes reason, words that say what to do, and the causes."""
    assert status.reason not in FAULTS, status
    assert 400 <= status.code < 500 or status.reason in ("Timeout", "ServiceUnavailable"), status
    assert status.message, status
    if status.reason == "Invalid":
        assert all(cause.reason and (cause.field or cause.message) for cause in status.causes), status


async def goes_on(subject: Subject) -> None:
    """It takes writes, lists them, and tells of them.

    A write of a case that ended its stream may still be on its way: what is looked at is then of one revision.
    """
    watching = subject.watch("configmaps", resource_version=subject.host.head())
    created = await subject.create(config("sane"))
    await subject.settled(watching)
    assert [event.brief for event in watching.events if event.object.name == "sane"] == [("ADDED", "sane")]
    assert (await subject.get("configmaps", "sane")).message == created.message
    for _ in range(10):
        listed = await subject.list("configmaps")
        stored = {key: pb.Object.FromString(value) for key, value in subject.host.stored().items()}
        if listed.resource_version == subject.host.head():
            break
    assert created.message in [item.message for item in listed.items]
    of_configs = {key: message for key, message in stored.items() if key.startswith("/registry/configmaps/")}
    assert [Object(item).name for item in of_configs.values()] == listed.names
