"""What only the link in memory promises: order under latency, virtual time, the trace, cutting and healing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock
from ursa.clients.transport import _memory_stream
from ursa.clients.transport._flow import OUTBOUND_BYTES_MAX
from ursa.clients.transport._memory_link import Line
from ursa.clients.transport.memory import MemoryTransport
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import InternalError, Invalid, Unreachable

LATENCY_SECONDS = (0.001, 0.050)


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    return trio.run(main, clock=MockClock(autojump_threshold=0))


def batch(number: int, *resources: str) -> pb.MutateRequest:
    return pb.MutateRequest(batch=number, operations=[pb.Operation(resource=each) for each in resources])


async def receive_batches(stream: Any, count: int) -> list[int]:
    numbers: list[int] = []
    while len(numbers) < count:
        numbers += [reply.batch for reply in await stream.receive()]
    return numbers


async def send_for_ever(stream: Any, message: pb.MutateRequest) -> None:
    while True:
        await stream.send(message)


@given(seed=st.integers(0, 2**32), bursts=st.lists(st.integers(1, 8), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_nothing_overtakes_within_a_stream(echo_service: Any, seed: int, bursts: list[int]) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(seed), latency_seconds=LATENCY_SECONDS)
        random, sent = Random(seed), 0
        async with transport.stream("Mutate") as stream:
            for burst in bursts:
                for _ in range(burst):
                    await stream.send(batch(sent))
                    sent += 1
                await trio.sleep(random.uniform(0, 0.1))
            assert await receive_batches(stream, sent) == list(range(sent))

    run(main)


def test_a_message_arrives_no_earlier_than_those_before_it() -> None:
    async def main() -> None:
        line = Line(Random(1), LATENCY_SECONDS)
        arrivals = []
        for number in range(100):
            line.put(bytes(number))
            arrivals.append(line._items[-1][0])
        assert arrivals == sorted(arrivals)

    run(main)


def test_a_message_takes_its_latency_each_way(echo_service: Any) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=(2.0, 2.0))
        start = trio.current_time()
        await transport.unary("Get", pb.GetRequest(name="a"))
        assert trio.current_time() - start == pytest.approx(4)
        async with transport.stream("Mutate") as stream:
            await stream.send(batch(1))
            await stream.receive()
        assert trio.current_time() - start == pytest.approx(8)

    run(main)


def test_there_is_room_until_too_much_is_on_its_way_and_again_when_it_has_arrived(echo_service: Any) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=LATENCY_SECONDS)
        async with transport.stream("Mutate") as stream:
            sent = 0
            while stream.has_room:
                sent += 1
                stream.send_nowait(batch(sent, "x" * 100_000))
            assert sent == 1 + OUTBOUND_BYTES_MAX // 100_000
            assert await receive_batches(stream, sent) == list(range(1, sent + 1))
            assert stream.has_room

    run(main)


def test_messages_that_arrive_while_their_reader_sleeps_are_delivered_at_their_times(echo_service: Any) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=(2.0, 2.0))
        taken: list[tuple[int, float]] = []
        async with transport.stream("Mutate") as stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.deliver, lambda reply: taken.append((reply.batch, trio.current_time())))
            for number in (1, 2):
                await stream.send(batch(number))
                await trio.sleep(1)
            await trio.sleep(10)
            transport.silence()
            await stream.send(batch(3))
            await trio.sleep(10)
            transport.silence(requests=False, replies=False)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        assert taken == [(1, pytest.approx(4)), (2, pytest.approx(5)), (3, pytest.approx(24))]

    run(main)


def test_what_has_arrived_before_anybody_takes_it_is_delivered_at_once(echo_service: Any) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=(2.0, 2.0))
        taken: list[tuple[int, float]] = []
        async with transport.stream("Mutate") as stream:
            await stream.send(batch(1))
            await trio.sleep(10)
            with trio.move_on_after(10):
                await stream.deliver(lambda reply: taken.append((reply.batch, trio.current_time())))
        assert taken == [(1, 10.0)]

    run(main)


def test_what_the_partition_says_at_the_instant_of_a_delivery_is_delivered_too(echo_service: Any) -> None:
    class Service(echo_service):  # type: ignore[misc]
        def open(self, *arguments: Any) -> Any:
            self.stream = super().open(*arguments)
            return self.stream

    async def main() -> None:
        service, taken = Service(), []
        transport = MemoryTransport("tp-1", service, random=Random(1))
        transport.slow(1.0, 0.0)  # So replies arrive at once.

        def take(reply: pb.MutateReply) -> None:
            taken.append((reply.batch, trio.current_time()))
            if reply.batch == 1:
                service.stream.say(pb.MutateReply(batch=2))

        async with transport.stream("Mutate") as stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.deliver, take)
            await stream.send(batch(1))
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        assert taken == [(1, 1.0), (2, 1.0)]

    run(main)


def test_a_burst_lets_other_tasks_run(echo_service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=(1.0, 1.0))
        order: list[str] = []

        def take(reply: pb.MutateReply) -> None:
            order.append(f"took {reply.batch}")
            turn.set()

        async def other() -> None:
            await turn.wait()
            order.append("other")

        turn = trio.Event()
        async with transport.stream("Mutate") as stream, trio.open_nursery() as nursery:
            for number in range(5):
                await stream.send(batch(number))
            nursery.start_soon(other)
            nursery.start_soon(stream.deliver, take)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        assert sorted(order) == ["other", *(f"took {number}" for number in range(5))]
        assert order.index("other") < 3

    monkeypatch.setattr(_memory_stream, "TURN_SECONDS_MAX", -1.0)  # Each message takes too long.
    run(main)


def test_streams_do_not_wait_for_one_another(echo_service: Any) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=LATENCY_SECONDS)
        async with transport.stream("Watch") as flooded, transport.stream("Mutate") as stream:
            await flooded.send(pb.WatchRequest(start=[pb.WatchStart(selection=pb.Selection(resource="flood"))]))
            with trio.fail_after(1):
                await stream.send(batch(1))
                assert [reply.batch for reply in await stream.receive()] == [1]

    run(main)


@pytest.mark.parametrize("latency_seconds", [(0.0, 0.0), LATENCY_SECONDS])
def test_a_cut_fails_what_is_in_flight_and_a_heal_lets_new_streams_pass(
    echo_service: Any, latency_seconds: tuple[float, float]
) -> None:
    async def main() -> None:
        service = echo_service()
        transport = MemoryTransport("tp-1", service, random=Random(1), latency_seconds=latency_seconds)
        failures: list[str] = []

        async def wait_on_a_call() -> None:
            with pytest.raises(Unreachable) as caught:
                await transport.unary("Get", pb.GetRequest(name="silent"))
            failures.append(str(caught.value))

        async def wait_on_a_stream(task_status: trio.TaskStatus[None]) -> None:
            async with transport.stream("Watch") as stream:
                task_status.started()
                with pytest.raises(Unreachable) as caught:
                    await stream.receive()
                failures.append(str(caught.value))
                with pytest.raises(Unreachable):
                    await stream.send(pb.WatchRequest())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_on_a_call)
            await nursery.start(wait_on_a_stream)
            await trio.sleep(1)
            transport.cut()
        assert failures == ["tp-1: the link is cut"] * 2
        with pytest.raises(Unreachable):
            await transport.unary("Status", pb.StatusRequest())
        async with transport.stream("Watch") as stream:
            with pytest.raises(Unreachable):
                await stream.receive()
        assert service.seen["opened"] == service.seen["closed"] == 1

        restarted = echo_service()
        transport.heal(restarted)
        await transport.unary("Status", pb.StatusRequest())
        assert restarted.seen["calls"] == 1

    run(main)


def test_what_arrived_before_the_cut_is_received_and_what_was_on_its_way_is_lost(echo_service: Any) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=(1.0, 1.0))
        async with transport.stream("Mutate") as stream:
            await stream.send(batch(1))
            await trio.sleep(0.5)
            await stream.send(batch(2))
            await trio.sleep(1.75)  # the first reply is there, the second is a quarter of a second away
            transport.cut()
            assert [reply.batch for reply in await stream.receive()] == [1]
            with pytest.raises(Unreachable):
                await stream.receive()

    run(main)


def test_a_fault_of_the_apiserver_comes_out_where_it_can_be_seen(echo_service: Any) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=LATENCY_SECONDS)
        async with transport.stream("Mutate") as stream:
            await stream.send(pb.MutateRequest(operations=[pb.Operation(resource="crash")]))
            await stream.receive()

    with pytest.raises(ZeroDivisionError):
        run(main)


def test_an_error_in_the_block_of_a_delayed_stream_comes_out_as_it_is(echo_service: Any) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=LATENCY_SECONDS)
        with pytest.raises(KeyError):
            async with transport.stream("Mutate"):
                raise KeyError
        with pytest.raises(InternalError):
            async with transport.stream("Mutate"):
                raise InternalError("mine")

    run(main)


def test_a_sender_to_a_lost_stream_is_told_and_never_spins(echo_service: Any) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=(5.0, 5.0))
        async with transport.stream("Mutate") as stream:
            await stream.send(batch(1, "refuse"))
            with pytest.raises(Invalid):
                await send_for_ever(stream, batch(2, "x" * 100_000))

    run(main)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_trace_in_any_process() -> None:
    script = Path(__file__).with_name("trace_scenario.py")

    def trace(seed: int, hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, str(script), str(seed)]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout

    first = trace(1, "1")
    assert first.count("\n") > 500
    assert first == trace(1, "2")
    assert first != trace(2, "1")
