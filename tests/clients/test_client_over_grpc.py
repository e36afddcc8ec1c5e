"""The client library over real links: an apiserver process that is killed and comes back."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import trio
from ursa.clients.client import PartitionClient, open_client
from ursa.clients.informer import Informer
from ursa.clients.operations import create_operation
from ursa.clients.transport.grpc import GrpcBridge, GrpcTransport
from ursa.proto.errors import OutcomeUnknown, WrongPartition
from ursa.tools.processes import URSA_COMMAND, ReadyLine

from .worlds import actor, key, pod

pytestmark = pytest.mark.slow
SECONDS = 60
PODS_PER_CALL = 10


class Apiserver:
    """A process that can be killed and started again, with its data and its address."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.address = "127.0.0.1:0"
        self._process: subprocess.Popen[str]

    def start(self) -> None:
        command = [*URSA_COMMAND, "apiserver", "--name", "p-1", "--role", "tenant"]
        command += ["--data-dir", str(self._data_dir), "--listen", self.address]
        self._process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        self.address = ReadyLine.parse(self._process.stdout.readline().encode()).address

    def kill(self) -> None:
        with self._process as process:
            process.kill()


class Writers:
    """Tasks that write pods until told to stop, and remember what they were told about each."""

    def __init__(self, client: PartitionClient) -> None:
        self._client = client
        self.acknowledged: dict[str, None] = {}
        self.uncertain: dict[str, None] = {}
        self.stopped = False
        self._progress = trio.Event()

    async def write(self, writer: int) -> None:
        call = 0
        while not self.stopped:
            names = [f"pod-{writer}-{call}-{number}" for number in range(PODS_PER_CALL)]
            call += 1
            try:
                results = await self._client.mutate([create_operation(pod(name)) for name in names])
            except OutcomeUnknown:
                self.uncertain.update(dict.fromkeys(names))
            else:
                assert [result.error.reason for result in results] == [""] * PODS_PER_CALL
                self.acknowledged.update(dict.fromkeys(names))
                self._progress.set()

    async def reach(self, pods: int) -> None:
        while len(self.acknowledged) < pods:
            self._progress = trio.Event()
            await self._progress.wait()


def test_over_a_killed_apiserver_nothing_acknowledged_is_lost_and_nothing_is_uncertain(tmp_path: Path) -> None:
    server = Apiserver(tmp_path / "data")
    server.start()

    async def main() -> None:
        async with (
            GrpcBridge() as bridge,
            open_client(GrpcTransport("p-1", server.address, bridge), actor()) as client,
        ):
            await follow(client)

    async def follow(client: PartitionClient) -> None:
        informer = Informer(client, "pods")
        writers = Writers(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(informer.run)
            async with trio.open_nursery() as writing:
                for number in range(20):
                    writing.start_soon(writers.write, number)
                await writers.reach(1000)
                server.kill()
                await trio.sleep(0.5)  # Writers wait, over several vain attempts to connect.
                before = len(writers.acknowledged)
                await trio.to_thread.run_sync(server.start)
                await writers.reach(before + 1000)
                writers.stopped = True
            listed = await client.list("pods")
            names = dict.fromkeys(obj.name for obj in listed.items)
            assert not [name for name in writers.acknowledged if name not in names]
            assert not [name for name in names if name not in writers.acknowledged and name not in writers.uncertain]
            assert not writers.uncertain  # What had no answer was sent again, and is known by its ids.
            await trio.sleep(1)  # Its events are on their way.
            assert {obj.key: obj.message for obj in listed.items} == {
                each: obj.message for each, obj in informer.objects.items()
            }
            nursery.cancel_scope.cancel()

    async def bounded() -> None:
        with trio.fail_after(SECONDS):
            await main()

    try:
        trio.run(bounded)
    finally:
        server.kill()


def test_a_partition_of_another_name_is_named_and_told_nothing_nor_believed(tmp_path: Path) -> None:
    """As when two addresses in a registry are mixed up."""
    server = Apiserver(tmp_path / "data")
    server.start()

    async def main() -> None:
        async with (
            GrpcBridge() as bridge,
            open_client(GrpcTransport("p-1", server.address, bridge), actor()) as right,
            open_client(GrpcTransport("p-2", server.address, bridge), actor()) as wrong,
            open_client(GrpcTransport("whoever", server.address, bridge, any_name=True), actor()) as any_one,
            trio.open_nursery() as nursery,
        ):
            await right.create(pod("web"))
            assert (await any_one.get("pods", key("web"))).name == "web"
            with pytest.raises(
                WrongPartition, match="here is partition p-1, and not p-2: one of their addresses is wrong"
            ):
                await wrong.get("pods", key("web"))
            informer = Informer(wrong, "pods")
            nursery.start_soon(informer.run)
            with trio.move_on_after(1):
                await wrong.mutate([create_operation(pod("stray"))])
            assert not informer.synced
            assert [each.name for each in (await right.list("pods")).items] == ["web"]
            nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    finally:
        server.kill()
