"""Bugs of other control planes, to be found again in ours: each with what stages it and the promise that names it.

A scenario is a swarm of small plans, or another kind of stage, and an injected bug that brings the historic fault back
into our code. With the bug some seed breaks the scenario's promise; without it none breaks any. The scenarios stand one
a file beside this module, in `s*.py`; each file has a tuple `SCENARIOS`. `docs/scenarios.md` is made of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from ursa.tools.simulation import Plan, Swarm, draw_plan, simulate

# A bug is found within so many seeds, beginning with 1.
SEEDS_MAX = 200


class Stage(Protocol):
    """What a scenario runs on, if that is no simulated cluster."""

    def broken(self, seed: int) -> Sequence[str]:
        """The names of the promises that this seed breaks."""


@dataclass(frozen=True)
class Scenario:
    """One bug, and where it is found. `name` is its number in our research, with a letter where it has several bugs.

    `origin`: where it happened. `breaks`: what the injected bug does, in one line. `promises`: any of these names it.
    `first_seed`: the first that finds it, counted from 1. `around`: what is made scarce, with the bug and without.
    """

    name: str
    title: str
    origin: str
    invariant: str
    swarm: Swarm | Callable[[int], Plan] | Stage
    breaks: str
    bug: Callable[[], AbstractContextManager[object]]
    promises: tuple[str, ...]
    first_seed: int
    around: Callable[[], AbstractContextManager[object]] = nullcontext

    def broken(self, seed: int, *, with_bug: bool) -> Sequence[str]:
        """The promises that a seed breaks."""
        with self.around(), self.bug() if with_bug else nullcontext(), _quiet():
            if isinstance(self.swarm, Swarm):
                return simulate(draw_plan(seed, self.swarm)).promises
            if callable(self.swarm):
                return simulate(self.swarm(seed)).promises
            return self.swarm.broken(seed)

    def finds(self, seed: int) -> bool:
        """Whether the bug is found with this seed, by its name."""
        return any(promise in self.promises for promise in self.broken(seed, with_bug=True))


def scenarios() -> tuple[Scenario, ...]:
    """All, in the order of their files."""
    files = sorted(path.stem for path in Path(__file__).parent.glob("s[0-9]*.py"))
    modules = [import_module(f".{file}", __package__) for file in files]
    return tuple(scenario for module in modules for scenario in module.SCENARIOS)


def stages(chosen: Sequence[Scenario]) -> dict[str, Scenario]:
    """One of the scenarios for each stage, by the names of all that share it: without their bugs they are the same."""
    found: list[list[Scenario]] = []
    for scenario in chosen:
        same = [each for each in found if (each[0].swarm, each[0].around) == (scenario.swarm, scenario.around)]
        if same:
            same[0].append(scenario)
        else:
            found.append([scenario])
    return {", ".join(each.name for each in group): group[0] for group in found}


@contextmanager
def _quiet() -> Iterator[None]:
    """What parts log of faults that are meant is no news."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
