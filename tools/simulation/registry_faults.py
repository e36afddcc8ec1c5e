"""Faults of whole partitions: one is drained for a while, or lost for good and taken out of the registry.

Whoever operates the cluster has links of his own, and tries until somebody takes what he says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from ...clients.actor import Actor
from ...clients.client import ClientSet, open_clients
from ...clients.registry_core import ACTIVE, DRAINING, REMOVED
from ...clients.transport.memory import MemoryTransport
from ...proto.errors import UrsaError
from ...proto.kinds import Role
from ..bootstrap import read_registry, write_entries
from .plan import Fault

if TYPE_CHECKING:
    from .world import World

RETRY_SECONDS = 1.0


async def drain(world: World, fault: Fault, reason: str) -> None:
    """Nothing new is placed there, until it is over."""
    if fault.target in world.lost:
        return
    world.drained[fault.target] = None
    await _operate(world, reason, lambda clients: _say(clients, fault.target, DRAINING))
    await trio.sleep(fault.seconds)
    await undrain(world, fault.target)


async def undrain(world: World, partition: str) -> None:
    if partition in world.drained and partition not in world.lost:
        await _operate(world, f"undrain {partition}", lambda clients: _say(clients, partition, ACTIVE))
    world.drained.pop(partition, None)


async def remove(world: World, fault: Fault, reason: str) -> None:
    """It dies with all that is at home there, and after a while its operator believes it."""
    if fault.target in world.lost:
        return
    world.lose(fault.target)
    await trio.sleep(fault.seconds)
    await declare_removed(world, fault.target, reason)


async def declare_removed(world: World, partition: str, reason: str) -> None:
    await _operate(world, reason, lambda clients: _say(clients, partition, REMOVED))
    world.lost[partition] = True


async def _say(clients: ClientSet, partition: str, state: str) -> None:
    """Raises UrsaError: nobody knows of it, or takes it."""
    entry = (await read_registry(clients)).entries.get(partition)
    if entry is None:
        raise UrsaError(f"no registry has an entry for {partition}")
    if entry.state not in (state, REMOVED):
        await write_entries(clients, [entry.changed(state=state)])


async def _operate(world: World, reason: str, act: Callable[[ClientSet], Awaitable[object]]) -> None:
    name = f"operator/{reason}"
    while True:
        actor = Actor(name, world.clock(name), world.random(f"{name} at {trio.current_time()}"))
        transports: dict[Role, dict[str, MemoryTransport]] = {role: {} for role in Role}
        for partition in world.partitions.values():
            if partition.server is not None:
                random = world.random(f"{name}->{partition.name} at {trio.current_time()}")
                transports[partition.role][partition.name] = MemoryTransport(
                    partition.name, partition.server, random=random, user=name
                )
        recorded = {
            role: {each: world.recorder.wrap(link, name) for each, link in links.items()}
            for role, links in transports.items()
        }
        try:
            async with open_clients(recorded[Role.TENANT], recorded[Role.RESOURCE], actor) as clients:
                await act(clients)
            return
        except UrsaError as error:
            world.happened("operator", f"{reason}: {error}")
        await trio.sleep(RETRY_SECONDS)
