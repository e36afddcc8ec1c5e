"""What the containers of a hollow pod do, which its annotations say."""

from __future__ import annotations

from typing import NamedTuple

from ...proto import ursa_pb2 as pb

# Hollow pods that do not always restart run for so long, and end so; without the first they run for ever.
RUN_SECONDS_ANNOTATION = "ursa.dev/run-seconds"
EXIT_CODE_ANNOTATION = "ursa.dev/exit-code"
EXIT_CODE_MAX = 255


class Run(NamedTuple):
    """For how long they run, and how they end."""

    seconds: float
    exit_code: int


def run_of(message: pb.Object) -> Run | None:
    """A run time that is no number counts as none: the pod runs on."""
    annotations = message.metadata.annotations
    text = annotations.get(RUN_SECONDS_ANNOTATION)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return None
    return Run(seconds, _exit_code(annotations.get(EXIT_CODE_ANNOTATION, ""))) if 0 <= seconds < float("inf") else None


def _exit_code(text: str) -> int:
    """What is no exit code counts as 0."""
    code = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(EXIT_CODE_MAX)) else 0
    return code if code <= EXIT_CODE_MAX else 0
