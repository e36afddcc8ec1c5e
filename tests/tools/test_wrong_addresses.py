"""A registry that leads to the wrong place: it is named, isolated, survived, and repaired, by real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import ursa
from ursa.tools.bootstrap import read_registry, write_entries
from ursa.tools.partition_views import partition_views

pytestmark = pytest.mark.slow

SECONDS = 120.0
# Those that follow it: all but the kubelets of other nodes.
FOLLOWERS = [
    "scheduler-tp-1",
    "controller-manager-tp-1",
    "controller-manager-rp-1",
    "controller-manager-rp-2",
    "hollow-nodes-rp-2-1",
]


def pod(name: str) -> dict[str, Any]:
    container = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": "100m"}}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}


async def problems(cluster: ursa.Cluster) -> dict[str, str]:
    """What each follower says is wrong with rp-2; empty: it hears of it."""
    processes = [cluster.processes[name] for name in FOLLOWERS]
    views = await partition_views(processes)
    return {view.component: each.problem for view in views for each in view.seen if each.partition == "rp-2"}


async def until_all_say(cluster: ursa.Cluster, text: str) -> dict[str, str]:
    with trio.fail_after(SECONDS):
        while True:
            said = await problems(cluster)
            if len(said) == len(FOLLOWERS) and all(text in each if text else not each for each in said.values()):
                return said
            await trio.sleep(0.1)


async def set_address(cluster: ursa.Cluster, address: str) -> None:
    entry = (await read_registry(cluster.clients)).entries["rp-2"]
    await write_entries(cluster.clients, [entry.changed(address=address)])


@asynccontextmanager
async def speaks_something_else() -> AsyncIterator[str]:
    """The address of a server that answers whoever connects with a line of HTTP/1.1."""

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(1000)
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        yield f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def test_a_wrong_address_is_named_and_isolated_and_the_repaired_one_is_picked_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with ursa.Cluster(1, 2, nodes=4, data_dir=tmp_path) as cluster, speaks_something_else() as not_grpc:
            for number in range(6):
                await cluster.apply(pod(f"before-{number}"))
            before = {each.uid: each.spec["resourcePartition"] for each in await cluster.wait_for_pods(6)}
            right, another = cluster.resource_addresses["rp-2"], cluster.resource_addresses["rp-1"]
            for number, (address, named) in enumerate(
                [
                    (another, "here is partition rp-1, and not rp-2"),
                    ("127.0.0.1:1", "no link to 127.0.0.1:1 "),
                    (not_grpc, f"no link to {not_grpc} "),
                ]
            ):
                await set_address(cluster, address)
                said = await until_all_say(cluster, named)
                assert not any("\n" in each for each in said.values())
                # The others go on: this pod may not wait for anybody at rp-2.
                await cluster.apply(pod(f"meanwhile-{number}"))
                pods = await cluster.wait_for_pods(7 + number, timeout_seconds=SECONDS)
                assert {each.uid: each.spec["resourcePartition"] for each in pods}.items() >= before.items()
                await set_address(cluster, right)
                await until_all_say(cluster, "")
            nodes = [await client.list("nodes") for client in cluster.clients.resource_clients.values()]
            assert sum(len(each.items) for each in nodes) == 4
            log = (tmp_path / "logs" / "scheduler-tp-1.log").read_text().splitlines()
            missed = [line for line in log if "rp-2 is missed" in line]
            assert len([line for line in missed if "here is partition rp-1" in line]) == 1, log
            assert len(missed) <= 3, log
            assert all(each.restarts == 0 for each in cluster.processes.values())

    trio.run(main)
