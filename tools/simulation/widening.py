"""What makes an ordinary seed wilder: more tenants, crowds, bursts, cascades, budgets, and faults that come in groups.

All of it is drawn from a stream of its own, so that swarms which name their kinds of users and faults draw as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from ...proto.kinds import SYSTEM_TENANT
from .plan import Fault, Operation, Plan, Topology
from .workload import neighbour_of

# The last part of a plan's time is left to what is under way.
LAST_START = 0.85
# What a burst brings together, from this long a time.
BURST_SECONDS = 4.0

EXTRA_WORKLOADS = ("crowd", "reborn", "budgets", "cascades", "jobs", "overwrites")
EXTRA_KINDS = ("node-off", "half-open")


def widened(plan: Plan, *, operations: bool, faults: bool) -> Plan:
    """The same plan with more in it, of operations and of faults."""
    random = Random(f"{plan.seed}/wide")
    if operations:
        plan = _more_operations(random, plan)
        plan = _more_workloads(Random(f"{plan.seed}/workloads"), plan)
    if faults:
        plan = _more_faults(random, plan)
    return plan


# ------------------------------------------------------------------------------------------------------- operations


def draw_extra_operation(random: Random, kind: str) -> tuple[str, dict[str, object]]:
    return _DRAW[kind](random)


def _more_operations(random: Random, plan: Plan) -> Plan:
    operations = list(plan.operations)
    if not operations:
        return plan
    chosen = random.sample(EXTRA_WORKLOADS, random.randint(0, 3))
    users = list(dict.fromkeys(each.user for each in operations))
    tenants = plan.tenants
    for _ in range(round(len(operations) * random.choice((0.3, 1.0, 2.0))) if chosen else 0):
        at = round(random.uniform(0.0, plan.seconds * LAST_START), 3)
        verb, arguments = draw_extra_operation(random, random.choice(chosen))
        operations.append(Operation(at, random.choice(users), verb, {"tenant": random.choice(tenants), **arguments}))
    if random.random() < 0.4:
        operations = [_moved(random, each) for each in operations]
    if random.random() < 0.4:
        operations = list(_in_bursts(random, operations, plan.seconds))
    if "crowd" in chosen:
        plan = plan.with_(knobs=plan.knobs.with_(node_cpu=random.choice(("500m", "1", "2"))))
    return plan.with_(operations=tuple(sorted(operations, key=lambda each: each.at)))


def _more_workloads(random: Random, plan: Plan) -> Plan:
    """StatefulSets and DaemonSets, in half of the plans. A stream of their own, so that those without are as before."""
    if not plan.operations or random.random() < 0.5:
        return plan
    operations = list(plan.operations)
    users = list(dict.fromkeys(each.user for each in operations))
    for _ in range(random.randint(3, 15)):
        at = round(random.uniform(0.0, plan.seconds * LAST_START), 3)
        if random.random() < 0.7:
            tenant, (verb, arguments) = random.choice(plan.tenants), _draw_stateful(random)
        else:
            tenant, (verb, arguments) = SYSTEM_TENANT, _draw_daemon(random, plan.topology)
        operations.append(Operation(at, random.choice(users), verb, {"tenant": tenant, **arguments}))
    return plan.with_(operations=tuple(sorted(operations, key=lambda each: each.at)))


def _draw_stateful(random: Random) -> tuple[str, dict[str, object]]:
    """Few names, so that a set grows, shrinks, is updated, goes, and comes again under the same names of pods."""
    number = random.randint(1, 2)
    if random.random() < 0.15:
        return "delete-workload", {"name": f"db-{number}", "kind": "StatefulSet"}
    size = {"replicas": random.randint(0, 4), "parallel": number == 2}
    return "stateful", {"name": f"db-{number}", "image": f"app:{random.randint(1, 3)}", "cpu": "100m", **size}


def _draw_daemon(random: Random, topology: Topology) -> tuple[str, dict[str, object]]:
    where = {"name": "agent", "partition": random.choice(topology.resource_names)}
    if random.random() < 0.2:
        return "delete-workload", {**where, "kind": "DaemonSet"}
    return "daemon", {**where, "image": f"app:{random.randint(1, 3)}", "cpu": "50m"}


def _moved(random: Random, operation: Operation) -> Operation:
    """Half of what is done is another tenant's, under the same names."""
    if random.random() < 0.5:
        return operation
    tenant = neighbour_of(operation.arguments["tenant"])
    return operation._replace(arguments={**operation.arguments, "tenant": tenant})


def _in_bursts(random: Random, operations: list[Operation], seconds: float) -> Iterator[Operation]:
    """What is done around some instants is done at them, each by a user of its own."""
    instants = [round(random.uniform(0.0, seconds * LAST_START), 3) for _ in range(random.randint(1, 4))]
    for number, each in enumerate(operations):
        near = [at for at in instants if abs(at - each.at) < BURST_SECONDS]
        yield each._replace(at=near[0], user=f"{each.user}-{number % 8}") if near else each


def _draw_crowded(random: Random) -> tuple[str, dict[str, object]]:
    """Large for the nodes that there are then."""
    cpu = random.choice(("200m", "300m", "400m"))
    chance = random.random()
    if chance < 0.4:
        return "scale", {"name": f"crowd-{random.randint(1, 2)}", "replicas": random.randint(0, 10), "cpu": cpu}
    if chance < 0.6:
        image = f"app:{random.randint(1, 2)}"
        return "deploy", {"name": "crowded", "replicas": random.randint(0, 6), "image": image, "cpu": cpu}
    if chance < 0.9:
        return "pod", {"name": f"large-{random.randint(1, 8)}", "cpu": cpu, "run_seconds": random.choice((0, 0, 5))}
    return "delete-some-pods", {"count": random.randint(1, 5)}


def _draw_reborn(random: Random) -> tuple[str, dict[str, object]]:
    return "replace-pod", {"name": f"reborn-{random.randint(1, 3)}", "cpu": "100m"}


def _draw_budget(random: Random) -> tuple[str, dict[str, object]]:
    chance = random.random()
    if chance < 0.3:
        app = random.choice(("set-1", "set-2", "web-1"))
        return "budget", {"name": f"budget-{app}", "app": app, "max_unavailable": random.randint(0, 2)}
    if chance < 0.5:
        return "scale", {"name": f"set-{random.randint(1, 2)}", "replicas": random.randint(1, 6)}
    return "evict-some-pods", {"count": random.randint(1, 3)}


def _draw_cascade(random: Random) -> tuple[str, dict[str, object]]:
    """Few names: what is orphaned is soon adopted, or in the way of the next."""
    name = f"web-{random.randint(1, 2)}"
    if random.random() < 0.6:
        return "deploy", {"name": name, "replicas": random.randint(1, 4), "image": f"app:{random.randint(1, 3)}"}
    propagation = random.choice(("Foreground", "Orphan", "Background"))
    return "delete-workload", {"name": name, "kind": "Deployment", "propagation": propagation}


def _draw_job(random: Random) -> tuple[str, dict[str, object]]:
    seconds = random.choice((1, 2, 5, 20))
    numbers = {"completions": random.randint(1, 5), "parallelism": random.randint(1, 3)}
    return "job", {"name": f"job-{random.randint(1, 20)}", "cpu": "100m", "run_seconds": seconds, **numbers}


def _draw_overwrite(random: Random) -> tuple[str, dict[str, object]]:
    """On the registers of those who read before they write. Each has a value of its own."""
    name = f"register-{random.randint(1, 4)}"
    if random.random() < 0.8:
        return "overwrite", {"name": name, "value": f"over-{random.getrandbits(40):010x}"}
    return "read", {"name": name, "match": ""}


_DRAW: dict[str, Callable[[Random], tuple[str, dict[str, object]]]] = {
    "crowd": _draw_crowded,
    "reborn": _draw_reborn,
    "budgets": _draw_budget,
    "cascades": _draw_cascade,
    "jobs": _draw_job,
    "overwrites": _draw_overwrite,
}


# ----------------------------------------------------------------------------------------------------------- faults


def draw_extra_fault(
    random: Random, kind: str, at: float, topology: Topology, components: list[str] | tuple[str, ...]
) -> Fault:
    if kind == "node-off":
        seconds = random.choice((1.0, 10.0, 60.0)) * random.uniform(0.5, 1.5)
        deregistered = random.choice((0.0, 0.5, 5.0))
        return Fault(at, kind, random.choice(topology.node_names), "", round(seconds, 3), deregistered)
    partition = random.choice((*topology.tenant_names, *topology.resource_names))
    if random.random() < 0.3:
        return Fault(at, kind, partition)
    return Fault(at, kind, random.choice(components), partition)


def _more_faults(random: Random, plan: Plan) -> Plan:
    """Groups of faults that belong together; and what only few seeds have."""
    if not plan.faults:
        return plan
    faults = list(plan.faults)
    for kind in random.sample(EXTRA_KINDS, random.randint(0, len(EXTRA_KINDS))):
        for _ in range(random.randint(1, 3)):
            at = round(random.uniform(0.0, plan.seconds * LAST_START), 3)
            faults.append(draw_extra_fault(random, kind, at, plan.topology, plan.topology.components))
    if random.random() < 0.4:
        group = random.choice((_swizzle, _one_after_another, _all_at_once))
        faults += group(random, round(random.uniform(0.0, plan.seconds * 0.6), 3), plan.topology)
    return plan.with_(faults=tuple(sorted(faults, key=lambda fault: fault.at)))


def _swizzle(random: Random, at: float, topology: Topology) -> Iterator[Fault]:
    """FoundationDB's swizzle-clogging: some links are lost one by one, and come back one by one in another order."""
    pairs = [
        (component, partition)
        for component in topology.components
        for partition in (*topology.tenant_names, *topology.resource_names)
    ]
    chosen = random.sample(pairs, random.randint(2, min(8, len(pairs))))
    kind = random.choice(("cut", "silence"))
    ends = random.sample(range(len(chosen)), len(chosen))
    for number, (component, partition) in enumerate(chosen):
        begins = round(at + number * random.uniform(0.1, 1.5), 3)
        seconds = round(random.uniform(1.0, 2.0) * len(chosen) + ends[number] * 1.5, 3)
        yield Fault(begins, kind, component, partition, seconds)


def _one_after_another(random: Random, at: float, topology: Topology) -> Iterator[Fault]:
    """A partition is lost to all, dies behind the cut, and comes back as what it was before."""
    partition = random.choice((*topology.tenant_names, *topology.resource_names))
    pause = random.uniform(0.5, 4.0)
    yield Fault(at, random.choice(("cut", "silence")), partition, "", round(3 * pause, 3))
    yield Fault(round(at + pause, 3), "crash", partition, "", round(pause / 2, 3))
    if random.random() < 0.5:
        back = round(random.uniform(0.5, max(1.0, at)), 3)
        yield Fault(round(at + 2 * pause, 3), "restore", partition, "", 0.2, back)


def _all_at_once(random: Random, at: float, topology: Topology) -> Iterator[Fault]:
    """As when a rack loses its power: many parts die at one instant."""
    parts = (*topology.components, *topology.tenant_names, *topology.resource_names)
    for part in random.sample(parts, random.randint(2, len(parts))):
        yield Fault(at, "crash", part, "", round(random.choice((0.1, 2.0, 10.0)) * random.uniform(0.5, 1.5), 3))
