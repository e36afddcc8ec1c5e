"""What a judge has to say."""

from __future__ import annotations

from typing import NamedTuple

from ..recording.records import Get, Listed, WatchStarted, Write


class Violation(NamedTuple):
    """A promise that was broken. `promise`: its name; `text`: one line; `key`: of the object concerned, for its story.

    `time` is that of the recording, 0 where it is not known.
    """

    promise: str
    text: str
    key: str = ""
    time: float = 0.0

    def __str__(self) -> str:
        when = f"at {self.time:.6f} s: " if self.time else ""
        about = f" ({self.key})" if self.key and self.key not in self.text else ""
        return f"{self.promise}: {when}{self.text}{about}"


def title(operation: Write | Get | Listed | WatchStarted) -> str:
    if isinstance(operation, Write):
        return f"the {operation.verb} of {operation.key} by {operation.client}"
    if isinstance(operation, Get):
        return f"the get of {operation.key} by {operation.client}"
    what = "list" if isinstance(operation, Listed) else "view at the beginning of a watch"
    return f"the {what} of {operation.selection.resource} by {operation.client}"
