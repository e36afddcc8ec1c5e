"""What load tests refuse before they start anything. Each raises InputError, with the flag to change."""

from __future__ import annotations

import math
from pathlib import Path

from ...proto.errors import InputError
from ...proto.quantities import parse_quantity


def require_positive(flag: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise InputError(f"{flag} must be more than 0, not {value:g}")


def require_not_negative(flag: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise InputError(f"{flag} must be 0 or more, not {value:g}")


def require_quantity(flag: str, text: str) -> None:
    try:
        negative = parse_quantity(text) < 0
    except ValueError as error:
        raise InputError(f"{flag}: {error}") from None
    if negative:
        raise InputError(f"{flag} must not be negative: {text}")


def require_delay(delay_seconds: float | tuple[float, float]) -> None:
    for seconds in delay_seconds if isinstance(delay_seconds, tuple) else (delay_seconds,):
        require_not_negative("--start-delay", seconds)


def require_empty(data_dir: Path | None) -> None:
    """A run counts everything that is there, so it must begin with nothing."""
    try:
        if data_dir is not None and data_dir.exists() and any(data_dir.iterdir()):
            raise InputError(f"the data directory {data_dir} is not empty: a load test needs one of its own")
    except OSError as error:
        raise InputError(f"the data directory {data_dir} cannot be read: {error.strerror}") from error


def require_new(file: Path | None) -> None:
    """Raises InputError: there is something already, or no directory for it. Said before a run, not after it."""
    if file is not None and file.exists():
        raise InputError(f"--record: {file} exists already: give another name")
    if file is not None and not file.absolute().parent.is_dir():
        raise InputError(f"--record: {file.parent} is no directory: create it first")
