"""Random nodes with pods that may be evicted, drawn from one number, as in `plugins/cases.py`."""

from __future__ import annotations

from random import Random

from ..plugins.cases import CASES as CASES
from .reference import Node, Pod

BUDGETS = ("a", "b")
HAPPENINGS = ("comes", "ends", "is asked to go", "room goes", "allowed or not", "node")

# Priority, requests, when it started, its budgets, and whether it is leaving.
PodOf = tuple[int, dict[str, int], int, tuple[str, ...], bool]
# What happens, a number that says where, and the priority and the budgets of a pod that comes.
Happening = tuple[str, int, int, tuple[str, ...]]


def cluster_of(number: int, pods: list[PodOf], *free: int) -> Node:
    named = [Pod(f"n{number}p{each}", *pod) for each, pod in enumerate(pods)]
    taken = {name: sum(pod.requests[name] for pod in named) for name in ("cpu", "memory")}
    cpu, memory, suits = free
    return Node(
        f"n{number}",
        {"cpu": taken["cpu"] + cpu, "memory": taken["memory"] + memory + 1},
        {"memory": 1},
        named,
        suits > 0,
    )


def draw_cluster(random: Random, lowest: int, highest: int) -> list[Node]:
    """Nodes with little or less than nothing left, and pods of these priorities."""
    return [draw_node(random, number, lowest, highest) for number in range(random.randint(1, 4))]


def draw_node(random: Random, number: int, lowest: int, highest: int) -> Node:
    pods = [draw_pod(random, random.randint(lowest, highest)) for _ in range(random.randint(0, 5))]
    return cluster_of(number, pods, random.randint(-1, 1), random.randint(-1, 1), random.randint(0, 7))


def draw_pod(random: Random, priority: int) -> PodOf:
    requests = {"cpu": random.randint(0, 3), "memory": random.randint(0, 3)}
    budgets = random.choice([(), (), (), ("a",), ("b",), ("a", "b")])
    return priority, requests, random.randint(0, 2), budgets, random.randint(0, 7) == 0


def draw_requests(random: Random) -> dict[str, int]:
    """Of a pod that preempts."""
    return {"cpu": random.randint(1, 6), "memory": random.randint(0, 3)}


def draw_budgets(random: Random) -> dict[str, int]:
    return {budget: random.randint(0, 2) for budget in BUDGETS}


def draw_happenings(random: Random) -> list[Happening]:
    return [
        (
            random.choice(HAPPENINGS),
            random.randint(0, 9),
            random.randint(-2, 3),
            random.choice([(), (), ("a",), ("b",)]),
        )
        for _ in range(random.randint(0, 3))
    ]
