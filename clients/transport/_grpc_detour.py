"""How the channels of a process come to lead through relays, partition by partition, while they are in use.

Normally a channel connects to its partition, and nothing here costs anything. A partition whose link is first to be
disturbed gets a relay, and its channels connect once more, through that: their streams end, as they do with any link
that is lost, and watches are opened again. Only when they are is the link disturbed. From then on its channels stay
with the relay, so what follows meets connections that exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from ._relay import Relay
from .conditions import CLEAR, Conditions

# Watches are opened again within a fraction of a second; with a partition that is down there is nothing to wait for.
SETTLE_SECONDS_MAX = 3.0


class Wire(Protocol):
    """What is led around."""

    partition: str
    address: str

    async def redial(self, seconds_max: float) -> None:
        """Connect again, to where `Detours.address_of` says, and wait until watches that were open have come back."""


class Detours:
    """Of one process. All methods run on the asyncio thread."""

    def __init__(self) -> None:
        self._conditions: dict[str, Conditions] = {}  # Of the partitions that are led to through relays.
        self._relays: dict[tuple[str, str], Relay] = {}  # By partition and its address.
        self._wires: dict[Wire, None] = {}
        self._changing = asyncio.Lock()

    def address_of(self, wire: Wire) -> str:
        """Where its channel is to connect to. It is told when that changes, until `forget`."""
        self._wires[wire] = None
        if wire.partition not in self._conditions or not wire.address.rpartition(":")[2].isdecimal():
            return wire.address
        return self._relay(wire.partition, wire.address).address

    def forget(self, wire: Wire) -> None:
        self._wires.pop(wire, None)

    async def set_conditions(self, conditions: Mapping[str, Conditions]) -> None:
        """By partition; a partition that is not among them has none. Returns when it is so."""
        async with self._changing:
            new = [name for name in conditions if name not in self._conditions]
            self._conditions |= dict.fromkeys(new, CLEAR)
            concerned = [wire for wire in self._wires if wire.partition in new]
            await asyncio.gather(*(wire.redial(SETTLE_SECONDS_MAX) for wire in concerned))
            self._conditions = {name: conditions.get(name, CLEAR) for name in self._conditions}
            for (name, _), relay in self._relays.items():
                relay.set_conditions(self._conditions[name])

    async def close(self) -> None:
        while self._relays:
            await self._relays.popitem()[1].close()

    def _relay(self, partition: str, address: str) -> Relay:
        relay = self._relays.get((partition, address))
        if relay is None:
            host, _, port = address.rpartition(":")
            relay = Relay(host.strip("[]"), int(port), self._conditions[partition])
            self._relays[partition, address] = relay
        return relay
