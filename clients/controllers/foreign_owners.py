"""Asks all partitions of the other role about owners that live there, beside the collector's own work.

A partition that is away is asked until its time is up, and nothing that the collector does at home waits for that: it
notes what it wants to know and looks again when there is an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio

from ...proto.errors import NotFound, UrsaError
from ...proto.kinds import KINDS, Role, Scope
from ...proto.propagation import ORPHAN
from ..actor import Actor
from ..client import ClientSet, PartitionClient
from ..registry_core import REMOVED, RESOURCE_OF, Registry, read_entry
from .foreign_owners_core import Fate, ForeignOwnersCore, fate_of
from .owner_kinds import IGNORED
from .owners import Item, blocks

# How long an answer is acted upon: one round of the collector, with time to spare.
ANSWER_SECONDS = 5.0
# Questions at once, over all partitions.
QUESTIONS_AT_ONCE_MAX = 16
# Dependents elsewhere are looked for in pages of so many.
PAGE_OBJECTS = 512

_OTHER = {Role.TENANT: Role.RESOURCE, Role.RESOURCE: Role.TENANT}
# Kinds whose objects may own what is in partitions of the other role, whatever namespace that is in.
OWNERS_ELSEWHERE = tuple(kind.resource for kind in KINDS if kind.scope is Scope.CLUSTER and len(kind.roles) == 1)


class _Answer(NamedTuple):
    fate: Fate
    at: float


class _Leaving(NamedTuple):
    """An owner at home that waits for its dependents, by this policy."""

    owner: Item
    policy: str


class ForeignOwners:
    """For the collector of the partition `home`, which is of `role`.

    `answered` is told of each owner that was asked about when there is an answer.
    """

    def __init__(
        self, clients: ClientSet, home: str, role: Role, answered: Callable[[Item], None], actor: Actor
    ) -> None:
        self._other = _OTHER[role]
        self._home = clients.for_partition(home)
        self._members = clients.of_role(self._other)
        self._answered = answered
        self._log = actor.log
        self._core = ForeignOwnersCore()
        self._answers: dict[Item, _Answer] = {}
        self._free: dict[_Leaving, float] = {}  # When it was found that nothing elsewhere waits.
        self._wanted: dict[Item | _Leaving, None] = {}
        self._wake = trio.Event()

    def fates(self, owners: Sequence[Item]) -> dict[Item, Fate]:
        """What is known of them now. About the others the partitions are asked."""
        known = {}
        for owner in owners:
            answer = self._answers.get(owner)
            if answer is not None and trio.current_time() - answer.at <= ANSWER_SECONDS:
                known[owner] = answer.fate
            else:
                self._want(owner)
        return known

    def is_free(self, owner: Item, policy: str) -> bool:
        """Whether an owner at home is known to have no dependents elsewhere that it must wait for. If it is not, the
        partitions are asked."""
        if owner.resource not in OWNERS_ELSEWHERE:
            return True
        leaving = _Leaving(owner, policy)
        if trio.current_time() - self._free.get(leaving, -math.inf) <= ANSWER_SECONDS:
            return True
        self._want(leaving)
        return False

    def _want(self, question: Item | _Leaving) -> None:
        self._wanted[question] = None
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            wanted, self._wanted = list(self._wanted), {}
            try:
                partitions = await self._partitions()
                await self._judge([each for each in wanted if isinstance(each, Item)], partitions)
                for each in wanted:
                    if isinstance(each, _Leaving):
                        await self._look_for_dependents(each)
            except UrsaError as error:
                self._log.info("garbage collector: of owners elsewhere nothing is concluded: %s", error)

    async def _partitions(self) -> list[str]:
        """The partitions of the other role, as home and these themselves have it. Raises UrsaError: one is silent."""
        registry = Registry()
        names = dict.fromkeys(self._members)
        for client in (self._home, *self._members.values()):
            for obj in (await client.list(RESOURCE_OF[self._other])).items:
                registry.learn(read_entry(obj))
        for entry in registry.entries.values():
            if entry.role is self._other and entry.state != REMOVED:
                names[entry.name] = None
        return list(names)

    async def _judge(self, owners: Sequence[Item], partitions: Sequence[str]) -> None:
        answers: dict[Item, dict[str, Fate]] = {owner: {} for owner in owners}
        limit = trio.CapacityLimiter(QUESTIONS_AT_ONCE_MAX)

        async def ask(owner: Item, client: PartitionClient) -> None:
            async with limit:
                try:
                    found = await client.get(owner.resource, owner.key)
                    answers[owner][client.partition] = fate_of(owner, found)
                except NotFound:
                    answers[owner][client.partition] = Fate.GONE
                except UrsaError as error:
                    self._log.info("garbage collector: dependents of %s kept: %s", owner, error)

        async with trio.open_nursery() as nursery:
            for owner in owners:
                for client in self._members.values():
                    nursery.start_soon(ask, owner, client)
        now = trio.current_time()
        self._core.tidy(now)
        self._answers = {owner: each for owner, each in self._answers.items() if now - each.at <= ANSWER_SECONDS}
        for owner in owners:
            fate = self._core.judge(owner, answers[owner], partitions, now)
            if fate is not None:
                self._answers[owner] = _Answer(fate, now)
                self._answered(owner)

    async def _look_for_dependents(self, leaving: _Leaving) -> None:
        """It goes through everything, which is for the rare owner that is deleted in the Foreground or with Orphans.

        Raises:
            UrsaError: it cannot be told.
        """
        self._free = {each: at for each, at in self._free.items() if trio.current_time() - at <= ANSWER_SECONDS}
        if any(name not in self._members for name in await self._partitions()):
            return
        for client in list(self._members.values()):
            for kind in await client.kinds():
                watched = self._other in kind.roles and kind.resource not in IGNORED
                if watched and await _holds(client, kind.resource, leaving):
                    return
        self._free[leaving] = trio.current_time()
        self._answered(leaving.owner)


async def _holds(client: PartitionClient, resource: str, leaving: _Leaving) -> bool:
    """Whether there is a dependent in this partition that the owner must wait for."""
    uid, token = leaving.owner.uid, ""
    while True:
        page = await client.list(resource, metadata_only=True, limit=PAGE_OBJECTS, continue_token=token)
        for obj in page.items:
            if leaving.policy == ORPHAN:
                if not obj.deletion_ms and any(each.uid == uid for each in obj.message.metadata.owner_references):
                    return True
            elif blocks(obj, uid):
                return True
        token = page.continue_token
        if not token:
            return False
