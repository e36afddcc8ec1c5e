"""The cluster as real processes: gRPC, stores on disk, crashes."""

import json
import os
import signal
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
import ursa
from ursa.tools.endpoints import load_cluster, running_clusters

from .leftovers import children, held

pytestmark = pytest.mark.slow

POD = {"spec": {"containers": [{"name": "main", "image": "i", "resources": {"requests": {"cpu": "100m"}}}]}}
SMALL: dict[str, Any] = {"tenant_partitions": 1, "resource_partitions": 1, "nodes": 2}
# A machine with much else to do.
SECONDS = 120.0


def pod(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, **POD}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("URSA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def cluster() -> Iterator[ursa.BlockingCluster]:
    """One for all tests that leave it as it was."""
    with ursa.Cluster(**SMALL | {"resource_partitions": 2, "nodes_per_process": 2}) as opened:
        yield opened


def test_every_part_is_a_process_of_its_own(cluster: ursa.BlockingCluster) -> None:
    processes = cluster.processes
    assert list(processes) == [
        "tp-1",
        "rp-1",
        "rp-2",
        "scheduler-tp-1",
        "controller-manager-tp-1",
        "controller-manager-rp-1",
        "controller-manager-rp-2",
        "hollow-nodes-rp-1-1",
        "hollow-nodes-rp-2-1",
    ]
    pids = [info.pid for info in processes.values()]
    assert len(set(pids)) == len(pids)
    assert all(psutil.pid_exists(pid) for pid in pids)
    assert all(info.running and info.metrics for info in processes.values())


def test_pods_run_and_a_crash_loses_none_of_them(cluster: ursa.BlockingCluster) -> None:
    cluster.apply(pod("before"))
    cluster.wait_for_pods(1, timeout_seconds=SECONDS)
    before = cluster.processes
    killed = ["tp-1", "rp-1", "scheduler-tp-1"]
    for name in killed:
        cluster.kill(name)
    await_restarts(cluster, killed)
    # A write that was under way when its partition died is the caller's to repeat; this one is not.
    cluster.apply(pod("after"))
    assert len(cluster.wait_for_pods(2, timeout_seconds=SECONDS)) == 2
    for name, info in cluster.processes.items():
        if name in killed:
            assert info.pid != before[name].pid
            assert info.address == before[name].address
        else:
            assert info == before[name]


def await_restarts(cluster: ursa.BlockingCluster, names: list[str]) -> None:
    deadline = trio_now() + SECONDS
    while not all(cluster.processes[name].restarts and cluster.processes[name].running for name in names):
        assert trio_now() < deadline
        threading.Event().wait(0.02)


def trio_now() -> float:
    import time

    return time.monotonic()


def test_nodes_come_and_go_with_their_processes(cluster: ursa.BlockingCluster) -> None:
    for wanted in (7, 1, 2):
        cluster.scale_nodes(wanted)
        listed = [client.list("nodes").items for client in cluster.clients.resource_clients.values()]
        assert sorted(node.name for nodes in listed for node in nodes) == [
            f"node-{number:04d}" for number in range(1, wanted + 1)
        ]
        hosts = [name for name in cluster.processes if name.startswith("hollow-nodes")]
        assert len(hosts) == {7: 4, 1: 1, 2: 2}[wanted]


def test_usage_is_counted_by_process(cluster: ursa.BlockingCluster) -> None:
    usage = cluster.usage()
    assert usage.keys() >= cluster.processes.keys()
    for name in cluster.processes:
        assert usage[name].cpu_seconds > 0.02
        assert usage[name].resident_bytes_max > 10_000_000


def test_the_command_finds_a_cluster_by_its_name_while_it_runs(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with ursa.Cluster(**SMALL, name="lab", data_dir=data_dir) as cluster:
        found = load_cluster("lab")
        assert load_cluster(str(data_dir)) == found
        assert found.pid == os.getpid()
        assert found.tenant_partitions == cluster.tenant_addresses
        assert [each.pid for each in found.processes] == [info.pid for info in cluster.processes.values()]
        assert running_clusters() == ["lab"]
        cluster.create_tenant("kept")

        with (
            pytest.raises(ursa.InputError, match="a cluster named 'lab' is running already"),
            ursa.Cluster(**SMALL, name="lab"),
        ):
            pytest.fail("it opened")
        # The directory is in use, and what the partition says about it is what the caller reads.
        with (
            pytest.raises(ursa.UrsaError, match=r"^[tr]p-1 did not start: .*in use") as refusal,
            ursa.Cluster(**SMALL, data_dir=data_dir),
        ):
            pytest.fail("it opened")
        assert "\n" not in str(refusal.value)
        assert load_cluster(str(data_dir)) == found
    assert running_clusters() == []
    assert not (data_dir / "cluster.json").exists()

    with pytest.raises(ursa.InputError, match="no cluster is running in"):
        load_cluster(str(data_dir))
    with ursa.Cluster(**SMALL | {"tenant_partitions": 2}, data_dir=data_dir) as cluster:
        assert cluster.tenant_client("kept").partition == "tp-1"
        # Other ports than before, and every partition has been told.
        for client in [*cluster.tenant_clients.values(), *cluster.resource_clients.values()]:
            listed = client.list("tenantpartitions.ursa.dev").items
            assert {each.name: each.spec["address"] for each in listed} == cluster.tenant_addresses
    with (
        pytest.raises(ursa.InputError, match="holds partition tp-2: use --tenant-partitions 2 or more"),
        ursa.Cluster(**SMALL, data_dir=data_dir),
    ):
        pytest.fail("it opened")


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(ursa.InputError, match=r"the data directory .*file/data cannot be made"),
        ursa.Cluster(**SMALL, data_dir=tmp_path / "file" / "data"),
    ):
        pytest.fail("it opened")


def test_a_store_of_something_else_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tp-1").mkdir()
    (tmp_path / "tp-1" / "data.mdb").write_bytes(b"something else" * 1000)
    before = children()
    with (
        pytest.raises(ursa.UrsaError, match=r"^tp-1 did not start: ") as refusal,
        ursa.Cluster(**SMALL, data_dir=tmp_path),
    ):
        pytest.fail("it opened")
    assert "\n" not in str(refusal.value)
    assert children() == before


def rounds(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def one_round() -> None:
        async with ursa.Cluster(**SMALL):
            pass

    trio.run(one_round)
    before = held()
    for _ in range(count):
        trio.run(one_round)
    assert held().left_by(before) == ""
    assert not list(tmp_path.glob("ursa-*"))


def test_rounds_leave_no_descriptor_thread_process_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds(2, tmp_path, monkeypatch)


@pytest.mark.skipif("URSA_SOAK" not in os.environ, reason="ten minutes: set URSA_SOAK=1")
def test_a_hundred_rounds_leave_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds(100, tmp_path, monkeypatch)


def test_another_replica_works_on_when_the_leader_is_gone() -> None:
    with ursa.Cluster(**SMALL, controller_replicas=2) as cluster:
        cluster.apply(pod("before"))
        cluster.wait_for_pods(1, timeout_seconds=SECONDS)
        leaders = [name for name in cluster.processes if conditions(cluster, name).get("leader")]
        standbys = [name for name in cluster.processes if "standby" in conditions(cluster, name)]
        assert len(leaders) == len(standbys) == 3
        for name in leaders:
            # As a clean stop: a crash would have the others wait until the lease has run out.
            os.kill(cluster.processes[name].pid, signal.SIGTERM)
        await_restarts(cluster, leaders)
        cluster.apply(pod("after"))
        assert len(cluster.wait_for_pods(2, timeout_seconds=SECONDS)) == 2


def conditions(cluster: ursa.BlockingCluster, name: str) -> dict[str, bool]:
    address = cluster.processes[name].metrics
    with urllib.request.urlopen(f"http://{address}/readyz?format=json", timeout=30) as answer:
        return json.loads(answer.read())
