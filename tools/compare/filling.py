"""Pods placed one after the other on empty nodes, by the scheduler's own picker and node table, and nothing else.

What does not fit when it comes is not tried again, and nothing leaves. Of nodes with equal scores the first in order
takes the pod, in an order that is drawn from the seed once, as in the simulator of the paper the experiment is from
(`Ties.ORDER`), or any, as in Ursa's schedulers (`Ties.RANDOM`): with scores as coarse as 0 to 100 this decides as much
as the scores.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

import numpy as np

from ...clients.scheduler.columns import TIE_BITS, Charges, NodeColumns
from ...clients.scheduler.framework.column import INFEASIBLE
from ...clients.scheduler.framework.picker import Picker
from ...clients.scheduler.framework.profile import Profile
from ...clients.scheduler.framework.shape import Shape
from ...clients.scheduler.node_facts import read_node
from ...clients.scheduler.plugins.gpu_fragmentation import GpuFragmentation
from ...clients.scheduler.plugins.gpu_share import DeviceChoice, device_choice
from ...clients.scheduler.template import Templates
from ...proto.devices import HeldDevices
from ...proto.objects import encode
from .workloads import Workload

# How many points a curve has: one for each part of the capacity that arrives.
PERCENT: Final = 100
_PARTITION: Final = "rp-1"
# The own shard's bit is above every score, and the same for all nodes here.
_SCORE_MASK: Final = (1 << (62 - TIE_BITS)) - 1


class Ties(enum.Enum):
    ORDER = "order"
    RANDOM = "random"


@dataclass
class Filling:
    """What came of it. `*_percent` are of the capacity of the workload's resource; `fragmented_percent` is empty where
    there are no GPUs. The lists have an entry for each whole percent of the capacity that has arrived."""

    seed: int
    pods: int = 0
    placed: int = 0
    overcommitted: int = 0  # nodes or devices that held more than they have, counted after every placement
    cpu_seconds: float = 0.0
    arrived_percent: list[float] = field(default_factory=list)
    allocated_percent: list[float] = field(default_factory=list)
    fragmented_percent: list[float] = field(default_factory=list)

    @property
    def allocated(self) -> float:
        """In the end."""
        return self.allocated_percent[-1] if self.allocated_percent else 0.0

    @property
    def fragmented(self) -> float:
        return self.fragmented_percent[-1] if self.fragmented_percent else 0.0


def fill(
    workload: Workload, profile: Profile, seed: int, ties: Ties = Ties.ORDER, fragments: GpuFragmentation | None = None
) -> Filling:
    """One run. `fragments` says how much of what is left is a fragment.

    Raises:
        PluginError: a plugin fails.
    """
    return _Run(workload, profile, seed, ties, fragments).run(workload.arrivals(seed))


class _Run:
    def __init__(
        self, workload: Workload, profile: Profile, seed: int, ties: Ties, fragments: GpuFragmentation | None
    ) -> None:
        self._capacity, self._ties, self._fragments = workload.capacity, ties, fragments
        self._nodes = NodeColumns(seed)
        # A trace's own order goes by models: pods that every node suits alike would all go to one of them.
        for node in Random(f"nodes {seed}").sample(workload.nodes, len(workload.nodes)):
            self._nodes.set_node(_PARTITION, node.name, read_node(node))
        self._nodes.set_open(_PARTITION, is_open=True)
        self._picker = Picker(self._nodes, Random(seed), len(workload.kinds), profile)
        self._choice: DeviceChoice = device_choice(profile)
        self._units = [kind.units for kind in workload.kinds]
        self._shapes = self._read(workload)
        self._filling = Filling(seed)

    def run(self, arrivals: Sequence[int]) -> Filling:
        filling, arrived, allocated, percent = self._filling, 0, 0, 0
        began = time.process_time()
        for number in arrivals:
            units = self._units[number]
            arrived += units
            if self._place(*self._shapes[number]):
                filling.placed += 1
                allocated += units
            if arrived * PERCENT >= percent * self._capacity:
                percent = int(arrived * PERCENT // self._capacity) + 1
                self._note(arrived, allocated)
        filling.pods = len(arrivals)
        self._note(arrived, allocated)
        filling.cpu_seconds = time.process_time() - began
        return filling

    def _read(self, workload: Workload) -> list[tuple[Shape, Charges]]:
        """Of each of the workload's kinds."""
        templates, known = Templates(), dict[int, tuple[Shape, Charges]]()
        read = []
        for kind in workload.kinds:
            template = templates.of(encode(kind.spec))
            if template.id not in known:
                shape = Shape(template.id, template, "default", "default", {})
                known[template.id] = (shape, self._nodes.charges(template.requests))
            read.append(known[template.id])
        return read

    def _place(self, shape: Shape, charges: Charges) -> bool:
        slot = self._pick(shape)
        if slot == INFEASIBLE:
            return False
        devices: HeldDevices | None = None
        if shape.template.devices.amount:
            numbers = self._choice.choose_devices(shape, self._nodes, slot)
            if not numbers:
                # The profile does not filter by devices, and none of this node's has room.
                self._nodes.refuse(slot, shape.template.id)
                return self._place(shape, charges)
            devices = HeldDevices(numbers, shape.template.devices)
        self._nodes.hold(slot, charges, (), devices)
        self._filling.overcommitted += self._holds_too_much(slot)
        return True

    def _pick(self, shape: Shape) -> int:
        if self._ties is Ties.RANDOM:
            return self._picker.pick(shape)
        keys = self._picker.keys(shape)
        scores = np.where(keys >= 0, (keys >> TIE_BITS) & _SCORE_MASK, INFEASIBLE)
        slot = int(scores.argmax())
        return slot if scores[slot] >= 0 else INFEASIBLE

    def _holds_too_much(self, slot: int) -> bool:
        nodes = self._nodes
        free = nodes.devices.free[slot, : nodes.devices.count[slot]]
        columns = nodes.resource_columns.values()
        return bool((free < 0).any()) or any(nodes.free[column, slot] < 0 for column in columns)

    def _note(self, arrived: int, allocated: int) -> None:
        filling, nodes = self._filling, self._nodes
        filling.arrived_percent.append(round(arrived * PERCENT / self._capacity, 3))
        filling.allocated_percent.append(round(allocated * PERCENT / self._capacity, 3))
        if self._fragments is not None:
            useless = self._fragments.fragmentation(nodes.free[0, : nodes.high], nodes.devices.free[: nodes.high])
            filling.fragmented_percent.append(round(float(useless.sum()) * PERCENT / self._capacity, 3))
