"""What requests cost, in seats.

A seat is about a millisecond of the loop, which everybody shares: some sixteen writes through admission, or some five
hundred objects put into a list. A large list is read in steps with others in between, so it counts for no more than
keeps another one of the same user from being read beside it, and leaves him seats for all else.
"""

from __future__ import annotations

OPERATIONS_PER_SEAT = 16
OBJECTS_PER_SEAT = 500
# Of a full batch of 256 operations.
BATCH_SEATS_MAX = 16
# Of a list of 12,000 objects and more. A flow has 32 seats of its level. Measured: of 32 lists at once, one read at a
# time does half as much to the p99 of another client's writes as two at a time, and they are done no later.
LIST_SEATS_MAX = 24
# Initial events of a watch on no more objects are sent without a seat: a kubelet's watches have a few each, and a
# stream may start a thousand of these with one message.
OBJECTS_WITHOUT_SEAT_MAX = 100


def seats_of_operations(operations: int) -> int:
    """Of a batch of writes."""
    return min(1 + max(operations - 1, 0) // OPERATIONS_PER_SEAT, BATCH_SEATS_MAX)


def seats_of_objects(objects: int) -> int:
    """Of a list, or of the initial events of a watch, by the number of objects that must be looked at."""
    return min(1 + objects // OBJECTS_PER_SEAT, LIST_SEATS_MAX)
