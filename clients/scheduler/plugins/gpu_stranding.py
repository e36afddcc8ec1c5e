"""GpuStranding: onto the node where the least GPU will be left without the cpu to use it.

What ends the filling of a cluster is mostly not the size of what is left of its GPUs, but that the cpu beside them has
gone. Pods that come later take a node's cpu and GPU in some proportion; filled with pods of one proportion alone, a
node with `gpu` milli and `cpu` millicores left strands

    max(0, gpu - cpu / proportion)        proportion: millicores for each milli of GPU

The expected stranding is the mean of that over the typical pods, weighted by the GPU they ask for. A pod goes where the
expectation falls most, or rises least. Of nodes alike in that, a share takes the device that it fills best, and any pod
the node with the less GPU left. Score = 100 x sigmoid(gain / 1000), rounded down.

It is our own. The distribution is the one that GpuFragmentation uses; nothing is known of what comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from ..columns import NodeColumns
from ..framework.interface import Depends, ScorePlugin, Scores, Slots
from ..framework.shape import Shape
from .gpu_room import Floats, Room, Wish, room_of, sigmoid_score, tightest, wish_of
from .gpu_typical import read_typical

# In milli stranded: what a milli that a share leaves of its device is worth, and a milli left of all of the node's.
# Larger ones cost allocation (ten times as much: half a per cent), none at all as well.
SLACK_WEIGHT: Final = 0.1
LEFT_WEIGHT: Final = 0.01


class GpuStranding(ScorePlugin):
    """`args`: typicalPods, as in `gpu_typical.py`; those without GPUs count for nothing."""

    name: ClassVar[str] = "GpuStranding"
    depends: ClassVar[Depends] = Depends.ROOM
    template_only: ClassVar[bool] = True

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        asked: dict[float, float] = {}
        for pod in read_typical(self.name, args):
            milli = pod.devices.amount * pod.devices.milli
            if milli:
                proportion = pod.cpu / milli
                asked[proportion] = asked.get(proportion, 0.0) + pod.weight * milli
        total = sum(asked.values())
        if not total:
            raise ValueError(f"{self.name}: none of typicalPods asks for GPUs")
        # Pods without cpu strand nothing.
        self._needed = {proportion: weight / total for proportion, weight in asked.items() if proportion}
        self._proportions = np.array(list(self._needed), np.float64)
        self._weights = np.array(list(self._needed.values()), np.float64)

    def stranding(self, cpu: Floats, gpu: Floats) -> Floats:
        """Expected, in milli of GPU."""
        if not len(self._weights):
            return np.zeros(len(cpu))
        stranded: Floats = np.maximum(gpu[:, None] - cpu[:, None] / self._proportions, 0) @ self._weights
        return stranded

    def score(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        return sigmoid_score(self.gains(wish_of(pod), room_of(nodes, slots)))

    def gains(self, wish: Wish, room: Room) -> Floats:
        left = room.left
        gain = self.stranding(room.cpu, left) - self.stranding(room.cpu - wish.cpu, left - wish.milli)
        if wish.devices.is_share:
            gain = gain - SLACK_WEIGHT * np.minimum(tightest(wish, room) - wish.milli, 1000)
        result: Floats = gain - LEFT_WEIGHT * left
        return result
