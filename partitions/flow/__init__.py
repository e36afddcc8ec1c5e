"""Flow control: priority levels, fair queues, and seats by the cost of a request.

`control` is where requests ask for their turn, `fair_queues` says whose it is, `levels` who is kept apart from whom,
`costs` what a request is worth.
"""

from __future__ import annotations

from .control import FlowControl
from .costs import OBJECTS_WITHOUT_SEAT_MAX, seats_of_objects, seats_of_operations
from .fair_queues import Ticket
from .levels import UNLIMITED, FlowOptions, Level, Schema

__all__ = [
    "OBJECTS_WITHOUT_SEAT_MAX",
    "UNLIMITED",
    "FlowControl",
    "FlowOptions",
    "Level",
    "Schema",
    "Ticket",
    "seats_of_objects",
    "seats_of_operations",
]
