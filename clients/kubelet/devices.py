"""What pods hold of the GPUs of one node, as far as they say which: the kubelet is the last arbiter of these, too.

After a resource partition was set back, a bind may be on its way that nobody could tell it of, and its GPUs may be
given away meanwhile (see `telling.py`). Then two pods are bound to one GPU, though the node as a whole has room.
"""

from __future__ import annotations

from ...proto.devices import MILLI_PER_DEVICE, HeldDevices, device_request
from .pod import Pod


class Devices:
    def __init__(self) -> None:
        self._held: dict[Pod, HeldDevices] = {}
        self._used: dict[int, int] = {}  # milli, by number of the device

    def why_not(self, pod: Pod) -> str:
        """Why these cannot give the pod what it is bound to; empty: they can, or it does not say."""
        if not pod.devices:
            return ""
        wanted = device_request(pod.spec.requests).milli
        for number in pod.devices:
            used = self._used.get(number, 0)
            if used + wanted > MILLI_PER_DEVICE:
                return f"of device {number}, requested: {wanted}, used: {used}, capacity: {MILLI_PER_DEVICE}"
        return ""

    def hold(self, pod: Pod) -> None:
        """A pod that is admitted holds those that it is bound to. Idempotent, also if it is bound to others by now."""
        self.release(pod)
        if pod.devices:
            held = self._held[pod] = HeldDevices(pod.devices, device_request(pod.spec.requests))
            self._add(held, 1)

    def holds(self, pod: Pod) -> bool:
        return pod in self._held

    def release(self, pod: Pod) -> None:
        held = self._held.pop(pod, None)
        if held is not None:
            self._add(held, -1)

    def _add(self, held: HeldDevices, sign: int) -> None:
        for number in held.numbers:
            self._used[number] = self._used.get(number, 0) + sign * held.wanted.milli
