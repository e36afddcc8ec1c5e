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
from ..report.figures import percentile
from .filling import Filling, Ties, fill
from .profiles import NamedProfile
from .sharing import NODES_MAX, PODS_A_SECOND, SCHEDULERS, Sharing, share
from .workloads import Workload


class Compared(NamedTuple):
    """One profile, with a filling for each seed; and of some seeds, or none, what came of sharing the nodes."""

    profile: str
    fillings: Sequence[Filling]
    sharings: Sequence[Sharing] = ()

    def mean(self, figure: Callable[[Filling], float]) -> float:
        return fmean(figure(filling) for filling in self.fillings)

    def figures(self) -> dict[str, float | None]:
        """Those of both; `overcommitted` is their sum."""
        overcommitted = sum(each.overcommitted for each in self.sharings)
        filling = self.filling_figures()
        return {**filling, **self.sharing_figures(), "overcommitted": filling["overcommitted"] + overcommitted}

    def filling_figures(self) -> dict[str, float]:
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

    def sharing_figures(self) -> dict[str, float | None]:
        """In percent of the claims, and virtual milliseconds over the pods of all seeds; None: nothing was measured."""
        claims = sum(each.claims for each in self.sharings)
        refused = sum(each.refused for each in self.sharings)
        startup = sorted(seconds for each in self.sharings for seconds in each.startup_seconds)
        return {
            "claims": claims,
            "conflictPercent": round(100 * refused / claims, 3) if claims else None,
            "startupP50Milliseconds": round(1000 * percentile(startup, 50), 1) if startup else None,
            "startupP99Milliseconds": round(1000 * percentile(startup, 99), 1) if startup else None,
        }

    def curve(self, of: Callable[[Filling], Sequence[float]]) -> list[float]:
        """The mean over seeds at each point; as long as the shortest."""
        return [round(fmean(values), 3) for values in zip(*(of(filling) for filling in self.fillings), strict=False)]


def compare_profiles(
    workload: Workload,
    profiles: Sequence[NamedProfile],
    seeds: Sequence[int],
    ties: Ties = Ties.ORDER,
    done: Callable[[str, Filling | Sharing], None] | None = None,
    shared_seeds: Sequence[int] = (),
) -> list[Compared]:
    """Each profile on the same pods, in the same order, for each seed: one scheduler fills the nodes. For each of
    `shared_seeds` two share them, in a whole cluster, which takes some seconds. `done` hears of each run.

    Raises:
        InputError: a profile makes no sense, or a plugin of it fails.
    """
    typical: list[TypicalPod] = []
    fragments: GpuFragmentation | None = None
    if workload.resource == GPU_MILLI:
        typical = typical_pods(workload.requests)
        fragments = GpuFragmentation({"typicalPods": typical_args(typical)})
    tell = done or (lambda _name, _run: None)
    made = [(named, named.make(typical)) for named in profiles]
    compared = []
    for named, profile in made:
        fillings, sharings = [], []
        for seed in seeds:
            try:
                fillings.append(fill(workload, profile, seed, ties, fragments))
            except PluginError as error:
                raise InputError(f"profile {named.name}: {error}") from None
            tell(named.name, fillings[-1])
        for seed in shared_seeds:
            sharings.append(share(workload, named.completed(typical), seed))
            tell(named.name, sharings[-1])
        compared.append(Compared(named.name, fillings, sharings))
    return compared


def document_of(
    workload: Workload,
    compared: Sequence[Compared],
    seeds: Sequence[int],
    ties: Ties,
    shared_seeds: Sequence[int] = (),
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
        "shared": {
            "seeds": list(shared_seeds),
            "schedulers": SCHEDULERS,
            "podsPerSecond": SCHEDULERS * PODS_A_SECOND,
            "nodes": min(len(workload.nodes), NODES_MAX),
        },
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
