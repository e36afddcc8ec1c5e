"""A real etcd for the store benchmark: a process of its own on loopback with a data directory of its own.

The binary is the one of Debian's package `etcd-server`. Its messages are described in etcd_kv.proto and generated into
build/bench when they are first needed.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
from _bench import ROOT

MISSING = "not measured: there is no etcd here; install the Debian package etcd-server"
START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 10.0
# The benchmark never deletes in etcd: the default quota of 2 GiB would end it.
QUOTA_BYTES = 8 << 30

PUT, TXN, RANGE = (f"/etcdserverpb.KV/{method}" for method in ("Put", "Txn", "Range"))


def installed() -> bool:
    return shutil.which("etcd") is not None


def version() -> str:
    return subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]  # noqa: S607


def messages() -> Any:
    """The generated module of etcd_kv.proto."""
    from grpc_tools import protoc

    directory = ROOT / "build" / "bench" / "etcd"
    directory.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).parent
    if protoc.main(["protoc", f"-I{source}", f"--python_out={directory}", str(source / "etcd_kv.proto")]):
        raise RuntimeError("protoc failed on etcd_kv.proto")
    spec = importlib.util.spec_from_file_location("etcd_kv_pb2", directory / "etcd_kv_pb2.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class ServerProcess:
    """A server under measurement."""

    address: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """User and system time of the whole process so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def running_etcd(data_directory: Path, log_path: Path) -> Iterator[ServerProcess]:
    """Start etcd, wait until it accepts connections, and end it with the block.

    Raises:
        RuntimeError: it ended, or did not listen in time.
    """
    client, peer = _free_port(), _free_port()
    command = ["etcd", "--name", "bench", "--data-dir", str(data_directory), "--log-level", "error"]
    command += ["--logger", "zap", "--quota-backend-bytes", str(QUOTA_BYTES)]
    for flag in ("listen-client-urls", "advertise-client-urls"):
        command += [f"--{flag}", f"http://127.0.0.1:{client}"]
    for flag in ("listen-peer-urls", "initial-advertise-peer-urls"):
        command += [f"--{flag}", f"http://127.0.0.1:{peer}"]
    command += ["--initial-cluster", f"bench=http://127.0.0.1:{peer}"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait_for_port(client, process, log_path)
        yield ServerProcess(f"127.0.0.1:{client}", psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"etcd did not start: {log_path.read_text(errors='replace')[-500:].strip()}")
