"""`ursa replay`: a cluster of the trace's nodes, the replay (replay_load.py), and the look at what it left."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trio

from ...clients.nurseries import open_background, run_all
from ...clients.placements import placed_requests
from ..report.observations import Observations, PodCounts, Topology
from ..typical_pods import config_with_typical
from .flags import require_delay, require_empty, require_not_negative, require_positive
from .ledger import LedgerWatch
from .machine import describe_machine, describe_versions, steal_seconds
from .progress import Reporter
from .replay_load import Judgement, Replay, judge
from .session import Session, open_session
from .survey import take_survey
from .trace import TraceNode, TracePod
from .trace_plan import TracePlan, node_object, plan_trace, pod_object
from .verify import Findings, check_ledgers, examples, verify
from .writer import lateness_figures

COMMAND = "replay"

# A pod is given as long to start as Kubernetes' own objective allows it.
LEAST_LIFE_SECONDS = 5.0
# After the last step: for the last pods to stop, and their placements to be released.
SETTLE_SECONDS_MAX = 60.0
SETTLE_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class ReplayOptions:
    """What to replay, and how fast.

    Raises:
        InputError: a value that cannot be.
    """

    nodes_path: Path
    pods_path: Path
    speed: float = 1.0
    tenant_partitions: int = 2
    resource_partitions: int = 2
    least_life_seconds: float = LEAST_LIFE_SECONDS
    start_delay_seconds: float | tuple[float, float] = 0.0
    seed: int = 0
    data_dir: Path | None = None
    processes: bool = True
    scheduler_config: Path | None = None
    scheduler_plugins: Sequence[str] = ()

    def __post_init__(self) -> None:
        for flag, value in (
            ("--tenant-partitions", self.tenant_partitions),
            ("--resource-partitions", self.resource_partitions),
            ("--speed", self.speed),
        ):
            require_positive(flag, value)
        require_not_negative("--least-life", self.least_life_seconds)
        require_empty(self.data_dir)
        require_delay(self.start_delay_seconds)

    def parameters(self) -> dict[str, Any]:
        return {
            "nodes": self.nodes_path.name,
            "pods": self.pods_path.name,
            "speed": self.speed,
            "leastLifeSeconds": self.least_life_seconds,
            "startDelaySeconds": self.start_delay_seconds,
            "seed": self.seed,
            "processes": self.processes,
            "schedulerConfig": self.scheduler_config.name if self.scheduler_config is not None else "",
        }


async def run_replay(
    options: ReplayOptions, nodes: Sequence[TraceNode], pods: Sequence[TracePod], reporter: Reporter
) -> Observations:
    """Start a cluster of the trace's nodes, replay its pods, and stop the cluster. Profiles that need to know what pods
    typically ask for, and do not say, are told by the trace.

    Raises:
        UrsaError: the cluster did not start, or a partition refused what was asked of it.
    """
    requests = [placed_requests(pod_object(pod).spec) for pod in pods]
    with config_with_typical(options.scheduler_config, requests) as config:
        return await _run_replay(replace(options, scheduler_config=config), nodes, pods, reporter)


async def _run_replay(
    options: ReplayOptions, nodes: Sequence[TraceNode], pods: Sequence[TracePod], reporter: Reporter
) -> Observations:
    from ..cluster import Cluster

    steal_at_start = steal_seconds()
    began = trio.current_time()
    reporter.say(f"starting a cluster of {len(nodes)} nodes for {len(pods)} pods")
    async with (
        Cluster(
            tenant_partitions=options.tenant_partitions,
            resource_partitions=options.resource_partitions,
            node_objects=[node_object(node) for node in nodes],
            processes=options.processes,
            data_dir=options.data_dir,
            seed=options.seed,
            start_delay_seconds=options.start_delay_seconds,
            scheduler_config=options.scheduler_config,
            scheduler_plugins=options.scheduler_plugins,
        ) as cluster,
        open_session(cluster, COMMAND) as session,
        open_background() as nursery,
    ):
        tenant_partitions = list(session.clients.tenant_clients)
        plan = plan_trace(nodes, pods, tenant_partitions, options.speed, options.least_life_seconds)
        ledgers = [LedgerWatch(resource_client) for resource_client in session.clients.resource_clients.values()]
        for ledger in ledgers:
            nursery.start_soon(ledger.run)
        await run_all([ledger.wait_synced for ledger in ledgers])
        await session.create_tenants(plan.partitions.items())
        reporter.say(
            f"all nodes are Ready after {trio.current_time() - began:.1f} s; "
            f"replaying {plan.duration_seconds:.0f} s at {options.speed:g} times the speed of the trace"
        )
        replayed = Replay(session, plan)
        await replayed.run(reporter)
        survivors = sum(pod.deletion_seconds is None for pod in pods)
        await _settle(session, survivors)
        findings = await verify(session, len(pods), list(replayed.outcome.acknowledged))
        await check_ledgers(session, findings, ledgers)
        ended_ms = session.now_ms()
    seconds = trio.current_time() - began
    judgement = judge(plan, replayed.outcome)
    findings.problems += examples(judgement.late, "pods were late")
    findings.problems += _left_behind(findings, survivors) if replayed.complete else []
    return Observations(
        command=COMMAND,
        run_id=secrets.token_hex(3),
        started_ms=ended_ms - round(seconds * 1000),
        ended_ms=ended_ms,
        load_start_ms=replayed.start_ms,
        load_end_ms=replayed.end_ms,
        topology=Topology(options.tenant_partitions, options.resource_partitions, len(nodes)),
        pods=_counts(session, findings, judgement, len(pods)),
        placements=findings.placements,
        machine=describe_machine(steal_at_start),
        timeline=session.observer.timeline,
        usage=session.samples,
        parameters=options.parameters(),
        versions=describe_versions(),
        problems=findings.problems,
        timed_out="" if replayed.complete else "the partitions could not keep up with the trace; lower --speed",
        details=_details(plan, replayed, findings, judgement, options.least_life_seconds),
    )


async def _settle(session: Session, survivors: int) -> None:
    """Wait, with a bound, until the deleted pods and their placements are gone; what is left then is told later."""
    with trio.move_on_after(SETTLE_SECONDS_MAX):
        while True:
            survey = await take_survey(session.clients)
            if len(survey.pods) <= survivors and len(survey.placements) <= survivors:
                return
            await trio.sleep(SETTLE_POLL_SECONDS)


def _left_behind(findings: Findings, survivors: int) -> list[str]:
    """What is there at the end and should not be."""
    problems = []
    if (pods := len(findings.survey.pods)) > survivors:
        problems.append(f"{pods - survivors} deleted pods are still there {SETTLE_SECONDS_MAX:.0f} s after the end")
    bound = findings.pods.bound
    if (placements := len(findings.survey.placements)) > bound:
        problems.append(f"{placements - bound} placements of deleted pods were not released")
    return problems


def _counts(session: Session, findings: Findings, judgement: Judgement, requested: int) -> PodCounts:
    timeline = session.observer.timeline
    return PodCounts(
        requested=requested,
        created=len(timeline.created_ms),
        bound=int((timeline.bound_ms > 0).sum()),
        running=int((timeline.running_ms > 0).sum()),
        failed=findings.pods.failed,
        unschedulable=len(judgement.never) + len(judgement.waited_seconds),
    )


def _details(
    plan: TracePlan, replayed: Replay, findings: Findings, judgement: Judgement, least_life_seconds: float
) -> dict[str, Any]:
    late_ms = [late for writer in replayed.writers for late in writer.late_ms]
    lateness = lateness_figures(late_ms)
    total, never = len(plan.pods), len(judgement.never)
    ran = total - len(replayed.outcome.not_running)
    waited = judgement.waited_seconds
    notes = {
        "trace": f"{ran:,} of the {total - never:,} pods that fit were Running at their time",
        "never fit": f"{never:,} pods" + (f": {judgement.never[0]['reason']}" if never else ""),
        "no room": f"{len(waited):,} pods found none in their time",
        "lives": f"{plan.lengthened:,} of {total:,} would be shorter than {least_life_seconds:g} s: lengthened to that",
        "generator": f"late by p99 {lateness['p99']:.1f} ms, max {lateness['max']:.1f} ms",
        **findings.notes,
    }
    trace = {
        "tenants": dict(plan.partitions),
        "seconds": plan.duration_seconds,
        "runningAtTheirTime": ran,
        "late": judgement.late,
        "neverFit": judgement.never,
        "waitedForRoomSeconds": waited,
        "livesLengthened": plan.lengthened,
    }
    return {
        "trace": trace,
        "generator": {"writes": len(late_ms), "latenessMilliseconds": lateness},
        "durability": findings.durability,
        "ledger": findings.ledger,
        "notes": notes,
    }
