"""`ursa simulate`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import click

from ...proto.errors import InputError
from ..determinism import first_difference
from ..simulation import Outcome, Plan, Scheduling, Swarm, Topology, draw_plan, shrink, simulate
from ..simulation.drawing import KINDS, WORKLOADS
from ..simulation.report import report_lines, write_report
from ..simulation.scheduling import read_scheduling
from ..simulation.soak import Tally, run_seeds
from .scheduler_options import scheduler_options

# As of the load tests: a promise missed.
EXIT_MISSED = 4


@click.command("simulate")
@click.option("--seed", type=int, default=1, show_default=True, help="Decides everything.")
@click.option("--seeds", type=int, default=1, show_default=True, help="Run so many, from --seed on.")
@click.option("--plan", "plan_path", type=click.Path(path_type=Path), help="Run this plan, and draw none.")
@click.option("--minutes", type=float, default=1.0, show_default=True, help="Virtual minutes before the healing.")
@click.option("--tenant-partitions", type=int, default=2, show_default=True, help="Tenant partitions.")
@click.option("--resource-partitions", type=int, default=2, show_default=True, help="Resource partitions.")
@click.option("--nodes", type=int, default=6, show_default=True, help="Hollow nodes.")
@click.option("--controller-replicas", type=int, default=1, help="Of each scheduler and controller manager.")
@click.option("--workload", default="all", show_default=True, help=f"Of {', '.join(WORKLOADS)}; or all.")
@click.option("--faults", default="all", show_default=True, help=f"Of {', '.join(KINDS)}; or all, or none.")
@scheduler_options
@click.option("--jobs", type=int, default=0, help="Processes that run seeds. 0: one for each core.")
@click.option("--verify-determinism", is_flag=True, help="Run each twice, and show the first difference.")
@click.option("--shrink/--no-shrink", "shrinks", default=True, help="Make a failing plan small.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Directory; a failing seed gets a folder in it.",
)
def simulate_command(
    seed: int,
    seeds: int,
    plan_path: Path | None,
    minutes: float,
    tenant_partitions: int,
    resource_partitions: int,
    nodes: int,
    controller_replicas: int,
    workload: str,
    faults: str,
    scheduler_config: Path | None,
    scheduler_plugins: Sequence[str],
    jobs: int,
    verify_determinism: bool,
    shrinks: bool,
    output: Path,
) -> int:
    """Run a whole cluster from a seed, faster than real time, with faults, and judge it.

    The apiservers, schedulers, controllers and kubelets are the real ones; links, disks and clocks are simulated. What
    goes wrong is drawn from the seed; at the end it is healed, and everything must come to rest. The same seed gives
    the same run, message for message.

    Exit status: 0 every promise was kept, 1 error, 4 a promise was broken, or a seed gave two different runs.
    """
    given = scheduler_config is not None or bool(scheduler_plugins)
    scheduling = read_scheduling(scheduler_config, scheduler_plugins) if given else Scheduling()
    swarm = Swarm(
        Topology(
            _positive(tenant_partitions, "--tenant-partitions"),
            _positive(resource_partitions, "--resource-partitions"),
            _positive(nodes, "--nodes"),
            _positive(controller_replicas, "--controller-replicas"),
        ),
        seconds=60.0 * minutes,
        workload=_chosen(workload, WORKLOADS, "--workload"),
        faults=_chosen(faults, KINDS, "--faults"),
        scheduling=scheduling,
    )
    if minutes <= 0 or seeds < 1:
        raise InputError("--minutes and --seeds must be above 0")
    if plan_path is not None or verify_determinism or seeds == 1:
        plans = [draw_plan(seed + each, swarm) for each in range(seeds)]
        if plan_path is not None:
            plan = Plan.load(plan_path)
            plans = [plan.with_(scheduling=scheduling) if given else plan]
        return _run_plans(plans, verify_determinism, shrinks, output)
    return _run_many(range(seed, seed + seeds), swarm, jobs, shrinks, output)


def _positive(value: int, option: str) -> int:
    if value < 1:
        raise InputError(f"{option} must be 1 or more, not {value}")
    return value


def _chosen(text: str, known: Sequence[str], option: str) -> Sequence[str] | None:
    if text in ("all", "none"):
        return None if text == "all" else ()
    chosen = [each.strip() for each in text.split(",") if each.strip()]
    if unknown := [each for each in chosen if each not in known]:
        raise InputError(f"{option}: there is no {unknown[0]!r}; there are {', '.join(known)}")
    return chosen


def _run_plans(plans: Sequence[Plan], verify_determinism: bool, shrinks: bool, output: Path) -> int:
    logging.disable(logging.CRITICAL)  # What parts log of faults that are meant is no news.
    tally = Tally()
    differing = 0
    for plan in plans:
        outcome = simulate(plan, keep_trace=verify_determinism)
        tally.add(outcome)
        print(_line(outcome))
        if verify_determinism and (
            difference := first_difference(outcome.trace, simulate(plan, keep_trace=True).trace)
        ):
            differing += 1
            print(f"seed {plan.seed} gave two different runs, at {difference}")
        if not outcome.passed:
            _tell(outcome, shrinks, output)
    if verify_determinism and not differing:
        print(f"{tally.seeds} seeds ran twice, line for line the same")
    return EXIT_MISSED if differing or tally.failed else 0


def _run_many(seeds: Sequence[int], swarm: Swarm, jobs: int, shrinks: bool, output: Path) -> int:
    tally = Tally()
    try:
        for outcome in run_seeds(seeds, swarm, jobs=jobs):
            tally.add(outcome)
            if not outcome.passed:
                print(_line(outcome), flush=True)
    finally:
        print_tally(tally)
    for outcome in tally.failed[:3]:
        _tell(outcome, shrinks, output)
    return EXIT_MISSED if tally.failed else 0


def _line(outcome: Outcome) -> str:
    verdict = "kept every promise" if outcome.passed else f"BROKE {', '.join(outcome.promises)}"
    return (
        f"seed {outcome.plan.seed} {verdict}: {outcome.seconds:.0f} s, {len(outcome.plan.operations)} operations, "
        f"{len(outcome.plan.faults)} faults, at rest {outcome.converged_seconds:.0f} s after the healing; "
        f"{outcome.cpu_seconds:.2f} s of CPU, trace {outcome.digest}"
    )


def _tell(outcome: Outcome, shrinks: bool, output: Path) -> None:
    small = None
    if shrinks:
        promises = outcome.promises
        print("looking for the smallest plan that breaks the same promise ...", flush=True)
        small = shrink(outcome.plan, lambda plan: any(each in promises for each in simulate(plan).promises))
    folder = write_report(output / f"seed-{outcome.plan.seed}", outcome, small)
    for line in report_lines(outcome, folder, small):
        print(line)


def print_tally(tally: Tally) -> None:
    hours = tally.virtual_seconds / 3600
    rate = tally.virtual_seconds / tally.cpu_seconds if tally.cpu_seconds else 0.0
    print(f"{tally.seeds:,} seeds, {hours:,.1f} virtual hours, {rate:,.0f} of them an hour of one core")
    print(f"{tally.messages:,} lines of trace, {tally.operations:,} operations checked")
    print("faults: " + (", ".join(f"{count:,} {kind}" for kind, count in sorted(tally.faults.items())) or "none"))
    print(f"{len(tally.failed):,} seeds broke a promise" if tally.failed else "no promise was broken")
