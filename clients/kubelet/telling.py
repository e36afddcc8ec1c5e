"""After its resource partition was set back, a kubelet says what runs on its node before anything is placed there.

The partition has lost the placements made since its snapshot, while their pods run on, and takes no claim for a node
until it bears the mark of this incarnation (`partitions/admission/ledger.py`). So for each node that lacks it: make the
placements of all pods that hold room there again, which harms none that is there; then mark the node. Pods of its own,
of DaemonSets and static ones, the partition has lost or kept together with their placements: of those nothing is told,
for a placement without its pod would be nobody's to release.

What a kubelet knows is what its tenant partitions have shown it, so it says nothing before it has seen them all once.
A partition that was never set back has lost nothing, and is told nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import AlreadyExists, NotFound, UrsaError, from_status
from ...proto.leases import LEASES
from ...proto.objects import ObjectKey, encode
from ...proto.quantities import CPU, MEMORY
from ...proto.restores import HISTORY_LEASE, TOLD_ANNOTATION, restores_of
from ..actor import Actor
from ..client import PartitionClient
from ..operations import patch_operation
from ..placements import create_placement, placement_spec
from ..wake import Wake
from .core import Kubelet
from .pod import Pod
from .registrar import NODES_RESOURCE, Registrar

BATCH_OPERATIONS_MAX = 256
# While something is still to be told: a tenant partition was not seen yet, or ours did not take it.
RETRY_SECONDS = 1.0


class Telling:
    """Of the nodes of one process.

    Args:
        incarnation: that of the newest full view of the home partition; empty before there is one.
        sees_all: whether every tenant partition has shown this node its pods.
    """

    def __init__(
        self,
        resource_client: PartitionClient,
        registrar: Registrar,
        kubelets: Mapping[str, Kubelet],
        incarnation: Callable[[], str],
        sees_all: Callable[[str], bool],
        actor: Actor,
    ) -> None:
        self._resource_client = resource_client
        self._registrar, self._kubelets = registrar, kubelets
        self._incarnation, self._sees_all = incarnation, sees_all
        self._log = actor.log
        self._wake = Wake()
        self._asked = ""  # The incarnation of which it is known whether it was restored.
        self._restored = False
        self.told = 0  # Nodes, since the process began.

    def look(self) -> None:
        """Something was seen of the home partition."""
        self._wake.ring()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            while await self._tell_some():  # noqa: ASYNC110 - what is left waits for another partition, not for us
                await trio.sleep(RETRY_SECONDS)

    async def _tell_some(self) -> bool:
        """Whether something is left to be told."""
        incarnation = self._incarnation()
        try:
            if not await self._is_restored(incarnation):
                return False
            untold = self._registrar.untold(incarnation)
            for name, node_uid in untold.items():
                # Others may have been switched off while one was told of.
                if name in self._kubelets and self._sees_all(name):
                    await self._tell(self._kubelets[name], node_uid, incarnation)
        except UrsaError as error:
            self._log.info("%s is not told what runs here: %s; it will be", self._resource_client.partition, error)
            return True
        return bool(untold)

    async def _is_restored(self, incarnation: str) -> bool:
        """Raises UrsaError: it cannot be told."""
        if incarnation and incarnation != self._asked:
            try:
                lease = await self._resource_client.get(LEASES, HISTORY_LEASE)
                self._restored = restores_of(lease.spec, incarnation) > 0
            except NotFound:
                self._restored = False  # It keeps no account of it, and asks for nothing.
            self._asked = incarnation
        return self._restored and bool(incarnation)

    async def _tell(self, kubelet: Kubelet, node_uid: str, incarnation: str) -> None:
        """Raises UrsaError."""
        made: dict[str, None] = {}
        home = self._resource_client.partition
        while lacking := [
            pod for pod in kubelet.pods() if pod.holds_resources and pod.partition != home and pod.uid not in made
        ]:
            batch = lacking[:BATCH_OPERATIONS_MAX]
            await self._carry_out([_placement(pod, kubelet.name, node_uid) for pod in batch], incarnation)
            made.update((pod.uid, None) for pod in batch)
        if self._kubelets.get(kubelet.name) is not kubelet:
            return  # Switched off meanwhile, it has no pods any more: not all of them were told.
        mark = {"metadata": {"annotations": {TOLD_ANNOTATION: incarnation}}}
        await self._carry_out([patch_operation(NODES_RESOURCE, ObjectKey("", "", kubelet.name), mark)], incarnation)
        self.told += 1
        self._log.info(
            "%s was set back: told that %d pods run on %s", self._resource_client.partition, len(made), kubelet.name
        )

    async def _carry_out(self, operations: Sequence[pb.Operation], incarnation: str) -> None:
        """Raises UrsaError: not all of it is done."""
        for result in await self._resource_client.mutate(operations, history=incarnation):
            # Placed elsewhere, in a history that is gone: whoever looks for misplaced ones asks both partitions.
            if result.HasField("error") and result.error.reason != AlreadyExists.reason:
                raise from_status(result.error)


def _placement(pod: Pod, node: str, node_uid: str) -> pb.Operation:
    requests = {CPU: 0, MEMORY: 0, **{name: units for name, units in sorted(pod.spec.requests.items()) if units}}
    spec = placement_spec(
        node,
        node_uid,
        pod.partition,
        pod.key,
        pod.uid,
        requests,
        host_ports=pod.spec.host_ports,
        devices=pod.devices,
    )
    return create_placement(pod.uid, encode({**spec, "bound": True}))
