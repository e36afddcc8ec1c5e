"""What it costs to look at other pods when one is placed: `python pods_bench.py [nodes] [pods]`. Not a test.

Counted, as CPU time by pod, the median: `asked`, what the plugins are asked and answer over all nodes (PreFilter,
Filter, PreScore, Score and NormalizeScore with all nodes feasible); `seen`, that the pod is read when it is seen bound,
and counts.
"""

from __future__ import annotations

import sys
import time
from statistics import median
from typing import Any

import numpy as np
from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.framework.interface import SKIP
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.node_facts import NodeFacts
from ursa.clients.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from ursa.clients.scheduler.plugins.pod_topology_spread import PodTopologySpread
from ursa.clients.scheduler.template import Templates
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, encode

ZONES = 10
LABELS = {"app": "web"}
HOST, ZONE = "kubernetes.io/hostname", "zone"


def term(key: str) -> dict[str, Any]:
    return {"topologyKey": key, "labelSelector": {"matchLabels": LABELS}}


def required(part: str, key: str) -> dict[str, Any]:
    return {"affinity": {part: {"requiredDuringSchedulingIgnoredDuringExecution": [term(key)]}}}


def preferred(key: str) -> dict[str, Any]:
    weighted = {"weight": 10, "podAffinityTerm": term(key)}
    return {"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}}}


def spread(action: str, *keys: str) -> dict[str, Any]:
    return {
        "topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": action, **term(key)} for key in keys],
    }


CASES = {
    "a plain pod": {},
    "anti-affinity, hostname": required("podAntiAffinity", HOST),
    "affinity, zone": required("podAffinity", ZONE),
    "preferred affinity, hostname": preferred(HOST),
    "hard spread, zone": spread("DoNotSchedule", ZONE),
    "hard spread, hostname": spread("DoNotSchedule", HOST),
    "soft spread, zone and hostname": spread("ScheduleAnyway", ZONE, HOST),
}


def main(nodes: int = 5_000, pods: int = 300) -> None:
    for name, extra in CASES.items():
        columns = NodeColumns()
        columns.pods.wanted = True
        for number in range(nodes):
            labels = {HOST: f"node-{number}", ZONE: f"zone-{number % ZONES}"}
            columns.set_node("rp-1", f"node-{number}", NodeFacts(str(number), True, {"cpu": 1000}, (), labels))
        spec = {"containers": [{"name": "main", "image": "app"}], **extra}
        template = Templates().of(encode(spec))
        assert not template.error
        shape = Shape(1, template, "acme", "default", LABELS)
        plugins = (InterPodAffinity(), PodTopologySpread())
        feasible = np.ones(nodes, np.bool_)
        seconds: dict[str, list[float]] = {"asked": [], "seen": []}
        for number in range(pods):
            began = time.process_time()
            for plugin in plugins:
                ask(plugin, shape, columns, feasible)
            asked = time.process_time()
            seconds["asked"].append(asked - began)
            encoded = bound(number, spec, number * 7 % nodes)
            began = time.process_time()
            columns.pods.seen(Object.from_bytes(encoded))
            seconds["seen"].append(time.process_time() - began)
        figures = ", ".join(f"{what} {median(each) * 1e6:7.1f} us" for what, each in seconds.items())
        print(f"{name:32} {figures} at {nodes} nodes")


def bound(number: int, spec: dict[str, Any], node: int) -> bytes:
    message = pb.Object(api_version="v1", kind="Pod")
    metadata = message.metadata
    metadata.name, metadata.namespace, metadata.tenant, metadata.uid = (
        f"web-{number}",
        "default",
        "acme",
        f"{number:036}",
    )
    metadata.labels.update(LABELS)
    message.spec = encode({**spec, "nodeName": f"node-{node}", "resourcePartition": "rp-1"})
    return message.SerializeToString()


def ask(plugin: InterPodAffinity | PodTopologySpread, shape: Shape, columns: NodeColumns, feasible: Any) -> None:
    everything = slice(0, columns.high)
    state = plugin.pre_filter(shape, columns)
    if state is not SKIP:
        plugin.filter(state, shape, columns, everything)
    if not plugin.skips(shape, columns):
        state = plugin.pre_score(shape, columns, feasible)
        plugin.normalize_scores(state, shape, plugin.score(state, shape, columns, everything))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
