from __future__ import annotations

import os
from pathlib import Path

import pytest
from ursa.proto.errors import InputError
from ursa.tools.load.trace import read_nodes, read_pods

NODES = "sn,cpu_milli,memory_mib,gpu,model\nnode-0,32000,262144,0,\nnode-1,96000,393216,8,G2\n"
POD_HEADER = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
)
POD = "pod-0,12000,16384,1,460,,LS,Running,5,20,6\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    return path


def read_pod(tmp_path: Path, line: str):
    return read_pods(write(tmp_path, POD_HEADER + line))[0]


def test_nodes_have_the_sum_of_their_gpus(tmp_path: Path):
    nodes = read_nodes(write(tmp_path, NODES))
    assert [(node.name, node.cpu_milli, node.memory_mib, node.gpu_milli, node.model) for node in nodes] == [
        ("node-0", 32000, 262144, 0, ""),
        ("node-1", 96000, 393216, 8000, "G2"),
    ]


@pytest.mark.parametrize(
    ("num_gpu", "gpu_milli", "expected"), [(0, 0, 0), (1, 460, 460), (1, 1000, 1000), (2, 1000, 2000), (8, 500, 8000)]
)
def test_a_share_is_of_one_gpu_and_several_gpus_are_whole(tmp_path: Path, num_gpu, gpu_milli, expected):
    assert read_pod(tmp_path, f"pod-0,1,1,{num_gpu},{gpu_milli},,BE,,0,1,\n").gpu_milli == expected


def test_a_pod_without_a_deletion_time_is_never_deleted(tmp_path: Path):
    assert read_pod(tmp_path, POD).deletion_seconds == 20
    assert read_pod(tmp_path, "pod-0,1,1,0,0,,BE,,0,,\n").deletion_seconds is None


def test_pods_come_in_the_order_of_their_creation(tmp_path: Path):
    lines = ["a,1,1,0,0,,BE,,9,10,", "b,1,1,0,0,,BE,,3,10,", "c,1,1,0,0,,BE,,9,10,", "d,1,1,0,0,,BE,,0.5,10,"]
    pods = read_pods(write(tmp_path, POD_HEADER + "\n".join(lines)))
    assert [pod.name for pod in pods] == ["d", "b", "a", "c"]


def test_columns_may_stand_in_any_order_and_gpu_spec_may_be_missing(tmp_path: Path):
    header = "qos,deletion_time,creation_time,gpu_milli,num_gpu,memory_mib,cpu_milli,name,comment\n"
    pod = read_pods(write(tmp_path, header + 'BE,9,1,0,0,2,3,p,"a, b"\n'))[0]
    assert (pod.name, pod.cpu_milli, pod.memory_mib, pod.tenant, pod.models) == ("p", 3, 2, "be", ())


def test_gpu_spec_lists_models(tmp_path: Path):
    assert read_pod(tmp_path, "p,1,1,1,1,V100M16|V100M32,BE,,0,1,\n").models == ("V100M16", "V100M32")


@pytest.mark.parametrize(
    ("line", "place", "said"),
    [
        ("pod-0,many,1,0,0,,BE,,0,1,", ":2:7:", "cpu_milli must be a whole number, not 'many'"),
        ("pod-0,1,1.5,0,0,,BE,,0,1,", ":2:9:", "memory_mib must be a whole number"),
        ("pod-0,1,1,-1,0,,BE,,0,1,", ":2:11:", "num_gpu must not be negative: -1"),
        ("pod-0,1,1,0,,,BE,,0,1,", ":2:13:", "gpu_milli must be a whole number, not ''"),
        ("pod-0,1,1,1,1001,,BE,,0,1,", ":2:13:", "a share of one GPU is at most 1000, not 1001"),
        ("pod-0,1,1,0,0,,BE,,nan,1,", ":2:20:", "creation_time must be a number of seconds"),
        ("pod-0,1,1,0,0,,BE,,9,1,", ":2:22:", "1 is before the pod's creation at 9"),
        ("Pod_0,1,1,0,0,,BE,,0,1,", ":2:1:", "'Pod_0' is no DNS name"),
        ("pod-0,1,1,0,0,,B E,,0,1,", ":2:16:", "'b e' is no DNS label"),
        ('"pod-0",1,"x",0,0,,BE,,0,1,', ":2:11:", "memory_mib must be a whole number"),
        ("pod-0,1,1", ":2:10:", "the line has 3 fields, the header 11"),
        ("pod-0,1,1,0,0,,BE,,0,1,,9", ":2:25:", "the line has 12 fields, the header 11"),
        ('pod-0,"1,1,0,0,,BE,,0,1,', ":2:1:", "is no CSV"),
        ("pod-0,1_000,1,0,0,,BE,,0,1,", ":2:7:", "not '1_000'"),
    ],
)
def test_a_malformed_line_is_refused_with_file_line_and_column(tmp_path: Path, line, place, said):
    with pytest.raises(InputError) as refused:
        read_pods(write(tmp_path, POD_HEADER + line + "\n"))
    assert f"trace.csv{place}" in str(refused.value)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_name_that_comes_twice_is_refused_and_says_where_it_was(tmp_path: Path):
    with pytest.raises(InputError, match=r"trace\.csv:4:1: the name 'pod-0' stands in line 2 already"):
        read_pods(write(tmp_path, POD_HEADER + POD + "\n" + POD))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("sn,cpu_milli\nnode,1\n", "trace.csv:1:1: there is no column 'memory_mib'"),
        ("sn,cpu_milli,memory_mib,gpu,model\n", "there are no nodes in it"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, text, said):
    with pytest.raises(InputError, match=said):
        read_nodes(write(tmp_path, text))


def test_a_missing_file_a_folder_and_binary_are_refused_in_one_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"missing\.csv: cannot be read: No such file"):
        read_nodes(tmp_path / "missing.csv")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_nodes(tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"sn\n\xff\xfe")
    with pytest.raises(InputError, match=r"binary\.csv:2: is no text in UTF-8"):
        read_nodes(tmp_path / "binary.csv")


def trace_directory() -> Path:
    default = Path(__file__).resolve().parents[4] / "shared" / "data"
    return Path(os.environ.get("URSA_TRACE_DIR", default))


@pytest.mark.skipif(
    not trace_directory().is_dir() and not os.environ.get("CI"), reason="the public trace is not on this machine"
)
def test_the_public_trace_is_read_whole():
    nodes = read_nodes(trace_directory() / "openb_node_list_all_node.csv")
    pods = read_pods(trace_directory() / "openb_pod_list_default.csv")
    assert len(nodes) == 1523
    assert sum(node.gpu_milli for node in nodes) == 6_212_000
    assert len(pods) == 8152
    assert dict.fromkeys(sorted(pod.tenant for pod in pods)) == dict.fromkeys(["be", "burstable", "guaranteed", "ls"])
    assert pods == sorted(pods, key=lambda pod: pod.creation_seconds)
