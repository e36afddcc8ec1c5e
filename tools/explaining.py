"""What a scheduler would say of a pod: its core, given all nodes, placements and pods as they are listed now.

So no scheduler is asked, which may be busy, or down; and what is told holds for whoever schedules by these profiles.
"""

from __future__ import annotations

from random import Random

from ..clients.client_set import ClientSet
from ..clients.partition_client import PartitionClient
from ..clients.placements import PLACEMENTS
from ..clients.revisions import Revision
from ..clients.scheduler import SchedulerOptions
from ..clients.scheduler.actions import PODS
from ..clients.scheduler.core import SchedulingCore
from ..clients.scheduler.explanation import Explanation
from ..clients.scheduler.framework.interface import PluginError
from ..clients.scheduler.scheduler import BOUND, NAMESPACES
from ..clients.volumes.reading import claims_of
from ..proto.errors import InputError, LinkError, UrsaError
from ..proto.objects import Object, decode, encode
from ..proto.volumes import CLAIMS, STORAGE_CLASSES, VOLUMES
from .objects.directory import ask_all


async def explain_pod(
    clients: ClientSet, pod: Object, options: SchedulerOptions
) -> tuple[Explanation, list[LinkError]]:
    """Why the pod is where it is, as if it were to be placed now, or why it is nowhere; and the resource partitions
    that do not answer, whose nodes do not count.

    Raises:
        InputError: no profile is for this pod. UrsaError: a plugin fails. ApiError: a partition refuses.
    """
    home = pod.partition
    core = SchedulingCore(home, list(clients.tenant_clients), list(clients.resource_clients), Random(0), options)
    found, missing = await ask_all(dict(clients.resource_clients), _room)
    for partition, (nodes, placements) in found.items():
        for node in nodes:
            core.node_seen(partition, node)
        for placement in placements:
            if placement.name != pod.uid:
                core.placement_seen(partition, placement.message)
        core.partition_synced(partition)
    if core.looks_at_pods:
        await _tell_of_other_pods(core, clients, pod)
    await _tell_of_volumes(core, clients, pod)
    core.pod_seen(_unbound(pod), 0.0)
    try:
        explanation = core.explain(pod.uid, pod.spec.get("resourcePartition") or "", pod.spec.get("nodeName") or "")
    except PluginError as error:
        raise UrsaError(str(error)) from error
    if explanation is None:
        wanted = pod.spec.get("schedulerName") or SchedulerOptions().scheduler_name
        raise InputError(
            f"no profile is for pods with schedulerName {wanted}: there are {', '.join(core.pickers)}; "
            "give the right --scheduler-config"
        )
    return explanation, missing


async def _tell_of_other_pods(core: SchedulingCore, clients: ClientSet, pod: Object) -> None:
    """Those of its tenant: no other pod means anything to it."""
    client = clients.for_partition(pod.partition)
    for namespace in (await client.list(NAMESPACES, tenant=pod.tenant)).items:
        core.namespace_seen(namespace)
    core.bound_pods_say_something()
    bound = await client.list(PODS, tenant=pod.tenant, field_selector=BOUND)
    for other in bound.items:
        if other.uid != pod.uid:
            core.bound_pod_seen(other)
    core.bound_pods_seen_up_to(Revision(pod.partition, bound.resource_version))


async def _tell_of_volumes(core: SchedulingCore, clients: ClientSet, pod: Object) -> None:
    """What a pod with claims may depend on: those of its namespace, its tenant's volumes, and the classes."""
    if not claims_of(pod.spec):
        return
    client = clients.for_partition(pod.partition)
    for claim in (await client.list(CLAIMS, tenant=pod.tenant, namespace=pod.namespace)).items:
        core.volumes.seen(CLAIMS, claim)
    for volume in (await client.list(VOLUMES, tenant=pod.tenant)).items:
        core.volumes.seen(VOLUMES, volume)
    for storage_class in (await client.list(STORAGE_CLASSES)).items:
        core.volumes.seen(STORAGE_CLASSES, storage_class)
    core.volumes.settled(complete=True)


async def _room(client: PartitionClient) -> tuple[list[Object], list[Object]]:
    return (await client.list("nodes")).items, (await client.list(PLACEMENTS)).items


def _unbound(pod: Object) -> Object:
    """The pod as it was when it was scheduled."""
    spec = decode(pod.message.spec)
    spec.pop("nodeName", None)
    spec.pop("resourcePartition", None)
    copy = Object.from_bytes(pod.message.SerializeToString(), pod.partition)
    copy.message.spec = encode(spec)
    copy.message.metadata.deletion_ms = 0
    return copy
