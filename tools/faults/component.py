"""A component's side of the faults: its links are as the file says, from its start on and whenever it is told."""

from __future__ import annotations

from pathlib import Path

from ...clients.transport.grpc import GrpcBridge
from .file import read_faults
from .rules import conditions_of


class ComponentFaults:
    """Of the component `name`, whose links are those of one bridge."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        self._bridge: GrpcBridge | None = None

    async def attach(self, bridge: GrpcBridge) -> None:
        """Before it has links. Raises InputError: the file is none."""
        self._bridge = bridge
        await self.heed()

    async def heed(self) -> None:
        """Read the file again. Returns when the links are as it says. Raises InputError: it is none."""
        if self._bridge is not None:
            await self._bridge.set_conditions(conditions_of(self._name, read_faults(self._path)))
