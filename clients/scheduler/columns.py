"""The nodes of all resource partitions in columns: one array a quantity, one slot a node.

Filtering and scoring all nodes is then a handful of array operations, and no node need be left out to save time. A node
is known by (resource partition, name) and its uid. A slot exists as long as a node is there or anything is held on it:
placements are seen before their node, and outlive it.

    free[column, slot] = allocatable - requested by all that is held there (negative if more is held than allocatable)

Quantities are float64, exact for whole numbers up to 2**53. Row changes go into a log, from which what plugins have
said (`framework/column.py`) catches up: into `changes` always, and into `static_changes` too if more changed than what
is held.

Ties between equal scores are broken by 20 bits, drawn anew with every change of a row from (seed, slot, generation):
without state, so that a cached and a fresh score agree, and differently for each scheduler, so that two of them do not
run after the same node. Above them stands the bit of the scheduler's own shard: nodes are divided among the schedulers
by a hash of their name, and everyone prefers its own share, so that conflicts only begin where shards overflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ...proto import quantities
from ...proto.devices import HeldDevices, device_count
from ...proto.host_ports import HostPort
from .change_log import ChangeLog
from .devices import DeviceColumns
from .images import ImageIndex
from .labels import LabelColumns
from .node_facts import NodeFacts
from .pods_on_nodes import PodsOnNodes
from .taints import Taint
from .volumes import Volumes

Floats = NDArray[np.float64]
# (column, amount) pairs: what one pod takes from the free columns of its node.
Charges = tuple[tuple[int, int], ...]

# The columns every node has; those of other resources follow. The nonzero ones are for scoring.
CPU, MEMORY, PODS, NONZERO_CPU, NONZERO_MEMORY = range(5)
# Scoring counts a pod that requests no cpu or memory as if it did, as in Kubernetes; otherwise all pods without
# requests would go to one node. (Kubernetes counts so by container; a Placement only tells of the pod as a whole.)
NONZERO_CPU_MILLICORES: Final = 100
NONZERO_MEMORY_BYTES: Final = 200 * 1024 * 1024

CAPACITY_MIN: Final = 64
RESOURCES_MIN: Final = 8
CHARGES_MAX: Final = 4096  # distinct sets of requests remembered
TIE_BITS: Final = 20
OWN_SHARD: Final = 1 << 62  # above the total of the weighted scores and the tie bits


class Shard(NamedTuple):
    """Of `schedulers`, this is number `number`."""

    number: int = 0
    schedulers: int = 1

    def turn(self, node: str) -> int:
        """How many schedulers are before this one at a node: none at those of its own share."""
        return (crc32(node.encode()) - self.number) % self.schedulers

    def owns(self, node: str) -> bool:
        return self.turn(node) == 0


def tie_bits(seed: int, slot: int, generation: int) -> int:
    mixed = (seed + slot * 0x9E3779B1 + generation * 0x85EBCA6B) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 12)) * 0x297A2D39) & 0xFFFFFFFF
    return mixed >> 12


class NodeColumns:
    """Arrays have one entry a slot; only the first `high` slots were ever used. Read them, change them by methods."""

    def __init__(self, seed: int = 0, shard: Shard = Shard()) -> None:  # noqa: B008  # immutable
        self._seed, self._shard = seed, shard
        self.capacity = CAPACITY_MIN
        self.high = 0
        self.layout = 0  # changes when arrays are replaced or a resource is added
        self.changes = ChangeLog()
        self.static_changes = ChangeLog()
        self.resource_columns: dict[str, int] = {quantities.CPU: CPU, quantities.MEMORY: MEMORY, quantities.PODS: PODS}
        self._columns_used = NONZERO_MEMORY + 1

        self.free: Floats = np.zeros((RESOURCES_MIN, CAPACITY_MIN))
        # What is allocatable, to divide by; same columns, 1 where there is none.
        self.scale: Floats = np.ones((RESOURCES_MIN, CAPACITY_MIN))
        self.present: NDArray[np.bool_] = np.zeros(CAPACITY_MIN, np.bool_)
        self.ready: NDArray[np.bool_] = np.zeros(CAPACITY_MIN, np.bool_)
        self.open: NDArray[np.bool_] = np.zeros(CAPACITY_MIN, np.bool_)
        self.unschedulable: NDArray[np.bool_] = np.zeros(CAPACITY_MIN, np.bool_)
        self.taint_set: NDArray[np.int32] = np.zeros(CAPACITY_MIN, np.int32)
        self.tie: NDArray[np.int64] = np.zeros(CAPACITY_MIN, np.int64)

        self.facts: list[NodeFacts | None] = []
        self.names: list[str] = []
        self.partitions: list[str] = []
        # Counts what others did to a row: whoever compares it learns whether his view of the node was stale.
        self.external: list[int] = []
        # Templates for which the node's partition refused a claim though the row showed room.
        self.refusals: dict[int, dict[int, None]] = {}
        # Slots not to be chosen for the moment, whatever the template.
        self.withheld: dict[int, None] = {}
        # The host ports taken on the nodes that have such pods: by slot, each as often as it is held.
        self.ports: dict[int, list[HostPort]] = {}
        self._freed: dict[int, None] = {}
        self.taint_sets: list[tuple[Taint, ...]] = [()]
        self._taint_ids: dict[tuple[Taint, ...], int] = {(): 0}
        self.labels = LabelColumns(self.facts)
        self.devices = DeviceColumns(CAPACITY_MIN)
        self.images = ImageIndex()
        self.nodes = 0  # How many are present.
        self.pods = PodsOnNodes(self)
        self.volumes = Volumes()
        self._open_partitions: dict[str, bool] = {}
        self._slots: dict[tuple[str, str], int] = {}
        self._free: list[int] = []
        self._holds: list[int] = []
        self._generations: list[int] = []
        self._turns: list[int] = []
        self._charges: dict[tuple[tuple[str, int], ...], Charges] = {}
        self._take_cells()

    # ---------------------------------------------------------------------------------------------------- slots

    def find(self, partition: str, node: str) -> int | None:
        """The slot of a node, or of something held on a node that is not there."""
        return self._slots.get((partition, node))

    def names_of(self, partition: str) -> list[str]:
        """The nodes that are there."""
        return [name for (of, name), slot in self._slots.items() if of == partition and self.facts[slot] is not None]

    def slot(self, partition: str, node: str) -> int:
        """The slot of a node, made if need be."""
        found = self._slots.get((partition, node))
        return self._add_slot(partition, node) if found is None else found

    def _add_slot(self, partition: str, node: str) -> int:
        turn = self._shard.turn(node)
        if self._free:
            slot = self._free.pop()
            self.names[slot], self.partitions[slot], self._turns[slot] = node, partition, turn
        else:
            slot = self.high
            if slot == self.capacity:
                self._grow()
            self.high += 1
            self.facts.append(None)
            self.names.append(node)
            self.partitions.append(partition)
            self.external.append(0)
            self._holds.append(0)
            self._generations.append(0)
            self._turns.append(turn)
        self._slots[partition, node] = slot
        self.open[slot] = self._open_partitions.get(partition, False)
        self._touch_static(slot)
        return slot

    def _free_if_unused(self, slot: int) -> None:
        if self.facts[slot] is None and not self._holds[slot]:
            del self._slots[self.partitions[slot], self.names[slot]]
            self.refusals.pop(slot, None)
            self.withheld.pop(slot, None)
            self._freed.pop(slot, None)
            self._free.append(slot)

    # ---------------------------------------------------------------------------------------------------- nodes

    def set_node(self, partition: str, node: str, facts: NodeFacts) -> bool:
        """Take in a node; False: nothing changed that scheduling looks at."""
        slot = self.slot(partition, node)
        self._open_partitions.setdefault(partition, False)
        if self.facts[slot] == facts:
            return False
        self._set_allocatable(slot, facts.allocatable)
        self.devices.set_count(slot, device_count(facts.allocatable))
        self._count(slot, facts)
        self.facts[slot] = facts
        self.present[slot] = True
        self.ready[slot] = facts.ready
        self.unschedulable[slot] = facts.unschedulable
        self.taint_set[slot] = self._taint_id(facts.taints)
        self.labels.node_changed(slot)
        self._touch_static(slot)
        self.view_changed(slot)
        return True

    def clear_node(self, slot: int) -> None:
        """The node is gone; what is held on it stays held."""
        self._set_allocatable(slot, {})
        self.devices.set_count(slot, 0)
        self._count(slot, None)
        self.facts[slot] = None
        self.present[slot] = self.ready[slot] = False
        self.labels.node_changed(slot)
        self._touch_static(slot)
        self.view_changed(slot)
        self._free_if_unused(slot)

    def _count(self, slot: int, facts: NodeFacts | None) -> None:
        """What is counted over all nodes, as `facts` take the place of the slot's own."""
        before = self.facts[slot]
        self.nodes += (facts is not None) - (before is not None)
        if before is not None:
            self.images.remove(slot, before.images)
        if facts is not None:
            self.images.add(slot, facts.images)

    def slots_named(self, node: str) -> list[int]:
        """Of the nodes of this name: there may be one in each partition."""
        found = (self._slots.get((partition, node)) for partition in self._open_partitions)
        return [slot for slot in found if slot is not None]

    def _set_allocatable(self, slot: int, allocatable: Mapping[str, int]) -> None:
        before = self.facts[slot]
        for sign, amounts in ((-1, {} if before is None else before.allocatable), (1, allocatable)):
            for resource, units in amounts.items():
                column = self._column(resource)  # it may replace `free`
                self.free[column, slot] += sign * units
                self.scale[column, slot] = units if sign > 0 and units else 1
            self.free[NONZERO_CPU, slot] += sign * amounts.get(quantities.CPU, 0)
            self.free[NONZERO_MEMORY, slot] += sign * amounts.get(quantities.MEMORY, 0)
        self.scale[NONZERO_CPU, slot] = self.scale[CPU, slot]
        self.scale[NONZERO_MEMORY, slot] = self.scale[MEMORY, slot]

    def set_open(self, partition: str, is_open: bool) -> None:
        """Whether the nodes of a partition may be chosen."""
        if self._open_partitions.get(partition, False) != is_open:
            self._open_partitions[partition] = is_open
            for slot in range(self.high):
                if self.partitions[slot] == partition:
                    self.open[slot] = is_open
            self.static_changes.forget()

    def set_shard(self, shard: Shard) -> None:
        """The schedulers have become more or fewer, and with them the nodes that this one prefers are others."""
        if shard != self._shard:
            self._shard = shard
            for slot in range(self.high):
                self._turns[slot] = shard.turn(self.names[slot])
                self._touch_static(slot)

    def clear_partition(self, partition: str) -> None:
        """The partition is none any more, and all its nodes are gone."""
        self._open_partitions.pop(partition, None)
        for slot in range(self.high):
            if self.partitions[slot] == partition and self.facts[slot] is not None:
                self.clear_node(slot)

    def is_open(self, partition: str) -> bool:
        return self._open_partitions.get(partition, False)

    def _taint_id(self, taints: tuple[Taint, ...]) -> int:
        found = self._taint_ids.get(taints)
        if found is None:
            found = self._taint_ids[taints] = len(self.taint_sets)
            self.taint_sets.append(taints)
        return found

    # ---------------------------------------------------------------------------------------------------- holds

    def charges(self, requests: Mapping[str, int]) -> Charges:
        """What a pod with these requests takes from the columns of its node. Equal requests give the same tuple."""
        items = tuple(requests.items())
        found = self._charges.get(items)
        if found is None:
            if len(self._charges) >= CHARGES_MAX:
                self._charges.clear()
            known = tuple((self._column(resource), units) for resource, units in items if units)
            cpu = requests.get(quantities.CPU) or NONZERO_CPU_MILLICORES
            memory = requests.get(quantities.MEMORY) or NONZERO_MEMORY_BYTES
            found = self._charges[items] = (*known, (NONZERO_CPU, cpu), (NONZERO_MEMORY, memory))
        return found

    def hold(
        self, slot: int, charges: Charges, ports: Sequence[HostPort] = (), devices: HeldDevices | None = None
    ) -> None:
        cells = self.free_cells
        for column, amount in charges:
            cells[column][slot] -= amount
        self._holds[slot] += 1
        if ports:
            self.ports.setdefault(slot, []).extend(ports)
        if devices is not None:
            self.devices.hold(slot, devices)
        self._touch(slot)

    def unhold(
        self, slot: int, charges: Charges, ports: Sequence[HostPort] = (), devices: HeldDevices | None = None
    ) -> None:
        cells = self.free_cells
        for column, amount in charges:
            cells[column][slot] += amount
        self._holds[slot] -= 1
        if ports:
            for port in ports:
                self.ports[slot].remove(port)
            if not self.ports[slot]:
                del self.ports[slot]
        if devices is not None:
            self.devices.unhold(slot, devices)
        self._touch(slot)
        if not self._holds[slot]:
            self._free_if_unused(slot)

    def generation(self, slot: int) -> int:
        """Changes with everything that is kept of the slot."""
        return self._generations[slot]

    def keep(self, slot: int) -> None:
        """Somebody knows of something there: the slot stays that of this node."""
        self._holds[slot] += 1

    def let_go(self, slot: int) -> None:
        """The opposite of `keep`."""
        self._holds[slot] -= 1
        if not self._holds[slot]:
            self._free_if_unused(slot)

    def view_changed(self, slot: int) -> None:
        """News of the node itself has come: what was concluded from a refusal no longer holds."""
        self.external[slot] += 1
        if slot in self.refusals:
            del self.refusals[slot]
            self._touch(slot)

    def refuse(self, slot: int, template_id: int) -> None:
        """Do not offer the node to this template until news of it comes."""
        self.refusals.setdefault(slot, {})[template_id] = None
        self._touch(slot)

    def forget_refusals(self) -> None:
        for slot in list(self.refusals):
            del self.refusals[slot]
            self._touch(slot)

    def room_made(self, slot: int) -> None:
        """Something that was held here has gone, and all schedulers are told so at this time."""
        if self._turns[slot]:
            self._freed[slot] = None

    def take_freed(self) -> list[int]:
        """The slots of others' shards in which room was made since the last time."""
        freed = list(self._freed)
        self._freed.clear()
        return freed

    def turn(self, slot: int) -> int:
        """How many schedulers are before this one at the node."""
        return self._turns[slot]

    def withhold(self, slot: int) -> None:
        self.withheld[slot] = None
        self._touch(slot)

    def offer(self, slot: int) -> None:
        """No longer withhold it."""
        del self.withheld[slot]
        self._touch(slot)

    # --------------------------------------------------------------------------------------------------- arrays

    def _touch(self, slot: int) -> None:
        generation = self._generations[slot] + 1
        self._generations[slot] = generation
        own = 0 if self._turns[slot] else OWN_SHARD
        self.tie_cells[slot] = own | tie_bits(self._seed, slot, generation)
        self.changes.append(slot)

    def _touch_static(self, slot: int) -> None:
        self.static_changes.append(slot)
        self._touch(slot)

    def _column(self, resource: str) -> int:
        """The column of a resource; a new one if need be. Nodes and placements make columns, pods do not."""
        column = self.resource_columns.get(resource)
        if column is None:
            column = self.resource_columns[resource] = self._columns_used
            self._columns_used += 1
            if column == len(self.free):
                self.free = np.vstack((self.free, np.zeros_like(self.free)))
                self.scale = np.vstack((self.scale, np.ones_like(self.scale)))
            self._take_cells()
        return column

    def _grow(self) -> None:
        self.capacity *= 2
        self.free = np.hstack((self.free, np.zeros_like(self.free)))
        self.scale = np.hstack((self.scale, np.ones_like(self.scale)))
        self.present = _doubled(self.present)
        self.ready = _doubled(self.ready)
        self.unschedulable = _doubled(self.unschedulable)
        self.open = _doubled(self.open)
        self.taint_set = _doubled(self.taint_set)
        self.tie = _doubled(self.tie)
        self.labels.resize(self.capacity)
        self.devices.resize(self.capacity)
        self._take_cells()

    def _take_cells(self) -> None:
        """Views for single cells: reading one through a memoryview takes two thirds of the time of an array."""
        self.layout += 1
        self.free_cells = [column.data for column in self.free]
        self.scale_cells = [column.data for column in self.scale]
        self.tie_cells = self.tie.data


def _doubled(array: NDArray[np.generic]) -> NDArray[Any]:
    return np.concatenate((array, np.zeros_like(array)))
