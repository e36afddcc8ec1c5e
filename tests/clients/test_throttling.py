"""A client holds itself back as it was told to, says so, and comes back when a partition asks it to."""

from __future__ import annotations

import logging
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from ursa.clients.client import RateLimit, open_client
from ursa.clients.operations import delete_operation
from ursa.clients.throttling import RequestBucket
from ursa.clients.transport.memory import MemoryTransport
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Cause, TooManyRequests

from .scripted import ScriptedTransport, accept
from .worlds import World, actor, key, pod, run


def another_link(world: World) -> MemoryTransport:
    return MemoryTransport("p-1", world._server, random=Random(9), user="another")


@given(
    st.floats(0.1, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 5), min_size=1, max_size=80),
)
def test_a_bucket_lets_through_no_more_than_its_rate_and_a_burst(rate: float, burst: int, pauses: list[float]) -> None:
    bucket, now = RequestBucket(RateLimit(rate, burst), 0.0), 0.0
    times = []
    for pause in pauses:
        now += pause
        times.append(now + bucket.take(now))
    assert times == sorted(times)
    for first in range(len(times)):
        for last in range(first + burst, len(times)):
            assert times[last] - times[first] >= (last - first - burst + 1) / rate - 1e-6


def test_a_bucket_holds_nobody_back_who_asks_seldom() -> None:
    bucket = RequestBucket(RateLimit(10, 1), 0.0)
    assert [bucket.take(0.2 * number) for number in range(20)] == [0.0] * 20


def test_a_limit_that_would_stop_a_client_is_refused() -> None:
    with pytest.raises(ValueError, match="for no limit, give none"):
        RateLimit(0.0, 1)


def test_a_client_spreads_its_requests_and_reports_what_it_held_back(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        async with world.open():
            await world.client.create(pod("a"))
            limited = actor("limited")
            async with open_client(another_link(world), limited, rate_limit=RateLimit(5, 2)) as client:
                began = trio.current_time()
                async with trio.open_nursery() as nursery:
                    for _ in range(12):
                        nursery.start_soon(client.get, "pods", key("a"))
                assert trio.current_time() - began == pytest.approx(2.0, abs=0.1)
                labels = {"host": client.partition, "verb": "Get"}
                held = limited.registry.get_sample_value("rest_client_rate_limiter_duration_seconds_sum", labels)
                assert held == pytest.approx(sum(0.2 * number for number in range(1, 11)), abs=0.1)

    with caplog.at_level(logging.WARNING):
        run(main)
    [told] = [record.message for record in caplog.records]
    assert (
        told
        == "Get at p-1 waits 1.0 s for this client's own limit (5 requests a second, burst 2), not for the partition"
    )


def test_who_is_cancelled_while_he_waits_gives_his_token_back() -> None:
    async def main() -> None:
        world = World()
        async with world.open():
            await world.client.create(pod("a"))
            async with open_client(another_link(world), actor(), rate_limit=RateLimit(1, 1)) as client:
                await client.get("pods", key("a"))
                with trio.move_on_after(0.5):
                    await client.get("pods", key("a"))
                began = trio.current_time()
                await client.get("pods", key("a"))
                assert trio.current_time() - began == pytest.approx(0.5, abs=0.1)

    run(main)


def _refused(request: pb.MutateRequest) -> pb.MutateReply:
    error = TooManyRequests("too many", causes=[Cause("", "too many", "queue-full")], retry_after_ms=1000)
    return pb.MutateReply(batch=request.batch, results=[pb.Result(error=error.status) for _ in request.operations])


def test_a_batch_that_had_no_turn_goes_out_again_when_it_may_and_before_what_came_later() -> None:
    async def main() -> None:
        refusals = 3

        def answer(request: pb.MutateRequest) -> object:
            nonlocal refusals
            if request.operations and refusals:
                refusals -= 1
                return _refused(request)
            return accept(request)

        transport = ScriptedTransport(answer)
        done: list[str] = []
        async with open_client(transport, actor()) as client, trio.open_nursery() as nursery:
            began = trio.current_time()

            async def write(name: str) -> None:
                [result] = await client.mutate([delete_operation("pods", key(name))])
                assert not result.HasField("error")
                done.append(name)

            nursery.start_soon(write, "early")
            await trio.sleep(0.5)
            nursery.start_soon(write, "late")
        assert trio.current_time() - began == pytest.approx(3.0, abs=0.1)
        assert done == ["early", "late"]
        sent = [[operation.delete.target.name for operation in batch.operations] for batch in transport.batches]
        assert sent[-2:] == [["early"], ["late"]]

    run(main)


def test_a_batch_that_never_has_its_turn_is_refused_in_the_end() -> None:
    async def main() -> None:
        transport = ScriptedTransport(lambda request: _refused(request) if request.operations else accept(request))
        async with open_client(transport, actor()) as client:
            began = trio.current_time()
            [result] = await client.mutate([delete_operation("pods", key("a"))])
            assert result.error.reason == "TooManyRequests"
            assert trio.current_time() - began == pytest.approx(29.0, abs=1.1)

    run(main)
