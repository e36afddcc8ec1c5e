"""What every transport promises, over each of them, against the same apiserver."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from ursa.clients.transport._flow import INBOUND_BYTES_MAX
from ursa.clients.transport.interface import Transport
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, Invalid, Unreachable

# gRPC's own buffers on the way to a reader that has stopped: the windows of both ends, grown by bandwidth probing.
IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024
WAIT_SECONDS = 20.0


def mutation(number: int, *resources: str) -> pb.MutateRequest:
    return pb.MutateRequest(batch=number, operations=[pb.Operation(resource=each) for each in resources])


def watch(resource: str) -> pb.WatchRequest:
    return pb.WatchRequest(start=[pb.WatchStart(id=1, selection=pb.Selection(resource=resource))])


async def seen(transport: Transport) -> dict[str, int]:
    status = await transport.unary("Status", pb.StatusRequest())
    return dict(status.objects)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    with trio.fail_after(WAIT_SECONDS):
        while not await condition():  # noqa: ASYNC110 what it waits for happens in another process
            await trio.sleep(0.01)


def waiting(stream: Any) -> int | None:
    """How many replies have come over a real link and wait to be received. None: it is not a real link."""
    pipe = getattr(getattr(stream, "_stream", stream), "_pipe", None)
    return None if pipe is None else len(pipe.inbound)


async def receive_all(stream: Any) -> list[Any]:
    replies: list[Any] = []
    while arrived := await stream.receive():
        replies += arrived
    return replies


async def receive_count(stream: Any, count: int) -> list[Any]:
    replies: list[Any] = []
    while len(replies) < count:
        replies += await stream.receive()
    return replies


def assert_is_the_refusal(error: ApiError) -> None:
    assert type(error) is Invalid
    assert (error.message, error.key, error.resource_version) == ("two rules broken", "pods/a/b/c", 7)
    assert error.retry_after_ms == 250
    assert [(c.field, c.reason, c.message) for c in error.causes] == [
        ("spec.nodeName", "FieldValueForbidden", "is set already")
    ]


def test_a_unary_call_is_answered_and_carries_the_user(link: Any) -> None:
    async def main() -> None:
        async with link.open("kubelet-1") as transport:
            reply = await transport.unary("Get", pb.GetRequest(name="a"))
            assert reply.object.metadata.name == "a"
            assert reply.object.metadata.annotations["user"] == "kubelet-1"

    link.run(main)


def test_many_unary_calls_get_each_its_own_answer(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, trio.open_nursery() as nursery:

            async def call(name: str) -> None:
                assert (await transport.unary("Get", pb.GetRequest(name=name))).object.metadata.name == name

            for number in range(100):
                nursery.start_soon(call, f"name-{number}")

    link.run(main)


def test_a_refusal_arrives_with_all_its_fields(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport:
            with pytest.raises(ApiError) as caught:
                await transport.unary("Get", pb.GetRequest(name="missing"))
            assert_is_the_refusal(caught.value)
            async with transport.stream("List") as stream:
                await stream.send(pb.ListRequest(selection=pb.Selection(resource="refuse")))
                with pytest.raises(ApiError) as caught:
                    await stream.receive()
                assert_is_the_refusal(caught.value)

    link.run(main)


def test_a_refused_stream_gives_first_what_came_before_and_then_refuses_to_send_too(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream:
            await stream.send(mutation(1))
            assert [reply.batch for reply in await receive_count(stream, 1)] == [1]
            await stream.send(mutation(2, "refuse"))
            with pytest.raises(Invalid):
                await stream.receive()
            with pytest.raises(Invalid):
                await stream.receive()
            with pytest.raises(Invalid):
                await stream.send(mutation(3))

    link.run(main)


def test_a_call_without_an_answer_ends_at_its_deadline(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport:
            await seen(transport)
            start = trio.current_time()
            with pytest.raises(Unreachable, match=r"^tp-1: no answer .* within 0\.2 s$"):
                await transport.unary("Get", pb.GetRequest(name="silent"), timeout_seconds=0.2)
            assert 0.15 < trio.current_time() - start < 5

    link.run(main)


@pytest.mark.parametrize("chunks", [0, 1, 200])
def test_a_list_streams_all_its_chunks_in_order_and_then_ends(link: Any, chunks: int) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("List") as stream:
            await stream.send(pb.ListRequest(limit=chunks))
            replies = await receive_all(stream)
            assert [reply.remaining for reply in replies] == list(reversed(range(chunks)))
            assert await stream.receive() == []
            with pytest.raises(Unreachable, match="ended"):
                await stream.send(pb.ListRequest())

    link.run(main)


def test_a_slow_reader_of_a_list_that_has_ended_still_gets_all_of_it(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("List") as stream:
            await stream.send(pb.ListRequest(limit=100))  # 6.4 MB: more than the transport holds
            count = 0
            while arrived := await stream.receive():
                count += len(arrived)
                await trio.sleep(0.02)
            assert count == 100

    link.run(main)


def test_bursts_keep_their_order_and_are_received_together(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream:
            start, sent = await seen(transport), 0
            for burst in (1, 100, 1, 1000):
                for _ in range(burst):
                    await stream.send(mutation(sent))
                    sent += 1

            async def all_are_there() -> bool:
                await trio.sleep(0.1)
                answered = (await seen(transport))["requests"] - start["requests"] == sent
                return answered and waiting(stream) in (None, sent)

            await eventually(all_are_there)
            receives, numbers = 0, []
            while len(numbers) < sent:
                numbers += [reply.batch for reply in await stream.receive()]
                receives += 1
            assert numbers == list(range(sent))
            assert receives < 10

    link.run(main)


def test_sending_and_receiving_let_other_tasks_run_even_when_they_need_not_wait(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream:
            for number in range(10):
                with trio.testing.assert_checkpoints():
                    await stream.send(mutation(number, "5"))
                await trio.sleep(0.1)
                with trio.testing.assert_checkpoints():
                    await stream.receive()

    link.run(main)


def test_one_request_may_have_many_replies(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream:
            await stream.send(mutation(5, "300"))
            assert [reply.batch for reply in await receive_count(stream, 300)] == [5] * 300

    link.run(main)


def test_an_empty_message_arrives(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream:
            await stream.send(pb.MutateRequest())
            assert await receive_count(stream, 1) == [pb.MutateReply()]

    link.run(main)


def test_a_large_message_arrives_whole_in_both_directions(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream:
            await stream.send(mutation(1, "x" * 8_000_000))
            (reply,) = await receive_count(stream, 1)
            assert len(reply.results[0].name) == 8_000_000

    link.run(main)


def test_a_sender_and_a_receiver_in_two_tasks_move_more_than_the_link_holds(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream, trio.open_nursery() as nursery:

            async def send() -> None:
                for number in range(300):
                    await stream.send(mutation(number, "x" * 100_000))

            nursery.start_soon(send)
            replies = await receive_count(stream, 300)
            assert [reply.batch for reply in replies] == list(range(300))

    link.run(main)


def test_more_requests_than_the_link_holds_pass_without_a_single_reply(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Watch") as stream:
            request = pb.WatchRequest(stop=[pb.WatchStop(id=2**31)] * 12_500)
            assert request.ByteSize() >= 100_000
            with trio.fail_after(WAIT_SECONDS):
                for _ in range(100):
                    await stream.send(request)
                await stream.send(watch("pods"))
                assert len(await receive_count(stream, 1)) == 1

    link.run(main)


def test_a_reader_that_does_not_read_stops_the_server_and_gets_everything_later(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Watch") as stream:
            before = (await seen(transport))["reply_bytes"]
            await stream.send(watch("flood"))
            bytes_seen = -1

            async def has_stopped() -> bool:
                nonlocal bytes_seen
                await trio.sleep(0.2)
                last, bytes_seen = bytes_seen, (await seen(transport))["reply_bytes"]
                return bytes_seen == last

            await eventually(has_stopped)
            assert bytes_seen - before <= INBOUND_BYTES_MAX + IN_FLIGHT_BYTES_MAX
            replies = await receive_count(stream, 500)
            numbers = [reply.resource_version for reply in replies[1:]]
            assert numbers == list(range(1, len(numbers) + 1))

    link.run(main)


def test_a_stalled_stream_holds_up_nobody_else(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Watch") as flooded, transport.stream("Mutate") as stream:
            await flooded.send(watch("flood"))
            for number in range(100):
                await stream.send(mutation(number))
                assert [reply.batch for reply in await stream.receive()] == [number]

    link.run(main)


def test_leaving_a_stream_or_a_scope_is_seen_by_the_server(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport:
            start = await seen(transport)

            async def closed(count: int) -> bool:
                now = await seen(transport)
                return now["closed"] - start["closed"] == now["opened"] - start["opened"] == count

            async with transport.stream("Watch") as stream:
                await stream.send(watch("pods"))
                await stream.receive()
            await eventually(lambda: closed(1))

            with trio.move_on_after(0.3) as scope:
                async with transport.stream("Watch") as stream:
                    await stream.send(watch("pods"))
                    while True:
                        await stream.receive()
            assert scope.cancelled_caught
            await eventually(lambda: closed(2))

    link.run(main)


def test_what_a_cancelled_receive_left_behind_comes_with_the_next(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream:
            numbers: list[int] = []
            for number in range(50):
                await stream.send(mutation(number))
                with trio.move_on_after(0.001 * (number % 5)):
                    numbers += [reply.batch for reply in await stream.receive()]
            while len(numbers) < 50:
                numbers += [reply.batch for reply in await stream.receive()]
            assert numbers == list(range(50))

    link.run(main)


def test_a_cancelled_call_leaves_the_link_usable(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport:
            with trio.move_on_after(0.1) as scope:
                await transport.unary("Get", pb.GetRequest(name="silent"))
            assert scope.cancelled_caught
            assert (await transport.unary("Get", pb.GetRequest(name="a"))).object.metadata.name == "a"

    link.run(main)


def test_a_lost_server_ends_streams_and_calls_and_is_found_again_when_it_is_back(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport:
            errors: list[str] = []

            async def wait_on_a_call() -> None:
                with pytest.raises(Unreachable) as caught:
                    await transport.unary("Get", pb.GetRequest(name="silent"))
                errors.append(str(caught.value))

            async with transport.stream("Watch") as stream, trio.open_nursery() as nursery:
                await stream.send(watch("pods"))
                await receive_count(stream, 1)
                nursery.start_soon(wait_on_a_call)
                await trio.sleep(0.2)
                link.stop_server()
                with pytest.raises(Unreachable) as caught:
                    await stream.receive()
                errors.append(str(caught.value))
                with pytest.raises(Unreachable):
                    await stream.send(watch("pods"))
            for error in errors:
                assert error.startswith("tp-1: ")
                assert "\n" not in error
                assert link.address == "memory" or link.address in error

            with pytest.raises(Unreachable):
                await transport.unary("Status", pb.StatusRequest())
            async with transport.stream("Mutate") as stream:
                with pytest.raises(Unreachable):
                    await stream.receive()

            link.start_server()
            start = trio.current_time()

            async def answers() -> bool:
                try:
                    return bool(await seen(transport))
                except Unreachable:
                    return False

            await eventually(answers)
            assert trio.current_time() - start < 5
            async with transport.stream("Mutate") as stream:
                await stream.send(mutation(1))
                await receive_count(stream, 1)

    link.run(main)


def test_closing_the_transport_ends_what_is_in_flight_and_refuses_more(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport:
            endings: list[str] = []

            async def call() -> None:
                with pytest.raises(Unreachable) as caught:
                    await transport.unary("Get", pb.GetRequest(name="silent"))
                endings.append(str(caught.value))

            async def receive(task_status: trio.TaskStatus[None]) -> None:
                async with transport.stream("Watch") as stream:
                    await stream.send(watch("pods"))
                    await receive_count(stream, 1)
                    task_status.started()
                    with pytest.raises(Unreachable) as caught:
                        await stream.receive()
                    endings.append(str(caught.value))

            with trio.fail_after(WAIT_SECONDS):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call)
                    await nursery.start(receive)
                    await trio.sleep(0.1)
                    await transport.aclose()
            assert len(endings) == 2
            assert all("closed" in each for each in endings)
            with pytest.raises(Unreachable, match="closed"):
                await transport.unary("Status", pb.StatusRequest())
            async with transport.stream("Watch") as stream:
                with pytest.raises(Unreachable, match="closed"):
                    await stream.send(watch("pods"))
                with pytest.raises(Unreachable, match="closed"):
                    await stream.receive()
            await transport.aclose()

    link.run(main)


def test_a_method_of_another_shape_is_refused_at_once(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport:
            with pytest.raises(ValueError, match="stream"):
                await transport.unary("List", pb.ListRequest())
            with pytest.raises(ValueError, match="unary"):
                transport.stream("Get")

    link.run(main)


def test_many_rounds_leave_no_task_behind(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport:
            for _ in range(100):
                async with transport.stream("Mutate") as stream:
                    await stream.send(mutation(1))
                    await receive_count(stream, 1)
            start = await seen(transport)

            async def all_closed() -> bool:
                now = await seen(transport)
                return now["opened"] == now["closed"] == start["opened"]

            await eventually(all_closed)
            gc.collect()
            assert trio.lowlevel.current_statistics().tasks_living <= 4

    link.run(main)


def test_delivered_messages_come_in_order_until_the_partition_ends_the_stream_well(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("List") as stream:
            left: list[int] = []
            await stream.send(pb.ListRequest(limit=40))
            with trio.fail_after(WAIT_SECONDS):
                await stream.deliver(lambda chunk: left.append(chunk.remaining))
            assert left == list(reversed(range(40)))

    link.run(main)


def test_delivery_goes_on_while_its_task_waits(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream, trio.open_nursery() as nursery:
            numbers: list[int] = []
            nursery.start_soon(stream.deliver, lambda reply: numbers.append(reply.batch))
            for number in range(1, 6):
                await stream.send(mutation(number))

                async def answered(number: int = number) -> bool:
                    return numbers == list(range(1, number + 1))

                await eventually(answered)
            nursery.cancel_scope.cancel()

    link.run(main)


def test_what_takes_a_message_may_end_the_delivery_by_an_error_and_gets_no_more(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream:
            numbers: list[int] = []

            def take(reply: pb.MutateReply) -> None:
                numbers.append(reply.batch)
                if reply.batch == 2:
                    raise Unreachable("tp-1", "this one is not understood")

            for number in (1, 2, 3):
                await stream.send(mutation(number))
            with trio.fail_after(WAIT_SECONDS), pytest.raises(Unreachable, match="not understood"):
                await stream.deliver(take)
            assert numbers == [1, 2]

    link.run(main)


def test_a_refusal_ends_the_delivery_behind_what_came_before_it(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream:
            numbers: list[int] = []
            await stream.send(mutation(1))
            await stream.send(mutation(2, "refuse"))
            with trio.fail_after(WAIT_SECONDS), pytest.raises(Invalid):
                await stream.deliver(lambda reply: numbers.append(reply.batch))
            assert numbers == [1]

    link.run(main)


def test_nothing_is_delivered_behind_a_cancellation(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream:
            numbers: list[int] = []
            with trio.move_on_after(WAIT_SECONDS) as scope:
                await stream.send(mutation(1))

                def take(reply: pb.MutateReply) -> None:
                    numbers.append(reply.batch)
                    scope.cancel()

                await stream.deliver(take)
            await stream.send(mutation(2))
            replies = await receive_count(stream, 1)
            assert (numbers, [reply.batch for reply in replies]) == ([1], [2])

    link.run(main)


def test_what_there_is_room_for_is_sent_at_once_and_in_order(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream:
            sent = 0
            while stream.has_room and sent < 50:
                sent += 1
                stream.send_nowait(mutation(sent, "x" * 100_000))
            await stream.send(mutation(sent + 1))
            with trio.fail_after(WAIT_SECONDS):
                replies = await receive_count(stream, sent + 1)
            assert [reply.batch for reply in replies] == list(range(1, sent + 2))
            assert stream.has_room

    link.run(main)


def test_nothing_is_sent_on_a_stream_that_is_lost(link: Any) -> None:
    async def main() -> None:
        async with link.open() as transport, transport.stream("Mutate") as stream:
            await stream.send(mutation(1))
            await stream.receive()
            await transport.aclose()
            with trio.fail_after(WAIT_SECONDS), pytest.raises(Unreachable):
                await stream.deliver(lambda _: None)
            with pytest.raises(Unreachable):
                stream.send_nowait(mutation(2))

    link.run(main)
