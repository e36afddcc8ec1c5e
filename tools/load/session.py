"""What every load test does around its load: watch the pods, sample the processes, show progress.

The tool is one of the processes it measures: its own CPU and memory stand in the report beside the others', under the
name of its command.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import psutil
import trio

from ...clients.nurseries import open_background, run_all
from ..report.observations import UsageSample
from .follow import Follower
from .observer import PodObserver
from .survey import PODS

if TYPE_CHECKING:
    from ..cluster import Cluster

SAMPLE_SECONDS = 1.0


class Session:
    """One run against one cluster. Use `open_session`."""

    def __init__(self, cluster: Cluster, tool: str) -> None:
        self.cluster = cluster
        self.clients = cluster.clients
        self.samples: list[UsageSample] = []
        self._tool = tool
        # With processes=False the tool's own process is the cluster's, and is counted once.
        self._is_separate = all(each.pid != os.getpid() for each in cluster.processes.values())
        self._process = psutil.Process()
        first = next(iter(self.clients.tenant_clients.values()))
        self.now_ms = first.actor.clock.now_ms
        self.observer = PodObserver(self.now_ms)

    def sample(self) -> UsageSample:
        """Ask every process now, and keep the answer."""
        usage = self.cluster.usage()
        cpu_seconds = {name: used.cpu_seconds for name, used in usage.items()}
        resident_bytes = {name: used.resident_bytes_max for name, used in usage.items()}
        if self._is_separate:
            cpu_seconds[self._tool] = time.process_time()
            resident_bytes[self._tool] = self._process.memory_info().rss
        sample = UsageSample(self.now_ms(), cpu_seconds, resident_bytes)
        self.samples.append(sample)
        return sample

    async def measure_idle(self, seconds: float) -> float:
        """CPU seconds a second that all processes together use while nothing is asked of them."""
        before = self.sample()
        await trio.sleep(seconds)
        after = self.sample()
        used = sum(after.cpu_seconds.values()) - sum(before.cpu_seconds.values())
        return used / ((after.at_ms - before.at_ms) / 1000)

    async def create_tenants(self, homes: Iterable[tuple[str, str]]) -> None:
        """Each (tenant, tenant partition), with its namespace "default"."""
        await run_all([partial(self.cluster.create_tenant, tenant, partition) for tenant, partition in homes])

    async def _sample_forever(self) -> None:
        while True:
            self.sample()
            await trio.sleep(SAMPLE_SECONDS)


@asynccontextmanager
async def open_session(cluster: Cluster, tool: str) -> AsyncIterator[Session]:
    """A session that sees all pods, from those there are now on, and samples usage until the block ends."""
    session = Session(cluster, tool)
    observer = session.observer
    followers = [
        Follower(tenant_client, PODS, observer.on_events, on_restart=observer.restart)
        for tenant_client in session.clients.tenant_clients.values()
    ]
    async with open_background() as nursery:
        for follower in followers:
            nursery.start_soon(follower.run)
        for follower in followers:
            await follower.wait_synced()
        nursery.start_soon(session._sample_forever)  # noqa: SLF001
        yield session
