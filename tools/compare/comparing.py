"""Several profiles on one workload and the same seeds, and what comes of it as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, pstdev
from typing import Any, NamedTuple

from ...clients.scheduler.framework.interface import PluginError
from ...clients.scheduler.plugins.gpu_fragmentation import GpuFragmentation
from ...clients.scheduler.plugins.gpu_typical import TypicalPod, typical_args, typical_pods
from ...proto.errors import InputError
from ...proto.quantities import GPU_MILLI
from .filling import Filling, Ties, fill
from .profiles import NamedProfile
from .workloads import Workload


class Compared(NamedTuple):
    """One profile, with a filling for each seed."""

    profile: str
    fillings: Sequence[Filling]

    def mean(self, figure: Callable[[Filling], float]) -> float:
        return fmean(figure(filling) for filling in self.fillings)

    def figures(self) -> dict[str, float]:
        """In percent of the capacity, pods, and microseconds of CPU."""
        return {
            "allocatedPercent": round(self.mean(lambda filling: filling.allocated), 2),
            "allocatedPercentDeviation": round(pstdev(filling.allocated for filling in self.fillings), 2),
            "fragmentedPercent": round(self.mean(lambda filling: filling.fragmented), 2),
            "pods": round(self.mean(lambda filling: filling.pods)),
            "placed": round(self.mean(lambda filling: filling.placed)),
            "overcommitted": sum(filling.overcommitted for filling in self.fillings),
            "cpuMicrosecondsPerPod": round(
                1e6 * self.mean(lambda filling: filling.cpu_seconds / max(filling.pods, 1)), 1
            ),
            "cpuSeconds": round(self.mean(lambda filling: filling.cpu_seconds), 2),
        }

    def curve(self, of: Callable[[Filling], Sequence[float]]) -> list[float]:
        """The mean over seeds at each point; as long as the shortest."""
        return [round(fmean(values), 3) for values in zip(*(of(filling) for filling in self.fillings), strict=False)]


def compare_profiles(
    workload: Workload,
    profiles: Sequence[NamedProfile],
    seeds: Sequence[int],
    ties: Ties = Ties.ORDER,
    done: Callable[[str, Filling], None] | None = None,
) -> list[Compared]:
    """Each profile on the same pods, in the same order, for each seed. `done` hears of each run.

    Raises:
        InputError: a profile makes no sense, or a plugin of it fails.
    """
    typical: list[TypicalPod] = []
    fragments: GpuFragmentation | None = None
    if workload.resource == GPU_MILLI:
        typical = typical_pods(workload.requests)
        fragments = GpuFragmentation({"typicalPods": typical_args(typical)})
    made = [(named.name, named.make(typical)) for named in profiles]
    compared = []
    for name, profile in made:
        fillings = []
        for seed in seeds:
            try:
                fillings.append(fill(workload, profile, seed, ties, fragments))
            except PluginError as error:
                raise InputError(f"profile {name}: {error}") from None
            if done is not None:
                done(name, fillings[-1])
        compared.append(Compared(name, fillings))
    return compared


def document_of(
    workload: Workload, compared: Sequence[Compared], seeds: Sequence[int], ties: Ties
) -> Mapping[str, Any]:
    """What report.json has."""
    return {
        "command": "compare",
        "workload": workload.name,
        "resource": workload.resource,
        "capacity": workload.capacity,
        "nodes": len(workload.nodes),
        "seeds": list(seeds),
        "ties": ties.value,
        "profiles": [
            {
                "name": each.profile,
                **each.figures(),
                "bySeed": [round(filling.allocated, 3) for filling in each.fillings],
                "series": {
                    "arrivedPercent": each.curve(lambda filling: filling.arrived_percent),
                    "allocatedPercent": each.curve(lambda filling: filling.allocated_percent),
                    "fragmentedPercent": each.curve(lambda filling: filling.fragmented_percent),
                },
            }
            for each in compared
        ],
    }
