"""Preemption as Kubernetes' documentation and source tell it, a node and a pod at a time, with nothing clever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pod:
    name: str
    priority: int
    requests: Mapping[str, int]
    started: int
    budgets: tuple[str, ...]
    leaving: bool


@dataclass(frozen=True)
class Node:
    name: str
    allocatable: Mapping[str, int]
    others: Mapping[str, int]  # what is held by pods that nobody here may evict
    pods: Sequence[Pod]
    suits: bool  # all filters but the resources


def fits(node: Node, staying: Sequence[Pod], requests: Mapping[str, int]) -> bool:
    return all(
        sum(pod.requests.get(name, 0) for pod in staying) + node.others.get(name, 0) + units
        <= node.allocatable.get(name, 0)
        for name, units in requests.items()
        if units
    )


def victims(
    node: Node, priority: int, requests: Mapping[str, int], spare: Mapping[str, int]
) -> tuple[list[Pod], int] | None:
    lower = [pod for pod in node.pods if pod.priority < priority and not pod.leaving]
    lower.sort(key=lambda pod: pod.name)
    lower.sort(key=lambda pod: pod.started)
    lower.sort(key=lambda pod: pod.priority, reverse=True)
    staying = [pod for pod in node.pods if not pod.leaving and pod.priority >= priority]
    if not node.suits or not fits(node, staying, requests):
        return None
    left = dict(spare)
    violating = []
    for pod in lower:
        for budget in pod.budgets:
            left[budget] -= 1
        if any(left[budget] < 0 for budget in pod.budgets):
            violating.append(pod)
    gone = []
    for pod in [*violating, *(pod for pod in lower if pod not in violating)]:
        if fits(node, [*staying, pod], requests):
            staying.append(pod)
        else:
            gone.append(pod)
    return gone, sum(pod in violating for pod in gone)


@dataclass(frozen=True)
class Cost:
    """What is compared, one after the other; of each, less is better."""

    gone: list[Pod]
    violations: int

    def violated(self) -> int:
        return self.violations

    def highest(self) -> int:
        return max(pod.priority for pod in self.gone)

    def total(self) -> int:
        return sum(pod.priority + 2**31 for pod in self.gone)

    def count(self) -> int:
        return len(self.gone)

    def latest(self) -> int:
        return -min(pod.started for pod in self.gone if pod.priority == self.highest())


def best_nodes(
    nodes: Sequence[Node], priority: int, requests: Mapping[str, int], spare: Mapping[str, int]
) -> dict[str, list[Pod]]:
    """All that are equally good, with their victims."""
    found = {node.name: victims(node, priority, requests, spare) for node in nodes}
    left = {name: Cost(*each) for name, each in found.items() if each is not None}
    if any(not cost.gone for cost in left.values()):
        return {name: cost.gone for name, cost in left.items() if not cost.gone}
    for cost_of in (Cost.violated, Cost.highest, Cost.total, Cost.count, Cost.latest):
        costs = {name: cost_of(each) for name, each in left.items()}
        left = {name: each for name, each in left.items() if costs[name] == min(costs.values())}
    return {name: each.gone for name, each in left.items()}


def lowest_level(node: Node, priority: int, requests: Mapping[str, int]) -> int | None:
    """The lowest priority such that the pod fits if all up to it go; -1000 if it fits without; None: never."""
    levels = sorted({pod.priority for pod in node.pods if pod.priority < priority and not pod.leaving})
    for level in (-1000, *levels):
        staying = [pod for pod in node.pods if not pod.leaving and pod.priority > level]
        if node.suits and fits(node, staying, requests):
            return level
    return None
