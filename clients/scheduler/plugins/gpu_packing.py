"""Score plugins that pack: what the paper "Beware of Fragmentation" (USENIX ATC 2023) compares its own with.

They are written after the definitions of that paper's simulator (hkust-adsl/kubernetes-scheduler-simulator). Scores are
whole numbers of 0 to 100, as coarse as there, and higher is better.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ....proto.devices import MILLI_PER_DEVICE
from ..columns import NodeColumns, tie_bits
from ..devices import kind_of
from ..framework.interface import SCORE_MAX, SKIP, Bools, Depends, PreScorePlugin, ScorePlugin, Scores, Slots
from ..framework.shape import Shape
from .gpu_room import Floats, Room, Wish, room_of, wish_of


class _RoomScore(ScorePlugin, abc.ABC):
    """Scores by what is left on the nodes, for pods that fit there."""

    depends: ClassVar[Depends] = Depends.ROOM
    template_only: ClassVar[bool] = True

    def score(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        return self.score_room(wish_of(pod), room_of(nodes, slots))

    @abc.abstractmethod
    def score_room(self, wish: Wish, room: Room) -> Scores: ...


class _ScaledScore(_RoomScore, abc.ABC):
    """`args`: maxCPU (cores) and maxGPUs, of the largest node there is: what cpu and GPUs are measured by."""

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        given = dict(args or {})
        cores, gpus = given.pop("maxCPU", 128), given.pop("maxGPUs", 8)
        super().__init__(given)
        for field, value in (("maxCPU", cores), ("maxGPUs", gpus)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{self.name}: {field} must be a whole number from 1 on, not {value!r}")
        self._cpu_max, self._gpu_max = cores * 1000.0, gpus * float(MILLI_PER_DEVICE)


def _whole(scores: Floats) -> Scores:
    """Nodes it does not fit, or larger than the largest, would be beyond 0 to 100."""
    return np.clip(np.floor(scores), 0, SCORE_MAX).astype(np.int64)


class GpuBestFit(_ScaledScore):
    """The node with the least left of cpu and GPU, both weighted alike."""

    name: ClassVar[str] = "GpuBestFit"

    def score_room(self, wish: Wish, room: Room) -> Scores:
        left = ((room.cpu - wish.cpu) / self._cpu_max + (room.left - wish.milli) / self._gpu_max) / 2
        return _whole(SCORE_MAX * (1 - left))


class DotProduct(_ScaledScore):
    """The node whose room is least like the request, as vectors of cpu and GPU (after Tetris, SIGCOMM 2014)."""

    name: ClassVar[str] = "DotProduct"

    def score_room(self, wish: Wish, room: Room) -> Scores:
        product = room.cpu * wish.cpu / self._cpu_max**2 + room.left * wish.milli / self._gpu_max**2
        return _whole(SCORE_MAX * (1 - product / 2))


class GpuClustering(_RoomScore):
    """Pods of a kind (a share, one GPU, two ...) together: best where there is no other kind, then where there is this
    one, too, then on nodes with none, then elsewhere; among those the fuller node (after Gandiva, OSDI 2018)."""

    name: ClassVar[str] = "GpuClustering"
    _GPU_MAX = 8 * MILLI_PER_DEVICE

    def score_room(self, wish: Wish, room: Room) -> Scores:
        if not wish.devices.amount:
            return np.zeros(len(room.cpu), np.int64)
        there = room.kinds > 0
        kinds, same = there.sum(axis=1), there[:, kind_of(wish.devices)]
        group = np.where(same, np.where(kinds == 1, 75, 50), np.where(kinds == 0, 25, 0))
        fullness = np.maximum(25 * (self._GPU_MAX - room.left.astype(np.int64)) // self._GPU_MAX, 0)
        scores: Scores = (group + fullness).astype(np.int64)
        return scores


class GpuPacking(_RoomScore):
    """First GPUs that are shared already, the fuller the better; then free GPUs of nodes in use; then nodes not in use,
    the smaller the better."""

    name: ClassVar[str] = "GpuPacking"

    def score_room(self, wish: Wish, room: Room) -> Scores:
        wanted = wish.devices
        if not wanted.amount:
            return np.zeros(len(room.cpu), np.int64)
        whole = (room.free == MILLI_PER_DEVICE).sum(axis=1)
        ascending = np.sort(np.where(room.free >= wanted.milli, room.free, np.inf), axis=1)[:, : wanted.amount]
        ascending[np.isinf(ascending)] = 0  # It does not fit there: any score will do.
        fresh = (ascending == MILLI_PER_DEVICE).sum(axis=1)
        shared = np.maximum(SCORE_MAX - np.floor(ascending / 10).sum(axis=1) // 10, SCORE_MAX // 2)
        in_use = np.where(fresh > 0, np.maximum(SCORE_MAX // 2 - fresh, SCORE_MAX // 3), shared)
        scores: Scores = np.where(whole == room.devices, np.maximum(SCORE_MAX // 3 - whole, whole), in_use).astype(
            np.int64
        )
        return scores


class RandomNode(PreScorePlugin, ScorePlugin):
    """One of the nodes that fit, all of them as likely. It is drawn from how often the node table has changed: for each
    pod anew, and the same again in a replay."""

    name: ClassVar[str] = "RandomNode"
    depends: ClassVar[Depends] = Depends.PODS
    template_only: ClassVar[bool] = True

    def pre_score(self, pod: Shape, nodes: NodeColumns, feasible: Bools) -> Any:
        fitting = np.flatnonzero(feasible)
        return int(fitting[tie_bits(int(nodes.tie[0]), 0, nodes.changes.end) % len(fitting)]) if len(fitting) else SKIP

    def score(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        numbers = np.arange(nodes.high)[slots]
        return np.where(numbers == state, SCORE_MAX, 0).astype(np.int64)
