"""`make bench-store`: measures what the store must reach, beside a real etcd, in a quarter of an hour at most.

Both keep the same keys with the same values of 1 KiB on the same disk. Their turns alternate, round by round, so that
whatever else the machine does meets both; a figure is the median of its rounds. A ratio is taken within each round.

    puts       Ursa's store in this process (asyncio writers, commits on the writer thread) | etcd's Put
    creates    batches on Mutate streams through an apiserver process                       | etcd's Txn, if version = 0
    range      100,000 keys, from a store just opened                                       | etcd's Range, serializable
    alone      opening and compacting a store of 1,000,000 revisions; memory; growth of the file

CPU is the server's: of the process for etcd and the apiserver; for the store in process it is that of the writers too.
Every write is synced to the disk before it is acknowledged. `--quick` runs all of it small, to see that it works.

Writes build/bench/store.json: a list of {"figure", "value", "unit", "bound", "met"}. Exit status 4: a bound is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import _etcd
import _store_load as load
from _bench import Figure, at_least, at_most, print_figures, save_figures
from _etcd import ServerProcess

WRITERS = (64, 256)
CREATES_IN_FLIGHT = 256
COMPACTION_WRITERS = 64


@dataclass(frozen=True)
class Sizes:
    """How large the benchmark is."""

    rounds: int
    seconds: float
    keys: int
    changes_per_key: int
    opens: int


FULL = Sizes(rounds=5, seconds=3.0, keys=100_000, changes_per_key=10, opens=3)
QUICK = Sizes(rounds=1, seconds=0.5, keys=2_000, changes_per_key=10, opens=1)

Samples = dict[str, list[float]]


async def measure_rounds(directory: Path, sizes: Sizes) -> Samples:
    """Everything that both do, a list of values for each name; etcd's are missing if it is not installed."""
    samples: Samples = defaultdict(list)
    store = directory / "store"
    load.fill_store(store, sizes.keys)
    async with AsyncExitStack() as stack:
        etcd: ServerProcess | None = None
        messages: Any = None
        if _etcd.installed():
            messages = _etcd.messages()
            etcd = stack.enter_context(_etcd.running_etcd(directory / "etcd", directory / "etcd.log"))
            await load.fill_etcd(etcd, messages, sizes.keys)
        apiserver = await stack.enter_async_context(
            load.running_apiserver(directory / "apiserver", directory / "apiserver.log")
        )
        for number in range(sizes.rounds):
            print(f"round {number + 1} of {sizes.rounds}", flush=True)
            for writers in WRITERS:
                measured, growth = await load.put_into_store(store, sizes.keys, writers, sizes.seconds)
                _note(samples, f"ursa put {writers}", measured)
                samples["growth"].append(growth)
                if etcd is not None:
                    measured = await load.put_into_etcd(etcd, messages, sizes.keys, writers, sizes.seconds)
                    _note(samples, f"etcd put {writers}", measured)
            measured = await load.create_in_ursa(apiserver, number, CREATES_IN_FLIGHT, sizes.seconds)
            _note(samples, "ursa create", measured)
            if etcd is not None:
                measured = await load.create_in_etcd(etcd, messages, number, CREATES_IN_FLIGHT, sizes.seconds)
                _note(samples, "etcd create", measured)
            count, cpu_seconds = load.range_of_store(store)
            assert count == sizes.keys
            samples["ursa range"].append(cpu_seconds)
            if etcd is not None:
                count, cpu_seconds = await load.range_of_etcd(etcd, messages)
                assert count == sizes.keys
                samples["etcd range"].append(cpu_seconds)
    return samples


def _note(samples: Samples, name: str, measured: load.Measured) -> None:
    samples[f"{name} cpu"].append(measured.cpu_us)
    samples[f"{name} rate"].append(measured.rate)
    samples[f"{name} p99"].append(measured.p99_ms)


def figures_of_rounds(samples: Samples, sizes: Sizes) -> list[Figure]:
    def ratio(name: str, ursa: str, etcd: str, bound: Any, digits: Callable[[float], str]) -> Figure:
        ours, theirs = samples[ursa], samples.get(etcd)
        if not theirs:
            return Figure(name, None, "x etcd", bound, note=f"{_etcd.MISSING}; Ursa's: {_texts(ours, digits)}")
        value = median(one / other for one, other in zip(ours, theirs, strict=True))
        note = f"rounds: Ursa {_texts(ours, digits)}; etcd {_texts(theirs, digits)}"
        return Figure(name, round(value, 3), "x etcd", bound, note)

    figures: list[Figure] = []
    for writers in WRITERS:
        ursa, etcd = f"ursa put {writers}", f"etcd put {writers}"
        name = f"durable puts of 1 KiB, {writers} writers"
        figures += [
            ratio(f"{name}: CPU a put", f"{ursa} cpu", f"{etcd} cpu", at_most(0.25), "{:.1f} us".format),
            ratio(f"{name}: rate", f"{ursa} rate", f"{etcd} rate", at_least(3), "{:,.0f}/s".format),
            ratio(f"{name}: p99", f"{ursa} p99", f"{etcd} p99", None, "{:.1f} ms".format),
        ]
    name = f"creates of 1 KiB through the apiserver, {CREATES_IN_FLIGHT} in flight"
    range_name = f"range of {sizes.keys:,} keys of 1 KiB: CPU"
    figures += [
        ratio(f"{name}: server CPU a create", "ursa create cpu", "etcd create cpu", at_most(1), "{:.1f} us".format),
        ratio(f"{name}: p99", "ursa create p99", "etcd create p99", at_most(1), "{:.1f} ms".format),
        ratio(f"{name}: rate", "ursa create rate", "etcd create rate", None, "{:,.0f}/s".format),
        ratio(range_name, "ursa range", "etcd range", at_most(1), "{:.2f} s".format),
    ]
    growth = samples["growth"]
    note = f"each run: {_texts(growth, '{:.0f} B'.format)}"
    figures.append(Figure("growth of the file, a put of 1 KiB", round(median(growth)), "bytes", at_most(1600), note))
    return figures


def figures_of_a_large_store(directory: Path, sizes: Sizes) -> list[Figure]:
    path = directory / "large"
    revisions = sizes.keys * sizes.changes_per_key
    what = f"a store of {revisions:,} revisions and {sizes.keys:,} keys"
    print(f"making {what}", flush=True)
    load.fill_store(path, sizes.keys, sizes.changes_per_key)
    opened = [load.opened_in_a_process(path) for _ in range(sizes.opens)]
    print("compacting it", flush=True)
    quiet, swept = asyncio.run(load.compaction(path, sizes.keys, COMPACTION_WRITERS, sizes.seconds))
    compacted = [load.opened_in_a_process(path) for _ in range(sizes.opens)]
    cpu = [one["cpu_seconds"] for one in opened]
    note = (
        f"{COMPACTION_WRITERS} writers: quiet {quiet.p99_ms:.1f} ms at {quiet.rate:,.0f}/s; "
        f"during {swept.p99_ms:.1f} ms at {swept.rate:,.0f}/s, {swept.seconds:.1f} s"
    )
    index_compacted, index_before = (
        round(median(one["index_bytes_per_key"] for one in runs)) for runs in (compacted, opened)
    )
    wall = median(one["seconds"] for one in opened)
    return [
        Figure(
            f"compaction of {revisions:,} revisions: p99 of writes beside it",
            round(swept.p99_ms / quiet.p99_ms, 2),
            "x quiet",
            at_most(3),
            note,
        ),
        Figure(
            f"opening {what}: CPU",
            round(median(cpu), 3),
            "s",
            at_most(1),
            f"each: {_texts(cpu, '{:.2f} s'.format)}; {wall:.2f} s of time",
        ),
        Figure(
            "index in memory, beyond key and value",
            index_compacted,
            "bytes/key",
            at_most(300),
            f"after compaction; {index_before} with {sizes.changes_per_key} changes of history a key",
        ),
    ]


def _texts(values: Sequence[float], digits: Callable[[float], str]) -> str:
    return ", ".join(digits(value) for value in values)


def _machine(directory: Path, load_at_start: tuple[float, float, float]) -> Figure:
    loads = [" ".join(f"{value:.1f}" for value in one) for one in (load_at_start, os.getloadavg())]
    etcd = _etcd.version() if _etcd.installed() else "no etcd"
    note = (
        f"{platform.machine()}, Linux {platform.release()}, disk {load.disk_of(directory)}; "
        f"Python {platform.python_version()}, {etcd}; load average at the start {loads[0]}, at the end {loads[1]}"
    )
    return Figure("machine", os.cpu_count() or 0, "cores", note=note)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the store beside a real etcd.")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, measures nothing")
    parser.add_argument("--directory", type=Path, help="where the data goes while it runs (default: the temporary one)")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    load_at_start = os.getloadavg()
    # So that a benchmark that is stopped takes etcd with it.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="ursa-bench-store-", dir=arguments.directory) as name:
        directory = Path(name)
        figures = figures_of_rounds(asyncio.run(measure_rounds(directory, sizes)), sizes)
        figures += figures_of_a_large_store(directory, sizes)
        figures.append(_machine(directory, load_at_start))
    print_figures("The store, beside etcd", figures)
    print(f"figures: {save_figures('store-quick' if arguments.quick else 'store', figures)}")
    return 4 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
