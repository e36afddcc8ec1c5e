"""How hollow kubelets behave."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ..node_fence import FENCE_SECONDS

# Seconds, or a (low, high) range from which each use draws.
Delay = float | tuple[float, float]


@dataclass(frozen=True)
class HollowNodesOptions:
    """The defaults are Kubernetes', but for the delays: a hollow container starts and stops at once.

    `fence_seconds`: see `clients/node_fence.py`; infinity: pods of a cut-off node run on, beside their successors.

    Raises:
        ValueError: a duration is negative, a range is upside down, or a lease would end before it is renewed, or
            behind the fence.
    """

    start_delay_seconds: Delay = 0.0
    stop_delay_seconds: Delay = 0.0
    lease_renew_seconds: float = 10.0
    lease_duration_seconds: int = 40
    status_report_seconds: float = 300.0
    fence_seconds: float = FENCE_SECONDS

    def __post_init__(self) -> None:
        for name in ("start_delay_seconds", "stop_delay_seconds"):
            value = getattr(self, name)
            low, high = value if isinstance(value, tuple) else (value, value)
            if not 0 <= low <= high:
                raise ValueError(f"{name} must be a number >= 0 or a range (low, high) of such, not {value!r}")
        if not 0 < self.lease_renew_seconds < self.lease_duration_seconds:
            raise ValueError(
                f"lease_renew_seconds must be positive and below lease_duration_seconds, not {self.lease_renew_seconds}"
                f" and {self.lease_duration_seconds}"
            )
        if not self.fence_seconds > self.lease_duration_seconds:
            raise ValueError(
                f"fence_seconds must be above lease_duration_seconds, not {self.fence_seconds} and "
                f"{self.lease_duration_seconds}"
            )
        if self.status_report_seconds <= 0:
            raise ValueError(f"status_report_seconds must be positive, not {self.status_report_seconds}")


def draw(delay: Delay, random: Random) -> float:
    return random.uniform(*delay) if isinstance(delay, tuple) else delay
