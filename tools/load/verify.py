"""After the load: what the partitions say, held against what was promised.

Everything here is read afresh: the lists, the history of the ledgers, the schedulers' counters. The watches of the run
only contribute the uids that were acknowledged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from ...clients.nurseries import open_background, run_all
from ...proto.errors import UrsaError
from ..report.observations import PlacementCounts, PodCounts
from .checks import missing
from .ledger import LedgerWatch
from .scrape import placements_by_result
from .session import Session
from .survey import Survey, take_survey

# Lists of all objects and the history of a run take seconds; a partition that needs longer does not answer.
SURVEY_SECONDS_MAX = 120.0
LEDGER_SECONDS_MAX = 60.0

# So many examples of a broken promise are named; the report has the count.
EXAMPLES_MAX = 5


@dataclass
class Findings:
    """What was found. `problems` are broken promises, each one line."""

    survey: Survey
    pods: PodCounts
    placements: PlacementCounts
    problems: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    durability: dict[str, int] = field(default_factory=dict)
    ledger: dict[str, Any] = field(default_factory=dict)


async def verify(session: Session, requested: int, acknowledged: Sequence[str]) -> Findings:
    """Take fresh lists and count from them. `acknowledged` are uids of pods and ReplicaSets.

    Raises:
        UrsaError: a partition or a scheduler does not answer.
    """
    survey, attempts = await _bounded(session)
    findings = Findings(survey, survey.pod_counts(requested), survey.placement_counts(attempts))
    findings.problems += examples([str(found) for found in survey.overcommitments()], "nodes are over-committed")
    lost = missing(acknowledged, [*survey.pods, *survey.replica_sets])
    findings.durability = {"acknowledged": len(acknowledged), "lost": len(lost)}
    if acknowledged:
        findings.notes["durability"] = f"{len(acknowledged):,} objects acknowledged, {len(lost):,} lost"
    if lost:
        findings.problems.append(
            f"{len(lost)} objects that were acknowledged are gone, among them uid {', '.join(lost[:EXAMPLES_MAX])}"
        )
    return findings


async def _bounded(session: Session) -> tuple[Survey, dict[str, int]]:
    with trio.move_on_after(SURVEY_SECONDS_MAX):
        return await take_survey(session.clients), await placements_tried(session)
    raise UrsaError(f"no complete list of all partitions within {SURVEY_SECONDS_MAX:.0f} s")


async def placements_tried(session: Session) -> dict[str, int]:
    """The schedulers' counts, by result. A scheduler that was killed has lost those of its earlier life."""
    processes = session.cluster.processes.values()
    addresses = [each.metrics for each in processes if each.component == "scheduler" and each.metrics]
    return await placements_by_result(addresses)


async def check_ledgers(session: Session, findings: Findings, watches: Sequence[LedgerWatch] = ()) -> None:
    """Check every revision of every resource partition, up to the one that was listed.

    `watches` have seen it live; without them it is read from the partitions' history.
    """
    async with open_background() as nursery:
        if not watches:
            resource_clients = session.clients.resource_clients.values()
            watches = [LedgerWatch(resource_client, behind_revision=1) for resource_client in resource_clients]
            for watch in watches:
                nursery.start_soon(watch.run)
        with trio.move_on_after(LEDGER_SECONDS_MAX) as scope:
            revisions = findings.survey.revisions
            await run_all([partial(watch.check_up_to, revisions[watch.check.partition]) for watch in watches])
    checks = [watch.check for watch in watches]
    violations = [str(violation) for check in checks for violation in check.violations]
    gaps = sum(check.gaps for check in checks)
    findings.problems += examples(violations, "times a node was over-committed")
    findings.ledger = {
        "revisions": {check.partition: check.revision for check in checks},
        "placementsChecked": sum(check.placements_seen for check in checks),
        "violations": len(violations),
        "gaps": gaps,
    }
    seen = f"{findings.ledger['placementsChecked']:,} placements checked at every revision"
    if scope.cancelled_caught or gaps:
        seen += ", but part of the history was no longer at hand"
    findings.notes["ledger"] = seen


def examples(found: Sequence[str], what: str) -> list[str]:
    """At most so many lines, and one that counts the rest."""
    hidden = len(found) - EXAMPLES_MAX
    return [*found[:EXAMPLES_MAX], *([f"and {hidden} more {what}"] if hidden > 0 else [])]
