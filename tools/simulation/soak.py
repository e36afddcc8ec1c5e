"""Many seeds, on as many processes as there are cores, for as long as there is time."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

from .drawing import Swarm, draw_plan
from .outcome import Outcome
from .run import simulate

# Waiting in line for each process, so that none waits for its next seed.
AHEAD = 2
_PR_SET_PDEATHSIG = 1  # Linux, as all of Ursa.


@dataclass
class Tally:
    """What many runs came to. `failed`: those that broke a promise."""

    seeds: int = 0
    virtual_seconds: float = 0.0
    cpu_seconds: float = 0.0
    messages: int = 0
    operations: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.virtual_seconds += outcome.seconds
        self.cpu_seconds += outcome.cpu_seconds
        self.messages += outcome.messages
        self.operations += outcome.operations
        self.faults.update(outcome.faults)
        if not outcome.passed:
            self.failed.append(outcome)


def run_seeds(
    seeds: Iterable[int], swarm: Swarm, *, jobs: int = 0, stop: Callable[[], bool] = lambda: False
) -> Iterator[Outcome]:
    """The outcomes, as they come. `jobs` 0: one for each core; 1: here. `stop`: asked before each seed."""
    jobs = jobs or os.cpu_count() or 1
    if jobs == 1:
        for seed in seeds:
            if stop():
                return
            yield _one(seed, swarm)
        return
    left = iter(seeds)
    with ProcessPoolExecutor(jobs, initializer=_end_with_parent) as pool:
        running: dict[Future[Outcome], None] = {}
        try:
            while True:
                if not stop():
                    for seed in islice(left, jobs * AHEAD - len(running)):
                        running[pool.submit(_one, seed, swarm)] = None
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    del running[future]
                    yield future.result()
        finally:
            for future in running:
                future.cancel()


def _end_with_parent() -> None:
    """A run that nobody waits for any more would go on until its end, and its process for ever."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _one(seed: int, swarm: Swarm) -> Outcome:
    logging.disable(logging.CRITICAL)
    try:
        return simulate(draw_plan(seed, swarm))
    finally:
        logging.disable(logging.NOTSET)
