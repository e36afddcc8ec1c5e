"""Random clusters and pods, as plain values and as the node table has them.

A case is drawn from one number, which Hypothesis draws: so a hundred thousand of them take a minute.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.node_facts import read_node
from ursa.clients.scheduler.template import Templates
from ursa.proto.host_ports import HostPort
from ursa.proto.objects import Object, encode

# What the card asks for; `make test` runs a few of them.
CASES = 100_000 if os.environ.get("URSA_SOAK") else 400

GI = 1024**3
MB = 1024**2
# Plain resources: shares of GPUs have rules of their own, and tests of their own.
GPU, FPGA = "nvidia.com/gpu", "example.com/fpga"
KEYS = ("zone", "disk", "rank", "kubernetes.io/hostname")
VALUES = {
    "zone": ("a", "b", "c"),
    "disk": ("ssd", "hdd"),
    "rank": ("-3", "0", "7", "x7", "70"),
    "kubernetes.io/hostname": ("n0", "n1"),
}
EFFECTS = ("NoSchedule", "NoExecute", "PreferNoSchedule")
IMAGES = ("app:1", "app:latest", "registry:5000/big:2", "registry:5000/big:latest", "side:latest")
ASKED_IMAGES = ("app:1", "app", "registry:5000/big:2", "registry:5000/big", "side", "unknown")


@dataclass
class PlainNode:
    """`held`: the requests of each pod on it; `ports`: (protocol, port, address) that are taken."""

    name: str
    labels: Mapping[str, str]
    taints: list[dict[str, str]]
    unschedulable: bool
    allocatable: Mapping[str, int]
    images: list[dict[str, Any]]
    held: list[Mapping[str, int]] = field(default_factory=list)
    ports: list[tuple[str, int, str]] = field(default_factory=list)

    def manifest(self) -> Object:
        quantities = {name: f"{units}m" if name == "cpu" else units for name, units in self.allocatable.items()}
        status = {
            "allocatable": quantities,
            "images": self.images,
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        return Object.from_dict(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": self.name, "uid": f"uid-{self.name}", "labels": dict(self.labels)},
                "spec": {"unschedulable": self.unschedulable, "taints": self.taints},
                "status": status,
            }
        )

    def taken(self, resource: str) -> int:
        return sum(requests.get(resource, 0) for requests in self.held)


def some(random: Random, choices: Any, most: int = 3) -> list[Any]:
    return random.sample(list(choices), random.randint(0, min(most, len(choices))))


def draw_node(random: Random, name: str) -> PlainNode:
    allocatable = {"cpu": random.choice([0, 1, 1000, 4000, 4000, 32_000]), "pods": random.choice([0, 3, 110])}
    allocatable["memory"] = random.choice([0, 1, GI, 8 * GI, 8 * GI, 2**45 + 1])
    for resource in some(random, (GPU, FPGA)):
        allocatable[resource] = random.choice([0, 1, 4000, 8000])
    node = PlainNode(
        name,
        {key: random.choice(VALUES[key]) for key in some(random, KEYS, 4)},
        [draw_taint(random) for _ in range(random.choice([0, 0, 1, 2, 3]))],
        random.random() < 0.2,
        allocatable,
        [{"names": [name], "sizeBytes": random.choice([0, 10, 700, 5000]) * MB} for name in some(random, IMAGES, 5)],
    )
    for _ in range(random.choice([0, 0, 1, 2, 4])):
        node.held.append(draw_requests(random))
    for _ in range(random.choice([0, 0, 1, 2])):
        node.ports.append(draw_port(random))
    return node


def draw_taint(random: Random) -> dict[str, str]:
    return {"key": random.choice("ab"), "value": random.choice(["", "x", "y"]), "effect": random.choice(EFFECTS)}


def draw_requests(random: Random) -> dict[str, int]:
    requests = {"cpu": random.choice([0, 1, 100, 500, 1000, 3999]), "pods": 1}
    requests["memory"] = random.choice([0, 1, 200 * MB, GI, 7 * GI])
    if random.random() < 0.4:
        requests[random.choice([GPU, FPGA])] = random.choice([1, 500, 4000])
    return requests


def draw_port(random: Random) -> tuple[str, int, str]:
    return (random.choice(["TCP", "UDP"]), random.choice([80, 443]), random.choice(["0.0.0.0", "10.0.0.1", "10.0.0.2"]))


def draw_pod(random: Random, nodes: list[PlainNode]) -> dict[str, Any]:
    """A spec."""
    requests = draw_requests(random)
    quantities = {
        name: f"{units}m" if name == "cpu" else units for name, units in requests.items() if name != "pods" and units
    }
    ports = [
        {"hostPort": port, "protocol": protocol, **({} if address == "0.0.0.0" else {"hostIP": address})}
        for protocol, port, address in (draw_port(random) for _ in range(random.choice([0, 0, 1, 2])))
    ]
    containers = [{"name": "a", "image": random.choice(ASKED_IMAGES), "resources": {"requests": quantities}}]
    containers += [{"name": f"c{n}", "image": random.choice(ASKED_IMAGES)} for n in range(random.choice([0, 0, 1, 2]))]
    containers[-1]["ports"] = ports
    spec: dict[str, Any] = {"containers": containers}
    if random.random() < 0.3:
        spec["initContainers"] = [{"name": "i", "image": random.choice(ASKED_IMAGES)}]
    if random.random() < 0.3:
        spec["nodeName"] = random.choice([*(node.name for node in nodes), "elsewhere"])
    if random.random() < 0.4:
        spec["nodeSelector"] = {key: random.choice(VALUES[key]) for key in some(random, KEYS, 2)}
    if random.random() < 0.6:
        spec["affinity"] = {"nodeAffinity": draw_affinity(random)}
    spec["tolerations"] = [draw_toleration(random) for _ in range(random.choice([0, 0, 1, 2]))]
    return spec


def draw_affinity(random: Random) -> dict[str, Any]:
    affinity: dict[str, Any] = {}
    if random.random() < 0.6:
        terms = [draw_term(random) for _ in range(random.randint(1, 3))]
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    if random.random() < 0.6:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": random.choice([1, 7, 100]), "preference": draw_term(random)} for _ in range(random.randint(1, 3))
        ]
    return affinity


def draw_term(random: Random) -> dict[str, Any]:
    term: dict[str, Any] = {}
    if random.random() < 0.85:
        term["matchExpressions"] = [draw_expression(random) for _ in range(random.randint(0, 2))]
    if random.random() < 0.25:
        operator = random.choice(["In", "NotIn"])
        term["matchFields"] = [{"key": "metadata.name", "operator": operator, "values": some(random, "0123") or ["n1"]}]
        term["matchFields"][0]["values"] = [f"n{each}"[-2:] for each in term["matchFields"][0]["values"]]
    return term


def draw_expression(random: Random) -> dict[str, Any]:
    key = random.choice((*KEYS, "unknown"))
    operator = random.choice(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"])
    expression: dict[str, Any] = {"key": key, "operator": operator}
    if operator in ("In", "NotIn"):
        expression["values"] = some(random, (*VALUES.get(key, ()), "none")) or ["a"]
    elif operator in ("Gt", "Lt"):
        expression["values"] = [random.choice(["-5", "0", "7", "69"])]
    return expression


def draw_toleration(random: Random) -> dict[str, str]:
    toleration = {}
    if random.random() < 0.8:
        toleration["key"] = random.choice("ab")
    toleration["operator"] = random.choice(["Equal", "Exists"])
    if toleration["operator"] == "Equal":
        toleration["value"] = random.choice(["", "x", "y"])
    if random.random() < 0.5:
        toleration["effect"] = random.choice(EFFECTS)
    if random.random() < 0.2:
        toleration = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}
    return toleration


class Case:
    """`nodes` and `spec` in plain values; `columns` and `shape` as plugins see them. `slots` are those of `nodes`."""

    def __init__(self, seed: int) -> None:
        random = self.random = Random(seed)
        self.nodes = [draw_node(random, f"n{number}") for number in range(random.choice([1, 2, 3, 5]))]
        self.spec = draw_pod(random, self.nodes)
        self.columns = NodeColumns(seed=seed % 1000)
        self.columns.set_open("rp-1", True)
        for node in self.nodes:
            self.columns.set_node("rp-1", node.name, read_node(node.manifest()))
            slot = self.columns.slot("rp-1", node.name)
            for requests in node.held:
                self.columns.hold(slot, self.columns.charges(requests))
            for port in node.ports:
                self.columns.hold(slot, self.columns.charges({"pods": 0}), (HostPort(*port),))
        template = Templates().of(encode(self.spec))
        assert not template.error
        self.shape = Shape(1, template, "acme", "default", {})

    @property
    def requests(self) -> Mapping[str, int]:
        """What the pod requests, from its only container that does."""
        written = self.spec["containers"][0]["resources"]["requests"]
        requests = {name: int(str(value).removesuffix("m")) for name, value in written.items()}
        return {"cpu": 0, "memory": 0, "pods": 1, **requests}
