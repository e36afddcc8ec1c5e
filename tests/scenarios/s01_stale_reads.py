"""A client is moved to an apiserver that is behind, and takes what it is told there for what is so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from ursa.clients.reads import Reads
from ursa.tools.simulation import Swarm, Topology

from .registry import Scenario


@contextmanager
def any_state_will_do() -> Iterator[None]:
    """A client asks for any state, whatever it has seen."""

    async def read(
        self: Reads, method: str, request: Any, store: str, attempt: Callable[[float], Awaitable[Any]]
    ) -> Any:
        return await self._read(method, attempt)

    with mock.patch.object(Reads, "_not_going_back", read):
        yield


SCENARIOS = (
    Scenario(
        "S1",
        "a list at an apiserver that is behind brings back what was deleted",
        "kubernetes/kubernetes#59848, elastic/cloud-on-k8s#4956",
        "What a client reads is never older than what it has seen, to whichever apiserver its link leads.",
        Swarm(Topology(1, 1, 2), seconds=30.0, workload=("registers",), faults=("freeze", "cut")),
        'a client asks for "any" state as such, and not for one that is not older than what it has seen',
        any_state_will_do,
        ("Monotonic",),
        1,
    ),
)
