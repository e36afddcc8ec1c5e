"""The scheduler alone: no other component, so that what it can do is not hidden by what they can."""

from __future__ import annotations

from .alone import Alone
from .measuring import Filled, Measured, measure, measure_filling
from .workloads import WORKLOADS, Workload, workload_of

__all__ = ["WORKLOADS", "Alone", "Filled", "Measured", "Workload", "measure", "measure_filling", "workload_of"]
