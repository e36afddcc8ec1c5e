"""The scheduler of a tenant partition."""

from __future__ import annotations

from .options import SchedulerOptions, ScoringStrategy
from .scheduler import Scheduler

__all__ = ["Scheduler", "SchedulerOptions", "ScoringStrategy"]
