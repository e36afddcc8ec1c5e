import json
import os
from pathlib import Path

import pytest
from ursa.proto.errors import InputError
from ursa.tools.endpoints import (
    ClusterFile,
    ClusterProcess,
    cluster_path,
    load_cluster,
    require_not_running,
    running_clusters,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("URSA_HOME", str(tmp_path))
    return tmp_path


def cluster(name: str = "default", data_dir: str = "/nowhere", **changes: object) -> ClusterFile:
    processes = [ClusterProcess("tp-1", "apiserver", 7, "127.0.0.1:1", "127.0.0.1:2")]
    return ClusterFile(name, data_dir, {"tp-1": "127.0.0.1:1"}, {"rp-1": "127.0.0.1:3"}, processes, **changes)  # type: ignore[arg-type]


def test_a_running_cluster_is_found_by_name_by_file_and_by_data_directory(tmp_path: Path) -> None:
    written = cluster()
    data = tmp_path / "data"
    written.save(cluster_path("default"))
    written.save(data / "cluster.json")
    assert load_cluster() == load_cluster(str(data)) == load_cluster(str(data / "cluster.json")) == written
    assert running_clusters() == ["default"]


def test_without_a_cluster_the_error_says_how_to_start_one() -> None:
    with pytest.raises(InputError, match=r"^no cluster is running: start one with `ursa up`$"):
        load_cluster()
    with pytest.raises(InputError, match="start it with `ursa up --name lab`"):
        load_cluster("lab")
    with pytest.raises(InputError, match="no cluster is running in /nowhere/at/all"):
        load_cluster("/nowhere/at/all")


def test_another_running_cluster_is_pointed_out() -> None:
    cluster("lab").save(cluster_path("lab"))
    with pytest.raises(InputError, match="or choose one of lab"):
        load_cluster()


def test_a_file_left_by_a_killed_one_box_is_recognised(tmp_path: Path) -> None:
    # The pid lives (it is ours), but the process it once named does not.
    cluster(data_dir=str(tmp_path), pid=os.getpid(), pid_created=1.0).save(cluster_path("default"))
    with pytest.raises(InputError, match=f"has ended .*: start it again with `ursa up --data-dir {tmp_path}`"):
        load_cluster()
    assert running_clusters() == []
    require_not_running("default")


def test_one_name_is_one_cluster() -> None:
    cluster("lab").save(cluster_path("lab"))
    with pytest.raises(InputError, match=f"running already .process {os.getpid()}.: stop it, or choose another --name"):
        require_not_running("lab")
    require_not_running("other")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"schemaVersion": 1}', '{"schemaVersion": 1, "processes": [1]}']
)
def test_a_file_that_is_none_is_refused_with_its_path(text: str) -> None:
    path = cluster_path("default")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InputError, match=f"^{path}: this is no cluster file"):
        load_cluster()


def test_a_file_of_another_version_says_so() -> None:
    path = cluster_path("default")
    cluster().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schemaVersion": 99}))
    with pytest.raises(InputError, match="another version of Ursa"):
        load_cluster()


def test_a_name_that_is_no_label_is_refused() -> None:
    with pytest.raises(InputError, match="no DNS label"):
        load_cluster("My Cluster")


def test_saving_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    for _ in range(3):
        cluster().save(tmp_path / "cluster.json")
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.json"]
