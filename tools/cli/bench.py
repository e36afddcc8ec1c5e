"""`ursa bench`: what one part does alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .scheduler_options import scheduler_options

if TYPE_CHECKING:
    from ..scheduler_bench import Measured

# As many nodes as scheduler_perf has at most.
_NODES = 5000


@click.group()
def bench() -> None:
    """Measure one part alone."""


@bench.command()
@click.option("--workload", "names", multiple=True, metavar="NAME", help="One of scheduler_perf's; repeat for several.")
@click.option(
    "--nodes", "sizes", multiple=True, type=click.IntRange(min=1), metavar="N", help="Of a cluster; repeat for several."
)
@scheduler_options
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def scheduler(
    names: tuple[str, ...],
    sizes: tuple[int, ...],
    scheduler_config: Path | None,
    scheduler_plugins: tuple[str, ...],
    output: str,
) -> None:
    """The scheduler without any other component: Kubernetes' own workloads, on 5,000 nodes unless told otherwise.

    Its partitions answer at once and say yes. Pods a second are those of one core.
    """
    from ..scheduler_bench import WORKLOADS, measure, workload_of
    from ..scheduler_config import read_scheduler_config

    options = read_scheduler_config(scheduler_config, scheduler_plugins).options
    workloads = [workload_of(name, nodes) for nodes in sizes or (_NODES,) for name in names or WORKLOADS]
    measured = []
    for workload in workloads:
        measured.append(measure(workload, options))
        if output == "table":
            _show(measured[-1], first=len(measured) == 1)
    if output == "json":
        click.echo(json.dumps([_document(each) for each in measured], indent=2))


def _show(measured: Measured, *, first: bool) -> None:
    if first:
        click.echo(
            f"{'WORKLOAD':<26}{'NODES':>8}{'PODS':>8}{'UNBOUND':>9}{'PODS/S':>10}{'US/POD':>9}{'LAST/FIRST':>12}"
        )
    us = 1e6 * measured.cpu_seconds / max(measured.pods - measured.unbound, 1)
    click.echo(
        f"{measured.workload:<26}{measured.nodes:>8,}{measured.pods:>8,}{measured.unbound:>9,}"
        f"{measured.pods_per_second:>10,.0f}{us:>9.0f}{measured.growth:>12.2f}"
    )


def _document(measured: Measured) -> dict[str, Any]:
    return {
        "workload": measured.workload,
        "nodes": measured.nodes,
        "pods": measured.pods,
        "unbound": measured.unbound,
        "evicted": measured.evicted,
        "cpuSeconds": round(measured.cpu_seconds, 4),
        "podsPerSecond": round(measured.pods_per_second),
        "microsecondsPerPodByTenth": [round(each, 1) for each in measured.part_us],
    }
