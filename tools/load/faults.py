"""Faults on request, when a share of the pods runs.

--kill tp-1@50%                             kill -9
--fault cut:scheduler-tp-1:rp-2@50%         until the load is over
--fault delay=0.5:scheduler-tp-1:rp-2@20%+15    for 15 seconds
--fault freeze:tp-1:hollow-nodes-rp-1-1:one-way@50%+15
--fault cut:scheduler-tp-1:rp-2:refuse@50%
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from ...proto.errors import InputError
from ..faults.rules import CUT, DELAY, Fault

if TYPE_CHECKING:
    from .session import Session

_FAULT_FORM = re.compile(
    r"(?P<kind>cut|delay|freeze)(=(?P<seconds>[0-9.]+))?:(?P<source>[a-z0-9*-]+):(?P<target>[a-z0-9*-]+)"
    r"(:(?P<how>one-way|refuse))?@(?P<percent>[0-9]{1,3})%(\+(?P<lasts>[0-9.]+))?"
)
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


@dataclass(frozen=True)
class LinkFault:
    """A fault between the two ends of a link once `percent` of the pods run, for so many seconds (0: until the load is
    over)."""

    fault: Fault
    percent: int
    lasts_seconds: float
    text: str

    @classmethod
    def parse(cls, text: str) -> LinkFault:
        """Read `cut:scheduler-tp-1:rp-2@50%+20`.

        Raises:
            InputError: it is not of that form, or no such fault can be.
        """
        match = _FAULT_FORM.fullmatch(text)
        try:
            if match is None or int(match["percent"]) > 100:
                raise ValueError(text)
            seconds, lasts_seconds = (float(match[name] or 0) for name in ("seconds", "lasts"))
        except ValueError:
            raise InputError(
                "--fault must name a fault, the two ends of a link and a share of the pods, like "
                f"cut:scheduler-tp-1:rp-2@50% or delay=0.5:scheduler-tp-1:rp-2@50%+20, not {text!r}"
            ) from None
        one_way, refuse = match["how"] == "one-way", match["how"] == "refuse"
        if bool(match["seconds"]) != (match["kind"] == DELAY) or (refuse and match["kind"] != CUT):
            raise InputError(f"--fault {text}: only a delay has seconds (delay=0.5:...), and only a cut may refuse")
        fault = Fault(match["kind"], match["source"], match["target"], one_way, refuse, seconds)
        return cls(fault, int(match["percent"]), lasts_seconds, text)


async def disturb_when_due(
    session: Session, fault: LinkFault, pods: int, start_ms: int, log: list[dict[str, Any]]
) -> None:
    """Wait for the share, disturb the link, note it in `log`, and heal it if its time is over before the load is."""
    await session.observer.wait_running(max(1, pods * fault.percent // 100))
    running = session.observer.running
    its, faults = fault.fault, session.cluster.faults
    ends = its.source, its.target
    if its.kind == CUT:
        await faults.cut(*ends, one_way=its.one_way, refuse=its.refuse)
    elif its.kind == DELAY:
        await faults.delay(*ends, its.seconds, one_way=its.one_way)
    else:
        await faults.freeze(*ends, one_way=its.one_way)
    at_seconds = round((session.now_ms() - start_ms) / 1000, 3)
    entry = {"fault": its.what, "process": " ".join(ends), "atSeconds": at_seconds, "podsRunning": running}
    log.append(entry)
    if fault.lasts_seconds:
        await trio.sleep(fault.lasts_seconds)
        await faults.heal(*ends)
        entry["healedAtSeconds"] = round((session.now_ms() - start_ms) / 1000, 3)


async def kill_when_due(session: Session, kill: Kill, pods: int, start_ms: int, log: list[dict[str, Any]]) -> None:
    """Wait for the share, kill, and note it in `log`."""
    await session.observer.wait_running(max(1, pods * kill.percent // 100))
    running = session.observer.running
    session.cluster.kill(kill.name)
    at_seconds = round((session.now_ms() - start_ms) / 1000, 3)
    log.append({"fault": "kill -9", "process": kill.name, "atSeconds": at_seconds, "podsRunning": running})
