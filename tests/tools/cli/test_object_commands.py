"""get, describe, apply, delete and watch against a running one box, as a person uses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ursa
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
NEGATIVE_REQUEST = """
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: c, resources: {requests: {cpu: -1}}}]}
"""
PROFILES = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles: [{}, {schedulerName: packing, plugins: {score: {disabled: [{name: ImageLocality}]}}}]
"""
PACKED = """
apiVersion: v1
kind: Pod
metadata: {name: packed, labels: {app: packed}}
spec: {schedulerName: packing, containers: [{name: c, image: i, resources: {requests: {cpu: 100m}}}]}
"""
WEB = str(ROOT / "examples" / "web.yaml")


class Shell:
    """Runs `ursa` commands against the cluster under test."""

    def __init__(self, home: Path) -> None:
        self.environment = {**os.environ, "URSA_HOME": str(home)}

    def __call__(self, *words: str, status: int = 0, stdin: str = "") -> str:
        """What it printed: on standard output if it succeeds, on standard error if it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "ursa", *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if status else done.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("URSA_HOME", str(home))
        profiles = home / "profiles.yaml"
        profiles.write_text(PROFILES)
        with ursa.Cluster(2, 2, nodes=2, name="default", scheduler_config=profiles) as cluster:
            run = Shell(home)
            run.cluster = cluster  # type: ignore[attr-defined]
            yield run


Run = Callable[..., str]


def test_nodes_are_those_of_all_resource_partitions(shell: Run) -> None:
    lines = shell("get", "nodes").splitlines()
    assert lines[0].split() == ["NAME", "STATUS", "ROLES", "AGE", "VERSION", "PARTITION"]
    assert sorted(line.split()[-1] for line in lines[1:]) == ["rp-1", "rp-2"]


def test_a_manifest_is_created_then_unchanged_then_configured_then_deleted(shell: Run, tmp_path: Path) -> None:
    assert shell("apply", "-f", WEB) == "configmap/web created\ndeployment.apps/web created\n"
    assert shell("apply", "-f", WEB) == "configmap/web unchanged\ndeployment.apps/web unchanged\n"
    shell.cluster.wait_for_pods(3, label_selector="app=web", timeout_seconds=30)  # type: ignore[attr-defined]
    changed = Path(WEB).read_text().replace("greeting: hello", "greeting: welcome")
    assert shell("apply", "-f", "-", stdin=changed).splitlines()[0] == "configmap/web configured"
    assert yaml.safe_load(shell("get", "cm/web", "-o", "yaml"))["data"] == {"greeting": "welcome"}
    pods = json.loads(shell("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    assert [pod["status"]["phase"] for pod in pods] == ["Running"] * 3
    assert "READY" in shell("get", "deploy", "web")
    assert len(shell("get", "cm,deploy,rs").split("\n\n")) == 3
    assert len(json.loads(shell("get", "cm,deploy", "-o", "json"))["items"]) == 2
    names = shell("get", "pods", "-A", "-o", "name").split()
    assert sorted(names) == sorted(f"pod/{pod['metadata']['name']}" for pod in pods)
    told = shell("describe", names[0])
    assert "Controlled By:  ReplicaSet/web-" in told
    assert f"Node Name: {pods[0]['spec']['nodeName'][:4]}" in told
    node = pods[0]["spec"]["nodeName"]
    held = [line.split() for line in shell("describe", "node", node).splitlines()]
    assert ["tp-1", "default", "default", pods[0]["metadata"]["name"], "Running"] in [line[:5] for line in held]
    assert shell("delete", "-f", WEB) == "configmap/web deleted\ndeployment.apps/web deleted\n"
    assert "there is no deployment" in shell("get", "deployment", "web", status=1)


def test_the_schedulers_have_the_profiles_of_the_cluster_and_a_pod_is_explained_by_its_own(shell: Run) -> None:
    shell("apply", "-f", "-", stdin=PACKED)
    shell.cluster.wait_for_pods(1, label_selector="app=packed")  # type: ignore[attr-defined]
    told = shell("explain", "pod", "packed")
    assert "Profile:   packing" in told
    assert "Feasible:  2 of 2 nodes" in told
    assert " (its node)" in told
    assert "ursa explain pod NAME" in shell("explain", "nodes", status=1)
    shell("delete", "pod", "packed")


def test_what_a_manifest_no_longer_says_is_removed_and_what_others_manage_is_a_conflict(shell: Run) -> None:
    manifest = "{apiVersion: v1, kind: ConfigMap, metadata: {name: pruned, labels: {a: b}}, data: {x: '1', y: '2'}}"
    shell("apply", "-f", "-", stdin=manifest)
    less = manifest.replace(", labels: {a: b}", "").replace(", y: '2'", "")
    assert shell("apply", "-f", "-", "--dry-run", stdin=less) == "configmap/pruned configured (dry run)\n"
    assert shell("apply", "-f", "-", stdin=less) == "configmap/pruned configured\n"
    found = yaml.safe_load(shell("get", "cm/pruned", "-o", "yaml"))
    assert found["data"] == {"x": "1"}
    assert "labels" not in found["metadata"]
    assert "managedFields" not in found["metadata"]
    key = ursa.ObjectKey("default", "default", "pruned")
    client = shell.cluster.tenant_client("default")  # type: ignore[attr-defined]
    client.patch("configmaps", key, {"data": {"x": "3"}}, field_manager="someone")
    told = shell("apply", "-f", "-", stdin=less, status=1)
    assert 'conflict with "someone" using v1: .data.x.' in told
    assert told.rstrip().endswith("with --force-conflicts")
    assert shell("apply", "-f", "-", "--force-conflicts", stdin=less) == "configmap/pruned configured\n"
    misspelt = less.replace(", data:", ", dta:")
    assert 'unknown field "dta"' in shell("apply", "-f", "-", stdin=misspelt, status=1)
    shell("delete", "cm", "pruned")


def test_orphans_stay_when_their_owner_is_deleted(shell: Run) -> None:
    owner = "{apiVersion: v1, kind: ConfigMap, metadata: {name: owner}}"
    shell("apply", "-f", "-", stdin=owner)
    uid = yaml.safe_load(shell("get", "cm", "owner", "-o", "yaml"))["metadata"]["uid"]
    reference = f"{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid}}}"
    child = f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: child, ownerReferences: [{reference}]}}}}"
    shell("apply", "-f", "-", stdin=child)
    assert shell("delete", "cm", "owner", "--cascade", "orphan") == "configmap/owner deleted\n"
    for _ in range(50):
        if "configmap/owner" not in shell("get", "cm", "-o", "name"):
            break
    found = yaml.safe_load(shell("get", "cm", "child", "-o", "yaml"))
    assert "ownerReferences" not in found["metadata"]
    shell("delete", "cm", "child")


def test_a_tenant_goes_to_the_partition_with_the_fewest_and_its_objects_with_it(shell: Run) -> None:
    manifests = (
        "{apiVersion: ursa.dev/v1, kind: Tenant, metadata: {name: acme}}\n---\n"
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, tenant: acme}}\n---\n"
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, tenant: acme, namespace: shop}}\n"
    )
    assert shell("apply", "-f", "-", stdin=manifests).splitlines() == [
        "tenant.ursa.dev/acme created",
        "namespace/shop created",
        "configmap/c created",
    ]
    # tp-1 has the tenant "default" already.
    [found] = [line for line in shell("get", "tenants").splitlines() if line.startswith("acme")]
    assert found.split()[2] == "tp-2"
    assert shell("get", "cm", "-n", "shop", "--tenant", "acme", "-o", "name") == "configmap/c\n"
    assert shell("delete", "cm", "--all", "-n", "shop", "--tenant", "acme") == "configmap/c deleted\n"


def test_nothing_is_written_where_one_object_of_a_file_is_bad(shell: Run) -> None:
    good = "{apiVersion: v1, kind: ConfigMap, metadata: {name: good}}\n---\n"
    for bad, message in (
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: Not-A-Name}}",
            "standard input:3: ConfigMap 'Not-A-Name' is",
        ),
        ("{apiVersion: v1, kind: Thing, metadata: {name: x}}", "standard input:3:1: there is no kind 'Thing'"),
        ("a: b: c", "standard input:3:5: mapping values are not allowed here"),
        (
            NEGATIVE_REQUEST,
            "spec.containers[0].resources.requests[cpu]: must not be negative",
        ),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: y, tenant: nobody}}", "there is no tenant 'nobody'"),
        ("{apiVersion: v1, kind: Node, metadata: {name: n}}", "could go to rp-1, rp-2: choose one with --partition"),
    ):
        told = shell("apply", "-f", "-", stdin=good + bad, status=1)
        assert message in told
        assert told.count("\n") == 1
    assert "there is no configmap" in shell("get", "cm", "good", status=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("get",), "say which kind"),
        (("get", "pods,podds"), "there is no kind 'podds'"),
        (("get", "pods,cm", "x"), "names belong to one kind"),
        (("get", "podds"), "there is no kind 'podds'; known are"),
        (("get", "pods", "--tenant", "nobody"), "there is no tenant 'nobody'"),
        (("get", "configmaps", "--tenant", "system"), "choose one of tp-1, tp-2 with --partition"),
        (("get", "configmaps", "--partition", "rp-1"), "configmaps are served by tp-1, tp-2; choose one of them"),
        (("get", "pods", "--partition", "tp-9"), "pods are served by tp-1, tp-2, rp-1, rp-2; choose one of them"),
        (("get", "pods", "-l", "a in b"), "label selector"),
        (("get", "pods", "--field-selector", "spec.color=red"), "cannot be selected by field"),
        (("get", "pods", "-o", "xml"), "'xml' is not one of"),
        (("get", "pods", "x", "-A"), "leave out -A, or the name"),
        (("delete", "pods"), "say what to delete"),
        (("delete", "pods", "x"), "there is no pod default/default/x"),
        (("apply", "-f", "/nowhere.yaml"), "/nowhere.yaml: cannot be read"),
        (("get", "pods", "--cluster", "other"), "no cluster 'other' is running"),
        (("watch", "pods", "a", "b"), "watch one name"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(shell: Run, words: tuple[str, ...], message: str) -> None:
    told = shell(*words, status=1)
    assert message in told
    assert told.count("\n") == 1


def test_a_watch_shows_what_is_there_and_then_what_happens(shell: Shell) -> None:
    config = "{apiVersion: v1, kind: ConfigMap, metadata: {name: seen}}"
    shell("apply", "-f", "-", stdin=config)
    words = [sys.executable, "-m", "ursa", "watch", "cm", "seen", "-o", "json"]
    with subprocess.Popen(words, env=shell.environment, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert json.loads(watch.stdout.readline())["type"] == "ADDED"
        shell("apply", "-f", "-", stdin=config[:-1] + ", data: {a: b}}")
        changed = json.loads(watch.stdout.readline())
        assert (changed["type"], changed["object"]["data"]) == ("MODIFIED", {"a": "b"})
        shell("delete", "cm", "seen")
        assert json.loads(watch.stdout.readline())["type"] == "DELETED"
        watch.terminate()


def test_an_unreachable_partition_is_not_an_empty_one(shell: Shell) -> None:
    """Last, because it takes a partition away: what the others say is shown, and that it is not all."""
    path = Path(shell.environment["URSA_HOME"]) / "clusters" / "default.json"
    content = json.loads(path.read_text())
    content["resource_partitions"]["rp-2"] = "127.0.0.1:1"
    path.with_name("broken.json").write_text(json.dumps(content))
    told = shell("get", "nodes", "--cluster", "broken", status=1)
    assert "error: not complete: rp-2: " in told


def test_custom_kinds_are_applied_shown_described_and_deleted_like_others(shell: Run) -> None:
    custom = ROOT / "examples" / "custom_kinds"
    both = "".join(f"---\n{path.read_text()}" for path in sorted(custom.glob("*.yaml")))
    objects = (custom / "objects" / "pi-and-diamond.yaml").read_text()
    assert "is not checked" in shell("apply", "--dry-run", "-f", "-", stdin=f"{both}---\n{objects}")
    lines = shell("apply", "-f", "-", stdin=f"{both}---\n{objects}").splitlines()
    assert lines[-2:] == ["sparkapplication.sparkoperator.k8s.io/pi created", "workflow.argoproj.io/diamond created"]
    assert [line.split()[-1] for line in lines[:2]] == ["tp-1", "tp-2"], "in every tenant partition"
    titles, row = shell("get", "sparkapplications", "-o", "wide").splitlines()
    assert titles.split() == ["NAME", "STATE", "EXECUTORS", "AGE", "IMAGE", "PARTITION"]
    assert row.split()[:3] == ["pi", "<none>", "<none>"]
    assert shell("get", "wf", "-o", "name") == "workflow.argoproj.io/diamond\n"
    assert "Main Application File" in shell("describe", "sparkapp", "pi")
    assert shell("get", "crds").count("True") == 2
    assert "spec.type" in shell("apply", "-f", "-", stdin=objects.replace("Python", "Cobol"), status=1)
    assert "typo" in shell("apply", "-f", "-", stdin=objects.replace("executor:", "typo:"), status=1)
    assert shell("delete", "workflow/diamond") == "workflow.argoproj.io/diamond deleted\n"
    assert (
        shell("delete", "crd", "workflows.argoproj.io", "sparkapplications.sparkoperator.k8s.io").count("deleted") == 4
    )
    assert "there is no kind" in shell("get", "nonsense", status=1)


def test_a_daemon_set_is_in_all_resource_partitions_or_in_the_one_that_is_named(shell: Run) -> None:
    manifest = (ROOT / "examples" / "daemonset.yaml").read_text()
    created = [f"daemonset.apps/node-agent created in rp-{number}" for number in (1, 2)]
    assert shell("apply", "-f", "-", stdin=manifest).splitlines() == created
    titles, *rows = shell("get", "ds", "-n", "kube-system").splitlines()
    assert titles.split("  ")[0] == "NAME"
    assert sorted((row.split()[0], row.split()[-1]) for row in rows) == [("node-agent", "rp-1"), ("node-agent", "rp-2")]
    for _ in range(50):
        rows = [line.split() for line in shell("get", "pods", "-A", "-o", "wide").splitlines() if "node-agent" in line]
        if [row[4] for row in rows] == ["Running"] * 2:
            break
    assert sorted(row[-1] for row in rows) == ["rp-1", "rp-2"]
    assert all(row[0] == "system" for row in rows)
    deleted = [f"daemonset.apps/node-agent deleted in rp-{number}" for number in (1, 2)]
    assert shell("delete", "-f", "-", stdin=manifest).splitlines() == deleted
    assert shell("apply", "--partition", "rp-2", "-f", "-", stdin=manifest).splitlines() == created[1:]
    assert shell("delete", "ds/node-agent", "-n", "kube-system").splitlines() == deleted[1:]
