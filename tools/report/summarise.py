"""From what a run saw to its report: a pure function, so that every figure can be tested by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...proto.objects import format_time
from . import figures
from .observations import Observations

SCHEMA_VERSION = 1

# Scripts and CI read these.
EXIT_STATUS = {"pass": 0, "error": 1, "timeout": 2, "fail": 4}


@dataclass(frozen=True)
class Report:
    """`document` is report.json. `verdict` is pass, fail (a promise or a threshold missed) or timeout."""

    document: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        return str(self.document["verdict"])

    @property
    def failures(self) -> list[str]:
        return list(self.document["failures"])

    @property
    def exit_status(self) -> int:
        return EXIT_STATUS[self.verdict]

    @property
    def folder_name(self) -> str:
        """`2026-11-23T08-15-00Z-density-1a2b3c`: sorts by time, and needs no quoting in a shell."""
        document = self.document
        moment = str(document["startedAt"]).partition(".")[0].rstrip("Z").replace(":", "-")
        return f"{moment}Z-{document['command']}-{document['runId']}"


def summarise(observations: Observations) -> Report:
    """Every figure of the report, and the verdict on them."""
    document = _figures(observations)
    failures = [*observations.problems, *_broken(observations, document)]
    if observations.timed_out:
        failures.insert(0, observations.timed_out)
    verdict = "timeout" if observations.timed_out else "fail" if failures else "pass"
    head = {"schemaVersion": SCHEMA_VERSION, "command": observations.command, "verdict": verdict, "failures": failures}
    return Report({**head, **document})


def _broken(observations: Observations, document: Mapping[str, Any]) -> list[str]:
    """The bounds that were missed; over-commitment always is one."""
    broken = []
    if overcommitted := observations.placements.overcommitted_nodes:
        broken.append(f"{overcommitted} nodes are over-committed")
    for threshold in observations.thresholds:
        value = figures.look_up(document, threshold.figure)
        if not threshold.met_by(value):
            broken.append(f"{threshold} was missed: {value:g}")
    return broken


def _figures(observations: Observations) -> dict[str, Any]:
    start_ms, end_ms = observations.load_start_ms, observations.load_end_ms
    timeline = observations.timeline
    startup = figures.startup_ms(timeline)
    document: dict[str, Any] = {
        "runId": observations.run_id,
        "startedAt": format_time(observations.started_ms),
        "topology": {
            "tenantPartitions": observations.topology.tenant_partitions,
            "resourcePartitions": observations.topology.resource_partitions,
            "nodes": observations.topology.nodes,
        },
        "parameters": dict(observations.parameters),
        "pods": _pods(observations),
        "seconds": {
            "total": round((observations.ended_ms - observations.started_ms) / 1000, 3),
            "load": round((end_ms - start_ms) / 1000, 3),
        },
        "throughputPodsPerSecond": figures.throughput_figures(timeline.running_ms, start_ms, end_ms),
        "podStartupMilliseconds": figures.startup_figures(startup),
        "placements": _placements(observations),
        "resources": _resources(observations),
        **observations.details,
        "machine": _machine(observations),
        "versions": dict(observations.versions),
        "series": {
            "pods": figures.pod_series(timeline, start_ms, end_ms),
            "podStartupQuantiles": figures.startup_quantiles(startup),
            "podsPerSecond": figures.per_second(timeline.running_ms, start_ms, end_ms),
            "usage": figures.usage_series(observations.usage, start_ms),
        },
    }
    return document


def _pods(observations: Observations) -> dict[str, int]:
    pods = observations.pods
    return {
        "requested": pods.requested,
        "created": pods.created,
        "bound": pods.bound,
        "running": pods.running,
        "failed": pods.failed,
        "unschedulable": pods.unschedulable,
    }


def _placements(observations: Observations) -> dict[str, int]:
    placements = observations.placements
    return {
        "attempted": placements.attempted,
        "accepted": placements.accepted,
        "rejected": placements.rejected,
        "overcommittedNodes": placements.overcommitted_nodes,
    }


def _resources(observations: Observations) -> dict[str, Any]:
    """CPU of the load phase, shared over the pods that were seen Running in the run."""
    cpu_seconds = figures.usage_between(observations.usage, observations.load_start_ms, observations.load_end_ms)
    ran = int((observations.timeline.running_ms > 0).sum())
    per_pod = sum(cpu_seconds.values()) * 1000 / ran if ran else 0.0
    return {
        "cpuSeconds": cpu_seconds,
        "residentBytesMax": figures.resident_max(observations.usage),
        "cpuMillisecondsPerPod": round(per_pod, 3),
    }


def _machine(observations: Observations) -> dict[str, Any]:
    machine = observations.machine
    return {
        "system": machine.system,
        "processor": machine.processor,
        "cpus": machine.cpus,
        "memoryBytes": machine.memory_bytes,
        "stealSeconds": round(machine.steal_seconds, 2),
    }


def perf_data(report: Report) -> dict[str, Any]:
    """PodStartupLatency.json: ClusterLoader2's PerfData, so that tools made for it read our runs."""
    startup = report.document["podStartupMilliseconds"]
    data = {"Perc50": startup["p50"], "Perc90": startup["p90"], "Perc99": startup["p99"]}
    return {"version": "1.0", "dataItems": [{"data": data, "unit": "ms", "labels": {"Metric": "pod_startup"}}]}
