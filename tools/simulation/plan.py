"""What happens in a run, as data: it can be printed, stored, changed by hand, shrunk, and run again.

Times are seconds of the run's own clock, from the moment at which the cluster is ready.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from ...proto.errors import InputError
from ...proto.kinds import SYSTEM_TENANT
from ..components import replica_names
from ..nodes import NodeOptions, make_nodes

FORMAT = "ursa-plan/1"

# What an operation does. Arguments stand behind each; `workload.py` carries them out. Each may say `partition`, of a
# tenant whose name does not tell where it is.
VERBS = (
    "put",  # tenant, name, value: a ConfigMap, created or updated
    "overwrite",  # tenant, name, value: the same, whatever it was; this may not happen twice
    "remove",  # tenant, name: a ConfigMap
    "read",  # tenant, name, match: "" (consistent), "any"
    "list",  # tenant, match, limit
    "scale",  # tenant, name, replicas, cpu: a ReplicaSet, created if it is not there
    "deploy",  # tenant, name, replicas, image, cpu: a Deployment, created or changed
    "stateful",  # tenant, name, replicas, image, parallel: a StatefulSet, created or changed
    "daemon",  # tenant (system), name, partition, image, cpu: a DaemonSet of a resource partition, created or changed
    "delete-workload",  # tenant, name, kind, propagation ("": the kind's own)
    "pod",  # tenant, name, cpu, run_seconds: a pod of nobody's; run_seconds 0: it runs for ever
    "job",  # tenant, name, cpu, run_seconds, completions, parallelism: a Job
    "delete-pod",  # tenant, name, grace (-1: its own)
    "delete-some-pods",  # tenant, count: of those that a list of any age shows
    "replace-pod",  # tenant, name, cpu: the pod of this name goes at once, and another takes its name
    "evict-some-pods",  # tenant, count: as far as their budgets allow
    "move",  # tenant, to: the partition, to which the tenant moves, or goes on moving
    "budget",  # tenant, name, app, max_unavailable: a PodDisruptionBudget, created or changed
    "service",  # tenant, name, app: a Service for the pods with this label
    "delete-service",  # tenant, name
)

# What goes wrong. `target` and `other` name parts; each is over after `seconds`.
FAULTS = (
    "crash",  # target: a partition or a component dies, and starts again
    "crash-at",  # target: a partition dies at the failpoint `other`
    "cut",  # target, other: a component's link to a partition is lost; "*": all of them
    "silence",  # target, other: nothing arrives either way, and nobody is told
    "silence-requests",  # target, other: one way
    "silence-replies",
    "delay",  # target, other: messages take up to `amount` seconds
    "freeze",  # target, other: its reads are answered by an apiserver whose watch cache stands still
    "pause",  # target: a component hears and says nothing; its own time passes
    "sleep",  # target: a component stands still; what it had on its way goes on when it wakes up
    "slow-disk",  # target: a partition's commits take up to `amount` seconds
    "full",  # target: a partition has `amount` bytes left
    "compact",  # target: a partition forgets its history, at once
    "restore",  # target: a partition is set back to what it was `amount` seconds before, as another incarnation
    "node-off",  # target: a node's machine is off; after `amount` seconds, if above 0, the Node is deregistered
    "deregister",  # target: a node's provider deletes its Node, though its machine runs
    "drain",  # target: nothing new is placed on a resource partition
    "remove",  # target: a resource partition is lost for good, and after `seconds` taken out of the registry
    "half-open",  # target, other: what is under way on the link is dead for good, and only a keepalive tells
    "clock-jump",  # target: its wall clock jumps by `amount` seconds, for good
)


class Topology(NamedTuple):
    """`replicas`: of each scheduler and controller manager; several elect the one that works."""

    tenant_partitions: int = 2
    resource_partitions: int = 2
    nodes: int = 10
    replicas: int = 1

    @property
    def tenant_names(self) -> tuple[str, ...]:
        return tuple(f"tp-{number}" for number in range(1, self.tenant_partitions + 1))

    @property
    def resource_names(self) -> tuple[str, ...]:
        return tuple(f"rp-{number}" for number in range(1, self.resource_partitions + 1))

    @property
    def components(self) -> tuple[str, ...]:
        """The cluster's own, without users."""
        by_home = (
            (self.tenant_names, ("scheduler", "controller-manager")),
            (self.resource_names, ("hollow-nodes", "controller-manager")),
        )
        return (*(f"{what}-{home}" for homes, parts in by_home for home in homes for what in parts), *self.standbys)

    @property
    def standbys(self) -> tuple[str, ...]:
        """The replicas beside the first of each."""
        homes = (*self.tenant_names, *self.resource_names)
        elected = [f"scheduler-{home}" for home in self.tenant_names]
        elected += [f"controller-manager-{home}" for home in homes]
        return tuple(replica for name in elected for replica in replica_names(name, self.replicas)[1:])

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(node.name for node in make_nodes(self.nodes, NodeOptions()))


class Scheduling(NamedTuple):
    """Of all schedulers: `profiles` as in a KubeSchedulerConfiguration, and a user's own `plugins`, as `module:Class`.
    Empty: what Kubernetes has by default."""

    profiles: tuple[Mapping[str, Any], ...] = ()
    plugins: tuple[str, ...] = ()


class Operation(NamedTuple):
    """Something that a user does. `user`: which of them, each waits for his own answers."""

    at: float
    user: str
    verb: str
    arguments: Mapping[str, Any] = {}


class Fault(NamedTuple):
    at: float
    kind: str
    target: str
    other: str = ""
    seconds: float = 0.0
    amount: float = 0.0


@dataclass(frozen=True)
class Knobs:
    """How fast and how patient everything is. Pairs are bounds between which each use draws."""

    latency_seconds: tuple[float, float] = (0.0005, 0.005)
    disk_seconds: tuple[float, float] = (0.0005, 0.005)
    commits_per_second: float = 100.0
    start_delay_seconds: tuple[float, float] = (0.0, 1.0)
    stop_delay_seconds: tuple[float, float] = (0.0, 1.0)
    node_cpu: str = "4"
    node_pods: int = 110
    node_gpus: int = 0

    def with_(self, **changes: Any) -> Self:
        return replace(self, **changes)


@dataclass(frozen=True)
class Plan:
    """`seconds` of operations and faults; then everything is healed, and must converge within `converge_seconds`.

    `about`: of a plan that is kept, the bug that it has found.
    """

    seed: int
    topology: Topology = field(default_factory=Topology)
    seconds: float = 300.0
    converge_seconds: float = 240.0
    knobs: Knobs = field(default_factory=Knobs)
    operations: tuple[Operation, ...] = ()
    faults: tuple[Fault, ...] = ()
    about: str = ""
    scheduling: Scheduling = field(default_factory=Scheduling)

    @property
    def changes_registry(self) -> bool:
        """Whether partitions go, or are drained: then everybody follows the registry."""
        return any(fault.kind in ("drain", "remove") for fault in self.faults)

    @property
    def tenants(self) -> tuple[str, ...]:
        """Those that operations speak of, but for the one that every partition has."""
        named = dict.fromkeys(each.arguments["tenant"] for each in self.operations)
        return tuple(sorted(each for each in named if each != SYSTEM_TENANT))

    def with_(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def to_json(self) -> str:
        data = asdict(self)
        data["topology"] = self.topology._asdict()
        data["scheduling"] = self.scheduling._asdict()
        data["operations"] = [{**each._asdict(), "arguments": dict(each.arguments)} for each in self.operations]
        data["faults"] = [each._asdict() for each in self.faults]
        return json.dumps({"format": FORMAT, **data}, indent=1)

    @classmethod
    def from_json(cls, text: str, *, file: str = "") -> Self:
        """Raises InputError: this is no plan; the message says why."""
        try:
            data = json.loads(text)
            if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            knobs: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in data["knobs"].items()
            }
            known = [each.name for each in fields(cls)]
            if unknown := [name for name in data if name not in known]:
                raise ValueError(f"it has unknown fields: {', '.join(unknown)}")
            data |= {
                "topology": Topology(**data["topology"]),
                "knobs": Knobs(**knobs),
                "operations": tuple(Operation(**each) for each in data.get("operations", ())),
                "faults": tuple(Fault(**each) for each in data.get("faults", ())),
                "scheduling": Scheduling(**{name: tuple(each) for name, each in data.get("scheduling", {}).items()}),
            }
            plan = cls(**data)
            plan.check()
            return plan
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"this is no plan: {error}", file=file) from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises InputError: the file cannot be read, or is no plan."""
        try:
            return cls.from_json(path.read_text(), file=str(path))
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from None

    def check(self) -> None:
        """Raises ValueError: it speaks of what there is not."""
        for operation in self.operations:
            if operation.verb not in VERBS:
                raise ValueError(f"there is no operation {operation.verb!r}; there are {', '.join(VERBS)}")
        for fault in self.faults:
            if fault.kind not in FAULTS:
                raise ValueError(f"there is no fault {fault.kind!r}; there are {', '.join(FAULTS)}")
