"""`ursa partition` against a running one box, as a person uses it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ursa

pytestmark = pytest.mark.slow

PODS = """
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "app:1"}]}
"""


def test_partitions_come_and_go_while_pods_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URSA_HOME", str(tmp_path / "home"))
    data_dir = tmp_path / "data"

    def shell(*words: str, status: int = 0, stdin: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ursa", *words],
            env={**os.environ},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if status else done.stdout

    def listed() -> dict[str, list[str]]:
        return {line.split()[0]: line.split()[1:] for line in shell("partition", "list").splitlines()[1:]}

    options = {"tenant_partitions": 1, "resource_partitions": 2, "nodes": 2, "name": "default", "data_dir": data_dir}
    with ursa.Cluster(**options) as cluster:
        restarts = {name: info.restarts for name, info in cluster.processes.items()}
        pids = {name: info.pid for name, info in cluster.processes.items()}
        shell("apply", "-f", "-", stdin=PODS)
        cluster.wait_for_pods(4)
        assert shell("partition", "add", "tenant") == "partition tp-2 added\n"
        assert "scheduler-tp-2" in cluster.processes
        assert shell("partition", "add", "resource") == "partition rp-3 added\n"
        assert "holds" in shell("partition", "remove", "tp-1", status=1)
        assert "drain it first" in shell("partition", "remove", "rp-1", status=1)
        assert "there are rp-1, rp-2, rp-3, tp-1, tp-2" in shell("partition", "drain", "rp-7", status=1)
        assert "pods were evicted" in shell("partition", "drain", "rp-1")
        assert {pod.spec["resourcePartition"] for pod in cluster.wait_for_pods(4)} == {"rp-2"}
        assert listed()["rp-1"][1] == "Draining"
        assert shell("partition", "resume", "rp-1") == "partition rp-1 is used again\n"
        assert shell("partition", "remove", "rp-1") == "partition rp-1 removed\n"
        assert shell("partition", "remove", "tp-2") == "partition tp-2 removed\n"
        deadline = time.monotonic() + 30
        while set(cluster.processes) & {"rp-1", "tp-2", "scheduler-tp-2"} and time.monotonic() < deadline:
            time.sleep(0.1)
        assert {name: row[1] for name, row in listed().items()} == {
            "tp-1": "Active",
            "tp-2": "Removed",
            "rp-1": "Removed",
            "rp-2": "Active",
            "rp-3": "Active",
        }
        for name, info in cluster.processes.items():
            if name in pids:
                assert (info.pid, info.restarts) == (pids[name], restarts[name]), "nothing was restarted"
        assert len(cluster.wait_for_pods(4)) == 4
        assert [path.name for path in data_dir.iterdir() if path.name in ("rp-1", "tp-2")] == []
    # The data directory goes on with what is left; a name that comes back begins anew.
    with ursa.Cluster(tenant_partitions=2, resource_partitions=3, nodes=2, data_dir=data_dir) as cluster:
        assert len(cluster.wait_for_pods(4)) == 4
        assert sorted(cluster.clients.resource_clients) == ["rp-1", "rp-2", "rp-3"]
