"""The same work on more and more partitions, and what a tenant partition holds open for more and more nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import plotly.graph_objects as go
import trio
from _bench import BUILD, run_ursa
from plotly.subplots import make_subplots
from prometheus_client.parser import text_string_to_metric_families
from ursa import Cluster
from ursa.tools.load.scrape import scrape

TOPOLOGIES = ((1, 1), (2, 2), (4, 2), (5, 5))
NODES, PODS_PER_NODE, QPS = 1000, 30, 3000
DENSITY_SECONDS_MAX = 180.0
# Of the two topologies that are compared: thirty processes feel a busy host more than six do, and the same run takes
# half as much again from one minute to the next. More would take more than a quarter of an hour.
ROUNDS = 2
PLOT = BUILD / "span-growth.html"
# Hollow nodes of one process.
NODES_PER_PROCESS = 500
# A view of all there is has been asked for within this.
REST_SECONDS = 2.0


class Grown(NamedTuple):
    """Of one density run."""

    tenant_partitions: int
    resource_partitions: int
    pods_per_second: float
    cpu_ms_per_pod: float
    startup_p99_ms: float

    @property
    def title(self) -> str:
        return f"{self.tenant_partitions} x {self.resource_partitions}"


class Held(NamedTuple):
    """What a tenant partition holds open, with so many nodes in so many processes."""

    nodes: int
    processes: int
    watches: int
    streams: int


def measure_growth(
    topologies: Sequence[tuple[int, int]], pods_per_node: int = PODS_PER_NODE, rounds: int = ROUNDS
) -> list[list[Grown]]:
    """The runs of each topology: one, and of the first and the last, taking turns, one for each round."""
    first, *between, last = topologies
    turns = [*[first, last] * (rounds - 1), first, *between, last]
    runs = [(topology, _run(*topology, pods_per_node)) for topology in turns]
    return [[grown for of, grown in runs if of == topology] for topology in topologies]


def median_of(runs: Sequence[Grown]) -> Grown:
    """Of runs of one topology, figure by figure."""
    return runs[0]._replace(
        pods_per_second=median(each.pods_per_second for each in runs),
        cpu_ms_per_pod=median(each.cpu_ms_per_pod for each in runs),
        startup_p99_ms=median(each.startup_p99_ms for each in runs),
    )


def _run(tenant_partitions: int, resource_partitions: int, pods_per_node: int) -> Grown:
    arguments = ["density", "--tenant-partitions", str(tenant_partitions)]
    arguments += ["--resource-partitions", str(resource_partitions), "--nodes", str(NODES)]
    arguments += ["--pods-per-node", str(pods_per_node), "--qps", str(QPS)]
    report: dict[str, Any] = run_ursa(arguments, DENSITY_SECONDS_MAX)
    return Grown(
        tenant_partitions,
        resource_partitions,
        float(report["throughputPodsPerSecond"]["mean"]),
        float(report["resources"]["cpuMillisecondsPerPod"]),
        float(report["podStartupMilliseconds"]["p99"]),
    )


async def measure_held(node_counts: Sequence[int]) -> list[Held]:
    """At 2 x 2, while the nodes become more."""
    held = []
    async with Cluster(
        tenant_partitions=2, resource_partitions=2, nodes=node_counts[0], nodes_per_process=NODES_PER_PROCESS
    ) as cluster:
        for nodes in node_counts:
            await cluster.scale_nodes(nodes)
            await trio.sleep(REST_SECONDS)
            hosts = sum(each.component == "hollow-nodes" for each in cluster.processes.values())
            families = text_string_to_metric_families(await scrape(cluster.processes["tp-1"].metrics))
            values = {family.name: sum(sample.value for sample in family.samples) for family in families}
            watches, streams = values["apiserver_longrunning_requests"], values["ursa_streams"]
            held.append(Held(nodes, hosts, int(watches), int(streams)))
    return held


def plot(grown: Sequence[Grown]) -> Path:
    """Throughput, and CPU of a pod, by topology; returns the page."""
    titles = [each.title for each in grown]
    figure = make_subplots(rows=1, cols=2, subplot_titles=("pods a second", "CPU of a pod, ms"))
    figure.add_trace(go.Bar(x=titles, y=[each.pods_per_second for each in grown], name="pods/s"), row=1, col=1)
    figure.add_trace(go.Bar(x=titles, y=[each.cpu_ms_per_pod for each in grown], name="ms"), row=1, col=2)
    figure.update_layout(
        title=f"The same {NODES * PODS_PER_NODE:,} pods on tenant x resource partitions", showlegend=False
    )
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(PLOT, include_plotlyjs=True)
    return PLOT
