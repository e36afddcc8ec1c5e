"""`ursa density`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from ..load.command import run_and_report
from ..load.density import DensityOptions, run_density
from ..load.faults import Kill, LinkFault
from ..nodes import NodeOptions
from ..report.observations import Threshold
from .scheduler_options import scheduler_options

# Flag: the figure of the report it bounds, and whether from above.
_THRESHOLDS = {
    "startup_p50_max": ("podStartupMilliseconds.p50", True),
    "startup_p99_max": ("podStartupMilliseconds.p99", True),
    "throughput_min": ("throughputPodsPerSecond.mean", False),
    "cpu_per_pod_max": ("resources.cpuMillisecondsPerPod", True),
}


@click.command()
@click.option("--tenant-partitions", type=int, default=2, show_default=True, help="Tenant partitions.")
@click.option("--resource-partitions", type=int, default=2, show_default=True, help="Resource partitions.")
@click.option("--nodes", type=int, default=100, show_default=True, help="Hollow nodes, dealt to the partitions.")
@click.option("--pods-per-node", type=int, default=30, show_default=True, help="Pods for each node, on average.")
@click.option("--qps", type=float, default=100.0, show_default=True, help="Pods created a second, over all partitions.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Directory; the run gets a new folder in it.",
)
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds until all pods must run.")
@click.option("--tenants-per-partition", type=int, default=4, show_default=True, help="Tenants of each partition.")
@click.option("--pods-per-replicaset", type=int, default=0, help="0: small enough that the rate is smooth.")
@click.option("--pod-cpu", default="100m", show_default=True, help="What each pod requests.")
@click.option("--pod-memory", default="200Mi", show_default=True, help="What each pod requests.")
@click.option("--node-cpu", default="4", show_default=True, help="What each node has.")
@click.option("--node-memory", default="32Gi", show_default=True, help="What each node has.")
@click.option("--node-pods", type=int, default=110, show_default=True, help="Pods a node takes at most.")
@click.option("--start-delay", type=float, default=0.0, show_default=True, help="Seconds a container takes to start.")
@click.option("--idle-seconds", type=float, default=0.0, help="Measure the idle cluster for so long first.")
@click.option("--kill", "kills", multiple=True, metavar="PROCESS@PERCENT%", help="kill -9 when that share runs.")
@click.option(
    "--fault", "faults", multiple=True, metavar="FAULT:FROM:TO@PERCENT%", help="Like cut:scheduler-tp-1:rp-2@50%+20."
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="An empty directory for the stores; kept.")
@click.option("--check", is_flag=True, help="Record what this command sees, and check it against what is promised.")
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE", help="Check, and keep what was recorded.")
@scheduler_options
@click.option("--seed", type=int, default=0, help="Of everything random that this command decides.")
@click.option("--startup-p50-max", type=float, metavar="MS", help="Fail above this.")
@click.option("--startup-p99-max", type=float, metavar="MS", help="Fail above this.")
@click.option("--throughput-min", type=float, metavar="PODS/S", help="Fail below this.")
@click.option("--cpu-per-pod-max", type=float, metavar="MS", help="Fail above this.")
def density(
    tenant_partitions: int,
    resource_partitions: int,
    nodes: int,
    pods_per_node: int,
    qps: float,
    output: Path,
    timeout: float,
    tenants_per_partition: int,
    pods_per_replicaset: int,
    pod_cpu: str,
    pod_memory: str,
    node_cpu: str,
    node_memory: str,
    node_pods: int,
    start_delay: float,
    idle_seconds: float,
    kills: tuple[str, ...],
    faults: tuple[str, ...],
    data_dir: Path | None,
    check: bool,
    record: Path | None,
    scheduler_config: Path | None,
    scheduler_plugins: tuple[str, ...],
    seed: int,
    **bounds: float | None,
) -> int:
    """Fill a cluster with pods at a rate, and report on it.

    A one-box cluster is started, ReplicaSets spread over tenants of every tenant partition fill its nodes, and the run
    is over when all pods run. A --fault disturbs a link, as `ursa fault` does, when that share of the pods runs: cut,
    delay=SECONDS or freeze, then the two ends, then perhaps :one-way or :refuse; +SECONDS: for so long, else until the
    load is over. Exit status: 0 pass, 1 error, 2 timeout, 4 a threshold or a promise missed.
    """
    options = DensityOptions(
        tenant_partitions=tenant_partitions,
        resource_partitions=resource_partitions,
        nodes=nodes,
        pods_per_node=pods_per_node,
        qps=qps,
        tenants_per_partition=tenants_per_partition,
        pods_per_set=pods_per_replicaset,
        pod_cpu=pod_cpu,
        pod_memory=pod_memory,
        node=NodeOptions(cpu=node_cpu, memory=node_memory, pods=node_pods),
        start_delay_seconds=start_delay,
        idle_seconds=idle_seconds,
        timeout_seconds=timeout,
        kills=[Kill.parse(text) for text in kills],
        faults=[LinkFault.parse(text) for text in faults],
        thresholds=[_threshold(flag, bound) for flag, bound in bounds.items() if bound is not None],
        seed=seed,
        data_dir=data_dir,
        check=check,
        record=record,
        scheduler_config=scheduler_config,
        scheduler_plugins=scheduler_plugins,
    )
    report, _ = run_and_report(partial(run_density, options), output)
    return report.exit_status


def _threshold(flag: str, bound: float) -> Threshold:
    figure, above = _THRESHOLDS[flag]
    return Threshold(figure, at_most=bound) if above else Threshold(figure, at_least=bound)
