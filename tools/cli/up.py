"""`ursa up`: a cluster in the foreground, until Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..endpoints import DEFAULT_NAME
from .scheduler_options import scheduler_options

TABLE_WIDTH = 110

if TYPE_CHECKING:
    import trio
    from rich.console import Console
    from rich.table import Table

    from ..cluster import Cluster


@click.command()
@click.option("--tenant-partitions", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--resource-partitions", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--nodes", type=click.IntRange(min=0), default=100, show_default=True, help="Hollow nodes, in all.")
@click.option("--nodes-file", type=click.Path(path_type=Path), help="Node manifests instead (YAML, .json or .msgpack).")
@click.option(
    "--controller-replicas",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of each scheduler and controller manager; one of them works, the others stand by.",
)
@scheduler_options
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where the partitions' data is; one that was used is continued.  [default: temporary]",
)
@click.option("--name", default=DEFAULT_NAME, show_default=True, help="Under which other commands find it.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="Of the processes' logs, in the data directory.",
)
def up(
    tenant_partitions: int,
    resource_partitions: int,
    nodes: int,
    nodes_file: Path | None,
    controller_replicas: int,
    scheduler_config: Path | None,
    scheduler_plugins: tuple[str, ...],
    data_dir: Path | None,
    name: str,
    log_level: str,
) -> None:
    """Run a cluster on this machine, in the foreground: a process for each apiserver, scheduler and so on.

    Ctrl-C stops it; a second Ctrl-C stops it at once.
    """
    import trio
    from rich.console import Console

    from ..cluster import Cluster
    from ..nodes import load_nodes

    cluster = Cluster(
        tenant_partitions,
        resource_partitions,
        nodes,
        node_objects=load_nodes(nodes_file) if nodes_file is not None else None,
        controller_replicas=controller_replicas,
        scheduler_config=scheduler_config,
        scheduler_plugins=scheduler_plugins,
        data_dir=data_dir,
        name=name,
        log_level=log_level,
    )
    # A terminal may be narrower than the table; it then wraps the lines, and nothing is cut off.
    trio.run(_run, cluster, name, Console(width=max(Console().width, TABLE_WIDTH)))


async def _run(cluster: Cluster, name: str, console: Console) -> None:
    import trio

    from ...clients.nurseries import open_background

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with open_background() as nursery:
            stopping = trio.CancelScope()
            nursery.start_soon(_stop_on_signal, signals, stopping, cluster)
            with stopping:
                console.print("starting ...", style="dim")
                async with cluster:
                    console.print(_table(cluster))
                    console.print(_next_steps(cluster, name))
                    await trio.sleep_forever()
            console.print("stopped", style="dim")


async def _stop_on_signal(signals: AsyncIterator[int], stopping: trio.CancelScope, cluster: Cluster) -> None:
    async for _ in signals:
        if stopping.cancel_called:
            cluster.kill_all()
        stopping.cancel()


def _table(cluster: Cluster) -> Table:
    from rich.table import Table

    table = Table("NAME", "COMPONENT", "PID", "ADDRESS", "METRICS", box=None, pad_edge=False)
    for info in cluster.processes.values():
        table.add_row(info.name, info.component, str(info.pid), info.address or "-", f"http://{info.metrics}/metrics")
    return table


def _next_steps(cluster: Cluster, name: str) -> str:
    flag = "" if name == DEFAULT_NAME else f" --cluster {name}"
    return f"""
{len(cluster.nodes)} nodes are Ready. In another terminal:

    [bold]ursa get nodes{flag}[/bold]

The logs are in {cluster.data_dir}/logs. Ctrl-C stops the cluster."""
