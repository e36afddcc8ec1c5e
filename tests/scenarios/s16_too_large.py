"""A revision that the apiserver has not reached: the client waits, but not for ever, and does not go back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from ursa.clients.informer import Informer
from ursa.clients.reads import Reads
from ursa.clients.sightings import ANY
from ursa.proto.errors import ApiError, Expired, Timeout
from ursa.tools.simulation import Swarm, Topology

from .plans import impatient
from .registry import Scenario


@contextmanager
def too_large_means_any() -> Iterator[None]:
    """A client that is told "too large resource version" asks for any."""
    real = Reads._not_going_back

    async def read(
        self: Reads, method: str, request: Any, store: str, attempt: Callable[[float], Awaitable[Any]]
    ) -> Any:
        async def once(seconds: float) -> Any:
            try:
                return await attempt(seconds)
            except Timeout:
                if not request.incarnation:
                    raise
                request.resource_version, request.incarnation = ANY, ""
                return await attempt(seconds)

        return await real(self, method, request, store, once)

    with mock.patch.object(Reads, "_not_going_back", read):
        yield


@contextmanager
def an_informer_waits_for_what_will_not_come() -> Iterator[None]:
    """An informer that is told that its revision is of no use asks for it again and again."""
    real = Informer._end_watch

    def end(self: Informer, refusal: ApiError | None) -> None:
        real(self, Timeout("too large resource version: ask again") if isinstance(refusal, Expired) else refusal)

    with mock.patch.object(Informer, "_end_watch", end):
        yield


SCENARIOS = (
    Scenario(
        "S16",
        '"too large resource version" takes a client back',
        "kubernetes/kubernetes#91073, kubernetes/kubernetes#92537, kubernetes/kubernetes#117989",
        "A client that waits for a revision is answered with one not older, or told that there is none yet.",
        Swarm(Topology(1, 1, 2), seconds=30.0, workload=("registers",), faults=("freeze",)),
        'a client that is told "too large resource version" asks for any instead',
        too_large_means_any,
        ("Monotonic",),
        14,
    ),
    Scenario(
        "S16b",
        "an informer waits for ever for a revision that will not come",
        "kubernetes/kubernetes#107133, kubernetes/kubernetes#91073",
        "After a restore every informer comes to hold what the store does.",
        impatient(Swarm(Topology(1, 1, 2), seconds=30.0, workload=("registers",), faults=("restore",))),
        "an informer whose revision is refused as expired asks for the same one again and again",
        an_informer_waits_for_what_will_not_come,
        ("Converges",),
        1,
    ),
)
