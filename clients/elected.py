"""A component of which several replicas are started, and one works.

A replica that leads makes the component anew, and lets go of it with its term: what it had seen, expected and assumed
belongs to that term, and is worked out again from what the partitions say. Its links are there already; what a takeover
costs beyond the election is the first view of each informer. All that the component writes is fenced with the term
(fencing.py), without its knowing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from .actor import Actor
from .client_set import ClientSet
from .fencing import fenced_clients
from .leader_election import LeaderElection
from .leader_election_core import ElectionOptions


class Works(Protocol):
    async def run(self) -> None: ...
    def ready(self) -> Mapping[str, bool]: ...


class Elected:
    """One replica of the component that `make` makes.

    Args:
        home: the partition in which its leader is elected.
        name: of the component, the same for all its replicas; the Lease has it.

    Raises:
        NotFound: there is no client of `home`.
    """

    def __init__(
        self,
        make: Callable[[ClientSet, Actor], Works],
        clients: ClientSet,
        home: str,
        name: str,
        actor: Actor,
        options: ElectionOptions = ElectionOptions(),  # noqa: B008  # immutable
    ) -> None:
        self.election = LeaderElection(clients.for_partition(home), name, actor, options)
        self.component: Works | None = None  # While this replica leads.
        self._make = make
        self._clients = fenced_clients(clients, self.election, home)
        self._actor = actor

    async def run(self) -> None:
        """Until cancelled."""
        await self.election.run(self._lead)

    def ready(self) -> dict[str, bool]:
        """A standby is as ready as a leader, once it has seen that there is one."""
        if self.component is None:
            return {"standby": bool(self.election.seen)}
        return {"leader": True, **self.component.ready()}

    async def _lead(self) -> None:
        self.component = self._make(self._clients, self._actor)
        try:
            await self.component.run()
        finally:
            self.component = None
