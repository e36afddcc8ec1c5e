"""A failing seed as a report: what was promised and broken, what happened, the plan, and how to see it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...clients.scheduler.options import DEFAULT_SCHEDULER
from ..checking.story import story
from ..recording import write_recording
from .outcome import Outcome
from .plan import Fault, Plan

NOTES_MAX = 200
# Of the keys that broken promises are about.
STORIES_MAX = 3
STORY_LINES_MAX = 60
RECORDING_FILE = "recording.ursa"


def write_report(folder: Path, outcome: Outcome, shrunk: Plan | None = None) -> Path:
    """Write plan.json, shrunk.json, recording.ursa and report.txt into a folder, which is made; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(outcome.plan.to_json() + "\n")
    if shrunk is not None:
        (folder / "shrunk.json").write_text(shrunk.to_json() + "\n")
    if outcome.records:
        write_recording(folder / RECORDING_FILE, outcome.records)
    (folder / "report.txt").write_text("".join(f"{line}\n" for line in report_lines(outcome, folder, shrunk)))
    return folder


def report_lines(outcome: Outcome, folder: Path, shrunk: Plan | None = None) -> Iterator[str]:
    plan = outcome.plan
    yield f"seed {plan.seed} broke {len(outcome.violations)} promises"
    for violation in outcome.violations:
        yield f"  {violation.promise}: {violation.text.strip()}"
    yield ""
    smallest = shrunk or plan
    what = "shrunk plan" if shrunk is not None else "plan"
    yield f"{what}: {len(smallest.faults)} faults, {len(smallest.operations)} operations, {smallest.seconds:g} s"
    yield from (f"  {fault.at:9.3f} {_fault(fault)}" for fault in smallest.faults)
    yield from (
        f"  {each.at:9.3f} {each.user} {each.verb} {_arguments(each.arguments)}" for each in smallest.operations
    )
    yield from _scheduling(smallest)
    yield ""
    yield "what happened (of the whole plan, times from its start)"
    yield from (f"  {note.time:9.3f} {note.what} {note.text}" for note in outcome.notes[-NOTES_MAX:])
    yield ""
    for key in list(dict.fromkeys(violation.key for violation in outcome.violations if violation.key))[:STORIES_MAX]:
        yield f"the story of {key}"
        lines = list(story(outcome.records, key))
        yield from (f"  {line}" for line in lines[-STORY_LINES_MAX:])
        yield ""
    if outcome.records:
        yield f"the story of any other: ursa check {folder / RECORDING_FILE} --story KEY"
    name = "shrunk.json" if shrunk is not None else "plan.json"
    yield f"again: ursa simulate --plan {folder / name}"


def _scheduling(plan: Plan) -> Iterator[str]:
    """The plan has all of it, so whoever runs it again need not say it; but plugins must be found."""
    names = [str(profile.get("schedulerName", DEFAULT_SCHEDULER)) for profile in plan.scheduling.profiles]
    if names:
        yield f"scheduler profiles: {', '.join(names)}"
    if plan.scheduling.plugins:
        yield f"scheduler plugins, to be importable: {', '.join(plan.scheduling.plugins)}"


def _fault(fault: Fault) -> str:
    parts = [fault.kind, fault.target, fault.other, f"for {fault.seconds:g} s" if fault.seconds else ""]
    if fault.amount:
        parts.append(f"amount {fault.amount:g}")
    return " ".join(part for part in parts if part)


def _arguments(arguments: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in arguments.items())
