"""Links over gRPC that are cut, delayed and frozen while they are in use."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from ursa.clients.transport.conditions import FREE, Conditions, Way
from ursa.clients.transport.grpc import GrpcBridge, GrpcTransport
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Unreachable

CUT, FROZEN = Way(cut=True), Way(frozen=True)
SHORT = 0.3


def batch(number: int) -> pb.MutateRequest:
    return pb.MutateRequest(batch=number)


@asynccontextmanager
async def opened(grpc_link: Any, partition: str = "tp-1", **keepalive: float) -> AsyncIterator[Any]:
    async with GrpcBridge() as bridge:
        transport = GrpcTransport(partition, grpc_link.address, bridge, **keepalive)
        yield bridge, transport
        await transport.aclose()


async def seen(transport: GrpcTransport) -> dict[str, int]:
    return dict((await transport.unary("Status", pb.StatusRequest())).objects)


async def come_back(transport: GrpcTransport) -> None:
    with trio.fail_after(10):
        while True:
            try:
                assert (await transport.unary("Status", pb.StatusRequest())).name == "echo"
                return
            except Unreachable:
                await trio.sleep(0.05)


async def seconds_of_a_call(transport: GrpcTransport) -> float:
    began = time.monotonic()
    await seen(transport)
    return time.monotonic() - began


async def led_around(bridge: GrpcBridge, partition: str = "tp-1") -> None:
    """So that streams of the test are of a link that is ready to be disturbed."""
    await bridge.set_conditions({partition: Conditions(requests=Way(delay_seconds=0.001))})


def test_a_frozen_link_holds_what_is_sent_and_delivers_it_in_order(grpc_link: Any) -> None:
    async def main() -> None:
        async with opened(grpc_link) as (bridge, transport):
            await led_around(bridge)
            async with transport.stream("Mutate") as stream:
                await stream.send(batch(1))
                assert [reply.batch for reply in await stream.receive()] == [1]
                for way in (Conditions(FROZEN, FROZEN), Conditions(FROZEN), Conditions(replies=FROZEN)):
                    await bridge.set_conditions({"tp-1": way})
                    for number in (2, 3):
                        await stream.send(batch(number))
                    with trio.move_on_after(SHORT) as waited:
                        await stream.receive()
                    assert waited.cancelled_caught
                    await bridge.set_conditions({})
                    numbers: list[int] = []
                    while len(numbers) < 2:
                        numbers += [reply.batch for reply in await stream.receive()]
                    assert numbers == [2, 3]

    trio.run(main)


def test_a_cut_way_loses_the_answers_and_not_the_requests_and_the_other_way_round(grpc_link: Any) -> None:
    async def main() -> None:
        async with opened(grpc_link) as (bridge, transport), opened(grpc_link, "other") as (_, other):
            for conditions, arrived in ((Conditions(replies=CUT), 1), (Conditions(requests=CUT), 0)):
                await led_around(bridge)
                await bridge.set_conditions({})
                async with transport.stream("Mutate") as stream:
                    await stream.send(batch(1))
                    await stream.receive()
                    before = await seen(other)
                    await bridge.set_conditions({"tp-1": conditions})
                    await stream.send(batch(2))
                    with trio.move_on_after(SHORT) as waited:
                        await stream.receive()
                    assert waited.cancelled_caught, "nobody is told"
                    assert (await seen(other))["requests"] - before["requests"] == arrived
                    await bridge.set_conditions({})
                    with pytest.raises(Unreachable):  # It has a hole in it.
                        await stream.receive()
                await come_back(transport)
                async with transport.stream("Mutate") as stream:
                    await stream.send(batch(3))
                    assert [reply.batch for reply in await stream.receive()] == [3]

    trio.run(main)


def test_a_silent_link_is_given_up_by_its_keepalive_and_new_ones_are_silent_too(grpc_link: Any) -> None:
    async def main() -> None:
        quick = {"keepalive_seconds": 0.2, "keepalive_timeout_seconds": 0.2}
        async with opened(grpc_link, **quick) as (bridge, transport):
            await led_around(bridge)
            async with transport.stream("Mutate") as stream:
                await stream.send(batch(1))
                await stream.receive()
                await bridge.set_conditions({"tp-1": Conditions(CUT, CUT)})
                with trio.fail_after(10), pytest.raises(Unreachable):
                    await stream.receive()
            # The old link may still be closing: then the call ends with it instead of at its own bound.
            with pytest.raises(Unreachable, match=r"no answer from .* within 0\.3 s|no link to .*ping timeout"):
                await transport.unary("Status", pb.StatusRequest(), timeout_seconds=SHORT)
            await bridge.set_conditions({})
            await come_back(transport)

    trio.run(main)


def test_a_refused_link_is_lost_at_once_and_comes_back(grpc_link: Any) -> None:
    async def main() -> None:
        async with opened(grpc_link) as (bridge, transport):
            await led_around(bridge)
            async with transport.stream("Mutate") as stream:
                await stream.send(batch(1))
                await stream.receive()
                await bridge.set_conditions({"tp-1": Conditions(refused=True)})
                with trio.fail_after(5), pytest.raises(Unreachable):
                    await stream.receive()
            with trio.fail_after(5), pytest.raises(Unreachable):
                await transport.unary("Status", pb.StatusRequest())
            await bridge.set_conditions({})
            await come_back(transport)

    trio.run(main)


def test_a_delayed_way_takes_its_time_and_both_ways_take_it_twice(grpc_link: Any) -> None:
    async def main() -> None:
        async with opened(grpc_link) as (bridge, transport):
            await led_around(bridge)
            await seen(transport)
            for conditions, least in (
                (Conditions(requests=Way(delay_seconds=0.2)), 0.2),
                (Conditions(Way(delay_seconds=0.2), Way(delay_seconds=0.2)), 0.4),
                (Conditions(FREE, FREE), 0.0),
            ):
                await bridge.set_conditions({"tp-1": conditions})
                taken = [await seconds_of_a_call(transport) for _ in range(3)]
                assert least <= min(taken) < least + 0.2, taken

    trio.run(main)


def test_watches_come_back_before_their_link_is_first_disturbed(grpc_link: Any) -> None:
    """So what is frozen is a stream that somebody works with, and not the attempt to open one."""

    async def main() -> None:
        async with opened(grpc_link) as (bridge, transport), trio.open_nursery() as nursery:
            log: list[str] = []
            send_news, news = trio.open_memory_channel[None](10)

            async def work() -> None:
                while True:
                    async with transport.stream("Watch") as stream:
                        try:
                            await stream.send(pb.WatchRequest(start=[pb.WatchStart(id=1)]))
                            await stream.receive()
                            log.append("opened")
                            send_news.send_nowait(None)
                            await stream.receive()
                        except Unreachable:
                            log.append("lost")
                            await trio.sleep(0.1)

            nursery.start_soon(work)
            with trio.fail_after(10):
                await news.receive()
                await bridge.set_conditions({"tp-1": Conditions(FROZEN, FROZEN)})
            await trio.sleep(SHORT)
            assert log[:2] == ["opened", "lost"]
            await bridge.set_conditions({})
            with trio.fail_after(5):
                await news.receive()
            assert log == ["opened", "lost", "opened"]
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_only_the_partition_that_is_named_is_disturbed_and_no_thread_stays(grpc_link: Any) -> None:
    async def main() -> None:
        async with GrpcBridge() as bridge:
            transports = [GrpcTransport(name, grpc_link.address, bridge) for name in ("tp-1", "tp-2")]
            for transport in transports:
                await seen(transport)
            await bridge.set_conditions({"tp-1": Conditions(CUT, CUT), "rp-9": Conditions(CUT, CUT)})
            await seen(transports[1])
            with pytest.raises(Unreachable):
                await transports[0].unary("Status", pb.StatusRequest(), timeout_seconds=SHORT)
            for transport in transports:
                await transport.aclose()
        await bridge.set_conditions({"tp-1": Conditions()})

    trio.run(main)
    assert not [each for each in threading.enumerate() if each.name == "ursa-grpc"]
