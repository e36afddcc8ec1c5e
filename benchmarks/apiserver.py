"""`make bench-apiserver`: measures what the apiserver must reach, in a quarter of an hour at most.

One apiserver of a tenant partition, a process with its store on disk, is asked by raw gRPC clients in this process. CPU
is the server's, of the whole process, store and writer thread included; pods are 1.3 KB long.

    lists      10,000 and 50,000 pods, whole, from the cache; and how far the server's memory rises meanwhile
    creates    batches on Mutate streams; one by one in unary calls; all durable before they are answered
    fan-out    100 watchers of all pods, each with a stream and a connection of its own
    storm      one client's writes while another one lists everything, again and again, 32 times at once
    kubelets   250,000 watches by node name on 50 streams, and a tenth of them: what one costs, and an event to one

The bounds are those of the issue that asked for them; in its brackets stood what Arktos' kube-apiserver with etcd took
on such a machine. `--quick` runs all of it small, to see that it works.

Writes build/bench/apiserver.json: a list of {"figure", "value", "unit", "bound", "met"}. Exit status 4: one is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import _apiserver_load as load
from _bench import Figure, at_most, print_figures, save_figures
from _etcd import ServerProcess
from _store_load import p99, running_apiserver
from ursa.proto import ursa_pb2 as pb

MIB = 1 << 20
# Between two events to one watch: they are quiet, each finds an idle server.
EVENT_PAUSE_SECONDS = 0.01


# Lists at once in the storm; and writers beside it, of single pods.
STORM_LISTS = 32
STORM_WRITERS = 4


@dataclass(frozen=True)
class Sizes:
    """How large the benchmark is. `lists`: (pods, lists a round)."""

    rounds: int
    seconds: float
    lists: tuple[tuple[int, int], ...]
    watchers: int
    streams: int
    watches_per_stream: int
    events: int
    storm_pods: int


FULL = Sizes(5, 2.0, ((10_000, 10), (50_000, 4)), 100, 50, 5_000, 300, 20_000)
QUICK = Sizes(1, 0.5, ((1_000, 10), (2_000, 4)), 10, 5, 100, 20, 2_000)


async def measure_lists(server: ServerProcess, sizes: Sizes) -> list[Figure]:
    figures = []
    present = 0
    for pods, times in sizes.lists:
        await load.fill(server, "listed", present, pods - present)
        present = pods
        cpu_ms, growths, walls = [], [], []
        async with load.channel_to(server) as channel:
            await load.list_pods(channel, server)  # The first one sorts the keys.
            for _ in range(sizes.rounds):
                cpu = server.cpu_seconds()
                for _ in range(times):
                    items, _, seconds, growth = await load.list_pods(channel, server)
                    assert items == pods
                    growths.append(growth)
                    walls.append(seconds)
                cpu_ms.append((server.cpu_seconds() - cpu) / times * 1e3)
        bound = 20 if pods <= 10_000 else 100
        note = f"rounds: {', '.join(f'{value:.0f}' for value in cpu_ms)} ms; {median(walls) * 1e3:.0f} ms of time"
        figures.append(
            Figure(f"list of {pods:,} pods: server CPU", round(median(cpu_ms), 1), "ms", at_most(bound), note)
        )
        growth_mib = median(growths) / MIB
        what = f"list of {pods:,} pods: growth of resident memory"
        note = f"most {max(growths) / MIB:.1f} MiB"
        figures.append(
            Figure(
                what, round(growth_mib, 2), "MiB", at_most(2) if pods > 10_000 or len(sizes.lists) < 2 else None, note
            )
        )
    return figures


async def measure_creates(server: ServerProcess, sizes: Sizes) -> list[Figure]:
    batched, single = [], []
    for number in range(sizes.rounds):
        batched.append(await load.create_in_batches(server, f"batch-{number}", sizes.seconds))
        single.append(await load.create_one_by_one(server, f"single-{number}", sizes.seconds))
    return [
        Figure(
            f"create: {what}: server CPU",
            round(median(one.cpu_us for one in runs), 1),
            "us",
            at_most(bound),
            f"{median(one.rate for one in runs):,.0f}/s, p99 {median(one.p99_ms for one in runs):.1f} ms; rounds: "
            + ", ".join(f"{one.cpu_us:.0f}" for one in runs),
        )
        for what, runs, bound in (("batches on streams", batched, 80), ("one by one, unary", single, 500))
    ]


PODS_PER_ROUND = 2560


async def _write_batches(server: ServerProcess, run: str) -> None:
    """In batches of 256, one after the other."""
    await load.fill(server, run, 0, PODS_PER_ROUND)


async def measure_fan_out(server: ServerProcess, sizes: Sizes) -> list[Figure]:
    """The writes count, too: an event delivered costs what a watched write costs, shared by its watchers."""
    costs, extra = [], []
    async with AsyncExitStack() as stack:
        watchers = []
        for _ in range(sizes.watchers):
            watcher = load.Watcher(await stack.enter_async_context(load.channel_to(server)))
            stack.push_async_callback(watcher.close)
            watchers.append(watcher)
        cpu = server.cpu_seconds()
        for number in range(sizes.rounds):
            await _write_batches(server, f"unwatched-{number}")
        unwatched_us = (server.cpu_seconds() - cpu) / (sizes.rounds * PODS_PER_ROUND) * 1e6
        for watcher in watchers:
            await watcher.start([pb.Selection(resource="pods")])
        for number in range(sizes.rounds):
            cpu = server.cpu_seconds()
            await _write_batches(server, f"watched-{number}")
            for watcher in watchers:
                await watcher.until_events((number + 1) * PODS_PER_ROUND)
            cost_us = (server.cpu_seconds() - cpu) / (PODS_PER_ROUND * sizes.watchers) * 1e6
            costs.append(cost_us)
            extra.append(cost_us - unwatched_us / sizes.watchers)
        dropped = sum(bool(watcher.ended) for watcher in watchers)
        short = sum(watcher.events != sizes.rounds * PODS_PER_ROUND for watcher in watchers)
    what = f"fan-out to {sizes.watchers} watchers"
    note = f"{median(extra):.2f} us without the writes; rounds: {', '.join(f'{value:.2f}' for value in costs)}"
    return [
        Figure(f"{what}: server CPU an event delivered", round(median(costs), 2), "us", at_most(2), note),
        Figure(f"{what}: watchers dropped, or with events missing", dropped + short, "", at_most(0)),
    ]


async def _beside_a_storm(server: ServerProcess, user: str, sizes: Sizes) -> tuple[float, float, int]:
    """p99 of a write in quiet and beside a storm of `user`, in turns, in ms; and how many lists the storm read."""
    quiet, stormy, read = [], [], 0
    async with load.storm(server, user, STORM_LISTS) as blow:
        for number in range(sizes.rounds):
            run = f"storm-{user.replace(':', '-')}-{number}"
            measured = await load.create_one_by_one(
                server, f"{run}-quiet", sizes.seconds, writers=STORM_WRITERS, user="writer"
            )
            quiet.append(measured.p99_ms)
            await blow("go")
            measured = await load.create_one_by_one(
                server, f"{run}-stormy", sizes.seconds, writers=STORM_WRITERS, user="writer"
            )
            stormy.append(measured.p99_ms)
            read = await blow("stop")
    return median(quiet), median(stormy), read


async def measure_storm(server: ServerProcess, sizes: Sizes) -> list[Figure]:
    """Both clients are in one priority level. The same storm by a user whose requests are exempt from flow control."""
    await load.fill(server, "listed", 0, sizes.storm_pods)
    quiet, stormy, read = await _beside_a_storm(server, "storm", sizes)
    free_quiet, free_stormy, free_read = await _beside_a_storm(server, "system:masters", sizes)
    note = (
        f"{quiet:.1f} ms quiet, {stormy:.1f} ms beside {read} lists; without flow control "
        f"{free_stormy / free_quiet:.1f}x, {free_stormy:.1f} ms beside {free_read} lists"
    )
    what = f"a write beside {STORM_LISTS} lists at once of {sizes.storm_pods:,} pods, p99"
    return [Figure(f"{what}: against quiet", round(stormy / quiet, 2), "x", at_most(2), note)]


@asynccontextmanager
async def _kubelets(server: ServerProcess, sizes: Sizes, per_stream: int) -> AsyncIterator[list[load.Watcher]]:
    """Watches by node name: `node-STREAM-NUMBER`."""
    async with AsyncExitStack() as stack:
        watchers = []
        for stream in range(sizes.streams):
            watcher = load.Watcher(await stack.enter_async_context(load.channel_to(server)))
            stack.push_async_callback(watcher.close)
            watchers.append(watcher)
            selections = [
                pb.Selection(resource="pods", field_selector=f"spec.nodeName=node-{stream}-{number}")
                for number in range(per_stream)
            ]
            await watcher.start(selections)
        yield watchers


async def _events_to_one(
    server: ServerProcess, run: str, watchers: list[load.Watcher], sizes: Sizes, per_stream: int
) -> tuple[list[float], list[float], float]:
    """Bind pods to nodes, one by one: (from the bind to the event, from the bind to its answer, CPU us a bind)."""
    delays, answers = [], []
    async with load.channel_to(server) as channel:
        write = channel.unary_unary("/ursa.v1.Partition/Write")
        names = [f"{run}-{number:08d}" for number in range(sizes.events)]
        created = [load.results_of(await write(load.creates([name])))[0] for name in names]
        cpu = server.cpu_seconds()
        for number, (name, pod) in enumerate(zip(names, created, strict=True)):
            stream = number % len(watchers)
            request = load.bind(name, pod.uid, f"node-{stream}-{number * 7 % per_stream}")
            asked = time.perf_counter()
            load.check(await write(request))
            answers.append(time.perf_counter() - asked)
            watcher = watchers[stream]
            await watcher.until(partial(watcher.arrivals.__contains__, name))
            delays.append(watcher.arrivals[name] - asked)
            await asyncio.sleep(EVENT_PAUSE_SECONDS)
        return delays, answers, (server.cpu_seconds() - cpu) / sizes.events * 1e6


async def _empty_calls(server: ServerProcess, sizes: Sizes) -> list[float]:
    """What an answer takes that costs the server nothing, after the same pauses: the floor under an event."""
    delays = []
    async with load.channel_to(server) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        for _ in range(sizes.events):
            asked = time.perf_counter()
            await check(b"")
            delays.append(time.perf_counter() - asked)
            await asyncio.sleep(EVENT_PAUSE_SECONDS)
    return delays


async def measure_kubelets(server: ServerProcess, sizes: Sizes) -> list[Figure]:
    few_per_stream = max(1, sizes.watches_per_stream // 10)
    async with _kubelets(server, sizes, few_per_stream) as watchers:
        _, _, few_us = await _events_to_one(server, "few", watchers, sizes, few_per_stream)
    before = load.resident_bytes(server)
    async with _kubelets(server, sizes, sizes.watches_per_stream) as watchers:
        watches = sizes.streams * sizes.watches_per_stream
        each = (load.resident_bytes(server) - before) / watches
        delays, answers, many_us = await _events_to_one(server, "many", watchers, sizes, sizes.watches_per_stream)
        empty = await _empty_calls(server, sizes)
    what = f"{watches:,} watches by node name on {sizes.streams} streams"
    durable = f"the write, sent to durable and answered: p99 {p99(answers) * 1e3:.1f} ms"
    floor = f"an empty call, sent to answered: p50 {median(empty) * 1e3:.2f}, p99 {p99(empty) * 1e3:.1f} ms"
    return [
        Figure(f"{what}: memory of each", round(each), "bytes", at_most(1024)),
        Figure(
            f"{what}: an event to one, from its write to its arrival, p99",
            round(p99(delays) * 1e3, 2),
            "ms",
            at_most(5),
            f"p50 {median(delays) * 1e3:.2f} ms; {durable}; {floor}",
        ),
        Figure(
            f"{what}: CPU of a write and its event, beside a tenth of the watches",
            round(many_us / few_us, 2),
            "x",
            at_most(1.2),
            f"{many_us:.0f} us, {few_us:.0f} us",
        ),
    ]


async def measure(directory: Path, sizes: Sizes) -> list[Figure]:
    figures: list[Figure] = []
    for name, part in (
        ("lists", measure_lists),
        ("creates", measure_creates),
        ("fan-out", measure_fan_out),
        ("storm", measure_storm),
        ("kubelets", measure_kubelets),
    ):
        print(f"measuring {name}", flush=True)
        async with running_apiserver(directory / name, directory / f"{name}.log") as server:
            figures += await part(server, sizes)
    return figures


def _machine(load_at_start: tuple[float, float, float]) -> Figure:
    loads = [" ".join(f"{value:.1f}" for value in one) for one in (load_at_start, os.getloadavg())]
    note = (
        f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}; "
        f"load average at the start {loads[0]}, at the end {loads[1]}"
    )
    return Figure("machine", os.cpu_count() or 0, "cores", note=note)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the apiserver.")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, measures nothing")
    parser.add_argument("--directory", type=Path, help="where the data goes while it runs (default: the temporary one)")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    load_at_start = os.getloadavg()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="ursa-bench-apiserver-", dir=arguments.directory) as name:
        figures = asyncio.run(measure(Path(name), sizes))
    figures.append(_machine(load_at_start))
    print_figures("The apiserver", figures)
    print(f"figures: {save_figures('apiserver-quick' if arguments.quick else 'apiserver', figures)}")
    return 4 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
