"""The buckets of every histogram of seconds, in servers and in clients, so that their figures can be laid side by side.

They reach to ten minutes because operators of large clusters have had four-minute requests that a last bucket of ten
seconds had hidden for months.
"""

from __future__ import annotations

SECONDS_BUCKETS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 240.0, 600.0,
)  # fmt: skip
