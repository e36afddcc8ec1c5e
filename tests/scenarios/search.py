"""Looks for the seeds of scenarios: .venv/bin/python -m tests.scenarios.search [NAME ...] [--clean N]

Without --clean: the first seed that finds each bug. With it: N seeds of each stage without a bug, from --first on, and
what they broke.
"""

from __future__ import annotations

import argparse
import time

from .registry import SEEDS_MAX, Scenario, scenarios, stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--clean", type=int, default=0)
    parser.add_argument("--first", type=int, default=1)
    chosen = parser.parse_args()
    wanted = [scenario for scenario in scenarios() if not chosen.names or scenario.name in chosen.names]
    for names, scenario in (stages(wanted) if chosen.clean else {each.name: each for each in wanted}).items():
        began = time.process_time()
        seeds = range(chosen.first, chosen.first + (chosen.clean or SEEDS_MAX))
        found = _clean(scenario, seeds) if chosen.clean else _search(scenario, seeds)
        print(f"{names:5} {found} ({time.process_time() - began:.1f} s)", flush=True)


def _search(scenario: Scenario, seeds: range) -> str:
    others: dict[int, object] = {}
    for seed in seeds:
        broken = scenario.broken(seed, with_bug=True)
        if any(promise in scenario.promises for promise in broken):
            recorded = "" if seed == scenario.first_seed else f", recorded is {scenario.first_seed}"
            return f"found by seed {seed}: {', '.join(broken)}{recorded}"
        if broken:
            others[seed] = broken
    return f"NOT FOUND in {len(seeds)} seeds; others: {others or 'none'}"


def _clean(scenario: Scenario, seeds: range) -> str:
    broken = {seed: found for seed in seeds if (found := scenario.broken(seed, with_bug=False))}
    return f"{len(seeds)} seeds without the bug: {broken or 'every promise kept'}"


if __name__ == "__main__":
    main()
