"""`make bench-main`: measures what the main job must reach, in a quarter of an hour at most.

Four runs of the real thing, each a cluster of 2 tenant and 2 resource partitions of its own:

1. density: 1,000 nodes, 30,000 pods at 3,000 pods a second;
2. the same cluster at 100 pods a second (4,000 pods), after ten seconds of idling;
3. the replay of the public trace, where it is on this machine (`../shared/data`, or URSA_TRACE_DIR);
4. density again, while the apiserver of one tenant partition is killed with half of the pods running.

Writes build/bench/main.json: a list of {"figure", "value", "unit", "bound", "met"}. Exit status 4 if a bound is missed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _bench import ROOT, Figure, at_least, at_most, print_figures, run_ursa, save_figures

CLUSTER = ("--tenant-partitions", "2", "--resource-partitions", "2", "--nodes", "1000")

PODS = 30_000
STEADY_PODS_PER_NODE = 4

# Each is several times what the run takes here, and all together stay under a quarter of an hour.
DENSITY_SECONDS_MAX = 180.0
REPLAY_SECONDS_MAX = 300.0

NODES_FILE = "openb_node_list_all_node.csv"
PODS_FILE = "openb_pod_list_default.csv"


def saturation() -> list[Figure]:
    report = _density("--pods-per-node", "30", "--qps", "3000")
    return [
        Figure("density 30,000 pods: throughput", _throughput(report), "pods/s", at_least(1000)),
        Figure("density 30,000 pods: CPU a pod", _cpu_per_pod(report), "ms", at_most(1.5)),
        Figure("density 30,000 pods: Running", report["pods"]["running"], "pods", at_least(PODS)),
        Figure("density 30,000 pods: over-committed", _overcommitted(report), "nodes", at_most(0)),
        Figure("density 30,000 pods: startup p50", report["podStartupMilliseconds"]["p50"], "ms"),
        Figure("density 30,000 pods: startup p99", report["podStartupMilliseconds"]["p99"], "ms"),
        Figure("density 30,000 pods: resident memory", _resident_mebibytes(report), "MiB"),
    ]


def steady() -> list[Figure]:
    pods_per_node = str(STEADY_PODS_PER_NODE)
    report = _density("--pods-per-node", pods_per_node, "--qps", "100", "--start-delay", "0", "--idle-seconds", "10")
    startup = report["podStartupMilliseconds"]
    pods = 1000 * STEADY_PODS_PER_NODE
    return [
        Figure(f"100 pods/s, {pods:,} pods: startup p50", startup["p50"], "ms", at_most(100)),
        Figure(f"100 pods/s, {pods:,} pods: startup p99", startup["p99"], "ms", at_most(500)),
        Figure(f"100 pods/s, {pods:,} pods: Running", report["pods"]["running"], "pods", at_least(pods)),
        Figure(f"100 pods/s, {pods:,} pods: CPU a pod", _cpu_per_pod(report), "ms"),
        Figure("idle cluster of 1,000 nodes: CPU", round(report["idle"]["cpuCores"] * 1000, 1), "ms/s"),
    ]


def replay() -> list[Figure]:
    directory = Path(os.environ.get("URSA_TRACE_DIR", ROOT.parent / "shared" / "data"))
    nodes, pods = directory / NODES_FILE, directory / PODS_FILE
    if not (nodes.is_file() and pods.is_file()):
        return [Figure("trace", None, "", note="not measured: set URSA_TRACE_DIR to where the trace is")]
    report = run_ursa(
        ["replay", "--nodes", str(nodes), "--pods", str(pods), "--speed", "100000", *CLUSTER[:4]], REPLAY_SECONDS_MAX
    )
    trace, ledger = report["trace"], report["ledger"]
    return [
        Figure("trace: pods that fit and were not Running at their time", len(trace["late"]), "pods", at_most(0)),
        Figure("trace: Running at their time", trace["runningAtTheirTime"], "pods"),
        Figure("trace: waited for room", len(trace["waitedForRoomSeconds"]), "pods"),
        Figure("trace: never fit", len(trace["neverFit"]), "pods"),
        Figure("trace: over-committed, at any revision", ledger["violations"], "times", at_most(0)),
        Figure("trace: revisions not seen", ledger["gaps"], "gaps", at_most(0)),
        Figure("trace: over-committed at the end", _overcommitted(report), "nodes", at_most(0)),
        Figure("trace: startup p99", report["podStartupMilliseconds"]["p99"], "ms"),
    ]


def crash() -> list[Figure]:
    report = _density("--pods-per-node", "30", "--qps", "3000", "--kill", "tp-1@50%")
    return [
        Figure("kill -9 of tp-1: Running", report["pods"]["running"], "pods", at_least(PODS)),
        Figure("kill -9 of tp-1: acknowledged and lost", report["durability"]["lost"], "objects", at_most(0)),
        Figure("kill -9 of tp-1: processes killed", len(report.get("faults", [])), "", at_least(1)),
        Figure("kill -9 of tp-1: over-committed", _overcommitted(report), "nodes", at_most(0)),
        Figure("kill -9 of tp-1: load", report["seconds"]["load"], "s"),
    ]


def _density(*arguments: str) -> dict[str, Any]:
    return run_ursa(["density", *CLUSTER, *arguments], DENSITY_SECONDS_MAX)


def _throughput(report: dict[str, Any]) -> float:
    return float(report["throughputPodsPerSecond"]["mean"])


def _cpu_per_pod(report: dict[str, Any]) -> float:
    return float(report["resources"]["cpuMillisecondsPerPod"])


def _overcommitted(report: dict[str, Any]) -> float:
    return float(report["placements"]["overcommittedNodes"])


def _resident_mebibytes(report: dict[str, Any]) -> float:
    return float(round(sum(report["resources"]["residentBytesMax"].values()) / 2**20))


def main() -> int:
    figures: list[Figure] = []
    parts: tuple[Callable[[], list[Figure]], ...] = (saturation, steady, replay, crash)
    for part in parts:
        try:
            figures += part()
        except RuntimeError as error:
            # The other runs are still worth having.
            figures.append(Figure(part.__name__, None, "", at_most(0), note=str(error)))
    print_figures("The main job", figures)
    print(f"figures: {save_figures('main', figures)}")
    return 4 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
