"""What became of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ..checking.violations import Violation
from ..recording.records import Record
from .plan import Plan


class Note(NamedTuple):
    """Something that happened to the cluster, by a fault or by itself."""

    time: float
    what: str
    text: str


@dataclass
class Outcome:
    """`violations` empty: it passed. `digest` is the trace's; equal digests mean equal runs.

    `seconds` are of the run's own time, `cpu_seconds` ours. `trace`: its lines, and
    `records`: what was recorded, if they were kept; of a run that failed it always is.
    """

    plan: Plan
    digest: str = ""
    violations: list[Violation] = field(default_factory=list)
    seconds: float = 0.0
    converged_seconds: float = 0.0
    cpu_seconds: float = 0.0
    messages: int = 0
    operations: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.violations

    @property
    def promises(self) -> list[str]:
        """The names of those that were broken."""
        return list(dict.fromkeys(violation.promise for violation in self.violations))
