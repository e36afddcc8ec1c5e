"""Profiles side by side: the same arrivals under each, what is counted, and mistakes at the keyboard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.kubelet import hollow_node
from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.framework.config import make_profiles
from ursa.clients.scheduler.framework.interface import Depends, ScorePlugin, Scores, Slots
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.plugins.gpu_fragmentation import GpuFragmentation
from ursa.clients.scheduler.plugins.gpu_share import DeviceChoice
from ursa.clients.scheduler.plugins.gpu_typical import typical_args, typical_pods
from ursa.clients.scheduler.plugins.registry import BUILT_IN, DEFAULT_WEIGHTS
from ursa.proto.errors import InputError
from ursa.tools.cli import main
from ursa.tools.compare.comparing import compare_profiles, document_of
from ursa.tools.compare.filling import Ties, fill
from ursa.tools.compare.page import COLUMNS, render_compare_page
from ursa.tools.compare.profiles import NamedProfile, read_profile
from ursa.tools.compare.workloads import ARRIVALS, Arrival, Workload, make_workload

GPU = "ursa.dev/gpu-milli"
PROFILES = sorted((Path(__file__).resolve().parents[3] / "examples" / "profiles").glob("*.yaml"))
NODES_CSV = "sn,cpu_milli,memory_mib,gpu,model\ncpu-only,9000,9000,0,\na,8000,9000,2,T4\nb,8000,9000,2,G2\n"
PODS_CSV = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time\n"
    "share,1000,1,1,500,,BE,0,\nwhole,1000,1,1,1000,G2|V100,BE,1,\ntwo,2000,1,2,1000,,BE,2,\nnone,1000,1,0,0,,BE,3,\n"
)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def spec(cpu: int, gpu: int = 0) -> dict[str, Any]:
    requests = {"cpu": f"{cpu}m", **({GPU: gpu} if gpu else {})}
    return {"containers": [{"name": "main", "image": "app", "resources": {"requests": requests}}]}


def gpus(*nodes: tuple[int, int], pods: list[tuple[int, int]]) -> Workload:
    """Nodes of so many GPUs and cores; pods of so many milli of GPU and of cpu."""
    made = [
        hollow_node(f"n{number}", cpu=str(cores), memory="64Gi", extended={GPU: count * 1000})
        for number, (count, cores) in enumerate(nodes)
    ]
    return Workload("gpu", GPU, made, [Arrival(spec(cpu, gpu), gpu) for gpu, cpu in pods])


def scored_by(plugin: str) -> NamedProfile:
    return NamedProfile(plugin, {"plugins": {"score": {"disabled": [{"name": "*"}], "enabled": [{"name": plugin}]}}})


def test_the_made_up_gpus_fill_better_by_what_looks_ahead() -> None:
    workload = make_workload("gpu")
    named = [scored_by(name) for name in ("GpuPacking", "GpuFragmentation", "GpuStranding")]
    packing, fragmentation, stranding = (
        each.mean(lambda filling: filling.allocated) for each in compare_profiles(workload, named, range(2))
    )
    assert packing < fragmentation < stranding


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(4, 64)), min_size=1, max_size=5),
    st.lists(
        st.tuples(st.sampled_from([0, 300, 500, 810, 1000, 2000]), st.integers(0, 16_000)), min_size=1, max_size=12
    ),
    st.sampled_from(PROFILES),
    st.sampled_from(Ties),
    st.integers(0, 1000),
)
def test_nothing_is_over_committed_and_what_is_allocated_is_what_was_placed(
    nodes: list[tuple[int, int]], pods: list[tuple[int, int]], path: Path, ties: Ties, seed: int
) -> None:
    workload = gpus(*nodes, pods=[*pods, (1000, 100)])
    typical = typical_pods(workload.requests)
    profile = read_profile(path).make(typical)
    fragments = GpuFragmentation({"typicalPods": typical_args(typical)})
    first = fill(workload, profile, seed, ties, fragments)
    again = fill(workload, read_profile(path).make(typical), seed, ties, fragments)
    assert first.overcommitted == 0
    assert (first.placed, first.allocated_percent) == (again.placed, again.allocated_percent), "one seed, one run"
    assert 0 <= first.fragmented <= 100 - first.allocated + 0.01
    assert first.allocated <= min(100.0, first.arrived_percent[-1]) + 0.01
    assert first.arrived_percent[-1] <= 100 * ARRIVALS + 0.01


class Careless(ScorePlugin, DeviceChoice):
    """Gives everybody the first GPU, whatever is left of it."""

    name: ClassVar[str] = "Careless"
    depends: ClassVar[Depends] = Depends.NODE

    def score(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        return np.zeros(len(nodes.names), np.int64)[slots]

    def choose_devices(self, pod: Shape, nodes: NodeColumns, slot: int) -> tuple[int, ...]:
        return (0,)


def test_a_device_that_is_given_away_twice_is_counted() -> None:
    (profile,) = make_profiles([scored_by("Careless").written], BUILT_IN, DEFAULT_WEIGHTS, {"Careless": Careless})
    assert fill(gpus((2, 64), pods=[(600, 100)] * 2), profile, 0).overcommitted == 2


def test_arrivals_are_all_kinds_once_and_then_some_more_up_to_the_bound() -> None:
    workload = gpus((8, 64), pods=[(1000, 1)] * 3 + [(500, 1)])
    arrivals = workload.arrivals(5)
    assert sorted(arrivals[:4]) == [0, 1, 2, 3]
    asked = [workload.kinds[number].units for number in arrivals]
    assert 1.3 * 8000 - 1000 < sum(asked) <= 1.3 * 8000
    assert workload.arrivals(5) == arrivals
    assert workload.arrivals(6) != arrivals


def test_which_node_comes_first_where_scores_are_equal_is_drawn_from_the_seed() -> None:
    # Who comes first and wants no GPU takes all cpu of one node: that with one GPU, or that with two.
    workload = gpus((1, 10), (2, 10), pods=[(0, 10_000), (1000, 1000)])
    packed = scored_by("GpuPacking").make([])
    fillings = [fill(workload, packed, seed) for seed in range(40) if workload.arrivals(seed)[:2] == [0, 1]]
    allocated = {round(filling.allocated) for filling in fillings}
    assert allocated == {33, 67}


def test_of_equal_scores_the_first_node_takes_the_pod_or_any() -> None:
    workload, packed = make_workload("gpu"), scored_by("GpuPacking").make([])
    first, any_node = (fill(workload, packed, 1, ties) for ties in (Ties.ORDER, Ties.RANDOM))
    assert first.allocated_percent != any_node.allocated_percent


def test_the_trace_is_its_gpu_nodes_and_all_of_its_pods(tmp_path: Path) -> None:
    (tmp_path / "nodes.csv").write_text(NODES_CSV)
    (tmp_path / "pods.csv").write_text(PODS_CSV)
    workload = make_workload("trace", tmp_path / "nodes.csv", tmp_path / "pods.csv")
    assert [node.name for node in workload.nodes] == ["a", "b"]
    assert workload.capacity == 4000
    assert [kind.units for kind in workload.kinds] == [500, 1000, 2000, 0]
    [compared] = compare_profiles(workload, [scored_by("GpuBestFit")], [1])
    assert compared.fillings[0].placed >= 3


def test_a_page_shows_each_profile_and_escapes_what_comes_from_outside() -> None:
    workload = gpus((2, 8), pods=[(500, 1000)])
    named = NamedProfile("<b>", scored_by("GpuPacking").written)
    document = document_of(workload, compare_profiles(workload, [named], [0]), [0], Ties.ORDER)
    page = render_compare_page(document)
    assert "<td>&lt;b&gt;</td>" in page
    assert "<td><b></td>" not in page
    assert '<figure id="profile-0">' in page
    assert json.loads(json.dumps(document))["profiles"][0]["allocatedPercent"] == 100.0


def test_a_comparison_at_the_keyboard_ends_with_a_table_and_a_folder(tmp_path: Path) -> None:
    names = ",".join(str(path) for path in PROFILES if path.stem in ("gpu-packing", "random"))
    for number in (1, 2):
        result = run(
            "--profiles", names, "--workload", "basic", "--seeds", 2, "--shared-seeds", 0, "--output", tmp_path
        )
        assert result.exit_code == 0, result.output
        assert f"compare-basic-{number}" in result.output.replace("\n", "")
    report = json.loads((tmp_path / "compare-basic-1" / "report.json").read_text())
    assert [each["name"] for each in report["profiles"]] == ["gpu-packing", "random"]
    assert report["seeds"] == [0, 1]
    assert [each["conflictPercent"] for each in report["profiles"]] == [None, None]
    page = (tmp_path / "compare-basic-1" / "compare.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "Conflicts and startup were not measured." in page
    assert "<td>–</td>" in page  # noqa: RUF001


def test_the_table_says_how_two_schedulers_fare_on_the_same_nodes(tmp_path: Path) -> None:
    random_yaml = next(path for path in PROFILES if path.stem == "random")
    result = run("--profiles", random_yaml, "--workload", "gpu", "--seeds", 2, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    assert "…" not in result.output, "no figure is cut in a terminal of 80 columns"
    report = json.loads((tmp_path / "compare-gpu-1" / "report.json").read_text())
    assert report["shared"] == {"seeds": [0], "schedulers": 2, "podsPerSecond": 200.0, "nodes": 80}
    [profile] = report["profiles"]
    assert profile["claims"] > 300
    assert profile["overcommitted"] == 0
    assert 0 < profile["startupP50Milliseconds"] <= profile["startupP99Milliseconds"]
    [row] = [line.split() for line in result.output.splitlines() if line.strip().startswith("random ")]
    columns = [figure for _, figure, _ in COLUMNS]
    shown = dict(zip(columns, row[1:], strict=True))
    assert shown["conflictPercent"] == f"{profile['conflictPercent']:.2f}"
    assert shown["startupP99Milliseconds"] == f"{profile['startupP99Milliseconds']:.0f}"
    page = (tmp_path / "compare-gpu-1" / "compare.html").read_text()
    assert "2 schedulers that share the nodes, 200 pods/s, 1 seed." in page


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"--workload": "trace"}, "give --nodes-csv and --pods-csv"),
        ({"--workload": "more"}, "there is no workload 'more': choose one of trace, gpu, basic"),
        ({"--nodes-csv": "x.csv"}, "only the workload trace is read from files"),
        ({"--profiles": "missing.yaml"}, "missing.yaml: cannot be read"),
        ({"--profiles": " , "}, "names no file"),
        ({"--profiles": "{packing},{packing}"}, "have the same name"),
        ({"--profiles": "{two}"}, "must have one profile to compare, not 2"),
        ({"--profiles": "{wrong}"}, "there is no plugin GpuPaking"),
        ({"--profiles": "{fragmentation}", "--workload": "basic"}, "needs typicalPods"),
        ({"--seeds": "0"}, "0 is not in the range"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, options: Mapping[str, str], complaint: str) -> None:
    header = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
    (tmp_path / "two.yaml").write_text(header + "profiles: [{schedulerName: a}, {schedulerName: b}]\n")
    (tmp_path / "wrong.yaml").write_text(header + "profiles: [{plugins: {score: {enabled: [{name: GpuPaking}]}}}]\n")
    known = {path.stem.removeprefix("gpu-"): str(path) for path in PROFILES}
    known |= {name: str(tmp_path / f"{name}.yaml") for name in ("two", "wrong")}
    arguments = {"--profiles": "{packing}", "--workload": "gpu", "--output": str(tmp_path), **options}
    result = run(*(part.format(**known) for pair in arguments.items() for part in pair))
    assert result.exit_code == 1
    assert complaint in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_a_trace_that_asks_for_no_gpus_is_refused_and_not_drawn_from_for_ever(tmp_path: Path) -> None:
    (tmp_path / "nodes.csv").write_text(NODES_CSV)
    (tmp_path / "pods.csv").write_text("\n".join(PODS_CSV.splitlines()[::4]) + "\n")
    with pytest.raises(InputError, match="no pod asks for GPUs"):
        make_workload("trace", tmp_path / "nodes.csv", tmp_path / "pods.csv")


def test_a_trace_with_parts_of_several_gpus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nodes.csv").write_text(NODES_CSV)
    (tmp_path / "pods.csv").write_text(PODS_CSV.replace("share,1000,1,1,500", "share,1000,1,1,1500"))
    with pytest.raises(InputError, match="a share of one GPU is at most 1000, not 1500"):
        make_workload("trace", tmp_path / "nodes.csv", tmp_path / "pods.csv")
