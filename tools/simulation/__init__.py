"""A whole cluster from a seed: drawn, run with faults on a mock clock, judged, and run again.

    seed ──drawing──> Plan (data) ──world──> Recording, trace ──checking──> violations ──shrinking──> a smaller Plan

Everything that happens in a run is in its plan or drawn from the plan's seed, so a plan runs the same way in any
process. The parts are the real ones: apiservers on LMDB, scheduler, controllers, kubelets, and what the user plugs in;
only links, disks and clocks are simulated.
"""

from __future__ import annotations

from ..checking.violations import Violation
from .drawing import Swarm, draw_plan
from .outcome import Note, Outcome
from .plan import Fault, Knobs, Operation, Plan, Scheduling, Topology
from .run import simulate
from .shrinking import shrink

__all__ = [
    "Fault",
    "Knobs",
    "Note",
    "Operation",
    "Outcome",
    "Plan",
    "Scheduling",
    "Swarm",
    "Topology",
    "Violation",
    "draw_plan",
    "shrink",
    "simulate",
]
