"""How long to wait before trying again."""

from __future__ import annotations

from random import Random

# A partition that restarts is back within a second or two: the first tries are quick. One that stays away is asked
# about every five seconds, which costs nobody anything.
BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 5.0


class Backoff:
    """Doubles with every wait. Each wait is drawn from the upper half of its step, so that many clients spread out."""

    def __init__(
        self,
        random: Random,
        *,
        seconds_min: float = BACKOFF_SECONDS_MIN,
        seconds_max: float = BACKOFF_SECONDS_MAX,
    ) -> None:
        self._random = random
        self._seconds_min, self._seconds_max = seconds_min, seconds_max
        self._step_seconds = seconds_min

    def next_seconds(self) -> float:
        """The wait before the next try."""
        step = self._step_seconds
        self._step_seconds = min(step * 2, self._seconds_max)
        return step * self._random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: the next failure starts from the shortest wait."""
        self._step_seconds = self._seconds_min
