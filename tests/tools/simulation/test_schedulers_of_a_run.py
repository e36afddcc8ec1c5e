"""The schedulers of a run have the profiles and plugins that its plan says."""

from __future__ import annotations

from pathlib import Path

import pytest
import ursa
from click.testing import CliRunner
from ursa.proto.errors import InputError
from ursa.proto.objects import Object
from ursa.tools.cli.simulate import simulate_command
from ursa.tools.determinism import first_difference
from ursa.tools.recording.records import Logged
from ursa.tools.simulation import Knobs, Operation, Outcome, Plan, Scheduling, Topology, simulate
from ursa.tools.simulation.report import report_lines, write_report
from ursa.tools.simulation.shrinking import shrink

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
PACKING = """
profiles:
- plugins: {score: {disabled: [{name: "*"}], enabled: [{name: NodeResourcesFit}]}}
  pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated}}}]
"""
# Written for this test: it may be imported from wherever the tests are run.
ALPHABETICAL = "profiles: [{plugins: {score: {disabled: [{name: '*'}], enabled: [{name: ByName}]}}}]\n"
PLUGIN = """
from ursa.clients.scheduler.framework.interface import Depends, NodeScorePlugin

class ByName(NodeScorePlugin):
    name = "ByName"
    depends = Depends.NODE
    def score_node(self, state, pod, node):
        return 100 - int(node.name.rpartition("-")[2])
"""
PLAN = Plan(
    5,
    Topology(1, 1, 4),
    seconds=20.0,
    knobs=Knobs(),
    operations=tuple(
        Operation(
            1.0 + number, "user-1", "pod", {"tenant": "tenant-1", "name": f"p{number}", "cpu": "500m", "run_seconds": 0}
        )
        for number in range(6)
    ),
)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "packing.yaml").write_text(HEAD + PACKING)
    (tmp_path / "by_name.yaml").write_text(HEAD + ALPHABETICAL)
    (tmp_path / "by_name_plugin.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def nodes_of(outcome: Outcome) -> list[str]:
    """Of the six pods."""
    assert outcome.passed, outcome.violations
    pods = [
        Object.from_bytes(each.data)
        for each in outcome.records
        if isinstance(each, Logged) and each.key.startswith("/registry/pods/tenant-1/")
    ]
    last = {pod.name: pod.spec.get("nodeName", "") for pod in pods}
    assert len(last) == 6
    return list(last.values())


def test_another_profile_gives_another_placement_and_the_same_one_the_same_trace(files: Path) -> None:
    spread = simulate(PLAN, keep_trace=True)
    packed, again = (simulate(PLAN, scheduler_config=files / "packing.yaml", keep_trace=True) for _ in range(2))
    assert len(dict.fromkeys(nodes_of(spread))) == 4
    assert len(dict.fromkeys(nodes_of(packed))) == 1
    assert first_difference(packed.trace, again.trace) == ""
    assert packed.digest == again.digest != spread.digest


def test_the_plan_of_a_run_says_all_that_is_needed_to_run_it_again(files: Path) -> None:
    plugins = ("by_name_plugin:ByName",)
    ran = simulate(PLAN, scheduler_config="by_name.yaml", scheduler_plugins=plugins, keep_trace=True)
    assert nodes_of(ran) == ["node-0001"] * 6
    assert ran.plan.scheduling.plugins == plugins
    folder = write_report(files / "report", ran)
    (files / "by_name.yaml").unlink()
    assert simulate(Plan.load(folder / "plan.json")).digest == ran.digest
    lines = list(report_lines(ran, folder))
    assert "scheduler profiles: default-scheduler" in lines
    assert "scheduler plugins, to be importable: by_name_plugin:ByName" in lines
    assert lines[-1] == f"again: ursa simulate --plan {folder / 'plan.json'}"
    smaller = shrink(ran.plan, lambda plan: bool(plan.operations))
    assert smaller.scheduling == ran.plan.scheduling


def test_the_command_runs_seeds_and_plans_under_the_profile(files: Path) -> None:
    small = ["--minutes", "0.2", "--nodes", "2", "--faults", "none", "--workload", "pods"]

    def trace_of(*arguments: str) -> str:
        done = CliRunner().invoke(simulate_command, list(arguments), standalone_mode=False)
        assert done.exception is None, done.output
        return done.output.rpartition("trace ")[2]

    plain = trace_of("--seed", "1", *small)
    packed = trace_of("--seed", "1", *small, "--scheduler-config", "packing.yaml")
    assert plain != packed
    plan = ursa.draw_plan(1, ursa.Swarm(Topology(2, 2, 2), 12.0, workload=("pods",), faults=()))
    Path("plan.json").write_text(plan.to_json())
    assert trace_of("--plan", "plan.json") == plain
    assert trace_of("--plan", "plan.json", "--scheduler-config", "packing.yaml") == packed

    def tally_of(*arguments: str) -> str:
        done = CliRunner().invoke(simulate_command, ["--seeds", "2", "--jobs", "1", *small, *arguments])
        return next(line for line in done.output.splitlines() if "lines of trace" in line)

    assert tally_of() != tally_of("--scheduler-config", "packing.yaml")


@pytest.mark.parametrize(
    ("config", "plugins", "says"),
    [
        ("none.yaml", (), "the scheduler's configuration none.yaml cannot be read: No such file"),
        ("other.yaml", (), "other.yaml: the pods of a simulated run are of default-scheduler"),
        ("by_name.yaml", (), r"by_name.yaml: profiles\[0\].plugins.score.enabled: there is no plugin ByName"),
        (None, ("by_name_plugin:ByNumber",), "plugin by_name_plugin:ByNumber is no class derived from a plugin class"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    files: Path, config: str | None, plugins: tuple[str, ...], says: str
) -> None:
    (files / "other.yaml").write_text(HEAD + "profiles: [{schedulerName: other}]")
    with pytest.raises(InputError, match=says):
        simulate(PLAN, scheduler_config=config, scheduler_plugins=plugins)


@pytest.mark.parametrize(
    ("scheduling", "says"),
    [
        (
            Scheduling(({"schedulerName": "a"},)),
            "the plan's scheduling: the pods of a simulated run are of default-sch",
        ),
        (Scheduling(({"profile": "a"},)), r"the plan's scheduling: profiles\[0\].profile is no field of a profile"),
        (Scheduling((), ("gone:Gone",)), "plugin gone:Gone: No module named 'gone'"),
    ],
)
def test_a_plan_whose_schedulers_make_no_sense_is_refused(scheduling: Scheduling, says: str) -> None:
    with pytest.raises(InputError, match=says):
        simulate(PLAN.with_(scheduling=scheduling))
