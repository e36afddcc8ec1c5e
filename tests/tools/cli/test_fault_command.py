"""`ursa fault` against a running one box, as a person uses it: real processes, real connections."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ursa
from ursa.proto.objects import ObjectKey
from ursa.tools.faults import processes

pytestmark = pytest.mark.slow

SECONDS = 120.0
# A kubelet that hears of a pod starts it within milliseconds.
SHORT = 1.5


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ursa.BlockingCluster]:
    data_dir = tmp_path_factory.mktemp("faults") / "data"
    with ursa.Cluster(1, 2, nodes=4, data_dir=data_dir) as opened:
        yield opened


@pytest.fixture(autouse=True)
def healed(cluster: ursa.BlockingCluster) -> Iterator[None]:
    yield
    cluster.faults.heal()
    for pod in cluster.tenant_client("default").list("pods").items:
        cluster.tenant_client("default").delete("pods", pod.key, grace_seconds=0)


def ursa_fault(cluster: ursa.BlockingCluster, *words: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ursa", "fault", *words, "--cluster", str(cluster.data_dir)],
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr.count("\n") == (1 if status else 0), done.stderr
    return done.stderr if status else done.stdout


def apply(cluster: ursa.BlockingCluster, *names: str) -> None:
    container = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": "100m"}}}
    for name in names:
        cluster.apply(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}
        )


def homes(pods: list[Any]) -> dict[str, str]:
    return {pod.name: pod.spec.get("resourcePartition", "") for pod in pods}


def test_a_cut_holds_for_a_process_that_is_started_again_until_it_is_healed(cluster: ursa.BlockingCluster) -> None:
    shown = ursa_fault(cluster, "cut", "scheduler-tp-1", "rp-1").splitlines()
    assert shown[1].split()[:3] == ["scheduler-tp-1", "rp-1", "cut"]
    pid = cluster.processes["scheduler-tp-1"].pid
    cluster.kill("scheduler-tp-1")
    apply(cluster, *(f"a-{number}" for number in range(5)))
    found = homes(cluster.wait_for_pods(5, timeout_seconds=SECONDS))
    assert cluster.processes["scheduler-tp-1"].pid != pid
    assert set(found.values()) == {"rp-2"}, found
    assert len(ursa_fault(cluster, "list").splitlines()) == 2
    assert ursa_fault(cluster, "heal", "rp-1", "scheduler-tp-1") == "healed: scheduler-tp-1 rp-1: cut\n"
    assert ursa_fault(cluster, "list") == "no link is disturbed\n"
    assert ursa_fault(cluster, "heal") == "nothing was disturbed there\n"
    number = 0
    while "rp-1" not in found.values():  # It sees the nodes there again within moments.
        apply(cluster, f"b-{number}")
        number += 1
        found = homes(cluster.wait_for_pods(5 + number, timeout_seconds=SECONDS))
        assert number < 100


def test_a_frozen_kubelet_hears_of_its_pods_when_it_is_healed(cluster: ursa.BlockingCluster) -> None:
    ursa_fault(cluster, "freeze", "tp-1", "*", "--one-way")
    client = cluster.tenant_client("default")
    apply(cluster, "c")
    threading.Event().wait(SHORT)
    assert not client.get("pods", ObjectKey("default", "default", "c")).spec.get("nodeName")
    ursa_fault(cluster, "heal", "scheduler-tp-1", "tp-1")
    bound = False
    while not bound:
        bound = bool(client.get("pods", ObjectKey("default", "default", "c")).spec.get("nodeName"))
    threading.Event().wait(SHORT)
    assert client.get("pods", ObjectKey("default", "default", "c")).status["phase"] == "Pending"
    ursa_fault(cluster, "heal")
    cluster.wait_for_pods(1, timeout_seconds=SECONDS)


def test_each_component_says_when_it_last_heard_of_each_partition(cluster: ursa.BlockingCluster) -> None:
    words = [sys.executable, "-m", "ursa", "top", "partitions", "--cluster", str(cluster.data_dir)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=True)
    header, *rows = [line.split() for line in done.stdout.splitlines()]
    assert header == ["COMPONENT", "tp-1", "rp-1", "rp-2"]
    followed = {row[0]: [name for name, age in zip(header[1:], row[1:], strict=True) if age != "-"] for row in rows}
    assert list(followed) == [name for name in cluster.processes if name not in header]
    assert followed["scheduler-tp-1"] == ["tp-1", "rp-1", "rp-2"]
    assert followed["hollow-nodes-rp-2-1"] == ["tp-1", "rp-2"]
    assert all(float(age.removesuffix("s")) < 15 for row in rows for age in row[1:] if age != "-")
    metrics = cluster.processes["scheduler-tp-1"].metrics
    with urllib.request.urlopen(f"http://{metrics}/readyz?verbose", timeout=SECONDS) as answer:
        assert b"\n[+] rp-2 heard of " in answer.read()
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=SECONDS) as answer:
        assert b'\nclient_partition_staleness_seconds{partition="rp-2"} ' in answer.read()


def test_what_cannot_be_done_is_one_line_that_lists_what_there_is(cluster: ursa.BlockingCluster) -> None:
    error = ursa_fault(cluster, "cut", "scheduler-tp-1", "rp-9", status=1)
    assert error.startswith(
        "error: there is no rp-9 in this cluster; there are scheduler-tp-1, controller-manager-tp-1"
    )
    assert "nothing links tp-1 and rp-1" in ursa_fault(cluster, "freeze", "tp-1", "rp-1", status=1)
    assert "more than 0 and at most 60" in ursa_fault(cluster, "delay", "scheduler-tp-1", "rp-1", "0", status=1)
    assert "leave out one of the two" in ursa_fault(
        cluster, "cut", "scheduler-tp-1", "rp-1", "--one-way", "--refuse", status=1
    )
    assert ursa_fault(cluster, "list") == "no link is disturbed\n"


def test_a_process_that_stands_still_is_named_and_heeds_the_fault_when_it_goes_on(
    cluster: ursa.BlockingCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "ANSWER_SECONDS", 1.0)
    pid = cluster.processes["hollow-nodes-rp-1-1"].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(ursa.UrsaError, match=r"not told to hollow-nodes-rp-1-1 \(no answer within 1 s\): it"):
            cluster.faults.freeze("tp-1", "hollow-nodes-rp-1-1", one_way=True)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [str(each) for each in cluster.faults.in_force] == ["tp-1 hollow-nodes-rp-1-1: freeze, one way"]
    monkeypatch.undo()
    cluster.faults.delay("hollow-nodes-rp-1-1", "rp-2", 0.001)  # Once it has answered this, it has read the other, too.
    client, number = cluster.tenant_client("default"), 0
    while "rp-1" not in homes(client.list("pods").items).values():
        apply(cluster, f"d-{number}")
        number += 1
    threading.Event().wait(SHORT)
    for pod in client.list("pods").items:
        assert pod.status["phase"] == {"rp-1": "Pending", "rp-2": "Running"}[pod.spec["resourcePartition"]]


def test_the_faults_end_with_the_one_box(tmp_path: Path) -> None:
    options: dict[str, Any] = {"tenant_partitions": 1, "resource_partitions": 1, "nodes": 1, "data_dir": tmp_path}
    (tmp_path / "faults.json").write_text("what a one box leaves behind that is killed")
    with ursa.Cluster(**options) as cluster:
        assert cluster.faults.in_force == []
        cluster.faults.cut("scheduler-tp-1", "rp-1", refuse=True)
        assert (tmp_path / "faults.json").exists()
    assert not (tmp_path / "faults.json").exists()
