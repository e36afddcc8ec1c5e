"""Named places where a crash would hurt most, for tests that crash there.

    failpoint("commit-after-put")        in the store; costs a look into an empty dictionary
    enable("commit-after-put", die)      in a test, in a process of its own

A place is named for what has been done when it is reached.
"""

from __future__ import annotations

from collections.abc import Callable

NAMES = (
    "commit-before",  # Nothing of the commit has been written.
    "commit-after-put",  # Written, not committed.
    "commit-after",  # Durable, nobody knows.
    "sweep-before",
    "sweep-after-erase",  # Erased, not committed.
    "sweep-after",
    "checkpoint-before-write",
    "checkpoint-after-write",  # Some of the file is there, under its temporary name.
    "checkpoint-after-rename",  # The file is there, the log does not name it yet.
    "checkpoint-after-put",  # Named, not committed.
    "checkpoint-after-name",  # Named; the one before it is still there.
    "copy-after-step",  # A snapshot, or a defragmentation, is on its way.
    "snapshot-before-rename",
    "snapshot-after-rename",
    "defragment-before-swap",
    "defragment-after-data",  # The new data has taken the place of the old, its lock file has not.
    "defragment-after-swap",
    "restore-after-step",
    "restore-before-rename",
    "restore-after-rename",
)

_actions: dict[str, Callable[[], None]] = {}


def failpoint(name: str) -> None:
    """Do what a test wants done here; nothing, unless one does."""
    if _actions:
        action = _actions.get(name)
        if action is not None:
            action()


def enable(name: str, action: Callable[[], None]) -> None:
    """Let `action` run at a place from now on, in whichever thread comes by."""
    if name not in NAMES:
        raise ValueError(f"there is no failpoint {name}")
    _actions[name] = action


def disable_all() -> None:
    _actions.clear()
