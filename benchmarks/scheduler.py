"""`make bench-scheduler`: what the scheduler must reach, in a quarter of an hour at most.

    alone    the scheduler without any other component: scheduler_perf's workloads at 100 to 50,000 nodes, beside the
             rate of Arktos's own scheduler on a machine like this (459 pods/s at 100 nodes, 222 at 1,000)
    filling  whether a pod costs more as the cluster fills: its last tenth beside the first of another
    memory   what a node takes
    trace    the GPU trace's own experiment (`_gpu_trace.py`), where the trace is on this machine (`../shared/data`, or
             URSA_TRACE_DIR)

Every run has a process of its own; each figure is the median of its runs. Writes build/bench/scheduler.json, a list of
{"figure", "value", "unit", "bound", "met"}. Exit status 4 if a bound is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from statistics import median
from typing import Any, TypeVar

from _bench import Figure, at_least, at_most, print_figures, save_figures
from _gpu_trace import OWN, PUBLISHED, SEEDS, figures_of
from _gpu_trace import measure as measure_trace
from ursa.tools.scheduler_bench import WORKLOADS, Measured, measure, measure_filling, workload_of
from ursa.tools.scheduler_bench.memory import bytes_a_node

BASIC = "SchedulingBasic"
SIZES = (100, 1_000, 5_000, 50_000)
_T = TypeVar("_T")

# Pods a second of one core.
RATES_MIN = {5_000: 1_000.0}
BASIC_RATES_MIN = {5_000: 10_000.0, 50_000: 3_000.0}
# "Arktos's own scheduler binary on a machine like this": pods a second, with its own benchmark.
ARKTOS = {100: 459, 1_000: 222}
FILLING_NODES = 1_000
FILLING_RUNS = 7
GROWTH_MAX = 1.15
MEMORY_NODES = 50_000
BYTES_MAX = 2_048.0
RUNS = 3


def _run(name: str, nodes: int) -> Measured:
    return measure(workload_of(name, nodes))


def alone(names: Sequence[str], sizes: Sequence[int]) -> Iterator[Figure]:
    for nodes, name in product(sizes, names):
        runs = _processes(partial(_run, name), [nodes] * (RUNS if nodes in RATES_MIN or name == BASIC else 1))
        rate = round(median(run.pods_per_second for run in runs))
        bounds = BASIC_RATES_MIN if name == BASIC else RATES_MIN
        bound = at_least(bounds[nodes]) if nodes in bounds else None
        note = f"{runs[0].pods:,} pods, {1e6 * runs[0].cpu_seconds / runs[0].pods:.0f} us each"
        note += f"; {runs[0].evicted:,} evicted" if runs[0].evicted else ""
        note += f"; Arktos {ARKTOS[nodes]}" if name == BASIC and nodes in ARKTOS else ""
        unbound = sum(run.unbound for run in runs)
        yield Figure(f"{name}, {nodes:,} nodes", rate, "pods/s", bound, note)
        if unbound:
            yield Figure(f"{name}, {nodes:,} nodes: got no node", unbound, "pods", at_most(0))


def fills(nodes: int) -> Iterator[Figure]:
    """The median over the runs of the last tenth over a first that is measured beside it."""
    runs = _processes(measure_filling, [nodes] * FILLING_RUNS)
    tenths = " ".join(f"{median(parts):.0f}" for parts in zip(*(run.part_us for run in runs), strict=True))
    yield Figure(
        f"{runs[0].pods:,} pods fill {nodes:,} nodes: CPU of the last tenth over the first",
        round(median(run.growth for run in runs), 2),
        "x",
        at_most(GROWTH_MAX),
        f"{FILLING_RUNS} runs, {' '.join(f'{run.growth:.2f}' for run in runs)}; us a pod by tenth {tenths}, "
        f"of a first beside the last {median(run.beside_us for run in runs):.0f}",
    )


def memory(nodes: int) -> Iterator[Figure]:
    [value] = _processes(bytes_a_node, [nodes])
    yield Figure(f"memory of a node, {nodes:,} nodes", round(value), "bytes", at_most(BYTES_MAX))


def trace(seeds: int, profiles: Sequence[str]) -> Iterator[Figure]:
    """Half of the profiles beside the other half: what they allocate is the same, and of the CPU that they may take
    they leave enough."""
    halves = [half for half in (profiles[::2], profiles[1::2]) if half]
    with ProcessPoolExecutor(len(halves), mp_context=get_context("spawn")) as pool:
        measured = list(pool.map(partial(measure_trace, seeds), halves))
    found = {each.profile: each for half in measured for each in half or ()}
    yield from figures_of([found[profile] for profile in profiles] if found else None)


def _processes(call: Callable[[Any], _T], arguments: Sequence[Any]) -> list[_T]:
    """In fresh processes, one at a time: two would share the caches of two cores."""
    results = []
    for argument in arguments:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            results.append(pool.submit(call, argument).result())
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the scheduler.")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, measures nothing")
    parser.add_argument("--only", choices=("alone", "filling", "memory", "trace"), help="one part alone")
    chosen = parser.parse_args()
    load, quick = os.getloadavg(), chosen.quick
    parts = {
        "alone": lambda: alone(WORKLOADS, (100,) if quick else SIZES),
        "filling": lambda: fills(50 if quick else FILLING_NODES),
        "memory": lambda: memory(2_000 if quick else MEMORY_NODES),
        "trace": lambda: trace(1, ("random",)) if quick else trace(SEEDS, (*PUBLISHED, OWN)),
    }
    figures: list[Figure] = []
    for name, part in parts.items():
        if chosen.only in (None, name):
            for figure in part():
                print(f"{figure.figure}: {figure.value} {figure.unit} ({figure.note})", flush=True)
                figures.append(figure)
    where = f"{platform.machine()}, Python {platform.python_version()}, load average at the start {load[0]:.1f}"
    figures.append(Figure("machine", os.cpu_count() or 0, "cores", note=where))
    print_figures("The scheduler", figures)
    kind = "scheduler" if not quick and chosen.only is None else "scheduler-in-part"
    print(f"figures: {save_figures(kind, figures)}")
    return 4 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
