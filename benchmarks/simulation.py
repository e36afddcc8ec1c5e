"""`make bench-simulation`: what a simulated run costs, how fast recorded histories are judged, and many seeds.

    a run      50 kubelets, 3 tenant and 2 resource partitions, five virtual minutes with faults: CPU of a seed, and
               virtual hours an hour of one core (the healing and what comes to rest behind it included)
    checking   a recording of a million operations, judged by all judges: CPU
    seeds      ordinary seeds, as many as fit into `--minutes` on all cores: how many, and how many broke a promise

CPU is this process' own, or its children's. How many seeds have been run in all before a release is for its notes.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import time
from itertools import count
from statistics import median

from _bench import Figure, at_least, at_most, print_figures, save_figures
from checking import measure as measure_checking
from ursa.tools.simulation import Swarm, Topology, draw_plan, simulate
from ursa.tools.simulation.soak import Tally, run_seeds

LARGE = Swarm(Topology(3, 2, 50), seconds=300.0)
FIRST_SEED = 1


def measure_runs(seeds: int) -> list[Figure]:
    simulate(draw_plan(0, Swarm(Topology(1, 1, 1), seconds=1.0)))  # Whatever the first run alone has to do.
    outcomes = [simulate(draw_plan(seed, LARGE)) for seed in range(FIRST_SEED, FIRST_SEED + seeds)]
    cpu = [outcome.cpu_seconds for outcome in outcomes]
    hours = sum(outcome.seconds for outcome in outcomes) / sum(cpu)
    broken = [outcome for outcome in outcomes if not outcome.passed]
    what = "50 kubelets, 3 TP, 2 RP, five virtual minutes with faults"
    rounds = ", ".join(f"{each:.1f}" for each in cpu)
    note = f"{sum(outcome.operations for outcome in outcomes):,} operations judged; {len(broken)} broke a promise"
    return [
        Figure(f"{what}: CPU of a seed", round(median(cpu), 2), "s", at_most(5.0), f"median; seeds: {rounds}"),
        Figure(f"{what}: virtual hours an hour of one core", round(hours, 1), "h", at_least(60.0), note),
    ]


def measure_seeds(minutes: float) -> list[Figure]:
    tally = Tally()
    end = time.monotonic() + 60 * minutes
    for outcome in run_seeds(count(FIRST_SEED), Swarm(), stop=lambda: time.monotonic() > end):
        tally.add(outcome)
    faults = ", ".join(f"{number:,} {kind}" for kind, number in sorted(tally.faults.items()))
    failed = ", ".join(f"{each.plan.seed} ({', '.join(each.promises)})" for each in tally.failed[:20])
    note = f"{tally.virtual_seconds / 3600:,.1f} virtual hours, {tally.operations:,} operations judged; {faults}"
    return [
        Figure("ordinary seeds run", tally.seeds, "seeds", note=note),
        Figure("ordinary seeds that broke a promise", len(tally.failed), "seeds", at_most(0), failed),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the simulation.")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, measures nothing")
    parser.add_argument("--minutes", type=float, default=3.0, help="for ordinary seeds")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    load = os.getloadavg()
    figures = measure_runs(2 if arguments.quick else 7)
    figures += measure_checking(20_000 if arguments.quick else 1_000_000)
    figures += measure_seeds(0.1 if arguments.quick else arguments.minutes)
    where = f"{platform.machine()}, Python {platform.python_version()}, load average at the start {load[0]:.1f}"
    figures.append(Figure("machine", os.cpu_count() or 0, "cores", note=where))
    print_figures("The simulation", figures)
    print(f"figures: {save_figures('simulation-quick' if arguments.quick else 'simulation', figures)}")
    return 4 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
