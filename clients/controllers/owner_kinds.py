"""The kinds that may own and be owned in a partition: those built in, and custom ones as definitions come and go."""

from __future__ import annotations

from collections.abc import Callable

import trio

from ...proto.custom_kinds import is_established, kind_of_definition
from ...proto.errors import BadRequest
from ...proto.kinds import BY_KIND, KINDS, Kind, KindTable, Role
from ..client import PartitionClient
from ..informer import Event, EventType, Informer

# Many, worth little, and gone within the hour: as in Kubernetes, nobody owns them and they own nobody.
IGNORED = (BY_KIND["Event"].resource,)


def owned_resources(role: Role) -> list[str]:
    return [kind.resource for kind in KINDS if role in kind.roles and kind.resource not in IGNORED]


class OwnerKinds:
    """Finds the kind of a reference. `definitions` is the informer of definitions; `changed` is told of each change."""

    def __init__(self, role: Role, definitions: Informer, changed: Callable[[str, Kind | None], None]) -> None:
        self._role = role
        self._table = KindTable()
        self._found: dict[tuple[str, str], Kind | None] = {}
        self._defined: dict[str, Kind] = {}  # By the name of its definition, which is its resource.
        self._changed = changed
        definitions.add_handler(self._definition_event)

    def __call__(self, api_version: str, kind: str) -> Kind | None:
        """None: no partition serves such a kind, or only as a custom kind of the other role."""
        asked = (api_version, kind)
        try:
            return self._found[asked]
        except KeyError:
            found = self._found[asked] = self._look_up(api_version, kind)
            return found

    def _look_up(self, api_version: str, kind: str) -> Kind | None:
        try:
            return self._table.of(api_version, kind)
        except BadRequest:
            return None

    def _definition_event(self, event: Event) -> None:
        definition = event.object
        served = event.type is not EventType.DELETED and is_established(definition.message)
        kind = kind_of_definition(definition.message, (self._role,)) if served else None
        known = self._defined.get(definition.name)
        if _is_same(kind, known):
            return
        if kind is None:
            del self._defined[definition.name]
            self._table.discard(definition.name)
        else:
            self._defined[definition.name] = kind
            self._table.put(kind)
        self._found.clear()
        self._changed(definition.name, kind)


def _is_same(kind: Kind | None, known: Kind | None) -> bool:
    """As far as owners are concerned."""
    if kind is None or known is None:
        return kind is known
    return (kind.api_version, kind.kind, kind.scope) == (known.api_version, known.kind, known.scope)


class CustomInformers:
    """The informers of custom kinds, each run for as long as its kind is served. They know only metadata."""

    def __init__(
        self, client: PartitionClient, started: Callable[[Informer], None], stopped: Callable[[Informer], None]
    ) -> None:
        self.running: dict[str, Informer] = {}
        self._client = client
        self._started, self._stopped = started, stopped
        self._scopes: dict[str, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None

    def kind_changed(self, resource: str, kind: Kind | None) -> None:
        informer = self.running.pop(resource, None)
        if informer is not None:
            scope = self._scopes.pop(resource, None)
            if scope is not None:
                scope.cancel()
            self._stopped(informer)
        if kind is not None:
            self.running[resource] = informer = Informer(self._client, resource, metadata_only=True)
            self._started(informer)
            self._start(informer)

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as self._nursery:
            for informer in self.running.values():
                self._start(informer)
            await trio.sleep_forever()

    def _start(self, informer: Informer) -> None:
        if self._nursery is not None:
            scope = self._scopes[informer.resource] = trio.CancelScope()
            self._nursery.start_soon(_run_within, scope, informer)


async def _run_within(scope: trio.CancelScope, informer: Informer) -> None:
    with scope:
        await informer.run()
