"""Long time slices, for processes that are many more than the cores.

A one box of 5 x 5 partitions is some thirty processes, which wake one another with every message. Whoever is woken
takes a core from another one, and finds its caches filled with somebody else's memory: the same functions take two to
three times as long as in a box of few processes. Those that ask Linux for long slices let one another finish instead:
fewer turns, each with warm caches (sched(7): SCHED_BATCH, which interrupts nobody when it wakes up; sched_setattr(2):
the slice, from Linux 6.12 on).
"""

from __future__ import annotations

import ctypes
import os
import sys

# The longest that Linux grants.
SLICE_SECONDS = 0.1

# The numbers of sched_setattr, for which most C libraries have no function.
_SYSTEM_CALLS = {"x86_64": 314, "aarch64": 274, "riscv64": 274}


class _Attributes(ctypes.Structure):
    """`struct sched_attr`."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def ask_for_long_slices() -> bool:
    """For this thread, and for all threads and processes that it starts from now on. They need no privileges, keep
    their nice value, and on cores that nobody else wants nothing changes. False: this system knows no such thing. An
    older Linux knows half of it, the policy."""
    number = _SYSTEM_CALLS.get(os.uname().machine)
    if sys.platform != "linux" or number is None:
        return False
    attributes = _Attributes(
        size=ctypes.sizeof(_Attributes),
        policy=os.SCHED_BATCH,
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        runtime=round(SLICE_SECONDS * 1e9),
    )
    status: int = ctypes.CDLL(None).syscall(number, 0, ctypes.byref(attributes), 0)
    return status == 0
