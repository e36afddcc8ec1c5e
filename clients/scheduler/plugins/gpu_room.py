"""What the GPU plugins look at: of each node what is left of its devices and its cpu, and the kinds of pods on it."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....proto.devices import DeviceRequest, device_request
from ....proto.quantities import CPU as CPU_RESOURCE
from ..columns import CPU, NodeColumns
from ..framework.interface import Scores, Slots
from ..framework.shape import Shape

Floats = NDArray[np.float64]

# Of a gain in milli. What a sum is in its last bits depends on how many nodes are looked at together, and where nothing
# is gained that would be the difference between two scores.
GAIN_DECIMALS: Final = 6


class Wish(NamedTuple):
    """What a pod asks for: millicores, and devices."""

    cpu: float
    devices: DeviceRequest

    @property
    def milli(self) -> int:
        """Of all devices together."""
        return self.devices.amount * self.devices.milli


class Room(NamedTuple):
    """One row a node. `free` as in `devices.DeviceColumns`, never below 0 but where there is no device."""

    free: Floats
    cpu: Floats
    devices: NDArray[np.int64]  # how many it has
    kinds: NDArray[np.int32]

    @property
    def left(self) -> Floats:
        """Milli left on all devices of the node together."""
        left: Floats = np.maximum(self.free, 0).sum(axis=1)
        return left

    def part(self, at: int, rows: int) -> Room:
        """So many rows from one on."""
        some = slice(at, at + rows)
        return Room(self.free[some], self.cpu[some], self.devices[some], self.kinds[some])


def wish_of(pod: Shape) -> Wish:
    requests = pod.template.requests
    return Wish(float(requests.get(CPU_RESOURCE, 0)), device_request(requests))


def room_of(nodes: NodeColumns, slots: Slots) -> Room:
    devices = nodes.devices
    return Room(devices.free[slots], nodes.free[CPU, slots], devices.count[slots], devices.kinds[slots])


def fits(wish: Wish, room: Room) -> NDArray[np.bool_]:
    """Whether enough devices have enough room. Nothing else is looked at."""
    if not wish.devices.amount:
        return np.ones(len(room.cpu), np.bool_)
    fitting: NDArray[np.bool_] = (room.free >= wish.devices.milli).sum(axis=1) >= wish.devices.amount
    return fitting


def tightest(wish: Wish, room: Room) -> Floats:
    """Milli left of the device a share goes to: the one with the least room that has enough; infinity if none has."""
    if not room.free.shape[1]:
        return np.full(len(room.cpu), np.inf)
    least: Floats = np.where(room.free >= wish.devices.milli, room.free, np.inf).min(axis=1)
    return least


def take_whole(wish: Wish, room: Room) -> Floats:
    """The devices after a request for whole ones: the first that are free have gone."""
    whole = room.free >= wish.devices.milli
    taken = whole & (np.cumsum(whole, axis=1) <= wish.devices.amount)
    return room.free - wish.devices.milli * taken


def sigmoid_score(gain: Floats) -> Scores:
    """0 to 100 for any gain in milli; 50 for none. As coarse as the scores of Kubernetes, whose ties decide much."""
    rounded = np.round(gain, GAIN_DECIMALS)
    return np.floor(100.0 / (1.0 + np.exp(-np.clip(rounded / 1000.0, -50.0, 50.0)))).astype(np.int64)
