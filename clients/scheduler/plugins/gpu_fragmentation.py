"""GpuFragmentation: onto the node whose free GPU becomes least useless by it.

Fragmentation gradient descent, of "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation
Gradient Descent" (USENIX ATC 2023). What is left of a node's GPUs is a fragment to a pod that cannot use it. Over the
typical pods, weighted by how frequent they are:

    F(node) = sum of weight x | all that is left, if the pod does not fit or wants no GPU
                              | what is left of the devices too small for it, if it fits

A pod goes where F falls most, or rises least: score = 100 x sigmoid((F before - F after) / 1000), rounded down, and a
share to the device for which that is so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ....proto.devices import tightest_devices
from ..columns import NodeColumns
from ..framework.interface import Depends, ScorePlugin, Scores, Slots
from ..framework.shape import Shape
from .gpu_room import Floats, Room, Wish, room_of, sigmoid_score, take_whole, wish_of
from .gpu_share import DeviceChoice
from .gpu_typical import read_typical

# Rows looked at together: so many x 8 devices x a hundred typical pods stay in the processor's cache.
_ROWS_MAX = 64


class GpuFragmentation(ScorePlugin, DeviceChoice):
    """`args`: typicalPods, as in `gpu_typical.py`."""

    name: ClassVar[str] = "GpuFragmentation"
    depends: ClassVar[Depends] = Depends.ROOM
    template_only: ClassVar[bool] = True

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        typical = read_typical(self.name, args)
        self._weights = np.array([pod.weight for pod in typical])
        self._cpu = np.array([pod.cpu for pod in typical], np.float64)
        self._count = np.array([pod.devices.amount for pod in typical])
        self._milli = np.array([pod.devices.milli for pod in typical], np.float64)

    def fragmentation(self, cpu: Floats, free: Floats) -> Floats:
        """F of each node, in milli of GPU. `free`: (nodes, devices)."""
        left = np.maximum(free, 0)
        enough = free[:, None, :] >= self._milli[:, None]
        usable = (enough.sum(axis=2) >= self._count) & (cpu[:, None] >= self._cpu) & (self._count > 0)
        too_small = (left[:, None, :] * ~enough).sum(axis=2)
        useless: Floats = np.where(usable, too_small, left.sum(axis=1)[:, None]) @ self._weights
        return useless

    def score(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        wish, room = wish_of(pod), room_of(nodes, slots)
        gains = [self._gains(wish, room.part(at, _ROWS_MAX)) for at in range(0, len(room.cpu), _ROWS_MAX)]
        return sigmoid_score(np.concatenate([each.max(axis=1) for each in gains])) if gains else np.zeros(0, np.int64)

    def choose_devices(self, pod: Shape, nodes: NodeColumns, slot: int) -> tuple[int, ...]:
        wish = wish_of(pod)
        if not wish.devices.is_share:
            return tightest_devices(nodes.devices.free[slot].tolist(), wish.devices)
        scores = sigmoid_score(self._gains(wish, room_of(nodes, slice(slot, slot + 1))))[0]
        fitting: NDArray[np.intp] = np.flatnonzero(nodes.devices.free[slot] >= wish.devices.milli)
        return (int(fitting[scores[fitting].argmax()]),) if len(fitting) else ()

    def _gains(self, wish: Wish, room: Room) -> Floats:
        """F before less F after: (nodes, devices) for a share, by the device that it goes to, -inf where it has no
        room; (nodes, 1) for anything else."""
        before, cpu = self.fragmentation(room.cpu, room.free), room.cpu - wish.cpu
        if not wish.devices.is_share:
            after = take_whole(wish, room) if wish.devices.amount else room.free
            return (before - self.fragmentation(cpu, after))[:, None]
        gains = np.full(room.free.shape if room.free.shape[1] else (len(cpu), 1), -np.inf)
        for device in range(room.free.shape[1]):
            rows = np.flatnonzero(room.free[:, device] >= wish.devices.milli)
            if len(rows):
                after = room.free[rows]
                after[:, device] -= wish.devices.milli
                gains[rows, device] = before[rows] - self.fragmentation(cpu[rows], after)
        return gains
