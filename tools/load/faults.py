"""Faults on request: `--kill tp-1@50%` kills a process when half of the pods run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...proto.errors import InputError

if TYPE_CHECKING:
    from .session import Session

_KILL_FORM = re.compile(r"([a-z0-9-]+)@([0-9]{1,3})%")


@dataclass(frozen=True)
class Kill:
    """SIGKILL to the process `name` once `percent` of the pods run; the one box starts it again."""

    name: str
    percent: int

    @classmethod
    def parse(cls, text: str) -> Kill:
        """Read `tp-1@50%`.

        Raises:
            InputError: it is not of that form.
        """
        match = _KILL_FORM.fullmatch(text)
        if match is None or int(match[2]) > 100:
            raise InputError(f"--kill must name a process and a share of the pods, like tp-1@50%, not {text!r}")
        return cls(match[1], int(match[2]))


async def kill_when_due(session: Session, kill: Kill, pods: int, start_ms: int, log: list[dict[str, Any]]) -> None:
    """Wait for the share, kill, and note it in `log`."""
    await session.observer.wait_running(max(1, pods * kill.percent // 100))
    running = session.observer.running
    session.cluster.kill(kill.name)
    at_seconds = round((session.now_ms() - start_ms) / 1000, 3)
    log.append({"fault": "kill -9", "process": kill.name, "atSeconds": at_seconds, "podsRunning": running})
