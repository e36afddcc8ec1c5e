"""No client waits for long on a watch that has died."""

from __future__ import annotations

from collections.abc import Iterator

from ...clients.watches import SILENCE_SECONDS_MAX
from ..recording.records import Watched, WatchStarted
from .recorded import Recording
from .violations import Violation

SILENCE = "Silence is noticed"

# To notice it takes a moment, and so does what was asked at the last moment.
_SLACK_SECONDS = 5.0


def no_watch_waits_in_silence(recording: Recording) -> Iterator[Violation]:
    """**A stream of watches that says nothing for a minute is given up**, whatever the system says of its connection:
    a partition that lives sends a bookmark every few seconds. So what a client has seen is out of date by so much at
    most. (clients/watches.py)"""
    open_on: dict[int, dict[int, None]] = {}  # By stream, its watches.
    stream_of: dict[int, int] = {}
    heard: dict[int, float] = {}
    who: dict[int, WatchStarted] = {}

    def judged(stream: int, now: float) -> Iterator[Violation]:
        waited = now - heard[stream]
        if waited > SILENCE_SECONDS_MAX + _SLACK_SECONDS and open_on.get(stream):
            started = who[stream]
            text = f"{started.client} heard nothing of its watches at {started.partition} for {waited:.1f} s,"
            yield Violation(SILENCE, f"{text} and had not given them up", "", now)

    for record in recording.watch_records:
        if isinstance(record, WatchStarted):
            stream = stream_of[record.watch] = record.stream
            if not open_on.setdefault(stream, {}):
                heard[stream] = record.time  # There was nothing to hear of, as with a leader that was deposed.
            open_on[stream][record.watch] = None
            who.setdefault(stream, record)
        elif isinstance(record, Watched):
            if record.stream in heard:
                yield from judged(record.stream, record.time)
                heard[record.stream] = record.time
        else:
            stream = stream_of[record.watch]
            yield from judged(stream, record.time)
            open_on[stream].pop(record.watch, None)
    end = recording.finished.time if recording.finished is not None else 0.0
    for stream in heard:
        yield from judged(stream, end)
