"""Cron schedules: five fields, read as Kubernetes reads them, and the moments they name.

cronsim does the calendar, in local times. What it knows beyond Kubernetes (L, W, #, seconds) is refused here, and where
the two differ, in whether a day must be right by both its fields, Kubernetes counts: by both if one of the fields is a
bare star, by either if neither is.

In a time zone with summer time a schedule of fixed hours runs once on each of its days, as with Debian's cron: what
falls into the hour that is left out runs at its end, and in the hour that comes twice the first time counts. One that
runs every hour, or every few minutes, goes on evenly.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = 5
_VALUE = "([0-9]{1,4}|[A-Za-z]{3})"
_TERM = re.compile(rf"([*?]|{_VALUE}(-{_VALUE})?)(/[0-9]{{1,4}})?")
# A bare star is one that leaves nothing out.
_STARS = ("*", "*/1")
_DAY = 86_400
# No zone moves its clocks by more at once, as far as schedules are concerned.
_CLOCK_CHANGE_MAX = 3 * 3600
# The years that a calendar and a zone know are a few more than these.
_MOMENT_MAX = 32_503_680_000  # The year 3000.


class Schedule:
    """Times are milliseconds since 1970, and whole minutes but for what clock changes make of them."""

    def __init__(self, text: str, time_zone: str) -> None:
        fields = _MACROS.get(text.strip().lower(), text).replace("?", "*").split()
        self._text = " ".join(fields)
        self._zone = zone_of(time_zone) if time_zone else None
        self._evenly = any(field.startswith("*") for field in fields[:2])
        self._both_days = any(term in _STARS for field in (fields[2], fields[4]) for term in field.split(","))
        CronSim(self._text, _local(0))

    def after(self, moment_ms: int) -> int | None:
        """The first time later than this; None: there is none."""
        found = self._after_evenly if self._evenly else self._after_fixed
        moment = found(min(moment_ms // 1000, _MOMENT_MAX))
        return None if moment is None else moment * 1000

    def until(self, moment_ms: int) -> int | None:
        """The last time that is not later than this; None: there is none."""
        found = self._until_evenly if self._evenly else self._until_fixed
        moment = found(min(moment_ms // 1000, _MOMENT_MAX))
        return None if moment is None else moment * 1000

    # ------------------------------------------------------------------ moments are seconds since 1970 from here on

    def _after_evenly(self, moment: int) -> int | None:
        since, offset = moment, self._offset(moment)
        while True:
            local = self._next(moment + offset)
            if local is None:
                return None
            change = self._change(since, local - offset)
            if change is None:
                return local - offset
            # At the change itself clocks show the new time already.
            since, moment, offset = change, change - 1, self._offset(change)

    def _until_evenly(self, moment: int) -> int | None:
        while True:
            offset = self._offset(moment)
            local = self._last(moment + offset)
            if local is None:
                return None
            change = self._last_change(local - offset, moment)
            if change is None:
                return local - offset
            moment = change - 1

    def _after_fixed(self, moment: int) -> int | None:
        local = self._next(moment + self._offset(moment) - _CLOCK_CHANGE_MAX)
        while local is not None and self._moment_of(local) <= moment:
            local = self._next(local)
        return None if local is None else self._moment_of(local)

    def _until_fixed(self, moment: int) -> int | None:
        local = self._last(moment + self._offset(moment) + _CLOCK_CHANGE_MAX)
        while local is not None and self._moment_of(local) > moment:
            local = self._last(local - 1)
        return None if local is None else self._moment_of(local)

    def _moment_of(self, local: int) -> int:
        """The first moment at which clocks show this, or at which they have gone past it."""
        if self._zone is None:
            return local
        moment = round(_local(local).replace(tzinfo=self._zone).timestamp())
        if moment + self._offset(moment) == local:
            return moment
        change = self._change(moment - _CLOCK_CHANGE_MAX, moment)
        return moment if change is None else change

    def _offset(self, moment: int) -> int:
        """What clocks are ahead of UTC."""
        if self._zone is None:
            return 0
        offset = datetime.fromtimestamp(moment, UTC).astimezone(self._zone).utcoffset()
        return 0 if offset is None else round(offset.total_seconds())

    def _change(self, after: int, until: int) -> int | None:
        """The first moment in this time at which clocks have been changed."""
        if self._zone is None:
            return None
        offset = self._offset(after)
        while after < until:
            end = min(after + _DAY, until)
            if self._offset(end) != offset:
                return self._bisected(after, end)
            after = end
        return None

    def _last_change(self, after: int, until: int) -> int | None:
        if self._zone is None:
            return None
        offset = self._offset(until)
        while after < until:
            start = max(until - _DAY, after)
            if self._offset(start) != offset:
                return self._bisected(start, until)
            until = start
        return None

    def _bisected(self, before: int, behind: int) -> int:
        offset = self._offset(before)
        while behind - before > 1:
            middle = (before + behind) // 2
            if self._offset(middle) == offset:
                before = middle
            else:
                behind = middle
        return behind

    def _next(self, local: int) -> int | None:
        """The next time on the calendar."""
        return self._walked(_local(local), reverse=False)

    def _last(self, local: int) -> int | None:
        return self._walked(_local(local + 1), reverse=True)

    def _walked(self, start: datetime, *, reverse: bool) -> int | None:
        walk = CronSim(self._text, start, reverse)
        walk.day_and = self._both_days
        found = next(walk, None)
        return None if found is None else round(found.replace(tzinfo=UTC).timestamp())


@lru_cache(maxsize=4096)
def schedule_of(text: str, time_zone: str = "") -> Schedule:
    """Raises ValueError: no schedule, or no time zone; the message says why."""
    stripped = text.strip()
    if stripped.startswith("@"):
        if stripped.lower() not in _MACROS:
            raise ValueError(f"{text!r} is none of {', '.join(_MACROS)}")
    elif "TZ" in text:
        raise ValueError("names no time zone of its own: set spec.timeZone")
    else:
        fields = stripped.split()
        if len(fields) != _FIELDS:
            raise ValueError(f"{text!r} has {len(fields)} fields, not {_FIELDS}: minute, hour, day, month, day of week")
        for field in fields:
            if not all(_TERM.fullmatch(term) for term in field.split(",")):
                raise ValueError(f"{field!r} is no list of numbers, names, ranges, * and steps")
    try:
        return Schedule(text, time_zone)
    except CronSimError as error:
        raise ValueError(f"{text!r} is no schedule: {str(error).lower()}") from error


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """Raises ValueError: there is no such time zone."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:  # Names become paths.
        raise ValueError(f"there is no time zone {name!r}") from error


def _local(seconds: int) -> datetime:
    """What clocks show, told as the seconds since they would have shown 1970."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
