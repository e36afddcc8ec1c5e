"""What it costs to look at other pods when one is placed: `python pods_bench.py [nodes] [pods]`. Not a test.

Counted, as CPU time by pod: what the plugin asks and answers over all nodes (PreFilter, Filter, PreScore, Score and
NormalizeScore with all nodes feasible), and that the pod then counts.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.framework.interface import SKIP
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.node_facts import NodeFacts
from ursa.clients.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from ursa.clients.scheduler.plugins.pod_topology_spread import PodTopologySpread
from ursa.clients.scheduler.pod_terms import NO_POD_AFFINITY
from ursa.clients.scheduler.template import Templates
from ursa.proto.objects import encode

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
        for number in range(nodes):
            labels = {HOST: f"node-{number}", ZONE: f"zone-{number % ZONES}"}
            columns.set_node("rp-1", f"node-{number}", NodeFacts(str(number), True, {"cpu": 1000}, (), labels))
        spec = {"containers": [{"name": "main", "image": "app"}], **extra}
        template = Templates().of(encode(spec))
        assert not template.error
        shape = Shape(1, template, "acme", "default", LABELS)
        tallies = columns.pods.tallies
        plugins = (InterPodAffinity(), PodTopologySpread())
        feasible = np.ones(nodes, np.bool_)
        seconds = {"asked": 0.0, "counted": 0.0}
        for number in range(pods + 10):
            if number == 10:
                seconds = dict.fromkeys(seconds, 0.0)
            began = time.process_time()
            for plugin in plugins:
                ask(plugin, shape, columns, feasible)
            asked = time.process_time()
            affinity = template.pod_affinity if extra else NO_POD_AFFINITY
            tallies.add(tallies.class_of("acme", "default", LABELS, affinity, False), number * 7 % nodes)
            seconds["asked"] += asked - began
            seconds["counted"] += time.process_time() - asked
        figures = ", ".join(f"{what} {each / pods * 1e6:7.1f} us" for what, each in seconds.items())
        print(f"{name:32} {figures} at {nodes} nodes")


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
