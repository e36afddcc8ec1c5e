"""What a run saw, as plain data: the input of `summarise`.

Times are milliseconds since 1970 on the clock of the machine that ran the tool; 0 means "never seen". Counts of pods
and placements come from the partitions at the end of the run, never from what the tool believes it did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]


@dataclass(frozen=True)
class Topology:
    tenant_partitions: int
    resource_partitions: int
    nodes: int


@dataclass(frozen=True)
class PodCounts:
    """Pods by what the partitions said at the end. `requested` alone is the tool's: what it was asked to run."""

    requested: int
    created: int = 0
    bound: int = 0
    running: int = 0
    failed: int = 0
    unschedulable: int = 0


@dataclass(frozen=True)
class PlacementCounts:
    attempted: int = 0
    accepted: int = 0
    rejected: int = 0
    overcommitted_nodes: int = 0


@dataclass(frozen=True)
class Timeline:
    """One row a pod, three columns of times in milliseconds."""

    created_ms: Times
    bound_ms: Times
    running_ms: Times

    @classmethod
    def of(cls, created_ms: Sequence[int], bound_ms: Sequence[int], running_ms: Sequence[int]) -> Timeline:
        return cls(*(np.asarray(times, dtype=np.int64) for times in (created_ms, bound_ms, running_ms)))

    @classmethod
    def empty(cls) -> Timeline:
        return cls.of((), (), ())


@dataclass(frozen=True)
class UsageSample:
    """What each process had used at one moment. CPU seconds count since the process began and never fall."""

    at_ms: int
    cpu_seconds: Mapping[str, float]
    resident_bytes: Mapping[str, int]


@dataclass(frozen=True)
class Threshold:
    """A bound on one figure of the report, named by its path: `podStartupMilliseconds.p99`."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None

    def met_by(self, value: float) -> bool:
        if self.at_most is not None and value > self.at_most:
            return False
        return self.at_least is None or value >= self.at_least

    def __str__(self) -> str:
        bounds = []
        if self.at_least is not None:
            bounds.append(f"at least {self.at_least:g}")
        if self.at_most is not None:
            bounds.append(f"at most {self.at_most:g}")
        return f"{self.figure} {' and '.join(bounds)}"


@dataclass(frozen=True)
class Machine:
    """What the figures were measured on."""

    system: str
    processor: str
    cpus: int
    memory_bytes: int
    steal_seconds: float = 0.0  # Taken from this machine by its host during the run, over all CPUs.


@dataclass(frozen=True)
class Observations:
    """One run.

    `usage` are samples in order of time; those around `load_start_ms` and `load_end_ms` bound the load phase for CPU.
    `problems` are promises found broken; `timed_out` says what had not happened in time.
    `details` become top-level fields of the report as they are.
    """

    command: str
    run_id: str
    started_ms: int
    ended_ms: int
    load_start_ms: int
    load_end_ms: int
    topology: Topology
    pods: PodCounts
    machine: Machine
    placements: PlacementCounts = PlacementCounts()
    timeline: Timeline = field(default_factory=Timeline.empty)
    usage: Sequence[UsageSample] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    thresholds: Sequence[Threshold] = ()
    problems: Sequence[str] = ()
    timed_out: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
