"""What `expect_long_lives` asks of the garbage collector. It is the whole process's: each test has one of its own."""

from __future__ import annotations

import subprocess
import sys

PRELUDE = """
import gc, weakref
from ursa.proto.long_lived import GC_THRESHOLDS, expect_long_lives

class Ring:
    def __init__(self):
        self.me = self
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


def test_what_was_there_at_the_start_is_not_looked_at_again() -> None:
    assert run("there = Ring(); expect_long_lives(); print(there in gc.get_objects(), gc.get_freeze_count() > 0)") == (
        "False True"
    )


def test_garbage_of_before_is_gone_first() -> None:
    script = "gone = weakref.ref(Ring()); alive = gone() is not None; expect_long_lives(); print(alive, gone())"
    assert run(script) == "True None"


def test_garbage_that_comes_later_is_still_found() -> None:
    script = """
expect_long_lives()
gone, kept = weakref.ref(Ring()), []
while gone() is not None and len(kept) < 10 * GC_THRESHOLDS[0]:
    kept.append([])
print(gone(), len(kept) <= GC_THRESHOLDS[0])
"""
    assert run(script) == "None True"
