"""The kinds that a partition serves, as a client knows them: those built in, and custom ones once asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from ..proto import ursa_pb2 as pb
from ..proto.custom_kinds import DEFINITION, is_established, kind_of_definition
from ..proto.errors import BadRequest
from ..proto.kinds import Kind, KindTable, Role
from ..proto.objects import Object


def custom_kinds(definitions: Iterable[Object], roles: tuple[Role, ...]) -> list[Kind]:
    """The kinds of those definitions that are served."""
    return [kind_of_definition(each.message, roles) for each in definitions if is_established(each.message)]


class Kinds:
    """What one client knows. A kind that it does not know is looked for once more before it is called unknown."""

    def __init__(self, definitions: Callable[[], Awaitable[Iterable[Object]]]) -> None:
        self._definitions = definitions
        self._table = KindTable()

    async def resource_of(self, obj: Object) -> str:
        """The resource an object belongs to: `pods`, `widgets.example.com`.

        Raises:
            BadRequest: the partition serves no such kind.
        """
        message = obj.message
        found = self.known(message)
        if found is None:
            await self.refresh()
        return self._table.of(message.api_version, message.kind).resource

    def known(self, message: pb.Object) -> Kind | None:
        """Without asking anybody."""
        try:
            return self._table.of(message.api_version, message.kind)
        except BadRequest:
            return None

    async def refresh(self) -> KindTable:
        """Ask the partition which custom kinds it serves now."""
        self._table = KindTable(custom_kinds(await self._definitions(), (Role.TENANT, Role.RESOURCE)))
        return self._table


DEFINITIONS = DEFINITION.resource
