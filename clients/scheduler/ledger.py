"""What is held on the nodes, as this scheduler knows it: placements it has seen, and claims it assumes to hold.

A node's requested amounts are the sum of the placements observed in its partition, other schedulers' included, and of
our own claims not observed yet. A claim is assumed from the moment it is decided, and **an assumption ends by
observation only, never by a timer**: the placement is seen (the two are folded into one, nothing is counted twice), or
the partition refuses the claim, or the view of the partition has gone past the revision of the claim's answer and the
placement is not there: it has come and gone while we did not look.

    claim p on n1 (100m)            n1: 100m     assumed
    placement p on n1 seen          n1: 100m     observed; the assumption is folded into it
    placement q on n1 (50m) seen    n1: 150m     another scheduler's
    placement p gone                n1:  50m
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.devices import HeldDevices, held_devices
from ...proto.host_ports import HostPort, read_written
from ...proto.objects import decode
from ..revisions import Revision
from .columns import Charges, NodeColumns


class Hold:
    """One pod's share of one node. `placement_uid` is empty as long as nothing but our own wish is known."""

    __slots__ = (
        "bound",
        "charges",
        "devices",
        "history",
        "home",
        "node_uid",
        "placement_uid",
        "ports",
        "revision",
        "slot",
        "spec",
    )

    def __init__(
        self,
        slot: int,
        charges: Charges,
        *,
        spec: bytes = b"",
        placement_uid: str = "",
        revision: int = 0,
        node_uid: str = "",
        home: bool,
        history: str = "",
        bound: bool = False,
        ports: tuple[HostPort, ...] = (),
        devices: HeldDevices | None = None,
    ) -> None:
        self.slot = slot
        self.charges = charges
        self.spec = spec  # of an assumption: the placement's spec as claimed, to know it again without decoding it
        self.placement_uid = placement_uid
        self.revision = revision  # of the placement
        self.node_uid = node_uid
        self.home = home  # of a pod of our own tenant partition
        self.history = history  # of our own tenant partition, in which it was claimed; empty: it does not say
        self.ports = ports
        self.devices = devices
        self.bound = bound  # made by a controller, after this partition had said that the pod is bound there


class Ledger:
    """Of one resource partition. Holds are by pod uid, which is the name of the pod's Placement."""

    def __init__(self, partition: str, home: str, nodes: NodeColumns) -> None:
        self.partition, self._home, self._nodes = partition, home, nodes
        self.observed: dict[str, Hold] = {}
        self.assumed: dict[str, Hold] = {}
        # Answered claims not observed yet, with the revision of the answer: in the order of revisions.
        self._accepted: deque[tuple[Revision, str, Hold]] = deque()

    # ------------------------------------------------------------------------------------------------ assumptions

    def assume(
        self,
        pod_uid: str,
        slot: int,
        charges: Charges,
        spec: bytes,
        node_uid: str,
        history: str = "",
        ports: tuple[HostPort, ...] = (),
        devices: HeldDevices | None = None,
    ) -> None:
        """A claim has been decided. It counts at once, unless its placement is there already."""
        assert pod_uid not in self.assumed, f"pod {pod_uid} is claimed twice"
        seen = self.observed.get(pod_uid)
        if seen is None or seen.slot != slot:
            self.assumed[pod_uid] = Hold(
                slot, charges, spec=spec, node_uid=node_uid, home=True, history=history, ports=ports, devices=devices
            )
            self._nodes.hold(slot, charges, ports, devices)

    def accept(self, pod_uid: str, revision: Revision) -> None:
        """The partition has taken the claim, at this revision (of number 0: it does not say)."""
        hold = self.assumed.get(pod_uid)
        if revision.number and hold is not None:
            self._accepted.append((revision, pod_uid, hold))

    def withdraw(self, pod_uid: str) -> None:
        """The partition has said that there is no such claim."""
        hold = self.assumed.pop(pod_uid, None)
        if hold is not None:
            self._nodes.unhold(hold.slot, hold.charges, hold.ports, hold.devices)

    def clear(self) -> None:
        """The partition is none any more, and holds nothing."""
        for hold in (*self.assumed.values(), *self.observed.values()):
            self._nodes.unhold(hold.slot, hold.charges, hold.ports, hold.devices)
        self.assumed.clear()
        self.observed.clear()
        self._accepted.clear()

    # ----------------------------------------------------------------------------------------------- observations

    def see(self, message: pb.Object) -> Hold:
        """A placement has been added, or has changed."""
        pod_uid = message.metadata.name
        assumed = self.assumed.get(pod_uid)
        if assumed is not None and assumed.spec == message.spec and pod_uid not in self.observed:
            assumed.placement_uid, assumed.revision = message.metadata.uid, message.metadata.resource_version
            assumed.spec = b""
            self.observed[pod_uid] = self.assumed.pop(pod_uid)
            return assumed
        hold = self._read(message.metadata, message.spec)
        self._nodes.hold(hold.slot, hold.charges, hold.ports, hold.devices)
        self.lose(pod_uid)
        if assumed is not None and assumed.slot == hold.slot:
            self.withdraw(pod_uid)
        self.observed[pod_uid] = hold
        self._nodes.view_changed(hold.slot)
        return hold

    def _read(self, metadata: pb.ObjectMeta, data: bytes) -> Hold:
        # Every placement names its pod, so no two are equal: the cache of shared specs would only be flushed by them.
        spec = decode(data)
        return Hold(
            self._nodes.slot(self.partition, spec["node"]),
            self._nodes.charges(spec["requests"]),
            placement_uid=metadata.uid,
            revision=metadata.resource_version,
            node_uid=spec["nodeUID"],
            home=spec["tenantPartition"] == self._home,
            history=spec.get("history", ""),
            bound=bool(spec.get("bound")),
            ports=read_written(spec.get("hostPorts") or ()),
            devices=_devices(spec),
        )

    def lose(self, pod_uid: str) -> bool:
        """A placement is gone. False: it was not known."""
        hold = self.observed.pop(pod_uid, None)
        if hold is None:
            return False
        self._nodes.view_changed(hold.slot)
        self._nodes.room_made(hold.slot)
        self._nodes.unhold(hold.slot, hold.charges, hold.ports, hold.devices)
        return True

    def seen_up_to(self, revision: Revision) -> bool:
        """The view of placements is complete up to `revision`. True: an assumption has ended by it.

        Raises:
            TypeError: it is another partition's revision.
        """
        ended = False
        while self._accepted and self._accepted[0][0] <= revision:
            _, pod_uid, hold = self._accepted.popleft()
            if self.assumed.get(pod_uid) is hold:
                self.withdraw(pod_uid)
                ended = True
        return ended


def _devices(spec: Mapping[str, Any]) -> HeldDevices | None:
    try:
        return held_devices(spec)
    except ValueError:
        # The apiserver lets no such placement in. If one is there all the same, its partition is the one to judge it.
        return None
