"""`ursa replay`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from ..load.command import run_and_report
from ..load.replay import LEAST_LIFE_SECONDS, ReplayOptions, run_replay
from ..load.trace import read_nodes, read_pods
from .scheduler_options import scheduler_options


@click.command()
@click.option("--nodes", "nodes_path", type=click.Path(path_type=Path), required=True, help="CSV of the nodes.")
@click.option("--pods", "pods_path", type=click.Path(path_type=Path), required=True, help="CSV of the pods.")
@click.option("--speed", type=float, default=1.0, show_default=True, help="How many times faster than it was.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Directory; the run gets a new folder in it.",
)
@click.option("--tenant-partitions", type=int, default=2, show_default=True, help="Tenant partitions.")
@click.option("--resource-partitions", type=int, default=2, show_default=True, help="Resource partitions.")
@click.option(
    "--least-life",
    type=float,
    default=LEAST_LIFE_SECONDS,
    show_default=True,
    help="Seconds that a pod lives at least, however short its life is at this speed.",
)
@click.option("--start-delay", type=float, default=0.0, show_default=True, help="Seconds a container takes to start.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="An empty directory for the stores; kept.")
@click.option("--seed", type=int, default=0, help="Of everything random that this command decides.")
@scheduler_options
def replay(
    nodes_path: Path,
    pods_path: Path,
    speed: float,
    output: Path,
    tenant_partitions: int,
    resource_partitions: int,
    least_life: float,
    start_delay: float,
    data_dir: Path | None,
    seed: int,
    scheduler_config: Path | None,
    scheduler_plugins: tuple[str, ...],
) -> int:
    """Replay a trace of a real cluster, and report on it.

    Nodes go to the resource partitions, pods to tenants by their qos; they are created and deleted when the trace says,
    at a multiple of its speed. Columns: nodes sn, cpu_milli, memory_mib, gpu, model; pods name, cpu_milli, memory_mib,
    num_gpu, gpu_milli, qos, creation_time, deletion_time and, if there is one, gpu_spec. Shares of GPUs and whole ones
    are placed on single GPUs of the nodes, by the profile that --scheduler-config names.

    Exit status: 0 pass, 1 error, 2 timeout, 4 a promise missed: a pod that fits was not Running at its time, or a node
    was over-committed.
    """
    options = ReplayOptions(
        nodes_path=nodes_path,
        pods_path=pods_path,
        speed=speed,
        tenant_partitions=tenant_partitions,
        resource_partitions=resource_partitions,
        least_life_seconds=least_life,
        start_delay_seconds=start_delay,
        seed=seed,
        data_dir=data_dir,
        scheduler_config=scheduler_config,
        scheduler_plugins=scheduler_plugins,
    )
    # Read before anything is made: a file that cannot be used leaves nothing behind.
    nodes, pods = read_nodes(nodes_path), read_pods(pods_path)
    report, _ = run_and_report(partial(run_replay, options, nodes, pods), output)
    return report.exit_status
