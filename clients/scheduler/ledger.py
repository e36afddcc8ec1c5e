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
    """One pod's share of one node. `placement_uid` is empty as long as nothing but our own wish is known.

    There is one for each placement of every tenant partition, and most are never asked for more than what they take of
    the node. So the rest stays in `spec`, as it is written.
    """

    __slots__ = ("charges", "devices", "home", "placement_uid", "ports", "revision", "slot", "spec")

    def __init__(
        self,
        slot: int,
        charges: Charges,
        spec: bytes,
        home: bool,
        ports: tuple[HostPort, ...],
        devices: HeldDevices | None,
        placement_uid: str = "",
        revision: int = 0,
    ) -> None:
        self.slot = slot
        self.charges = charges
        self.spec = spec  # of the placement, as claimed or as seen
        self.home = home  # of a pod of our own tenant partition
        self.ports = ports
        self.devices = devices
        self.placement_uid = placement_uid
        self.revision = revision  # of the placement

    @property
    def node_uid(self) -> str:
        return str(decode(self.spec)["nodeUID"])

    @property
    def history(self) -> str:
        """Of its tenant partition, in which it was claimed; empty: it does not say."""
        return str(decode(self.spec).get("history", ""))

    @property
    def bound(self) -> bool:
        """Made by a controller, after its tenant partition had said that the pod is bound there."""
        return bool(decode(self.spec).get("bound"))


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
        ports: tuple[HostPort, ...] = (),
        devices: HeldDevices | None = None,
    ) -> None:
        """A claim has been decided. It counts at once, unless its placement is there already."""
        assert pod_uid not in self.assumed, f"pod {pod_uid} is claimed twice"
        seen = self.observed.get(pod_uid)
        if seen is None or seen.slot != slot:
            self.assumed[pod_uid] = Hold(slot, charges, spec, True, ports, devices)
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
        metadata, spec = message.metadata, message.spec
        pod_uid = metadata.name
        known, assumed = pod_uid in self.observed, self.assumed.get(pod_uid)
        if assumed is not None and assumed.spec == spec and not known:
            assumed.placement_uid, assumed.revision = metadata.uid, metadata.resource_version
            self.observed[pod_uid] = self.assumed.pop(pod_uid)
            return assumed
        hold = self._read(metadata, spec)
        self._nodes.hold(hold.slot, hold.charges, hold.ports, hold.devices)
        if known:
            self.lose(pod_uid)
        if assumed is not None and assumed.slot == hold.slot:
            self.withdraw(pod_uid)
        self.observed[pod_uid] = hold
        self._nodes.view_changed(hold.slot)
        return hold

    def _read(self, metadata: pb.ObjectMeta, data: bytes) -> Hold:
        # Every placement names its pod, so no two are equal: the cache of shared specs would only be flushed by them.
        spec, nodes = decode(data), self._nodes
        ports = spec.get("hostPorts")
        return Hold(
            nodes.slot(self.partition, spec["node"]),
            nodes.charges(spec["requests"]),
            data,
            spec["tenantPartition"] == self._home,
            read_written(ports) if ports else (),
            _devices(spec) if "devices" in spec else None,
            metadata.uid,
            metadata.resource_version,
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
