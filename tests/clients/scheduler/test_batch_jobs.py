"""What users of Kubernetes' schedulers have told of batch jobs: who fills nodes up needs half the cluster."""

from __future__ import annotations

from random import Random
from statistics import mean

from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.node_facts import read_node
from ursa.clients.scheduler.options import ScoringStrategy
from ursa.clients.scheduler.template import Templates
from ursa.proto.objects import encode

from .objects import node, picker, pod_spec, shape

NODES, CPUS_A_NODE = 40, 4
ROUNDS, WARM_ROUNDS, JOBS_A_ROUND = 300, 100, 2
JOB_ROUNDS = (5, 45)  # 25 on average, so 50 jobs of one cpu run at a time, on 160.


def nodes_in_use(strategy: str) -> float:
    """On average, once jobs end as often as they come. The others an autoscaler may take away."""
    random, nodes = Random(1), NodeColumns(seed=1)
    nodes.set_open("rp-1", True)
    for number in range(NODES):
        nodes.set_node("rp-1", f"n{number}", read_node(node(f"n{number}", cpu=str(CPUS_A_NODE))))
    template = Templates().of(encode(pod_spec({"cpu": "1"})))
    charges = nodes.charges(template.requests)
    picks = picker(nodes, scoring_strategy=ScoringStrategy(strategy))
    running: list[tuple[int, int]] = []  # The slot of a job, and the round of its end.
    used = []
    for now in range(ROUNDS):
        for slot, end in running:
            if end == now:
                nodes.unhold(slot, charges)
        running = [job for job in running if job[1] > now]
        for _ in range(JOBS_A_ROUND):
            slot = picks.pick(shape(template))
            nodes.hold(slot, charges)
            running.append((slot, now + random.randint(*JOB_ROUNDS)))
        used.append(len({slot for slot, _ in running}))
    return mean(used[WARM_ROUNDS:])


def test_most_allocated_halves_a_cluster_of_batch_jobs() -> None:
    spread, packed = nodes_in_use("LeastAllocated"), nodes_in_use("MostAllocated")
    assert packed <= spread / 2, f"{packed:.1f} nodes, and {spread:.1f} where jobs are spread"
