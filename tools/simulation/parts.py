"""The clients of a run: schedulers, controllers, kubelets, users. Each can die and start again, as often as it must."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from random import Random
from typing import Protocol

import trio

from ...clients.actor import Actor, Clock
from ...clients.client import ClientSet, open_clients
from ...clients.nurseries import open_background
from ...clients.registry import RegistryFollower
from ...clients.transport.interface import Transport
from ..components import Component
from ..makers import Make


class SimulatedClock(Clock):
    """The wall clock of one part, which may be wrong."""

    def __init__(self, offset_seconds: float) -> None:
        super().__init__(offset_seconds)

    def jump(self, seconds: float) -> None:
        object.__setattr__(self, "offset_seconds", self.offset_seconds + seconds)


class Surroundings(Protocol):
    """What a component needs of the run it is part of."""

    def random(self, name: str) -> Random: ...
    def clock(self, part: str) -> Clock: ...
    def transports(self, component: str, life: str) -> tuple[Mapping[str, Transport], Mapping[str, Transport]]: ...
    def part_down(self, name: str) -> None: ...
    def part_failed(self, name: str, error: str) -> None: ...
    def follower(self, name: str, life: str, clients: ClientSet, actor: Actor) -> RegistryFollower | None: ...


class SimulatedPart:
    """`component` is there while it lives. A component that ends by itself, or fails, has broken a promise."""

    def __init__(self, name: str, make: Make, surroundings: Surroundings) -> None:
        self.name = name
        self.life = 0
        self.component: Component | None = None
        self._make = make
        self._surroundings = surroundings
        self._scope = trio.CancelScope()
        self._may_live = trio.Event()
        self._may_live.set()
        self._lost = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._may_live.wait()
            self._scope = trio.CancelScope()
            try:
                with self._scope:
                    await self._live()
            except Exception as error:  # noqa: BLE001 - whatever it is, the run must tell of it
                self._surroundings.part_failed(self.name, _told(error))
                self._may_live = trio.Event()
            self._surroundings.part_down(self.name)
            self.component = None

    def die(self) -> None:
        """At once; it stays dead until `revive`. What is dead already goes on waiting for that."""
        if not self._may_live.is_set():
            return
        self._may_live = trio.Event()
        self._surroundings.part_down(self.name)  # Before it is cancelled: it has no chance to say good-bye.
        self._scope.cancel()

    def revive(self) -> None:
        if not self._lost:
            self._may_live.set()

    def lose(self) -> None:
        """It dies for good."""
        self._lost = True
        self.die()

    async def _live(self) -> None:
        self.life += 1
        life = f"{self.name}#{self.life}"
        actor = Actor(life, self._surroundings.clock(self.name), self._surroundings.random(life))
        tenant_transports, resource_transports = self._surroundings.transports(self.name, life)
        async with open_clients(tenant_transports, resource_transports, actor) as clients:
            self.component = self._make(clients, actor)
            follower = self._surroundings.follower(self.name, life, clients, actor)
            async with open_background() as nursery:
                if follower is not None:
                    nursery.start_soon(follower.run)
                await self.component.run()
        raise RuntimeError("it has ended, which nobody had asked for")


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
