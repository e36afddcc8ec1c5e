"""What a scheduler decides follows from what it was told: told the same again, it decides the same."""

from __future__ import annotations

from itertools import chain
from random import Random
from typing import Any

import pytest
from ursa.clients.scheduler import SchedulerOptions
from ursa.clients.scheduler.core import SchedulingCore
from ursa.clients.scheduler.decisions import Decisions
from ursa.tools.scheduler_bench import Alone, workload_of
from ursa.tools.scheduler_bench.alone import HOME, PARTITIONS

NODES = 12
SEED = 3


class Recorder:
    """A core that notes what it is told, and what it decides."""

    def __init__(self, core: SchedulingCore) -> None:
        self._core = core
        self.told: list[tuple[str, tuple[Any, ...]]] = []
        self.decided: list[list[bytes]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._core, name)
        if not callable(found):
            return found

        def noted(*arguments: Any) -> Any:
            self.told.append((name, arguments))
            result = found(*arguments)
            if isinstance(result, Decisions):
                self.decided.append(written(result))
            return result

        return noted


def written(decisions: Decisions) -> list[bytes]:
    actions = [*chain.from_iterable(decisions.actions.values()), *decisions.binds, *decisions.evictions]
    return [action.operation().SerializeToString(deterministic=True) for action in actions]


def recorded_run(name: str) -> Recorder:
    workload = workload_of(name, NODES)
    alone = Alone(seed=SEED)
    recorder = Recorder(alone.core)
    alone.core = recorder  # type: ignore[assignment]
    alone.add_nodes(workload.nodes, workload.zones)
    for pods in (*workload.before, workload.measured):
        alone.offer(list(alone.make(pods)))
        alone.settle()
    assert len(alone.bound) > 100
    return recorder


def replay(told: list[tuple[str, tuple[Any, ...]]], seed: int) -> list[list[bytes]]:
    core = SchedulingCore(HOME, [HOME], PARTITIONS, Random(seed), SchedulerOptions(events=False))
    decided, decisions = [], Decisions()
    for name, arguments in told:
        if name == "answered":
            # The same answers, to what this one has asked.
            partition, before, *rest = arguments
            home = [*decisions.binds, *decisions.evictions]
            asked = home if partition == HOME else decisions.actions[partition]
            first = asked.index(next(each for each in asked if type(each) is type(before[0])))
            core.answered(partition, asked[first : first + len(before)], *rest)
        else:
            result = getattr(core, name)(*arguments)
            if isinstance(result, Decisions):
                decisions = result
                decided.append(written(result))
    return decided


@pytest.mark.parametrize("name", ["MixedSchedulingBasePods", "TopologySpreading", "SchedulingWithNodes"])
def test_a_recorded_run_replays_to_the_same_decisions(name: str) -> None:
    recorder = recorded_run(name)
    assert replay(recorder.told, SEED) == recorder.decided
