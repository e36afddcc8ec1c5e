"""The component commands as real processes: their ready lines, their ends, and what they say when they cannot start."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import trio
from ursa.tools.nodes import NodeOptions, make_nodes, save_nodes
from ursa.tools.processes import URSA_COMMAND, ReadyLine
from ursa.tools.readiness import wait_ready

pytestmark = pytest.mark.slow
SECONDS = 30


@contextmanager
def started(*arguments: str, parent_pipe: bool = False) -> Iterator[tuple[subprocess.Popen[str], ReadyLine]]:
    command = [*URSA_COMMAND, *arguments, *(["--parent-pipe"] if parent_pipe else [])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            assert process.stdout is not None
            yield process, ReadyLine.parse(process.stdout.readline().encode())
        finally:
            process.kill()


def refused(*arguments: str) -> str:
    done = subprocess.run(
        [*URSA_COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def apiserver(directory: Path, name: str = "tp-1", role: str = "tenant", listen: str = "127.0.0.1:0") -> list[str]:
    return ["apiserver", "--name", name, "--role", role, "--data-dir", str(directory / name), "--listen", listen]


def test_an_apiserver_says_where_it_is_and_stops_when_told(tmp_path: Path) -> None:
    with started(*apiserver(tmp_path)) as (process, ready):
        assert (ready.component, ready.name, ready.pid) == ("apiserver", "tp-1", process.pid)
        with urllib.request.urlopen(f"http://{ready.metrics}/metrics", timeout=SECONDS) as answer:
            text = answer.read().decode()
        assert "apiserver_storage_objects" in text
        assert "process_resident_memory_bytes" in text
        with urllib.request.urlopen(f"http://{ready.metrics}/readyz", timeout=SECONDS) as answer:
            assert answer.read() == b"[+] serving\nok\n"

        # Whatever it has, nobody else can have at the same time.
        assert f"cannot listen on {ready.address}" in refused(*apiserver(tmp_path, "tp-2", listen=ready.address))
        assert "in use" in refused(*apiserver(tmp_path))
        taken = refused(*apiserver(tmp_path, "tp-3"), "--metrics-address", ready.metrics)
        assert f"--metrics-address {ready.metrics} cannot be used" in taken

        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://{ready.metrics}/healthz", timeout=SECONDS)


def test_a_data_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tp-1").mkdir()
    (tmp_path / "tp-1" / "data.mdb").write_bytes(b"something else" * 1000)
    assert str(tmp_path / "tp-1") in refused(*apiserver(tmp_path))


def test_hollow_nodes_register_change_with_their_file_and_end_with_their_parent(tmp_path: Path) -> None:
    nodes_file = tmp_path / "nodes.msgpack"
    save_nodes(nodes_file, make_nodes(3, NodeOptions()))
    with started(*apiserver(tmp_path, "rp-1", "resource")) as (_, partition):
        arguments = ["hollow-nodes", "--home", "rp-1", "--resource-partition", f"rp-1={partition.address}"]
        with started(*arguments, "--nodes-file", str(nodes_file), parent_pipe=True) as (process, ready):
            assert ready.name == "hollow-nodes-rp-1"
            trio.run(wait_ready, {"hollow": lambda: ready.metrics}, SECONDS)
            save_nodes(nodes_file, make_nodes(3, NodeOptions(), first=2))
            process.send_signal(signal.SIGHUP)
            trio.run(wait_for_nodes, partition.address, ["node-0002", "node-0003", "node-0004"])

            # A file that cannot be used changes nothing.
            nodes_file.write_text("nothing")
            process.send_signal(signal.SIGHUP)
            trio.run(wait_ready, {"hollow": lambda: ready.metrics}, SECONDS)

            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(SECONDS) == 0


async def wait_for_nodes(address: str, names: list[str]) -> None:
    from random import Random

    from ursa.clients.actor import Actor
    from ursa.tools import waiting
    from ursa.tools.clocks import running_clock
    from ursa.tools.components import open_grpc_clients

    async with open_grpc_clients({}, {"rp-1": address}, Actor("test", running_clock(), Random())) as clients:
        await waiting.wait_for_nodes(
            clients.resource_clients.values(), names, gone=["node-0001"], timeout_seconds=SECONDS
        )


def test_a_component_without_any_partition_starts_says_what_is_missing_and_stops_on_ctrl_c() -> None:
    arguments = ["hollow-nodes", "--nodes", "2", "--home", "rp-1", "--resource-partition", "rp-1=127.0.0.1:1"]
    with started(*arguments) as (process, ready):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(f"http://{ready.metrics}/readyz?format=json", timeout=SECONDS)
        with refusal.value as answer:
            assert answer.code == 503
            told = {"nodes registered in rp-1": False, "pods of rp-1 seen": False}
            assert json.loads(answer.read()) == told
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0


PARENT = """
import sys, trio
from pathlib import Path
from ursa.tools.processes import URSA_COMMAND, ProcessSpec, open_supervisor
async def main(directory):
    async with open_supervisor(directory) as supervisor:
        command = [*URSA_COMMAND, "apiserver", "--name=tp-1", "--role=tenant", f"--data-dir={directory}/tp-1"]
        await supervisor.start([ProcessSpec("tp-1", "apiserver", [*command, "--parent-pipe"], "--listen")])
        print(supervisor.processes["tp-1"].pid, flush=True)
        await trio.sleep_forever()
trio.run(main, Path(sys.argv[1]))
"""


def test_children_of_a_killed_parent_end(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)
        child.wait(SECONDS)
