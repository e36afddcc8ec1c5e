"""Cron schedules, beside a calendar that is walked minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.proto.schedules import schedule_of

MINUTE_MS = 60_000
# Of the moments that are walked through, to either side.
WINDOW_MS = 36 * 3600 * 1000
# In each of them clocks are changed within a day or two of these: by an hour, by half of one, at midnight, never.
CHANGES = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
    "America/Havana": ("2026-03-08", "2026-11-01"),
    "Asia/Kolkata": ("2026-02-28", "2028-02-28"),
    "": ("2026-02-28", "2028-02-28"),
}
MINUTES = st.sampled_from(["0", "*", "30", "*/15", "0,30", "59", "5/20", "10-40/10"])
HOURS = st.sampled_from(["*", "0", "1", "2", "3", "*/2", "0-3", "23", "1,2", "2/5"])
DAYS = st.sampled_from(["*", "*", "1", "28-31", "*/2", "8"])
WEEKDAYS = st.sampled_from(["*", "*", "0", "1-5", "7", "*/3", "MON,sun"])


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


@cache
def numbers(field: str, least: int, most: int) -> list[int]:
    found: list[int] = []
    for term in field.replace("MON", "1").replace("sun", "0").split(","):
        base, _, step = term.partition("/")
        first, _, last = base.partition("-")
        if base == "*":
            start, end = least, most
        else:
            start, end = int(first), int(last) if last else most if step else int(first)
        found += range(start, end + 1, int(step or 1))
    return found


def is_right_day(local: datetime, fields: list[str]) -> bool:
    day = local.day in numbers(fields[2], 1, 31)
    weekday = local.isoweekday() % 7 in [number % 7 for number in numbers(fields[4], 0, 7)]
    both = any(field == "*" for field in (fields[2], fields[4]))
    return (day and weekday) if both else (day or weekday)


def walked(text: str, zone: str, start_ms: int, end_ms: int) -> list[int]:
    """All moments of a schedule, by its definition."""
    fields = text.split()
    clock = ZoneInfo(zone or "UTC")
    minutes, hours = numbers(fields[0], 0, 59), numbers(fields[1], 0, 23)
    fixed = not any(field.startswith("*") for field in fields[:2])
    found: dict[int, None] = {}
    seen: dict[datetime, None] = {}
    skipped_from: datetime | None = None
    for moment_ms in range(start_ms // MINUTE_MS * MINUTE_MS, end_ms, MINUTE_MS):
        local = datetime.fromtimestamp(moment_ms / 1000, UTC).astimezone(clock).replace(tzinfo=None)
        shown = [local]
        if fixed and skipped_from is not None and local > skipped_from + timedelta(minutes=1):
            skipped = round((local - skipped_from) / timedelta(minutes=1))
            shown = [skipped_from + timedelta(minutes=number) for number in range(1, skipped + 1)]
        skipped_from = local
        for each in shown:
            again = fixed and each in seen
            seen[each] = None
            if not again and each.minute in minutes and each.hour in hours and is_right_day(each, fields):
                found[moment_ms] = None
    return list(found)


@given(st.data(), MINUTES, HOURS, DAYS, WEEKDAYS, st.integers(-20 * 3600, 20 * 3600))
@settings(max_examples=80, deadline=None)
def test_the_moments_before_and_after_are_those_of_the_calendar(
    data: st.DataObject, minutes: str, hours: str, days: str, weekdays: str, offset: int
) -> None:
    zone = data.draw(st.sampled_from(list(CHANGES)))
    moment_ms = ms(data.draw(st.sampled_from(CHANGES[zone]))) + offset * 1000
    text = f"{minutes} {hours} {days} * {weekdays}"
    moments = walked(text, zone, moment_ms - WINDOW_MS, moment_ms + WINDOW_MS)
    schedule = schedule_of(text, zone)
    after, until = schedule.after(moment_ms), schedule.until(moment_ms)
    later = [each for each in moments if each > moment_ms]
    earlier = [each for each in moments if each <= moment_ms]
    assert after == later[0] if later else after >= moment_ms + WINDOW_MS - MINUTE_MS
    assert until == earlier[-1] if earlier else until <= moment_ms - WINDOW_MS


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("@hourly", "2026-01-01T10:00:00"),
        ("@daily", "2026-01-02T00:00:00"),
        ("@midnight", "2026-01-02T00:00:00"),
        ("@weekly", "2026-01-04T00:00:00"),
        ("@monthly", "2026-02-01T00:00:00"),
        ("@yearly", "2027-01-01T00:00:00"),
        ("0 12 ? FEB *", "2026-02-01T12:00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00"),
        ("0 0 13 * FRI", "2026-01-02T00:00:00"),
    ],
)
def test_macros_names_and_rare_days(text: str, moment: str) -> None:
    assert schedule_of(text).after(ms("2026-01-01T09:30:00")) == ms(moment)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has 0 fields"),
        ("* * * *", "has 4 fields"),
        ("0 * * * * *", "has 6 fields"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * 30 2 *", "bad day-of-month"),
        ("* * * FOO *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("* * L * *", "no list of"),
        ("* * * * 1#2", "no list of"),
        ("* * * * 5L", "no list of"),
        ("1.5 * * * *", "no list of"),
        ("@every 5m", "is none of @yearly"),
        ("TZ=UTC * * * * *", "set spec.timeZone"),
        ("CRON_TZ=UTC 0 * * * *", "set spec.timeZone"),
    ],
)
def test_what_is_no_schedule_is_told_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        schedule_of(text)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "America", "a\0b", "x" * 5000])
def test_what_is_no_time_zone_is_told(zone: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        schedule_of("* * * * *", zone)


@pytest.mark.parametrize("zone", ["", "Europe/Berlin"])
@pytest.mark.parametrize("moment_ms", [0, 2**40, 2**45])
def test_far_moments_are_answered(zone: str, moment_ms: int) -> None:
    for text in ("* * * * *", "0 0 29 2 *", "30 2 * * *"):
        schedule = schedule_of(text, zone)
        assert schedule.after(moment_ms) is not None
        assert schedule.until(moment_ms) is not None
