"""The faults in force in a one box, in a file: every process reads it when it starts, and when it is told to.

    <data directory>/faults.json    {"faults": [{"kind": "cut", "source": "scheduler-tp-1", "target": "rp-2", ...}]}

Whoever changes it locks its directory meanwhile, so two commands at once both count. It goes with the one box.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...proto.errors import InputError
from .rules import Fault

FILE_NAME = "faults.json"


def read_faults(path: Path) -> list[Fault]:
    """Those in force; without a file, none.

    Raises:
        InputError: it is no such file.
    """
    try:
        return [Fault.from_dict(each) for each in json.loads(path.read_text())["faults"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"this is no file of faults ({error}): remove it", file=str(path)) from None


def write_faults(path: Path, faults: Sequence[Fault]) -> None:
    """Whole or not at all; no faults, no file."""
    if not faults:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_text(json.dumps({"faults": [fault.to_dict() for fault in faults]}, indent=2) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else changes the file meanwhile. To be held for as long as it takes to read and write it.

    Raises:
        InputError: its directory cannot be opened.
    """
    try:
        directory = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{path.parent} cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)
