"""The table of `ursa top partitions`: who has heard of which partition, and how long ago."""

from __future__ import annotations

import math

from ursa.clients.contact import Seen
from ursa.tools.cli.top import partition_lines
from ursa.tools.partition_views import View


def test_it_says_who_follows_what_how_old_it_is_and_what_is_missed_why_in_one_line_each() -> None:
    away = "no link to 127.0.0.1:1 (UNAVAILABLE: refused)"
    views = [
        View(
            "scheduler-tp-1",
            [Seen("rp-1", 0.44, False, ""), Seen("rp-2", 34.5, True, away), Seen("tp-1", 3, False, "")],
        ),
        View("controller-manager-tp-1", [Seen("rp-2", math.inf, True, "another"), Seen("tp-1", math.inf, False, "")]),
        View("hollow-nodes-rp-1-1", (), "connection refused"),
    ]
    assert [" ".join(line.split()) for line in partition_lines(views, ["tp-1", "rp-1", "rp-2"])] == [
        "COMPONENT tp-1 rp-1 rp-2",
        "scheduler-tp-1 3.0s 0.4s 34.5s missed",
        "controller-manager-tp-1 never - never missed",
        "hollow-nodes-rp-1-1 ? ? ?",
        f"rp-2 is missed by scheduler-tp-1, controller-manager-tp-1: {away}",
    ]
