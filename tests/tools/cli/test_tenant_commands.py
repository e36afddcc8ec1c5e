"""`ursa tenant` against a running one box, as a person uses it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import ursa

pytestmark = pytest.mark.slow

PODS = """
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web, tenant: acme}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "app:1"}]}
"""


def test_tenants_are_created_moved_listed_and_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URSA_HOME", str(tmp_path / "home"))

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

    options = {"tenant_partitions": 2, "resource_partitions": 1, "nodes": 2, "name": "default"}
    with ursa.Cluster(**options, data_dir=tmp_path / "data") as cluster:
        assert shell("tenant", "create", "acme", "--partition", "tp-1") == "tenant acme created in tp-1\n"
        assert "exists already, in tp-1" in shell("tenant", "create", "acme", status=1)
        shell("apply", "-f", "-", stdin=PODS)
        before = {pod.uid: pod.status["startTime"] for pod in cluster.wait_for_pods(4, tenant="acme")}
        said = shell("tenant", "move", "acme", "tp-2")
        assert re.match(r"tenant acme moved from tp-1 to tp-2: 6 objects in .* nothing could be written", said), said
        assert shell("tenant", "move", "acme", "tp-2") == "tenant acme is in tp-2\n"
        rows = {line.split()[0]: line.split()[1:] for line in shell("tenant", "list").splitlines()[1:]}
        assert rows["acme"] == ["tp-2", "Active", "1", "4"]
        assert before == {pod.uid: pod.status["startTime"] for pod in cluster.wait_for_pods(4, tenant="acme")}
        assert len(shell("get", "pods", "--tenant", "acme").splitlines()) == 5
        assert shell("tenant", "delete", "acme") == "tenant acme deleted from tp-2\n"
        assert "there is no tenant 'acme'" in shell("tenant", "move", "acme", "tp-1", status=1)
