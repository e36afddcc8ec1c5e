"""The faults of a cluster, as a program and the command ask for them: `cluster.faults`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from .rules import ALL, CUT, DELAY, FREEZE, Fault, Names, added, healed

Change = Callable[[Sequence[Fault]], list[Fault]]


class Enforcer(Protocol):
    """What makes a runtime's links as the faults say."""

    def names(self) -> Names:
        """Of its parts, as they are now."""

    def in_force(self) -> list[Fault]: ...

    async def change(self, change: Change) -> tuple[list[Fault], list[Fault]]:
        """Have the faults that `change` makes of those in force; returns these and those, when it is so.

        Raises:
            UrsaError: not everywhere; the message says where not, and what becomes of it.
        """


class Faults:
    """Disturbs the links between the parts of a cluster, for as long as it lasts or until they are healed.

    A part is called as in `cluster.processes`; `*` stands for all that there are. Each method returns when it is so.
    `told` is called with a line for each fault that begins or ends.

    All of them raise InputError where there is no such part, or no link between the two.
    """

    def __init__(self, enforcer: Enforcer, told: Callable[[str], None] = lambda _: None) -> None:
        self._enforcer = enforcer
        self._told = told

    @property
    def in_force(self) -> list[Fault]:
        """In the order in which they began."""
        return self._enforcer.in_force()

    async def cut(self, source: str, target: str, *, one_way: bool = False, refuse: bool = False) -> None:
        """Lose what is sent between the two, and tell nobody: a half-open link.

        When it is healed, streams that have lost something fail, and new ones work.

        Args:
            one_way: only what `source` sends.
            refuse: reset connections instead, those that there are and those to come, so that both ends know.
        """
        await self._begin(CUT, source, target, one_way=one_way, refuse=refuse)

    async def delay(self, source: str, target: str, seconds: float, *, one_way: bool = False) -> None:
        """Let what is sent between the two arrive so much later, each way, in its order."""
        await self._begin(DELAY, source, target, one_way=one_way, seconds=seconds)

    async def freeze(self, source: str, target: str, *, one_way: bool = False) -> None:
        """Hold what is sent between the two, in its order, until it is healed; then it arrives."""
        await self._begin(FREEZE, source, target, one_way=one_way)

    async def heal(self, source: str = ALL, target: str = ALL) -> list[Fault]:
        """End all faults between the two, whichever way; without names, all. Returns those that it ended."""
        # What is gone by now, and was disturbed, can be healed as well.
        links = [] if source == ALL == target else self._names_and_past().links(source, target)

        def change(faults: Sequence[Fault]) -> list[Fault]:
            return healed(faults, links) if links else []

        return await self._change(change)

    async def _begin(
        self,
        kind: str,
        source: str,
        target: str,
        *,
        one_way: bool = False,
        refuse: bool = False,
        seconds: float = 0.0,
    ) -> None:
        since_ms = time.time_ns() // 1_000_000
        links = self._enforcer.names().links(source, target)
        new = [Fault(kind, *ends, one_way, refuse, seconds, since_ms) for ends in links]
        await self._change(lambda before: added(before, new))

    async def _change(self, change: Change) -> list[Fault]:
        before, after = await self._enforcer.change(change)
        ended = [fault for fault in before if fault not in after]
        for fault in ended:
            self._told(f"fault healed: {fault}")
        for fault in after:
            if fault not in before:
                self._told(f"fault: {fault}")
        return ended

    def _names_and_past(self) -> Names:
        components, partitions = self._enforcer.names()
        past = [name for fault in self.in_force for name in (fault.source, fault.target)]
        gone = [name for name in dict.fromkeys(past) if name not in (*components, *partitions)]
        return Names([*components, *gone], [*partitions, *gone])
