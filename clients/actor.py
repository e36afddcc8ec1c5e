"""What a component is handed instead of reaching for the world: a name, a clock, randomness, metrics, a log.

Core code takes time from trio's clock and randomness from the `Random` of its actor, and so runs unchanged between
processes, in one process and simulated.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from random import Random

import trio
from prometheus_client import CollectorRegistry

from ..proto.objects import new_uid


@dataclass(frozen=True)
class Clock:
    """Wall time derived from trio's clock, so that a mock clock moves both.

    `offset_seconds` is wall time minus trio time; the process edge measures it, a simulation fixes it.
    """

    offset_seconds: float

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return self.offset_seconds + trio.current_time()

    def now_ms(self) -> int:
        return round(self.now() * 1000)


@dataclass(frozen=True)
class Actor:
    """One component's identity and its share of the world. `name` is what the partitions log as its user."""

    name: str
    clock: Clock
    random: Random
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    @property
    def log(self) -> logging.Logger:
        return logging.getLogger(f"ursa.{self.name}")

    def uid(self) -> str:
        """A new UID from the actor's own randomness."""
        return new_uid(self.random)

    def child(self, name: str) -> Actor:
        """An actor of its own name and random stream, sharing clock and metrics."""
        return Actor(name, self.clock, Random(self.random.getrandbits(64)), self.registry)
