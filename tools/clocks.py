"""Wall time at the edge of a trio program."""

from __future__ import annotations

import sys
import time

import trio

from ..clients.actor import Clock
from .jumping_clock import JumpingClock

# What a mock clock's zero stands for: 2026-01-01T00:00:00Z. Equal seeds then give equal timestamps.
MOCK_START_SECONDS = 1_767_225_600.0


def running_clock() -> Clock:
    """Wall time in step with the running trio loop: the system's, or a fixed start on a mock clock.

    A step of the system's clock while the program runs is not followed.
    """
    clock = trio.lowlevel.current_clock()
    # Where nobody has imported it no clock is a mock; to import it brings in pytest, where that is installed.
    testing = sys.modules.get("trio.testing")
    if isinstance(clock, JumpingClock) or (testing is not None and isinstance(clock, testing.MockClock)):
        return Clock(MOCK_START_SECONDS)
    return Clock(time.time() - trio.current_time())
