"""Manifests of static pods: what is taken, and what is told of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from ursa.proto.errors import InputError
from ursa.tools.checking.check import check
from ursa.tools.recording import Recorder
from ursa.tools.static_pods import read_static_pods

from .test_cluster import open_cluster, run

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: proxy}
spec:
  containers: [{name: main, image: i, resources: {limits: {cpu: 1}}}]
"""


def written(folder: Path, text: str) -> str:
    (folder / "pods.yaml").write_text(text)
    return str(folder / "pods.yaml")


def test_what_a_manifest_does_not_say_is_said(tmp_path: Path) -> None:
    [pod] = read_static_pods([written(tmp_path, POD)])
    assert (pod.tenant, pod.namespace, pod.name) == ("system", "default", "proxy")
    assert pod.spec["containers"][0]["resources"]["requests"] == {"cpu": 1}
    assert pod.spec["restartPolicy"] == "Always"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (POD.replace("kind: Pod", "kind: Node"), "a Node cannot be run by a kubelet alone"),
        (POD.replace("name: proxy", "name: proxy, tenant: acme"), "is of the tenant 'system'"),
        (POD.replace("{name: proxy}", "{generateName: proxy-}"), "needs a metadata.name"),
        (POD.replace("spec:", "spec:\n  nodeName: n1"), "leave spec.nodeName out"),
        (POD.replace("cpu: 1", "cpu: much"), "limits"),
        (f"{POD}---\n{POD}", "default/proxy comes twice"),
    ],
)
def test_a_mistake_names_its_file_and_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as refused:
        read_static_pods([written(tmp_path, text)])
    assert "pods.yaml:" in str(refused.value)


def test_each_node_of_a_cluster_runs_them_and_the_judges_find_that_in_order(tmp_path: Path) -> None:
    judged = []

    async def main() -> None:
        recorder = Recorder()
        async with open_cluster(nodes=2, static_pods=written(tmp_path, POD), recorder=recorder) as cluster:
            await trio.sleep(5)
            names = []
            for client in cluster.clients.resource_clients.values():
                pods = (await client.list("pods")).items
                assert all(pod.status["phase"] == "Running" for pod in pods)
                names += [pod.name for pod in pods]
            assert sorted(names) == ["proxy-node-0001", "proxy-node-0002"]
            recorder.finish(healed=True)
        judged.append(check(recorder.records))

    run(main)
    assert judged == [[]]
