"""Plans drawn from seeds. Each seed is another kind of day: what can go wrong, and how often, is drawn first.

After FoundationDB's buggify and TigerBeetle's swarm: of all kinds of faults a run has a few, and of those many; runs in
which everything goes wrong a little would all be alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from ...storage.failpoints import NAMES as FAILPOINTS
from .gpus import with_gpus
from .plan import Fault, Knobs, Operation, Plan, Scheduling, Topology
from .services import with_services
from .widening import EXTRA_KINDS, EXTRA_WORKLOADS, LAST_START, draw_extra_fault, draw_extra_operation, widened
from .workload import tenant_names

# Failpoints that a partition comes by in an ordinary life.
_LIVE_FAILPOINTS = tuple(name for name in FAILPOINTS if name.startswith(("commit-", "sweep-")))


@dataclass(frozen=True)
class Swarm:
    """Bounds of what is drawn. `workload`, `faults`: kinds to draw from; None: all of them, and `widening.py` besides.

    `node_cpu`: one of these each node has; `node_pods`: so many pods it takes. `scheduling`: of all plans.
    """

    topology: Topology = field(default_factory=partial(Topology, 2, 2, 6))
    seconds: float = 60.0
    operations_a_second: tuple[float, float] = (0.5, 3.0)
    faults_a_minute: tuple[float, float] = (1.0, 10.0)
    workload: Sequence[str] | None = None
    faults: Sequence[str] | None = None
    node_cpu: Sequence[str] = ("2", "4", "16")
    node_pods: int = 110
    scheduling: Scheduling = field(default_factory=Scheduling)


# Kinds of users. Each user is of one kind.
_WORKLOADS = ("registers", "workloads", "pods")
WORKLOADS = (*_WORKLOADS, *EXTRA_WORKLOADS, "moves")
_KINDS = (
    "crash",
    "crash-at",
    "cut",
    "silence",
    "silence-requests",
    "silence-replies",
    "delay",
    "pause",
    "slow-disk",
    "full",
    "compact",
    "restore",
    "clock-jump",
    "freeze",
    "sleep",
)
# Of these a stream of its own draws, for some seeds: what a seed draws of the others stays as it was.
# What happens to whole partitions and their nodes.
PARTITION_KINDS = ("deregister", "drain", "remove")
_APART = ("freeze", "sleep", *PARTITION_KINDS)
_APART_CHANCE = 0.3
# So many seeds have two replicas of each scheduler and controller manager, unless a swarm says of what it draws.
REPLICAS_CHANCE = 0.15
# How long a leader sleeps that is to miss that it was deposed, and one that is to be in time.
SLEEP_SECONDS = ((12.0, 30.0), (1.0, 10.0))
# So many seeds have tenants that move.
MOVES_CHANCE = 0.25
# Between two sleeps of one: it hears that it is connected.
AWAKE_SECONDS = 5.0
KINDS = (*_KINDS, *PARTITION_KINDS, *EXTRA_KINDS)
# It takes minutes until the names of lost pods are free. So only a swarm that asks for these faults draws them.
LOST_CONVERGE_SECONDS = 700.0


def draw_plan(seed: int, swarm: Swarm = Swarm()) -> Plan:
    """The plan of a seed, within these bounds."""
    random = Random(f"{seed}/plan")
    topology = swarm.topology
    knobs = _draw_knobs(random, swarm)
    operations = _draw_operations(random, swarm)
    users = list(dict.fromkeys(operation.user for operation in operations))
    faults = _draw_faults(random, swarm, users) + _draw_freezes(Random(f"{seed}/plan/freeze"), swarm, users)
    apart = Random(f"{seed}/plan/replicas")
    if swarm.workload is None and swarm.faults is None and apart.random() < REPLICAS_CHANCE:
        topology = topology._replace(replicas=max(2, topology.replicas))
    faults += _draw_sleeps(apart, topology, swarm)
    faults += _draw_partition_faults(Random(f"{seed}/plan/partitions"), swarm)
    faults = tuple(sorted(faults, key=lambda fault: fault.at))
    plan = Plan(seed, topology, swarm.seconds, knobs=knobs, operations=operations, faults=faults)
    plan = plan.with_(scheduling=swarm.scheduling)
    if any(fault.kind == "remove" for fault in faults):
        plan = plan.with_(converge_seconds=LOST_CONVERGE_SECONDS)
    if swarm.workload is None or "moves" in swarm.workload:
        plan = _with_moves(Random(f"{seed}/plan/moves"), plan, always=swarm.workload is not None)
    plan = widened(plan, operations=swarm.workload is None, faults=swarm.faults is None)
    return with_gpus(with_services(plan)) if swarm.workload is None else plan


def _draw_knobs(random: Random, swarm: Swarm) -> Knobs:
    latency = random.choice(((0.0, 0.0), (0.0002, 0.002), (0.001, 0.02), (0.005, 0.2)))
    disk = random.choice(((0.0, 0.0), (0.0005, 0.005), (0.005, 0.05), (0.01, 0.3)))
    start = random.choice(((0.0, 0.0), (0.0, 1.0), (0.5, 8.0)))
    stop = random.choice(((0.0, 0.0), (0.0, 1.0), (1.0, 10.0)))
    commits = random.choice((20.0, 100.0, 1000.0))
    cpu = random.choice(swarm.node_cpu)
    return Knobs(latency, disk, commits, start, stop, cpu, swarm.node_pods)


# ------------------------------------------------------------------------------------------------------- operations


def _draw_operations(random: Random, swarm: Swarm) -> tuple[Operation, ...]:
    kinds = [kind for kind in swarm.workload or _WORKLOADS if kind != "moves"] or list(_WORKLOADS)
    chosen = random.sample(kinds, random.randint(1, len(kinds)))
    count = round(swarm.seconds * random.uniform(*swarm.operations_a_second))
    users = [f"user-{number}" for number in range(1, random.randint(2, 5))]
    kind_of = {user: chosen[number % len(chosen)] for number, user in enumerate(users)}
    tenants = tenant_names(swarm.topology)
    times = sorted(random.uniform(0.0, swarm.seconds * LAST_START) for _ in range(count))
    drawn = []
    for number, at in enumerate(times):
        user = random.choice(users)
        kind = kind_of[user]
        verb, arguments = _DRAW[kind](random, number) if kind in _DRAW else draw_extra_operation(random, kind)
        drawn.append(Operation(round(at, 3), user, verb, {"tenant": random.choice(tenants), **arguments}))
    return tuple(drawn)


def _with_moves(random: Random, plan: Plan, *, always: bool) -> Plan:
    """Some seeds have tenants that move to and fro while all goes on; what else these do is drawn as before."""
    partitions = plan.topology.tenant_names
    if len(partitions) < 2 or not (always or random.random() < MOVES_CHANCE):
        return plan
    tenants = tenant_names(plan.topology)
    moves = [
        Operation(
            round(random.uniform(0.0, plan.seconds * LAST_START), 3),
            f"mover-{random.randint(1, 2)}",
            "move",
            {"tenant": random.choice(tenants), "to": random.choice(partitions)},
        )
        for _ in range(random.randint(1, 8))
    ]
    operations = sorted((*plan.operations, *moves), key=lambda each: each.at)
    return plan.with_(operations=tuple(operations))


def _draw_register(random: Random, number: int) -> tuple[str, dict[str, object]]:
    name = f"register-{random.randint(1, 4)}"
    chance = random.random()
    if chance < 0.5:
        return "put", {"name": name, "value": f"value-{number}"}
    if chance < 0.6:
        return "remove", {"name": name}
    match = random.choice(("", "", "any"))
    if chance < 0.8:
        return "read", {"name": name, "match": match}
    return "list", {"match": match, "limit": random.choice((0, 0, 2))}


def _draw_workload(random: Random, _: int) -> tuple[str, dict[str, object]]:
    chance = random.random()
    if chance < 0.45:
        return "scale", {"name": f"set-{random.randint(1, 3)}", "replicas": random.randint(0, 8)}
    if chance < 0.8:
        image = f"app:{random.randint(1, 3)}"
        return "deploy", {"name": f"web-{random.randint(1, 2)}", "replicas": random.randint(0, 6), "image": image}
    if chance < 0.9:
        return "delete-some-pods", {"count": random.randint(1, 4)}
    kind = random.choice(("ReplicaSet", "Deployment"))
    name = f"set-{random.randint(1, 3)}" if kind == "ReplicaSet" else f"web-{random.randint(1, 2)}"
    return "delete-workload", {"name": name, "kind": kind}


def _draw_pod(random: Random, _: int) -> tuple[str, dict[str, object]]:
    """Few names, so that they are used again: most bugs of identity are of the second of a name."""
    name = f"pod-{random.randint(1, 5)}"
    if random.random() < 0.6:
        return "pod", {"name": name, "cpu": "100m", "run_seconds": random.choice((0, 0, 0, 3, 20))}
    return "delete-pod", {"name": name, "grace": random.choice((-1, -1, -1, 1, 0))}


_DRAW = {"registers": _draw_register, "workloads": _draw_workload, "pods": _draw_pod}


# ----------------------------------------------------------------------------------------------------------- faults


def _draw_faults(random: Random, swarm: Swarm, users: Sequence[str]) -> tuple[Fault, ...]:
    kinds = [kind for kind in (_KINDS if swarm.faults is None else swarm.faults) if kind not in _APART]
    if not kinds:
        return ()
    chosen = random.sample(kinds, random.randint(1, min(4, len(kinds))))
    count = round(swarm.seconds / 60 * random.uniform(*swarm.faults_a_minute))
    partitions = [*swarm.topology.tenant_names, *swarm.topology.resource_names]
    components = swarm.topology.components
    drawn = [_draw_any_fault(random, random.choice(chosen), swarm, partitions, components, users) for _ in range(count)]
    return tuple(sorted(drawn, key=lambda fault: fault.at))


def _draw_any_fault(
    random: Random,
    kind: str,
    swarm: Swarm,
    partitions: Sequence[str],
    components: Sequence[str],
    users: Sequence[str],
) -> Fault:
    if kind in EXTRA_KINDS:
        at = round(random.uniform(0.0, swarm.seconds * LAST_START), 3)
        return draw_extra_fault(random, kind, at, swarm.topology, [*components, *users])
    return _draw_fault(random, kind, swarm.seconds, partitions, components, users)


def _draw_freezes(random: Random, swarm: Swarm, users: Sequence[str]) -> tuple[Fault, ...]:
    kinds = KINDS if swarm.faults is None else swarm.faults
    if "freeze" not in kinds or (len(kinds) > 1 and random.random() > _APART_CHANCE):
        return ()
    count = max(1, round(swarm.seconds / 60 * random.uniform(*swarm.faults_a_minute)))
    drawn = []
    for _ in range(count):
        at = round(random.uniform(0.0, swarm.seconds * LAST_START), 3)
        lasts = round(min(random.uniform(1.0, 15.0), swarm.seconds - at), 3)
        target = random.choice([*swarm.topology.components, *users])
        other = random.choice([*swarm.topology.tenant_names, *swarm.topology.resource_names])
        drawn.append(Fault(at, "freeze", target, other, lasts))
    return tuple(drawn)


def _draw_partition_faults(random: Random, swarm: Swarm) -> tuple[Fault, ...]:
    """Of the last two resource partitions one at most is lost."""
    topology, seconds = swarm.topology, swarm.seconds
    kinds = [kind for kind in PARTITION_KINDS if kind in (swarm.faults or ())]
    if topology.resource_partitions < 2:
        kinds = [kind for kind in kinds if kind != "remove"]
    if not kinds:
        return ()
    drawn = []
    for kind in random.sample(kinds, random.randint(1, len(kinds))):
        for _ in range(1 if kind == "remove" else random.randint(1, 3)):
            at = round(random.uniform(0.0, seconds * LAST_START), 3)
            lasts = round(min(random.choice((1.0, 10.0, 30.0)) * random.uniform(0.5, 1.5), seconds - at), 3)
            names = topology.node_names if kind == "deregister" else topology.resource_names
            drawn.append(Fault(at, kind, random.choice(names), "", 0.0 if kind == "deregister" else lasts))
    return tuple(drawn)


def _draw_sleeps(random: Random, topology: Topology, swarm: Swarm) -> tuple[Fault, ...]:
    """Of those that are elected: what they had on its way when they were deposed comes when they wake up."""
    if topology.replicas < 2 or "sleep" not in (KINDS if swarm.faults is None else swarm.faults):
        return ()
    awake_since = {name: 0.0 for name in topology.components if not name.startswith("hollow-nodes-")}
    count = max(1, round(swarm.seconds / 60 * random.uniform(*swarm.faults_a_minute)))
    drawn = []
    for at in sorted(round(random.uniform(0.0, swarm.seconds * LAST_START), 3) for _ in range(count)):
        lasts = round(min(random.uniform(*random.choice(SLEEP_SECONDS)), swarm.seconds - at), 3)
        name = random.choice(list(awake_since))
        if awake_since[name] <= at:
            drawn.append(Fault(at, "sleep", name, "", lasts))
            awake_since[name] = at + lasts + AWAKE_SECONDS
    return tuple(drawn)


def _draw_fault(
    random: Random,
    kind: str,
    seconds: float,
    partitions: Sequence[str],
    components: Sequence[str],
    users: Sequence[str],
) -> Fault:
    at = round(random.uniform(0.0, seconds * LAST_START), 3)
    lasts = round(min(random.choice((0.5, 3.0, 15.0, 50.0)) * random.uniform(0.5, 1.5), seconds - at), 3)
    partition = random.choice(partitions)
    component = random.choice([*components, *users])
    if kind == "crash":
        return Fault(at, kind, random.choice([*partitions, *components]), seconds=lasts)
    if kind == "crash-at":
        return Fault(at, kind, partition, random.choice(_LIVE_FAILPOINTS), lasts)
    if kind in ("cut", "silence", "silence-requests", "silence-replies"):
        if random.random() < 0.3:
            return Fault(at, kind, partition, seconds=lasts)  # From everybody.
        return Fault(at, kind, component, partition, lasts)
    if kind == "delay":
        return Fault(at, kind, component, partition, lasts, round(random.choice((0.1, 1.0, 5.0)), 3))
    if kind == "pause":
        return Fault(at, kind, random.choice(components), seconds=lasts)
    if kind == "slow-disk":
        return Fault(at, kind, partition, seconds=lasts, amount=random.choice((0.1, 1.0, 4.0)))
    if kind == "full":
        return Fault(at, kind, partition, seconds=lasts, amount=random.choice((0, 2_000, 20_000)))
    if kind == "restore":
        back = round(random.uniform(1.0, max(1.0, at)), 3)
        return Fault(at, kind, partition, seconds=random.choice((0.2, 3.0)), amount=back)
    if kind == "clock-jump":
        target = random.choice([*partitions, *components])
        return Fault(at, kind, target, amount=random.choice((-30.0, -1.0, 1.0, 30.0, 100.0)))
    return Fault(at, kind, partition)
