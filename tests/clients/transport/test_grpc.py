"""What only the gRPC link has: a thread, sockets, a peer that may be frozen."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import trio
import trio.testing
from ursa.clients.transport._flow import INBOUND_BYTES_MAX, OUTBOUND_BYTES_MAX
from ursa.clients.transport._grpc_bridge import Mailbox
from ursa.clients.transport.grpc import GrpcBridge, GrpcTransport
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Unreachable

# The windows of both ends of HTTP/2, grown by bandwidth probing.
IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024
WAIT_SECONDS = 10.0
ROUNDS = 100  # the promise of the one box: a hundred clusters opened and closed in one process


def mutation(number: int, resource: str = "a") -> pb.MutateRequest:
    return pb.MutateRequest(batch=number, operations=[pb.Operation(resource=resource)])


@pytest.fixture
def unused_address() -> Iterator[str]:
    """Bound, and nobody listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def threads() -> list[str]:
    # Trio keeps a worker of its own for a while; it is not the bridge's.
    return sorted(each.name for each in threading.enumerate() if not each.name.startswith("Trio thread"))


async def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def connections(address: str) -> int:
    """How many this process has to ``address``, whatever earlier tests still close meanwhile."""
    port = int(address.rpartition(":")[2])
    return sum(bool(each.raddr) and each.raddr.port == port for each in psutil.Process().net_connections(kind="tcp"))


def test_there_is_room_until_too_much_is_on_its_way_to_a_server_that_reads_no_more(grpc_link: Any) -> None:
    async def main() -> None:
        async with GrpcBridge() as bridge:
            transport = GrpcTransport("tp-1", grpc_link.address, bridge)
            async with transport.stream("Mutate") as stream:
                await stream.send(mutation(0, "stall"))
                await stream.receive()
                sent = 0
                while stream.has_room and sent < 1000:
                    sent += 1
                    stream.send_nowait(mutation(sent, "x" * 100_000))
                assert OUTBOUND_BYTES_MAX < sent * 100_000 < 2 * IN_FLIGHT_BYTES_MAX
            await transport.aclose()

    trio.run(main)


def test_a_flood_is_delivered_for_as_long_as_somebody_takes_it(grpc_link: Any) -> None:
    taken = 0

    def take(reply: pb.WatchReply) -> None:
        nonlocal taken
        taken += reply.ByteSize()
        if taken > 4 * INBOUND_BYTES_MAX:
            raise Unreachable("tp-1", "enough")

    async def main() -> None:
        async with GrpcBridge() as bridge:
            transport = GrpcTransport("tp-1", grpc_link.address, bridge)
            async with transport.stream("Watch") as stream:
                flood = pb.WatchStart(selection=pb.Selection(resource="flood"))
                await stream.send(pb.WatchRequest(start=[flood]))
                with trio.fail_after(WAIT_SECONDS), pytest.raises(Unreachable, match="enough"):
                    await stream.deliver(take)
            await transport.aclose()

    trio.run(main)


@pytest.mark.slow
def test_rounds_of_opening_and_closing_leave_no_thread_descriptor_or_log_line(
    grpc_link: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def wait_on_a_call(transport: GrpcTransport) -> None:
        with pytest.raises(Unreachable):
            await transport.unary("Get", pb.GetRequest(name="silent"))

    async def leave_a_stream_full(transport: GrpcTransport, task_status: trio.TaskStatus[None]) -> None:
        async with transport.stream("Watch") as stream:
            flood = pb.WatchStart(selection=pb.Selection(resource="flood"))
            await stream.send(pb.WatchRequest(start=[flood]))
            await stream.receive()
            task_status.started()
            await trio.sleep_forever()

    async def one_round() -> None:
        async with trio.open_nursery() as nursery:
            async with GrpcBridge() as bridge:
                transports = [GrpcTransport(name, grpc_link.address, bridge) for name in ("tp-1", "rp-1")]
                for transport in transports:
                    await transport.unary("Status", pb.StatusRequest())
                    nursery.start_soon(wait_on_a_call, transport)
                    await nursery.start(leave_a_stream_full, transport)
                async with transports[0].stream("Mutate") as stream:
                    await stream.send(mutation(1))
                    await stream.receive()
                with trio.move_on_after(0.001):
                    await transports[1].unary("Get", pb.GetRequest(name="silent"))
                await transports[0].aclose()  # the other one is left to the bridge
            nursery.cancel_scope.cancel()

    trio.run(one_round)  # what is made once and kept
    gc.collect()
    threads_before, descriptors_before = Counter(threads()), trio.run(descriptors)
    with caplog.at_level(logging.WARNING):
        for _ in range(ROUNDS):
            trio.run(one_round)
    gc.collect()

    async def settled() -> None:
        with trio.fail_after(10):
            # gRPC closes its sockets on threads of its own.
            while await descriptors() > descriptors_before or Counter(threads()) - threads_before:  # noqa: ASYNC110
                await trio.sleep(0.02)

    trio.run(settled)
    assert "ursa-grpc" not in threads()
    assert not caplog.records


@pytest.mark.slow
def test_a_process_that_used_the_bridge_exits_well_and_says_nothing(grpc_link: Any) -> None:
    script = f"""
import trio
import trio.testing
from ursa.clients.transport.grpc import GrpcBridge, GrpcTransport
from ursa.proto import ursa_pb2 as pb

async def main():
    async with GrpcBridge() as bridge:
        transport = GrpcTransport("tp-1", "{grpc_link.address}", bridge)
        with trio.move_on_after(0.2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.unary, "Get", pb.GetRequest(name="silent"))
                async with transport.stream("Watch") as stream:
                    await stream.receive()
    print("done")

trio.run(main)
"""
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


def test_an_exception_in_the_bridges_block_comes_out_as_it_is_and_stops_the_thread(grpc_link: Any) -> None:
    async def main() -> None:
        async with GrpcBridge() as bridge:
            transport = GrpcTransport("tp-1", grpc_link.address, bridge)
            async with transport.stream("Mutate") as stream:
                await stream.send(mutation(1))
                raise KeyError

    with pytest.raises(KeyError):
        trio.run(main)
    assert "ursa-grpc" not in threads()


def test_the_end_of_the_bridge_fails_what_is_in_flight_and_what_comes_later(grpc_link: Any) -> None:
    async def main() -> None:
        failed: list[str] = []

        async def call(transport: GrpcTransport) -> None:
            with pytest.raises(Unreachable) as caught:
                await transport.unary("Get", pb.GetRequest(name="silent"))
            failed.append(str(caught.value))

        async def receive(transport: GrpcTransport) -> None:
            async with transport.stream("Watch") as stream:
                with pytest.raises(Unreachable) as caught:
                    await stream.receive()
                failed.append(str(caught.value))

        async with trio.open_nursery() as nursery:
            async with GrpcBridge() as bridge:
                transport = GrpcTransport("tp-1", grpc_link.address, bridge)
                await transport.unary("Status", pb.StatusRequest())
                nursery.start_soon(call, transport)
                nursery.start_soon(receive, transport)
                await trio.testing.wait_all_tasks_blocked(0.05)
                nursery.start_soon(call, transport)  # on its way when the bridge ends
            await call(transport)
            await receive(transport)
        assert failed == [f"tp-1: the transport to {grpc_link.address} is closed"] * 5
        await transport.aclose()

    trio.run(main)


def test_a_bridge_opens_once() -> None:
    async def main() -> None:
        bridge = GrpcBridge()
        async with bridge:
            with pytest.raises(RuntimeError, match="opens once"):
                await bridge.__aenter__()

    trio.run(main)


def test_nobody_listening_is_unreachable_at_once_and_named(unused_address: str) -> None:
    async def main() -> None:
        async with GrpcBridge() as bridge:
            transport = GrpcTransport("tp-1", unused_address, bridge)
            with trio.fail_after(5):
                for _ in range(3):
                    with pytest.raises(Unreachable, match=rf"^tp-1: no link to {unused_address} \(UNAVAILABLE: .*\)$"):
                        await transport.unary("Status", pb.StatusRequest())
                    async with transport.stream("List") as stream:
                        await stream.send(pb.ListRequest())
                        with pytest.raises(Unreachable):
                            await stream.receive()

    trio.run(main)


def test_one_lost_partition_leaves_the_others_alone(grpc_link: Any, unused_address: str) -> None:
    async def main() -> None:
        async with GrpcBridge() as bridge:
            lost = GrpcTransport("tp-2", unused_address, bridge)
            well = GrpcTransport("tp-1", grpc_link.address, bridge)
            async with well.stream("Mutate") as stream:
                for number in range(20):
                    with pytest.raises(Unreachable):
                        await lost.unary("Status", pb.StatusRequest())
                    await stream.send(mutation(number))
                    assert [reply.batch for reply in await stream.receive()] == [number]
                await lost.aclose()
                await stream.send(mutation(20))
                assert [reply.batch for reply in await stream.receive()] == [20]

    trio.run(main)


@pytest.mark.slow
def test_a_frozen_server_makes_send_wait_and_nothing_is_lost(grpc_link: Any) -> None:
    message_bytes = 100_000

    async def main() -> None:
        async with GrpcBridge() as bridge:
            transport = GrpcTransport("tp-1", grpc_link.address, bridge)
            async with transport.stream("Mutate") as stream:
                await stream.send(mutation(0))
                await stream.receive()
                sent = 1
                os.kill(grpc_link.process.pid, signal.SIGSTOP)
                try:
                    with trio.fail_after(20):
                        while True:
                            with trio.move_on_after(1) as scope:
                                await stream.send(mutation(sent, "x" * message_bytes))
                            if scope.cancelled_caught:
                                break
                            sent += 1
                    # Beyond our own bound there are the socket's buffers and the windows of HTTP/2.
                    assert sent * message_bytes < OUTBOUND_BYTES_MAX + 16 * 1024 * 1024
                finally:
                    os.kill(grpc_link.process.pid, signal.SIGCONT)
                numbers: list[int] = []
                with trio.fail_after(20):
                    while len(numbers) < sent - 1:
                        numbers += [reply.batch for reply in await stream.receive()]
                assert numbers == list(range(1, sent))

    trio.run(main)


def test_a_call_to_a_frozen_server_ends_at_its_deadline(grpc_link: Any) -> None:
    async def main() -> None:
        async with GrpcBridge() as bridge:
            transport = GrpcTransport("tp-1", grpc_link.address, bridge)
            os.kill(grpc_link.process.pid, signal.SIGSTOP)
            try:
                with trio.fail_after(5), pytest.raises(Unreachable, match=r"within 0\.3 s"):
                    await transport.unary("Status", pb.StatusRequest(), timeout_seconds=0.3)
            finally:
                os.kill(grpc_link.process.pid, signal.SIGCONT)
            assert (await transport.unary("Status", pb.StatusRequest())).name == "echo"

    trio.run(main)


def test_a_fault_of_the_server_reaches_the_client_as_an_error(grpc_link: Any) -> None:
    async def main() -> None:
        async with GrpcBridge() as bridge:
            transport = GrpcTransport("tp-1", grpc_link.address, bridge)
            async with transport.stream("Mutate") as stream:
                await stream.send(mutation(1, "crash"))
                with trio.fail_after(5), pytest.raises(Exception, match="ZeroDivisionError"):
                    await stream.receive()

    trio.run(main)


def test_a_mailbox_wakes_its_reader_once_a_burst_and_keeps_the_order() -> None:
    wakes: list[Any] = []
    ran: list[int] = []
    mailbox = Mailbox(wakes.append)
    for number in range(5):
        mailbox.put(lambda number=number: ran.append(number))
    assert len(wakes) == 1
    wakes.pop()()
    assert ran == [0, 1, 2, 3, 4]
    mailbox.put(lambda: ran.append(5))
    assert len(wakes) == 1
    wakes.pop()()
    assert ran[-1] == 5


def test_a_closed_transport_has_no_connection_and_a_cancelled_call_no_task(grpc_link: Any) -> None:
    async def main() -> None:
        async with GrpcBridge() as bridge:
            idle = GrpcTransport("tp-1", grpc_link.address, bridge)
            await idle.unary("Status", pb.StatusRequest())
            before = connections(grpc_link.address)
            transports = [GrpcTransport("tp-1", grpc_link.address, bridge) for _ in range(10)]
            for transport in transports:
                await transport.unary("Status", pb.StatusRequest())
                with trio.move_on_after(0.01):
                    await transport.unary("Get", pb.GetRequest(name="silent"))
            assert connections(grpc_link.address) == before + len(transports)
            with trio.fail_after(10):
                while any(transport._wire._tasks for transport in transports):  # noqa: ASYNC110
                    await trio.sleep(0.01)
                for transport in transports:
                    await transport.aclose()
                while connections(grpc_link.address) > before:  # noqa: ASYNC110
                    await trio.sleep(0.01)

    trio.run(main)


def test_a_mailbox_loses_no_wake_up_between_two_threads() -> None:
    count, ran, done = 50_000, [0], threading.Event()
    wakes: list[Any] = []
    ready = threading.Condition()

    def wake(callback: Any) -> None:
        with ready:
            wakes.append(callback)
            ready.notify()

    def count_one() -> None:
        ran[0] += 1
        if ran[0] == count:
            done.set()

    def reader() -> None:
        while not done.is_set():
            with ready:
                assert ready.wait_for(lambda: wakes, timeout=10)
                callbacks, wakes[:] = list(wakes), []
            for callback in callbacks:
                callback()

    thread = threading.Thread(target=reader)
    switch_seconds = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that the threads meet in the worst places
    try:
        thread.start()
        mailbox = Mailbox(wake)
        for _ in range(count):
            mailbox.put(count_one)
        thread.join(30)
    finally:
        sys.setswitchinterval(switch_seconds)
    assert ran == [count]


def test_the_bridge_module_installs_no_signal_handler(grpc_link: Any) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)]

    async def main() -> None:
        async with GrpcBridge() as bridge:
            await GrpcTransport("tp-1", grpc_link.address, bridge).unary("Status", pb.StatusRequest())
            assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)] == handlers

    trio.run(main)
