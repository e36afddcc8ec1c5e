"""GpuShare: a pod's share of a GPU must fit one device, whole GPUs must be whole.

It filters; which devices a pod gets on its node is said by `choose_devices`, of this plugin or of a score plugin that
has its own idea of it.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ....proto.devices import tightest_devices
from ..columns import NodeColumns
from ..framework.interface import SKIP, Bools, Depends, FilterPlugin, Plugin, PreFilterPlugin, Slots
from ..framework.profile import Profile
from ..framework.shape import Shape
from .gpu_room import fits, room_of, wish_of

TIGHTEST: Final = "Tightest"
RANDOM: Final = "Random"


class DeviceChoice(Plugin, abc.ABC):
    """A plugin that says which devices a pod gets."""

    @abc.abstractmethod
    def choose_devices(self, pod: Shape, nodes: NodeColumns, slot: int) -> tuple[int, ...]:
        """Numbers of devices with room for it, in ascending order; none if it does not fit, or wants none."""


def device_choice(profile: Profile) -> DeviceChoice:
    """Who chooses under a profile: of its score plugins that can the one that weighs most, else GpuShare."""
    scores = [plugin for plugin in profile.points.get("score", ()) if isinstance(plugin, DeviceChoice)]
    if scores:
        return max(scores, key=lambda plugin: profile.weights.get(plugin.name, 1))
    filters = [plugin for plugin in profile.points.get("filter", ()) if isinstance(plugin, DeviceChoice)]
    return filters[0] if filters else GpuShare()


class GpuShare(PreFilterPlugin, FilterPlugin, DeviceChoice):
    """`args`: deviceSelection, `Tightest` (a share goes to the device with the least room that has enough; this is the
    default) or `Random` (to any that has enough)."""

    name: ClassVar[str] = "GpuShare"
    depends: ClassVar[Depends] = Depends.ROOM
    template_only: ClassVar[bool] = True

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        given = dict(args or {})
        self._selection = given.pop("deviceSelection", TIGHTEST)
        super().__init__(given)
        if self._selection not in (TIGHTEST, RANDOM):
            raise ValueError(f"{self.name}: deviceSelection must be {TIGHTEST} or {RANDOM}, not {self._selection!r}")

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        return None if wish_of(pod).devices.amount else SKIP

    def filter(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        return fits(wish_of(pod), room_of(nodes, slots))

    def reasons(self, state: Any, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        without = int((nodes.devices.count[slots] == 0).sum())
        found = {"node(s) had no GPUs": without, "node(s) had no GPU with enough room": len(slots) - without}
        return {reason: count for reason, count in found.items() if count}

    def choose_devices(self, pod: Shape, nodes: NodeColumns, slot: int) -> tuple[int, ...]:
        wanted = wish_of(pod).devices
        free = nodes.devices.free[slot]
        if self._selection == RANDOM and wanted.is_share:
            fitting = np.flatnonzero(free >= wanted.milli)
            # The tie bits are drawn anew with every change of the row.
            return (int(fitting[int(nodes.tie[slot]) % len(fitting)]),) if len(fitting) else ()
        return tightest_devices(free.tolist(), wanted)
