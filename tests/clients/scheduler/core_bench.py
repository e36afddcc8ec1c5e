"""What a pod costs in the scheduler's core: `python core_bench.py [nodes] [templates] [pods]`. Not a test.

Counted: seeing the pod, picking a node, building the claim, its answer, building the bind, its answer, seeing the
Placement, seeing the pod leave. Not counted: sending, receiving and parsing messages.
"""

from __future__ import annotations

import sys
import time
from random import Random

from ursa.clients.revisions import Revision
from ursa.clients.scheduler.actions import Action
from ursa.clients.scheduler.core import SchedulingCore
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, encode

BATCH = 128


def _node(number: int) -> Object:
    return Object.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"node-{number:05d}", "uid": f"{number:036d}"},
            "status": {
                "allocatable": {"cpu": "32", "memory": "128Gi", "pods": 500},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
    )


def _pod(number: int, template: int) -> bytes:
    message = pb.Object(api_version="v1", kind="Pod")
    message.metadata.name, message.metadata.namespace = f"web-{number:06d}", "default"
    message.metadata.tenant, message.metadata.uid = "acme", f"{number:036d}"
    requests = {"cpu": f"{100 + template}m", "memory": "100Mi"}
    message.spec = encode({"containers": [{"name": "main", "image": "app", "resources": {"requests": requests}}]})
    return message.SerializeToString()


class Bench:
    def __init__(self, nodes: int) -> None:
        self.core = SchedulingCore("tp-1", ["tp-1"], ["rp-1", "rp-2"], Random(1))
        for number in range(nodes):
            self.core.node_seen(f"rp-{number % 2 + 1}", _node(number))
        for partition in ("rp-1", "rp-2"):
            self.core.partition_synced(partition)
        self.core.pods_synced()
        self.seconds: dict[str, float] = {}
        self.revision = 0

    def timed(self, name: str, began: float) -> float:
        now = time.process_time()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - began
        return time.process_time()

    def burst(self, pods: list[Object]) -> None:
        core = self.core
        at = time.process_time()
        for pod in pods:
            core.pod_seen(pod, 0.0)
        at = self.timed("pod seen", at)
        decisions = core.step(0.0)
        at = self.timed("pick", at)
        claims = {name: [(a, a.operation()) for a in actions] for name, actions in decisions.actions.items()}
        self.timed("build claim", at)
        placements = {name: self._placements(batch) for name, batch in claims.items()}
        at = time.process_time()
        for name, batch in claims.items():
            results = [pb.Result(resource_version=self.revision, uid=p.uid) for p in placements[name]]
            at = time.process_time()
            core.answered(name, [action for action, _ in batch], results, 0.0)
            at = self.timed("claim answered", at)
        decisions = core.step(0.0)
        at = self.timed("pick", at)
        binds: list[Action] = list(decisions.binds)
        _ = [bind.operation() for bind in binds]
        at = self.timed("build bind", at)
        results = [pb.Result(resource_version=1)] * len(binds)
        core.answered("tp-1", binds, results, 0.0)
        at = self.timed("bind answered", at)
        for name, seen in placements.items():
            for placement in seen:
                core.placement_seen(name, placement.message)
            core.placements_seen_up_to(Revision(name, self.revision))
        at = self.timed("placement seen", at)
        for pod in pods:
            core.pod_gone(pod.uid)
        at = self.timed("pod gone", at)
        core.step(0.0)
        self.timed("pick", at)

    def _placements(self, batch: list[tuple[Action, pb.Operation]]) -> list[Object]:
        made = []
        for number, (_, operation) in enumerate(batch):
            placement = Object.from_bytes(operation.create.object.SerializeToString())
            placement.message.metadata.uid = f"placement-{self.revision}-{number}"
            made.append(placement)
        self.revision += 1
        return made


def main(nodes: int = 1000, templates: int = 1, pods: int = 20_000) -> None:
    bench = Bench(nodes)
    random = Random(2)
    encoded = [_pod(number, random.randrange(templates)) for number in range(pods)]
    for start in range(0, pods, BATCH):
        bench.burst([Object.from_bytes(data) for data in encoded[start : start + BATCH]])
        if start == BATCH * 8:
            bench.seconds.clear()
    counted = pods - BATCH * 9
    for name, seconds in bench.seconds.items():
        print(f"{name:16} {seconds / counted * 1e6:7.2f} us")
    total = sum(bench.seconds.values()) / counted * 1e6
    print(f"{'total':16} {total:7.2f} us a pod at {nodes} nodes, {templates} templates; {bench.core.counts}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
