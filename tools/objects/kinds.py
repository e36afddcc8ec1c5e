"""The kinds a command may be about: those built in, those that manifests define, and those that partitions serve."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from ...clients.client_set import ClientSet
from ...clients.kinds import DEFINITIONS, custom_kinds
from ...proto.custom_kinds import DEFINITION, kind_of_spec
from ...proto.errors import BadRequest, InputError, NotFound
from ...proto.kinds import BOTH, RESOURCE_ONLY, TENANT_ONLY, Kind, KindTable
from .directory import ask_all


async def learn_kinds(clients: ClientSet) -> list[Kind]:
    """The custom kinds of all partitions that answer, each with the roles of partition that serve it."""
    found: dict[str, Kind] = {}
    for served_by, roles in ((clients.tenant_clients, TENANT_ONLY), (clients.resource_clients, RESOURCE_ONLY)):
        answers, _ = await ask_all(served_by, lambda client: client.list(DEFINITIONS))
        for listed in answers.values():
            definitions = {each.name: each for each in listed.items}
            for kind in custom_kinds(definitions.values(), roles):
                known = found.get(kind.resource)
                if known is None:
                    found[kind.resource] = kind
                elif known.roles != roles:
                    [found[kind.resource]] = custom_kinds([definitions[kind.resource]], BOTH)
    return list(found.values())


class KnownKinds:
    """Partitions are asked once, and only for a kind that is not known without."""

    def __init__(self, learn: Callable[[], list[Kind]] | None = None, custom: Iterable[Kind] = ()) -> None:
        """`learn` None: no partition is asked. `custom`: those known already."""
        self._learn = learn
        self._table = KindTable(custom)

    def define(self, document: Mapping[str, Any]) -> None:
        """A manifest defines a kind, which others behind it may be of. One that makes no sense defines nothing here:
        the partition will say why."""
        if document.get("kind") == DEFINITION.kind and document.get("apiVersion") == DEFINITION.api_version:
            with suppress(LookupError, StopIteration, TypeError, AttributeError):
                self._table.put(kind_of_spec(document["spec"], TENANT_ONLY))

    def named(self, name: str) -> Kind:
        """Raises NotFound: no such kind."""
        try:
            return self._table.named(name)
        except NotFound:
            self._ask()
            return self._table.named(name)

    def of(self, api_version: str, kind: str) -> Kind:
        """Raises BadRequest: no such kind, or another version of it."""
        try:
            return self._table.of(api_version, kind)
        except BadRequest:
            self._ask()
            return self._table.of(api_version, kind)

    def _ask(self) -> None:
        learn, self._learn = self._learn, None
        if learn is not None:
            with suppress(InputError):  # No cluster runs; that is said when it is needed.
                for kind in learn():
                    self._table.put(kind)
