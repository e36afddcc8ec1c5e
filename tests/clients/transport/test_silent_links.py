"""Links that carry nothing any more and tell nobody, one way or both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from ursa.clients.transport.memory import MemoryTransport
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Unreachable

LATENCIES = [(0.0, 0.0), (0.001, 0.01)]


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> None:
        with trio.fail_after(10_000):
            await main()

    return trio.run(bounded, clock=MockClock(autojump_threshold=0))


def batch(number: int) -> pb.MutateRequest:
    return pb.MutateRequest(batch=number)


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("way", [{"replies": False}, {"requests": False}, {}])
def test_what_was_on_its_way_arrives_in_order_when_the_link_speaks_again(
    echo_service: Any, latency: tuple[float, float], way: dict[str, bool]
) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=latency)
        async with transport.stream("Mutate") as stream:
            await stream.send(batch(1))
            assert [reply.batch for reply in await stream.receive()] == [1]
            transport.silence(**way)
            await stream.send(batch(2))
            await stream.send(batch(3))
            with trio.move_on_after(100) as waited:
                await stream.receive()
            assert waited.cancelled_caught
            transport.silence(requests=False, replies=False)
            numbers: list[int] = []
            while len(numbers) < 2:
                numbers += [reply.batch for reply in await stream.receive()]
            assert numbers == [2, 3]

    run(main)


@pytest.mark.parametrize("latency", LATENCIES)
def test_what_is_given_up_fails_and_does_not_arrive_later(echo_service: Any, latency: tuple[float, float]) -> None:
    async def main() -> None:
        traced: list[str] = []
        transport = MemoryTransport(
            "tp-1", echo_service(), random=Random(1), latency_seconds=latency, trace=traced.append
        )
        async with transport.stream("Mutate") as stream:
            await stream.send(batch(1))
            await stream.receive()
            transport.silence()
            await stream.send(batch(2))
            delivered = len(traced)
            await trio.sleep(1)
            transport.drop()
            with pytest.raises(Unreachable, match="silent for too long"):
                await stream.receive()
        transport.silence(requests=False, replies=False)
        await trio.sleep(1)
        assert len(traced) == delivered
        async with transport.stream("Mutate") as stream:
            await stream.send(batch(3))
            assert [reply.batch for reply in await stream.receive()] == [3]

    run(main)


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("way", [{"replies": False}, {"requests": False}])
def test_a_call_waits_until_the_link_speaks_again_or_its_time_is_over(
    echo_service: Any, latency: tuple[float, float], way: dict[str, bool]
) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=latency)
        transport.silence(**way)
        with pytest.raises(Unreachable, match="no answer"):
            await transport.unary("Get", pb.GetRequest(name="a"), timeout_seconds=5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.unary, "Get", pb.GetRequest(name="a"))
            await trio.sleep(1)
            transport.silence(requests=False, replies=False)

    run(main)


@pytest.mark.parametrize("latency", LATENCIES)
def test_a_stream_that_is_opened_in_silence_opens_when_it_ends(echo_service: Any, latency: tuple[float, float]) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=latency)
        transport.silence()
        async with transport.stream("Mutate") as stream:
            await stream.send(batch(1))
            await trio.sleep(1)
            transport.silence(requests=False, replies=False)
            assert [reply.batch for reply in await stream.receive()] == [1]

    run(main)


@pytest.mark.parametrize("latency", LATENCIES)
def test_what_is_stranded_hears_nothing_until_it_is_dropped_and_what_is_new_does(
    echo_service: Any, latency: tuple[float, float]
) -> None:
    async def main() -> None:
        transport = MemoryTransport("tp-1", echo_service(), random=Random(1), latency_seconds=latency)
        async with transport.stream("Mutate") as old:
            await old.send(batch(1))
            await old.receive()
            transport.strand()
            await old.send(batch(2))
            async with transport.stream("Mutate") as new:
                await new.send(batch(3))
                assert [reply.batch for reply in await new.receive()] == [3]
                transport.silence(requests=False, replies=False)  # Another fault is over, which is no help.
                with trio.move_on_after(100) as waited:
                    await old.receive()
                assert waited.cancelled_caught
                transport.drop(stranded=True)
                with pytest.raises(Unreachable, match="silent for too long"):
                    await old.receive()
                await new.send(batch(4))
                assert [reply.batch for reply in await new.receive()] == [4]

    run(main)
