"""What the scheduling core hands out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ...proto.objects import Object
from .actions import Action, Bind, ForVolumes


class Report(NamedTuple):
    """What is to be said of a pod, as an Event: as a rule that it could not be scheduled, and why."""

    pod: Object
    message: str
    reason: str = "FailedScheduling"
    type: str = "Warning"


class Scheduled(NamedTuple):
    """A pod has been bound, so many seconds after it was first seen unbound."""

    pod: Object
    seconds: float
    attempts: int


@dataclass
class Decisions:
    """`actions` are for resource partitions, by name; `volumes`, `binds`, then `evictions` (and what is said of them)
    for the home partition. `cycles`: binds to which the profile's PreBind and Bind plugins come first. `pods` were
    looked at.
    """

    actions: dict[str, list[Action]] = field(default_factory=dict)
    volumes: list[ForVolumes] = field(default_factory=list)
    binds: list[Bind] = field(default_factory=list)
    cycles: list[Bind] = field(default_factory=list)
    evictions: list[Action] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    scheduled: list[Scheduled] = field(default_factory=list)
    pods: int = 0

    def take(self) -> Decisions:
        """All so far; from here on they are collected anew."""
        taken = Decisions(
            self.actions,
            self.volumes,
            self.binds,
            self.cycles,
            self.evictions,
            self.reports,
            self.scheduled,
            self.pods,
        )
        self.actions, self.volumes, self.binds, self.cycles = {}, [], [], []
        self.evictions, self.reports, self.scheduled = [], [], []
        self.pods = 0
        return taken

    @property
    def anything(self) -> bool:
        """Whether there is something to hand out."""
        at_home = self.volumes or self.binds or self.cycles or self.evictions
        return bool(self.actions or at_home or self.reports or self.scheduled)

    def for_partition(self, partition: str) -> list[Action]:
        return self.actions.setdefault(partition, [])


@dataclass
class Counts:
    """Since the start. A claim counts when it has its answer, so `attempted` is their sum, whenever one looks."""

    accepted: int = 0
    rejected: int = 0
    scheduled: int = 0
    unschedulable: int = 0
    errors: int = 0

    @property
    def attempted(self) -> int:
        return self.accepted + self.rejected
