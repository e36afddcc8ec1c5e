"""How scenarios make plans that a swarm alone would seldom draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from ursa.tools.simulation import Fault, Plan, Swarm, draw_plan

# What goes wrong with links.
_OF_LINKS = ("cut", "silence", "silence-requests", "silence-replies", "delay", "freeze")
OBSERVER = "observer"

# Faults of one episode, from a stream of randomness, the time at which it begins, and the partition.
Episode = Callable[[Random, float, str], Sequence[Fault]]


def aimed_at_the_observer(swarm: Swarm) -> Callable[[int], Plan]:
    """What goes wrong with a link goes wrong with that of the observer, which watches the objects of every user."""

    def plan(seed: int) -> Plan:
        drawn = draw_plan(seed, swarm)
        names = (*drawn.topology.tenant_names, *drawn.topology.resource_names)
        faults = [
            fault._replace(target=OBSERVER, other=fault.other if fault.target not in names else fault.target)
            if fault.kind in _OF_LINKS
            else fault
            for fault in drawn.faults
        ]
        return drawn.with_(faults=tuple(faults))

    return plan


def impatient(swarm: Swarm, converge_seconds: float = 40.0) -> Callable[[int], Plan]:
    """What will never come to rest need not be watched for minutes."""
    return lambda seed: draw_plan(seed, swarm).with_(converge_seconds=converge_seconds)


def with_episodes(swarm: Swarm, episode: Episode, *, seconds: float) -> Callable[[int], Plan]:
    """A drawn plan, and behind one another in it episodes of several faults that belong together."""

    def plan(seed: int) -> Plan:
        drawn = draw_plan(seed, swarm)
        random = Random(f"{seed}/episodes")
        faults = list(drawn.faults)
        at = random.uniform(1.0, seconds)
        while at + seconds < swarm.seconds:
            partition = random.choice((*drawn.topology.tenant_names, *drawn.topology.resource_names))
            faults += [fault._replace(at=round(fault.at, 3)) for fault in episode(random, at, partition)]
            at += seconds * random.uniform(1.0, 2.0)
        return drawn.with_(faults=tuple(sorted(faults, key=lambda fault: fault.at)))

    return plan
