"""The density test: fill a cluster with pods at a rate, and see what it takes.

ReplicaSets are created on a schedule over the tenants of all tenant partitions in turn. The run is over when a watch
has shown all pods Running; everything is then counted again from fresh lists, the ledger of every resource partition
is checked revision by revision, and what the partitions had acknowledged is looked for.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import trio

from ...clients.nurseries import open_background
from ...clients.operations import create_operation
from ...proto.errors import InputError
from ...proto.quantities import CPU, MEMORY
from ..faults.rules import Names
from ..nodes import NodeOptions
from ..one_box import NODES_PER_PROCESS
from ..one_box import Topology as OneBoxTopology
from ..report.observations import Observations, Threshold, Topology
from .faults import Kill, LinkFault, disturb_when_due, kill_when_due
from .flags import require_delay, require_empty, require_new, require_positive, require_quantity
from .machine import describe_machine, describe_versions, steal_seconds
from .progress import Counts, Reporter
from .session import Session, open_session
from .verify import Findings, check_ledgers, verify
from .workload import PlannedSet, plan_sets, replica_set, replicas_per_set, tenants_of
from .writer import PacedWriter, lateness_figures

if TYPE_CHECKING:
    from .recorded import RecordedRun

COMMAND = "density"
# With a recording: statuses are written when they have been the same for a second, and the last ones are waited for.
SETTLE_SECONDS = 5.0
# After faults of links: each connects again within a second, and asks for what it missed within five.
HEAL_SECONDS = 15.0


@dataclass(frozen=True)
class DensityOptions:
    """What to run. `qps` is pods a second, over all partitions.

    Raises:
        InputError: a value that cannot be.
    """

    tenant_partitions: int = 2
    resource_partitions: int = 2
    nodes: int = 100
    pods_per_node: int = 30
    qps: float = 100.0
    tenants_per_partition: int = 4
    pods_per_set: int = 0  # 0: as suits the rate
    pod_cpu: str = "100m"
    pod_memory: str = "200Mi"
    node: NodeOptions = field(default_factory=NodeOptions)
    start_delay_seconds: float | tuple[float, float] = 0.0
    idle_seconds: float = 0.0
    timeout_seconds: float = 600.0
    kills: Sequence[Kill] = ()
    faults: Sequence[LinkFault] = ()
    thresholds: Sequence[Threshold] = ()
    seed: int = 0
    data_dir: Path | None = None
    processes: bool = True
    check: bool = False
    scheduler_config: Path | None = None
    scheduler_plugins: Sequence[str] = ()
    record: Path | None = None  # Where the recording is kept; it is checked, too.

    def __post_init__(self) -> None:
        for flag, value in (
            ("--tenant-partitions", self.tenant_partitions),
            ("--resource-partitions", self.resource_partitions),
            ("--nodes", self.nodes),
            ("--pods-per-node", self.pods_per_node),
            ("--qps", self.qps),
            ("--tenants-per-partition", self.tenants_per_partition),
            ("--node-pods", self.node.pods),
            ("--timeout", self.timeout_seconds),
        ):
            require_positive(flag, value)
        require_quantity("--pod-cpu", self.pod_cpu)
        require_quantity("--pod-memory", self.pod_memory)
        require_empty(self.data_dir)
        require_new(self.record)
        require_delay(self.start_delay_seconds)
        for kill in self.kills:
            self._require_process(kill.name)
        for each in self.faults:
            self._names.links(each.fault.source, each.fault.target)

    def _require_process(self, name: str) -> None:
        """Only names that every such cluster has; hollow nodes share processes as it suits."""
        topology = OneBoxTopology(self.tenant_partitions, self.resource_partitions)
        partitions = [*topology.tenant_names, *topology.resource_names]
        known = [*partitions, *(f"scheduler-{partition}" for partition in topology.tenant_names)]
        known += [f"controller-manager-{partition}" for partition in partitions]
        if name not in known:
            raise InputError(f"--kill: {name} is no process of this cluster; there are {', '.join(known)}")

    @property
    def _names(self) -> Names:
        """Of what its cluster will consist of."""
        topology = OneBoxTopology(self.tenant_partitions, self.resource_partitions)
        homes = [*topology.tenant_names, *topology.resource_names]
        components = [f"scheduler-{home}" for home in topology.tenant_names]
        components += [f"controller-manager-{home}" for home in homes]
        hosts = math.ceil(math.ceil(self.nodes / self.resource_partitions) / NODES_PER_PROCESS)
        numbers = [f"-{number}" for number in range(1, hosts + 1)] if self.processes else [""]
        components += [f"hollow-nodes-{home}{number}" for home in topology.resource_names for number in numbers]
        return Names(components, homes)

    @property
    def pods(self) -> int:
        return self.nodes * self.pods_per_node

    @property
    def replicas(self) -> int:
        return self.pods_per_set or replicas_per_set(self.qps)

    def parameters(self) -> dict[str, Any]:
        return {
            "podsPerNode": self.pods_per_node,
            "qps": self.qps,
            "tenantsPerPartition": self.tenants_per_partition,
            "podsPerReplicaSet": self.replicas,
            "podRequests": {"cpu": self.pod_cpu, "memory": self.pod_memory},
            "node": {"cpu": self.node.cpu, "memory": self.node.memory, "pods": self.node.pods},
            "startDelaySeconds": self.start_delay_seconds,
            "timeoutSeconds": self.timeout_seconds,
            "kill": [f"{kill.name}@{kill.percent}%" for kill in self.kills],
            "fault": [each.text for each in self.faults],
            "thresholds": [str(threshold) for threshold in self.thresholds],
            "seed": self.seed,
            "processes": self.processes,
            "check": self.check or self.record is not None,
        }


@dataclass
class _Load:
    """What the load phase leaves behind."""

    start_ms: int
    end_ms: int = 0
    complete: bool = False
    acknowledged: list[str] = field(default_factory=list)  # uids of ReplicaSets
    late_ms: list[float] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)


async def run_density(options: DensityOptions, reporter: Reporter) -> Observations:
    """Start a cluster, fill it, look, and stop it.

    Raises:
        UrsaError: the cluster did not start, or a partition refused what was asked of it.
    """
    if not (options.check or options.record):
        return await _run(options, reporter, None)
    from .recorded import RecordedRun

    run = RecordedRun(options.record)
    if options.data_dir is not None or not options.processes:
        return await _run(options, reporter, run)
    with TemporaryDirectory(prefix="ursa-") as folder:  # The logs are read when the cluster is gone.
        return await _run(replace(options, data_dir=Path(folder) / "data"), reporter, run)


async def _run(options: DensityOptions, reporter: Reporter, run: RecordedRun | None) -> Observations:
    from ..cluster import Cluster

    steal_at_start = steal_seconds()
    began = trio.current_time()
    reporter.say(
        f"starting {options.tenant_partitions} tenant and {options.resource_partitions} resource partitions "
        f"with {options.nodes} nodes"
    )
    async with (
        Cluster(
            tenant_partitions=options.tenant_partitions,
            resource_partitions=options.resource_partitions,
            nodes=options.nodes,
            node_options=options.node,
            processes=options.processes,
            data_dir=options.data_dir,
            seed=options.seed,
            start_delay_seconds=options.start_delay_seconds,
            recorder=None if run is None else run.recorder,
            scheduler_config=options.scheduler_config,
            scheduler_plugins=options.scheduler_plugins,
        ) as cluster,
        open_session(cluster, COMMAND) as session,
    ):
        reporter.say(f"all nodes are Ready after {trio.current_time() - began:.1f} s; creating {options.pods} pods")
        tenants = tenants_of(list(session.clients.tenant_clients), options.tenants_per_partition)
        await session.create_tenants((place.tenant, place.partition) for place in tenants)
        idle_cores = await session.measure_idle(options.idle_seconds) if options.idle_seconds else None
        plan = plan_sets(tenants, options.pods, options.qps, options.replicas)
        load = await _fill(session, options, plan, reporter)
        if options.faults:
            await cluster.faults.heal()
            await trio.sleep(HEAL_SECONDS)
        findings = await _look(session, options, load)
        if run is not None:
            await trio.sleep(SETTLE_SECONDS)
        ended_ms = session.now_ms()
        partitions = [*session.clients.tenant_clients, *session.clients.resource_clients]
    details = _details(load, findings, idle_cores)
    if run is not None:
        reporter.say("checking what was recorded")
        if options.processes and options.data_dir is not None:
            run.read_logs(options.data_dir, partitions)
        details["promises"] = run.finish(findings, healed=load.complete)
        details["notes"] |= findings.notes
    seconds = trio.current_time() - began
    return Observations(
        command=COMMAND,
        run_id=secrets.token_hex(3),
        started_ms=ended_ms - round(seconds * 1000),
        ended_ms=ended_ms,
        load_start_ms=load.start_ms,
        load_end_ms=load.end_ms,
        topology=Topology(options.tenant_partitions, options.resource_partitions, options.nodes),
        pods=findings.pods,
        placements=findings.placements,
        machine=describe_machine(steal_at_start),
        timeline=session.observer.timeline,
        usage=session.samples,
        parameters=options.parameters(),
        versions=describe_versions(),
        thresholds=options.thresholds,
        problems=findings.problems,
        timed_out=_timed_out(options, load, findings),
        details=details,
    )


async def _fill(session: Session, options: DensityOptions, plan: Sequence[PlannedSet], reporter: Reporter) -> _Load:
    """Create everything, and wait until all pods run or the time is up."""
    observer, total = session.observer, options.pods
    requests = {CPU: options.pod_cpu, MEMORY: options.pod_memory}

    def counts() -> Counts:
        return Counts(observer.created, observer.bound, observer.running, observer.waiting, total)

    load = _Load(session.sample().at_ms)
    writers = [
        PacedWriter(
            tenant_client,
            [planned for planned in plan if planned.place.partition == partition],
            lambda planned: planned.due_seconds,
            lambda planned: create_operation(replica_set(planned, requests)),
            lambda _, result: load.acknowledged.append(result.uid),
        )
        for partition, tenant_client in session.clients.tenant_clients.items()
    ]
    start = trio.current_time()
    with trio.move_on_after(options.timeout_seconds):
        async with open_background() as nursery:
            nursery.start_soon(reporter.show, counts)
            for kill in options.kills:
                nursery.start_soon(kill_when_due, session, kill, total, load.start_ms, load.faults)
            for fault in options.faults:
                nursery.start_soon(disturb_when_due, session, fault, total, load.start_ms, load.faults)
            for writer in writers:
                nursery.start_soon(writer.run, start)
            await observer.wait_running(total)
            load.complete = True
    load.end_ms = session.sample().at_ms
    load.late_ms = [late for writer in writers for late in writer.late_ms]
    return load


async def _look(session: Session, options: DensityOptions, load: _Load) -> Findings:
    findings = await verify(session, options.pods, [*load.acknowledged, *session.observer.present])
    await check_ledgers(session, findings)
    if load.complete and findings.pods.running < options.pods:
        findings.problems.append(
            f"a fresh list shows {findings.pods.running} pods Running where the watches had shown all {options.pods}"
        )
    if load.complete and findings.pods.created != options.pods:
        findings.problems.append(f"{findings.pods.created} pods exist where {options.pods} were asked for")
    return findings


def _timed_out(options: DensityOptions, load: _Load, findings: Findings) -> str:
    if load.complete:
        return ""
    waiting = options.pods - findings.pods.running
    return f"{waiting} of {options.pods} pods were not Running after {options.timeout_seconds:g} s"


def _details(load: _Load, findings: Findings, idle_cores: float | None) -> dict[str, Any]:
    lateness = lateness_figures(load.late_ms)
    notes = {"generator": f"late by p99 {lateness['p99']:.1f} ms, max {lateness['max']:.1f} ms", **findings.notes}
    details: dict[str, Any] = {
        "generator": {"replicaSets": len(load.late_ms), "latenessMilliseconds": lateness},
        "durability": findings.durability,
        "ledger": findings.ledger,
    }
    if idle_cores is not None:
        details["idle"] = {"cpuCores": round(idle_cores, 4)}
        notes["idle cluster"] = f"{idle_cores * 1000:.0f} ms of CPU a second over all processes"
    if load.faults:
        details["faults"] = load.faults
        notes["faults"] = ", ".join("{fault} {process} at {atSeconds} s".format_map(fault) for fault in load.faults)
    return {**details, "notes": notes}
