"""Carries out the faults of a plan: each begins at its time, is over after its time, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ...clients.actor import Actor
from ...clients.administration import Administration
from ...clients.client import open_clients
from ...clients.transport.memory import MemoryTransport
from ...proto.errors import UrsaError
from ...storage.snapshot import restore
from ..nodes import deregister
from . import registry_faults
from .links import KEEPALIVE_SECONDS, SimulatedLink
from .plan import Fault

if TYPE_CHECKING:
    from .world import World

# Rooms and files take names by the number of the fault in its plan.
_Carry = Callable[["World", Fault, str], Awaitable[None]]  # The last is a reason of its own, for links.


async def carry_out(world: World, fault: Fault, number: int) -> None:
    """From its time to its end."""
    if fault.kind == "restore":
        await _restore(world, fault, number)
        return
    await trio.sleep_until(world.began + fault.at)
    world.happened(fault.kind, f"{fault.target} {fault.other} {fault.amount:g}".strip())
    await _CARRY[fault.kind](world, fault, f"{fault.kind} {number}")
    world.happened(fault.kind, f"{fault.target} {fault.other} is over".replace("  ", " "))


async def _crash(world: World, fault: Fault, _: str) -> None:
    part = world.part(fault.target)
    part.die()
    await trio.sleep(fault.seconds)
    part.revive()


async def _crash_at(world: World, fault: Fault, _: str) -> None:
    partition = world.partitions[fault.target]
    partition.die_at(fault.other)
    await trio.sleep(fault.seconds)
    partition.die_at("")
    partition.revive()


async def _cut(world: World, fault: Fault, reason: str) -> None:
    await _on_links(world, fault, lambda link: link.cut(reason), lambda link: link.mend(reason))


def _silence(*, requests: bool, replies: bool) -> _Carry:
    async def carry(world: World, fault: Fault, reason: str) -> None:
        def begin(link: SimulatedLink) -> None:
            link.silence(reason, requests=requests, replies=replies)

        await _on_links(world, fault, begin, lambda link: link.speak(reason))

    return carry


async def _pause(world: World, fault: Fault, reason: str) -> None:
    await _silence(requests=True, replies=True)(world, fault._replace(other="*"), reason)


async def _sleep(world: World, fault: Fault, reason: str) -> None:
    """Its keepalive sleeps, too, so it loses no link by itself."""
    with world.on_new_link(fault.target, "*", lambda link: link.silence(reason, requests=True, replies=True)) as links:
        await trio.sleep(fault.seconds)
    for link in links:
        link.speak(reason)


async def _on_links(
    world: World, fault: Fault, begin: Callable[[SimulatedLink], None], end: Callable[[SimulatedLink], None]
) -> None:
    """The links there are, and those that are made while it lasts."""
    until = trio.current_time() + fault.seconds
    with world.on_new_link(fault.target, fault.other or "*", begin) as links:
        while (left := until - trio.current_time()) > 0:
            await trio.sleep(min(left, KEEPALIVE_SECONDS))
            for link in list(links):
                if link.silent:
                    link.transport.drop()
    for link in links:
        end(link)


async def _delay(world: World, fault: Fault, _: str) -> None:
    low = world.knobs.latency_seconds[0]

    def slow(link: SimulatedLink) -> None:
        link.transport.latency_seconds = (low, max(low, fault.amount))

    def fast(link: SimulatedLink) -> None:
        link.transport.latency_seconds = world.knobs.latency_seconds

    await _on_links(world, fault, slow, fast)


async def _freeze(world: World, fault: Fault, _: str) -> None:
    """Reads of a component are answered by an apiserver that stands still, until it is moved back."""
    partition = world.partitions[fault.other or fault.target]
    frozen = partition.frozen()
    if frozen is None:
        return
    life = partition.life

    def lead(link: SimulatedLink) -> None:
        if partition.life == life and partition.server is not None:
            link.lead_to(frozen)
            link.frozen = True

    with world.on_new_link(fault.target, fault.other or "*", lead) as links:
        await trio.sleep(fault.seconds)
    world.thaw(partition, links)


async def _slow_disk(world: World, fault: Fault, _: str) -> None:
    partition = world.partitions[fault.target]
    low = world.knobs.disk_seconds[0]
    partition.take_disk_seconds((low, max(low, fault.amount)))
    await trio.sleep(fault.seconds)
    partition.take_disk_seconds(world.knobs.disk_seconds)


async def _full(world: World, fault: Fault, _: str) -> None:
    """A quota is set when a store is opened, so this takes a restart at either end."""
    partition = world.partitions[fault.target]
    usual = partition.quota_bytes
    if partition.stores is not None:
        partition.quota_bytes = partition.stores.main.status().bytes + int(fault.amount)
    await _again(partition.die, partition.revive)
    await trio.sleep(fault.seconds)
    partition.quota_bytes = usual
    await _again(partition.die, partition.revive)


async def _again(die: Callable[[], None], revive: Callable[[], None]) -> None:
    die()
    await trio.sleep(0.1)
    revive()


async def _compact(world: World, fault: Fault, _: str) -> None:
    partition = world.partitions[fault.target]
    if partition.stores is None:
        return
    store = partition.stores.main
    if store.head > store.compacted:
        store.compact(store.head)


async def _restore(world: World, fault: Fault, number: int) -> None:
    """A snapshot is taken `amount` seconds before, as an operator's backup does, if the partition lives then."""
    partition = world.partitions[fault.target]
    await trio.sleep_until(world.began + max(0.0, fault.at - fault.amount))
    snapshots = [world.folder / f"restore-{number}-{name}" for name in ("main", "events")]
    try:
        await _snapshot(world, fault.target, snapshots)
    except UrsaError as error:
        world.happened("restore", f"{fault.target}: no snapshot could be taken: {error}")
        return
    await trio.sleep_until(world.began + fault.at)
    world.happened("restore", f"{fault.target} is set back by {fault.amount:g} s")
    partition.die()
    await trio.sleep(max(fault.seconds, 0.1))
    folder = world.folder / f"{fault.target}-restored-{number}"
    random = world.random(f"restore {number}")
    for snapshot, path in zip(snapshots, (folder, folder / "events"), strict=True):
        restore(snapshot, path, random)
    partition.folder = folder
    partition.revive()
    world.happened("restore", f"{fault.target} serves again")


async def _snapshot(world: World, partition: str, paths: list[Path]) -> None:
    server = world.partitions[partition].server
    if server is None:
        raise UrsaError("the partition is down")
    transport = MemoryTransport(partition, server, random=world.random(f"snapshot {partition} {trio.current_time()}"))
    try:
        with trio.fail_after(60):
            administration = Administration(transport)
            for store, path in zip(("main", "events"), paths, strict=True):
                await administration.snapshot(path, store=store)
    except trio.TooSlowError:
        raise UrsaError("it took too long") from None
    finally:
        await transport.aclose()


async def _node_off(world: World, fault: Fault, reason: str) -> None:
    """Whoever provides the machine deregisters it, over a link of his own."""
    world.switch_off(fault.target)
    until = trio.current_time() + fault.seconds
    if fault.amount:
        await trio.sleep(min(fault.amount, fault.seconds))
        with trio.move_on_at(until):
            await _deregister(world, fault.target, f"provider/{reason}")
    await trio.sleep_until(until)
    world.switch_on(fault.target)


async def _deregister_running(world: World, fault: Fault, reason: str) -> None:
    """By mistake, or because nobody could reach it: its kubelet registers again as soon as it hears of it."""
    await _deregister(world, fault.target, f"provider/{reason}")


async def _deregister(world: World, node: str, name: str) -> None:
    home = world.home_of_node(node)
    while True:
        server = world.partitions[home].server
        if server is not None:
            transport = world.recorder.wrap(MemoryTransport(home, server, random=world.random(name), user=name), name)
            actor = Actor(name, world.clock(name), world.random(name))
            try:
                async with open_clients({}, {home: transport}, actor) as clients:
                    await deregister(clients.resource_clients[home], [node])
                return
            except UrsaError as error:
                world.happened("node-off", f"{node} could not be deregistered: {error}")
        await trio.sleep(1.0)


async def _half_open(world: World, fault: Fault, _: str) -> None:
    """As where something between the two has forgotten the connection: new ones are not concerned."""
    links = list(world.links.between(*world.ends(fault.target, fault.other or "*")))
    for link in links:
        link.transport.strand()
    try:
        await trio.sleep(KEEPALIVE_SECONDS)
    finally:
        for link in links:
            link.transport.drop(stranded=True)


async def _clock_jump(world: World, fault: Fault, _: str) -> None:
    world.jump_clock(fault.target, fault.amount)


_CARRY: dict[str, _Carry] = {
    "crash": _crash,
    "crash-at": _crash_at,
    "cut": _cut,
    "silence": _silence(requests=True, replies=True),
    "silence-requests": _silence(requests=True, replies=False),
    "silence-replies": _silence(requests=False, replies=True),
    "delay": _delay,
    "freeze": _freeze,
    "pause": _pause,
    "sleep": _sleep,
    "slow-disk": _slow_disk,
    "full": _full,
    "compact": _compact,
    "node-off": _node_off,
    "deregister": _deregister_running,
    "drain": registry_faults.drain,
    "remove": registry_faults.remove,
    "half-open": _half_open,
    "clock-jump": _clock_jump,
}
