"""`make bench-span`: what spanning partitions must reach, in a quarter of an hour at most.

    conflicts   five schedulers, 200 pods a second each, on shared nodes: claims refused, and over-commitment at every
                revision, with the ledger and without it (`_conflicts.py`)
    loss        5 x 5 partitions with 2,000 nodes: every kind of part killed, stopped and cut off, in turn and two at
                once, and what the others notice of it (`_loss.py`)
    growth      the same work on 1 x 1 to 5 x 5 partitions, and what a tenant partition holds open (`_growth.py`)
    move        how long a tenant cannot write while it moves to another partition, its pods running (`_moves.py`)

Writes build/bench/span.json, a list of {"figure", "value", "unit", "bound", "met"}, and build/bench/span-growth.html.
Exit status 4 if a bound is missed.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import starmap
from multiprocessing import get_context

import trio
from _bench import Figure, at_least, at_most, print_figures, save_figures
from _conflicts import CPUS, GPUS, Counted, Mix, measure_conflicts
from _growth import TOPOLOGIES, Grown, Held, measure_growth, measure_held, median_of, plot
from _loss import CUT, FREEZE, KILL, QUIET, Losses, Round, all_rounds, measure_losses
from _moves import CONFIG_MAPS, PODS, measure_move

FILLS = (0.5, 0.8, 0.95)
# What is spread over all GPUs leaves no whole nodes: beyond this pods of eight find none, and it gets no fuller.
GPU_FILLS_SPREAD = (0.5, 0.8)
REFUSED_PERCENT_MAX = 1.0
STARTUP_RATIO_MAX = 1.5
CONVERGED_SECONDS_MAX = 60.0
CPU_RATIO_MAX = 1.3
FROZEN_SECONDS_MAX = 2.0  # for 10,000 objects


# --------------------------------------------------------------------------------------------------------- conflicts


def conflicts(seconds: float, quick: bool) -> list[Figure]:
    """All runs on their own clocks, as many at once as there are cores."""
    runs: list[tuple[Mix, str, Sequence[float], bool]] = [
        (CPUS, "least", FILLS, True),
        (CPUS, "most", FILLS, True),
        (GPUS, "most", FILLS, True),
        (GPUS, "least", GPU_FILLS_SPREAD, True),
        (CPUS, "least", FILLS[2:], False),
        (CPUS, "most", FILLS[2:], False),
        (GPUS, "most", FILLS[2:], False),
    ]
    if quick:
        runs = [(GPUS, "most", FILLS[:1], True), (GPUS, "most", FILLS[:1], False)]
    print("\nfive schedulers on 1,000 nodes, on a mock clock", flush=True)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        counted = list(pool.map(partial(_conflicts, seconds), runs))
    return [figure for run, counts in zip(runs, counted, strict=True) for figure in _conflict_figures(run, counts)]


def _conflicts(seconds: float, run: tuple[Mix, str, Sequence[float], bool]) -> list[Counted]:
    logging.disable(logging.CRITICAL)
    mix, strategy, fills, ledger = run
    return measure_conflicts(mix, strategy, fills, seconds=seconds, ledger=ledger)


def _conflict_figures(run: tuple[Mix, str, Sequence[float], bool], counts: Sequence[Counted]) -> Iterator[Figure]:
    mix, strategy, _, ledger = run
    for each in counts:
        what = f"{mix.title}, {strategy} allocated, {100 * each.fill:.0f} % full"
        note = f"{each.refused} of {each.attempted}, {100 * each.placed:.1f} % full on average"
        percent = round(each.refused_percent, 2)
        if ledger:
            yield Figure(f"{what}: claims refused", percent, "%", at_most(REFUSED_PERCENT_MAX), note)
            yield Figure(f"{what}: over-committed", each.overcommitted, "times", at_most(0), "at any revision")
        else:
            yield Figure(f"{what}, ledger off: over-committed", each.overcommitted, "times", note=note)


# -------------------------------------------------------------------------------------------------------------- loss


def loss(rounds: Sequence[Round]) -> list[Figure]:
    print(f"\n5 x 5 partitions with 2,000 nodes: {len(rounds)} rounds", flush=True)
    losses = trio.run(measure_losses, rounds, STARTUP_RATIO_MAX)
    figures = [Figure("startup p99 in quiet", round(losses.p99(QUIET)), "ms", note=f"median of {_p99s(losses, QUIET)}")]
    for fault in (KILL, FREEZE, CUT):
        for several in (False, True):
            chosen = [each for each in rounds if each.fault == fault and (len(each.parts) > 1) is several]
            if chosen:
                figures.append(_startup_figure(losses, chosen, fault, several))
    faults = [each for each in losses.outcomes if each.round != QUIET]
    slowest = max(faults, key=lambda each: each.converged_seconds or float("inf"))
    unfinished = [each for each in faults if each.converged_seconds is None]
    seconds = None if unfinished else round(slowest.converged_seconds or 0.0, 1)
    note = "; ".join(each.waiting for each in unfinished) or slowest.round.title
    return [
        *figures,
        Figure("all pods run after healing, within", seconds, "s", at_most(CONVERGED_SECONDS_MAX), note),
        Figure(
            "pods deleted", len(losses.deleted), "pods", at_most(0), f"of {sum(e.asked for e in losses.outcomes):,}"
        ),
    ]


def _startup_figure(losses: Losses, rounds: Sequence[Round], fault: str, several: bool) -> Figure:
    what = f"{fault}, {'two at once' if several else 'each in turn'}: startup p99 of the others over quiet"
    note = ", ".join(f"{each.title} {_p99s(losses, each)} ms" for each in rounds)
    return Figure(what, round(max(map(losses.ratio, rounds)), 2), "x", at_most(STARTUP_RATIO_MAX), note)


def _p99s(losses: Losses, of: Round) -> str:
    return "/".join(f"{each.p99:.0f}" for each in losses.outcomes if each.round == of)


# ------------------------------------------------------------------------------------------------------------ growth


def growth(topologies: Sequence[tuple[int, int]], pods_per_node: int, node_counts: Sequence[int]) -> list[Figure]:
    runs = measure_growth(topologies, pods_per_node)
    grown = [median_of(each) for each in runs]
    print(f"\nplot: {plot(grown)}")
    figures = [figure for each in runs for figure in _grown_figures(each)]
    ratio = round(grown[-1].cpu_ms_per_pod / grown[0].cpu_ms_per_pod, 2)
    what = f"CPU of a pod at {grown[-1].title} over {grown[0].title}"
    figures.append(Figure(what, ratio, "x", at_most(CPU_RATIO_MAX)))
    held = trio.run(measure_held, node_counts)
    figures += starmap(_held_figure, [(each,) for each in held])
    first, last = held[0], held[-1]
    added = max(last.processes - first.processes, 1)
    figures.append(
        Figure(
            "streams of a tenant partition for each kubelet process",
            round((last.streams - first.streams) / added, 2),
            "streams",
            at_most(2),
            "one that watches, and one that writes once there is something to write; none for a kubelet",
        )
    )
    return figures


def _grown_figures(runs: Sequence[Grown]) -> Iterator[Figure]:
    grown = median_of(runs)
    yield Figure(
        f"{grown.title}: throughput", grown.pods_per_second, "pods/s", note=f"p99 {grown.startup_p99_ms:.0f} ms"
    )
    note = f"median of {', '.join(f'{each.cpu_ms_per_pod:.2f}' for each in runs)}" if len(runs) > 1 else ""
    yield Figure(f"{grown.title}: CPU of a pod", grown.cpu_ms_per_pod, "ms", note=note)


def _held_figure(held: Held) -> Figure:
    note = f"on {held.streams} streams, {held.processes} kubelet processes"
    return Figure(f"{held.nodes:,} nodes: watches of a tenant partition", held.watches, "watches", note=note)


# -------------------------------------------------------------------------------------------------------------- move


def move(pods: int, config_maps: int) -> list[Figure]:
    moved = trio.run(measure_move, pods, config_maps)
    seconds, note = round(moved.frozen_seconds_per_10_000, 2), f"{moved.frozen_seconds:.2f} s for {moved.objects:,}"
    return [
        Figure("a tenant that moves: frozen for each 10,000 objects", seconds, "s", at_most(FROZEN_SECONDS_MAX), note),
        Figure("a tenant that moves: pods that do not run on", moved.pods - moved.kept, "pods", at_most(0)),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure spanning partitions.")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, measures nothing")
    parser.add_argument("--only", choices=("conflicts", "loss", "growth", "move"), help="one part alone")
    chosen = parser.parse_args()
    load = os.getloadavg()
    quick = chosen.quick
    parts = {
        "growth": lambda: growth(
            TOPOLOGIES[:2] if quick else TOPOLOGIES, 2 if quick else 30, (500, 1000) if quick else (1000, 2000, 4000)
        ),
        "loss": lambda: loss([QUIET, Round(KILL, ("tp-1",))] if quick else all_rounds()),
        "move": lambda: move(200, 300) if quick else move(PODS, CONFIG_MAPS),
        "conflicts": lambda: conflicts(1.0 if quick else 3.0, quick),
    }
    figures: list[Figure] = []
    for name, part in parts.items():
        if chosen.only in (None, name):
            try:
                figures += part()
            except Exception as error:  # noqa: BLE001 - the other parts are still worth having
                figures.append(Figure(name, None, "", at_least(1), note=f"{type(error).__name__}: {error}"))
    where = f"{platform.machine()}, Python {platform.python_version()}, load average at the start {load[0]:.1f}"
    figures.append(Figure("machine", os.cpu_count() or 0, "cores", note=where))
    print_figures("Spanning partitions", figures)
    kind = "span" if not quick and chosen.only is None else "span-in-part"
    print(f"figures: {save_figures(kind, figures)}")
    return 4 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
