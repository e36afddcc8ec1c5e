"""What is kept of all plugins equals what is asked anew, and the best node is the one that a loop over nodes finds:
after any nodes and pods have come and gone, whether or not scores have to be normalised or depend on other pods."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, ClassVar

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ursa.clients.scheduler.columns import OWN_SHARD, NodeColumns, Shard
from ursa.clients.scheduler.framework.column import INFEASIBLE, Column
from ursa.clients.scheduler.framework.interface import (
    SKIP,
    Bools,
    Depends,
    FilterPlugin,
    Normalize,
    PreFilterPlugin,
    PreScorePlugin,
    ScorePlugin,
    Scores,
    Slots,
)
from ursa.clients.scheduler.framework.picker import Picker
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.node_facts import read_node
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.profiles import profiles_of
from ursa.clients.scheduler.template import Templates
from ursa.proto.host_ports import HostPort
from ursa.proto.objects import encode

from . import naive
from .cases import CASES, PlainNode, draw_node, draw_pod, draw_port, draw_requests

NODES = 7
WEIGHT = {"Crowd": 5, "Emptiest": 4}


class Crowd(PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin):
    """Depends on all pods, as those of other modules do: at most three more on a node than on the emptiest."""

    name: ClassVar[str] = "Crowd"
    depends: ClassVar[Depends] = Depends.PODS
    normalize: ClassVar[Normalize] = Normalize.REVERSE_MAX

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        return SKIP if pod.labels.get("crowd") == "any" else int(self._held(nodes)[nodes.present].min(initial=10**6))

    def _held(self, nodes: NodeColumns) -> NDArray[np.int64]:
        return np.array([*nodes._holds, *[0] * (nodes.capacity - nodes.high)], np.int64)

    def filter(self, state: int, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        return self._held(nodes)[slots] <= state + 3

    def reasons(self, state: int, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        return {"node(s) were crowded": len(slots)}

    def skips(self, pod: Shape, nodes: NodeColumns) -> bool:
        return pod.labels.get("crowd") == "any"

    def pre_score(self, pod: Shape, nodes: NodeColumns, feasible: Bools) -> Any:
        assert len(feasible) == nodes.high
        return None

    def score(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        return self._held(nodes)[slots]


class Emptiest(ScorePlugin):
    """Normalised, and depends on what is held: nothing of it can be kept."""

    name: ClassVar[str] = "Emptiest"
    depends: ClassVar[Depends] = Depends.ROOM
    normalize: ClassVar[Normalize] = Normalize.OWN

    def score(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        return np.maximum(nodes.free[2][slots], 0).astype(np.int64)

    def normalize_scores(self, state: Any, pod: Shape, scores: Scores) -> Scores:
        least, most = int(scores.min()), int(scores.max())
        return (scores - least) * 100 // (most - least) if most > least else np.zeros_like(scores)


PROFILES: dict[str, Any] = {
    "default": {},
    "live": {"plugins": {"multiPoint": {"enabled": [{"name": "Crowd", "weight": 5}]}}},
    "all": {
        "plugins": {"multiPoint": {"enabled": [{"name": "Crowd", "weight": 5}, {"name": "Emptiest", "weight": 4}]}}
    },
}


class History:
    """A table of nodes that changes, beside plain values."""

    def __init__(self, seed: int, profile: str) -> None:
        random = self.random = Random(seed)
        self.nodes = NodeColumns(seed % 1000, Shard(0, random.choice([1, 1, 2])))
        options = SchedulerOptions(profiles=(PROFILES[profile],), plugins=(Crowd, Emptiest))
        [made] = profiles_of(options)
        self.extra = {"default": (), "live": ("Crowd",), "all": ("Crowd", "Emptiest")}[profile]
        self.picker = Picker(self.nodes, Random(1), random.choice([1, 5]), made)
        self.plain: dict[str, PlainNode] = {}
        self.open = {"rp-0": True, "rp-1": True}
        for name in self.open:
            self.nodes.set_open(name, True)
        for number in range(random.randint(1, NODES)):
            self.set_node(f"n{number}")
        templates, self.shapes, self.specs = Templates(), [], []
        for number in range(3):
            spec = self.lenient(draw_pod(random, list(self.plain.values())))
            template = templates.of(encode(spec))
            self.specs.append(spec)
            labels = {"crowd": random.choice(["any", "few"])}
            self.shapes.append(Shape(number + 1, template, "acme", "default", labels))

    def lenient(self, spec: dict[str, Any]) -> dict[str, Any]:
        """So that mostly several nodes are feasible."""
        if self.random.random() < 0.9:
            spec.pop("nodeName", None)
            spec.pop("nodeSelector", None)
            affinity = spec.get("affinity", {}).get("nodeAffinity", {})
            affinity.pop("requiredDuringSchedulingIgnoredDuringExecution", None)
        if self.random.random() < 0.6:
            spec["tolerations"] = [{"operator": "Exists", "effect": effect} for effect in ("NoSchedule", "NoExecute")]
        return spec

    @staticmethod
    def partition(name: str) -> str:
        return f"rp-{int(name[1:]) % 2}"

    def set_node(self, name: str) -> None:
        drawn = draw_node(self.random, name)
        before = self.plain.get(name)
        for resource, least in (("cpu", 4000), ("memory", 2**33), ("pods", 5)):
            if self.random.random() < 0.9:
                drawn.allocatable = {**drawn.allocatable, resource: max(drawn.allocatable[resource], least)}
        drawn.held, drawn.ports = (before.held, before.ports) if before is not None else ([], [])
        self.plain[name] = drawn
        self.nodes.set_node(self.partition(name), name, read_node(drawn.manifest()))

    def step(self) -> None:
        random = self.random
        what = random.random()
        name = f"n{random.randrange(NODES)}"
        slot = self.nodes.find(self.partition(name), name)
        if what < 0.2:
            self.set_node(name)
        elif slot is None or name not in self.plain:
            return
        elif what < 0.25:
            for requests, port in self.plain.pop(name).held:  # type: ignore[misc]
                self.nodes.unhold(slot, self.nodes.charges(requests), port)
            self.nodes.clear_node(slot)
        elif what < 0.6:
            requests = draw_requests(random)
            port = (HostPort(*draw_port(random)),) if random.random() < 0.3 else ()
            self.nodes.hold(slot, self.nodes.charges(requests), port)
            self.plain[name].held.append((requests, port))  # type: ignore[arg-type]
        elif what < 0.8 and self.plain[name].held:
            requests, port = self.plain[name].held.pop()  # type: ignore[misc]
            self.nodes.unhold(slot, self.nodes.charges(requests), port)
        elif what < 0.85:
            partition = self.partition(name)
            self.open[partition] = not self.open[partition]
            self.nodes.set_open(partition, self.open[partition])
        elif what < 0.9:
            self.nodes.withheld[slot] = None
            self.nodes._touch(slot)
        elif slot in self.nodes.withheld:
            self.nodes.offer(slot)

    # ----------------------------------------------------------------------------------------------- what to expect

    def view(self, node: PlainNode) -> PlainNode:
        held = [requests for requests, _ in node.held]  # type: ignore[misc]
        ports = [tuple(each) for _, ports in node.held for each in ports]  # type: ignore[misc]
        return PlainNode(
            node.name, node.labels, node.taints, node.unschedulable, node.allocatable, node.images, held, ports
        )

    def expected(self, number: int) -> dict[int, int]:
        """The total of each node that is feasible, by slot."""
        spec, shape = self.specs[number], self.shapes[number]
        nodes = [self.view(node) for node in self.plain.values()]
        slot_of = {node.name: self.nodes.slot(self.partition(node.name), node.name) for node in nodes}
        requests = shape.template.requests
        live = "Crowd" in self.extra and shape.labels["crowd"] != "any"
        emptiest = min((len(node.held) for node in nodes), default=0)
        left = [
            node
            for node in nodes
            if self.open[self.partition(node.name)]
            and slot_of[node.name] not in self.nodes.withheld
            and naive.node_name(spec, node)
            and naive.node_ports(spec, node)
            and naive.node_unschedulable(spec, node)
            and naive.taints_tolerated(spec, node)
            and naive.required_affinity(spec, node)
            and naive.resources_fit(requests, node)
            and (not live or len(node.held) <= emptiest + 3)
        ]
        if not left:
            return {}
        weights = {"cpu": 1, "memory": 1}
        taints = naive.by_greatest([naive.taints_disliked(spec, node) for node in left], reverse=True)
        wishes = naive.by_greatest([naive.preferred_affinity(spec, node) for node in left], reverse=False)
        crowds = naive.by_greatest([len(node.held) for node in left], reverse=True)
        room = [max(node.allocatable["pods"] - node.taken("pods"), 0) for node in left]
        spread = max(room) - min(room)
        totals = {}
        for at, node in enumerate(left):
            plain = PlainNode(node.name, {}, [], False, node.allocatable, [], node.held)  # a port is no pod of its own
            total = 3 * taints[at] + 2 * wishes[at] + naive.images(spec, node, nodes)
            total += naive.resources_score(requests, plain, "LeastAllocated", weights)
            if requests["cpu"] or requests["memory"]:
                total += naive.balance(requests, plain, weights)
            if live:
                total += WEIGHT["Crowd"] * crowds[at]
            if "Emptiest" in self.extra and spread:
                total += WEIGHT["Emptiest"] * ((room[at] - min(room)) * 100 // spread)
            totals[slot_of[node.name]] = total
        return totals

    def check(self, number: int) -> None:
        nodes, shape = self.nodes, self.shapes[number]
        keys = self.picker.keys(shape).tolist()
        fresh = Column(nodes, shape, self.picker.algorithm)
        fresh.refresh()
        assert self.picker.column(shape).live.tolist() == fresh.live.tolist(), "kept, and asked anew"
        totals = self.expected(number)
        assert [slot for slot, key in enumerate(keys) if key >= 0] == sorted(totals)
        plain = {slot: (total << 20) + nodes.tie_cells[slot] for slot, total in totals.items()}
        # What is the same everywhere may be left out of the keys.
        assert len({keys[slot] - key for slot, key in plain.items()}) <= 1
        picked = self.picker.pick(shape)
        if not plain:
            assert picked == INFEASIBLE
        elif max(plain.values()) >= OWN_SHARD:
            assert picked == max(plain, key=plain.__getitem__)
        else:
            assert picked in plain


@settings(max_examples=max(CASES // 20, 100), deadline=None)
@given(st.integers(0, 2**48), st.sampled_from(list(PROFILES)))
def test_any_history_of_nodes_and_pods_leaves_the_choice_of_a_loop_over_nodes(seed: int, profile: str) -> None:
    history = History(seed, profile)
    for _ in range(12):
        for _ in range(history.random.choice([1, 1, 2, 40])):
            history.step()
        history.check(history.random.randrange(3))
