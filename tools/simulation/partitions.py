"""A partition that can die at any time: its apiserver, its stores, its disk.

One life after another is led in the same folder. A crash takes the apiserver, what it had in memory, and the commits
that its disk had not finished; the next life reads what is there. A restored partition begins another folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from traceback import format_exception
from typing import Protocol

import trio

from ...partitions.apiserver import ApiServer
from ...partitions.stores import EVENTS_QUOTA_BYTES, QUOTA_BYTES, Stores, open_stores
from ...proto.kinds import EVENTS_STORE, MAIN_STORE, Role
from ...proto.sessions import Service
from ...storage import LmdbStore, failpoints
from ..recording.logs import LogTap, record_log
from ..recording.recorder import Recorder
from .disk import SimulatedCrash, SimulatedDisk
from .frozen import FrozenReads
from .plan import Knobs
from .runtime import SimulatedRuntime

# Address space of a simulated store; each of ten in a run takes a moment to map.
MAP_BYTES = 1 << 30


class Surroundings(Protocol):
    """What a partition needs of the run it is part of."""

    knobs: Knobs

    recorder: Recorder

    def random(self, name: str) -> Random: ...
    def wall_offset_seconds(self, part: str) -> float: ...
    def partition_up(self, partition: SimulatedPartition) -> None: ...
    def partition_down(self, partition: SimulatedPartition) -> None: ...
    def part_failed(self, name: str, error: str) -> None: ...


class SimulatedPartition:
    """`server` is there while it lives. `life` counts from 1."""

    def __init__(self, name: str, role: Role, folder: Path, surroundings: Surroundings) -> None:
        self.name = name
        self.role = role
        self.folder = folder
        self.life = 0
        self.server: ApiServer | None = None
        self.stores: Stores | None = None
        self.quota_bytes = QUOTA_BYTES
        self.disk_seconds = surroundings.knobs.disk_seconds
        self.runtime: SimulatedRuntime | None = None
        # Up to where the log of each store has been recorded, by its incarnation.
        self._recorded: dict[tuple[str, str], int] = {}
        self._surroundings = surroundings
        self._disks: list[SimulatedDisk] = []
        self._scope = trio.CancelScope()
        self._may_live = trio.Event()
        self._may_live.set()
        self._crash_at = ""
        self._lost = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._may_live.wait()
            self._scope = trio.CancelScope()
            try:
                with self._scope:
                    await self._live()
            except* SimulatedCrash:
                self.die()
            except* Exception as failed:  # noqa: BLE001 - whatever it is, the run must tell of it
                self._may_live = trio.Event()
                self._surroundings.part_failed(self.name, "".join(format_exception(failed)))
                self._surroundings.partition_down(self)
            self._gone()

    def die(self) -> None:
        """At once; it stays dead until `revive`."""
        if self.server is None:
            return
        self._may_live = trio.Event()
        self._surroundings.partition_down(self)
        for disk in self._disks:
            disk.crash()
        if self.runtime is not None:
            self.runtime.stop()
        self._scope.cancel()

    def revive(self) -> None:
        if not self._lost:
            self._may_live.set()

    def lose(self) -> None:
        """It dies for good."""
        self._lost = True
        self._may_live = trio.Event()
        self.die()

    def die_at(self, failpoint: str) -> None:
        """The next time it comes by there."""
        self._crash_at = failpoint

    def frozen(self) -> Service | None:
        """Another apiserver of it, for reads, whose watch caches stay as they are now. None: it is down."""
        if self.server is None or self.stores is None or self.runtime is None:
            return None
        random = self._surroundings.random(f"{self.name}#{self.life} frozen at {trio.current_time()}")
        return FrozenReads(self.server, self.stores, self.runtime, random)

    def heal(self) -> None:
        """It lives, with room and a quick disk; unless it is lost."""
        if self._lost:
            return
        self._crash_at = ""
        self.take_disk_seconds(self._surroundings.knobs.disk_seconds)
        if self.quota_bytes != QUOTA_BYTES:
            self.quota_bytes = QUOTA_BYTES
            self.die()
        self.revive()

    def take_disk_seconds(self, seconds: tuple[float, float]) -> None:
        self.disk_seconds = seconds
        for disk in self._disks:
            disk.seconds = seconds

    # ------------------------------------------------------------------------------------------------------- details

    async def _live(self) -> None:
        self.life += 1
        name = f"{self.name}#{self.life}"
        self.runtime = runtime = SimulatedRuntime(self._surroundings.wall_offset_seconds(self.name))
        random = self._surroundings.random(name)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.run)
            with self._open_stores(runtime, random) as self.stores:
                self.server = ApiServer(
                    self.name,
                    self.role,
                    self.stores.main,
                    runtime,
                    random,
                    events_store=self.stores.events,
                    commits_per_second=self._surroundings.knobs.commits_per_second,
                )
                self._surroundings.partition_up(self)
                await trio.sleep_forever()

    @contextmanager
    def _open_stores(self, runtime: SimulatedRuntime, random: Random) -> Iterator[Stores]:
        def disk() -> SimulatedDisk:
            made = SimulatedDisk(runtime, random, self.disk_seconds, self.die, around=self._at_failpoints)
            self._disks.append(made)
            return made

        with open_stores(
            self.folder,
            disk,
            random,
            quota_bytes=self.quota_bytes,
            events_quota_bytes=EVENTS_QUOTA_BYTES,
            map_bytes=MAP_BYTES,
        ) as stores:
            taps = [self._tapped(MAIN_STORE, stores.main)]
            if stores.events is not None:
                taps.append(self._tapped(EVENTS_STORE, stores.events))
            try:
                yield stores
            finally:
                for tap in taps:
                    tap.close()
                for disk_of_life in self._disks:
                    disk_of_life.crash()
                for store in stores:
                    if store is not None:
                        store.abandon()

    def _tapped(self, name: str, store: LmdbStore) -> LogTap:
        """From here on every commit is recorded, as were those of the lives before; between them are the ones that
        were written when it died, and that nobody was told of."""
        known = self._recorded.get((name, store.incarnation))
        if known is not None and known < store.head:
            recorder = self._surroundings.recorder
            record_log(recorder, self.name, name, store.incarnation, store.log(known), known)
        return LogTap(self._surroundings.recorder, self.name, name, store, self._note_recorded)

    def _note_recorded(self, name: str, incarnation: str, revision: int) -> None:
        self._recorded[name, incarnation] = revision

    def _gone(self) -> None:
        self.server = self.stores = self.runtime = None
        self._disks.clear()

    @contextmanager
    def _at_failpoints(self) -> Iterator[None]:
        """Failpoints are places in the code, which all partitions share: one is live while this one comes by."""
        if not self._crash_at:
            yield
            return
        failpoints.enable(self._crash_at, self._crash_here)
        try:
            yield
        finally:
            failpoints.disable_all()

    def _crash_here(self) -> None:
        self._crash_at = ""
        raise SimulatedCrash
