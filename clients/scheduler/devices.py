"""The devices of all nodes in columns: one row a slot of the node table, one column a device.

    free[slot, device] = milli left; NO_DEVICE where the node has no such device

It is as wide as the node with the most devices, and has no columns where there are none: a cluster without devices pays
nothing for it. What is held stays held when its node goes, so `held` is kept apart from `free`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...proto.devices import MILLI_PER_DEVICE, DeviceRequest, HeldDevices

Floats = NDArray[np.float64]

NO_DEVICE: Final = -1.0
# Pods are of a kind by what they ask for: a share, or 1, 2, 3 ... devices. Those of more devices than this are one.
KINDS: Final = 10


def kind_of(wanted: DeviceRequest) -> int:
    return 0 if wanted.is_share else min(wanted.amount, KINDS - 1)


class DeviceColumns:
    def __init__(self, capacity: int) -> None:
        self.count: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.free: Floats = np.zeros((capacity, 0))
        self.held: Floats = np.zeros((capacity, 0))
        # How many pods of each kind hold devices of the node.
        self.kinds: NDArray[np.int32] = np.zeros((capacity, KINDS), np.int32)

    @property
    def width(self) -> int:
        return int(self.free.shape[1])

    def resize(self, capacity: int) -> None:
        more = capacity - len(self.count)
        self.count = np.concatenate((self.count, np.zeros(more, np.int64)))
        self.free = np.vstack((self.free, np.full((more, self.width), NO_DEVICE)))
        self.held = np.vstack((self.held, np.zeros((more, self.width))))
        self.kinds = np.vstack((self.kinds, np.zeros((more, KINDS), np.int32)))

    def set_count(self, slot: int, count: int) -> None:
        """The node has so many devices; 0 if it is gone."""
        if count != self.count[slot]:
            self._widen(count)
            self.count[slot] = count
            self._settle(slot)

    def hold(self, slot: int, devices: HeldDevices) -> None:
        self._change(slot, devices, 1)

    def unhold(self, slot: int, devices: HeldDevices) -> None:
        self._change(slot, devices, -1)

    def _change(self, slot: int, devices: HeldDevices, sign: int) -> None:
        self._widen(max(devices.numbers, default=-1) + 1)
        for device in devices.numbers:
            self.held[slot, device] += sign * devices.wanted.milli
        self.kinds[slot, kind_of(devices.wanted)] += sign
        self._settle(slot)

    def _settle(self, slot: int) -> None:
        count = int(self.count[slot])
        self.free[slot, :count] = MILLI_PER_DEVICE - self.held[slot, :count]
        self.free[slot, count:] = NO_DEVICE

    def _widen(self, width: int) -> None:
        more = width - self.width
        if more > 0:
            rows = len(self.count)
            self.free = np.hstack((self.free, np.full((rows, more), NO_DEVICE)))
            self.held = np.hstack((self.held, np.zeros((rows, more))))
