"""The controller managers: the controllers of one partition, and the informers they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import trio

from ...proto.kinds import BY_KIND, NODE_LEASE_NAMESPACE, SYSTEM_TENANT
from ..actor import Actor
from ..client import ClientSet, PartitionClient
from ..events import EventRecorder
from ..informer import Informer
from .deployment import DeploymentController
from .namespaces import NamespaceController
from .node_lifecycle import NodeLifecycleController
from .options import ResourceControllerOptions, TenantControllerOptions
from .placement_release import PlacementReleaseController
from .pod_gc import PodGcController
from .replicaset import ReplicaSetController

_PODS = BY_KIND["Pod"].resource
_NODES = BY_KIND["Node"].resource


class Runs(Protocol):
    async def run(self) -> None: ...


class TenantControllerManager:
    """The controllers of the tenant partition `home`; those that need nodes see them in all resource partitions."""

    def __init__(
        self,
        clients: ClientSet,
        home: str,
        actor: Actor,
        options: TenantControllerOptions = TenantControllerOptions(),  # noqa: B008  # immutable
    ) -> None:
        tenant_client = clients.tenant_clients[home]
        self._own = {
            kind: Informer(tenant_client, BY_KIND[kind].resource)
            for kind in ("Tenant", "Namespace", "Deployment", "ReplicaSet", "Pod")
        }
        self._nodes = _informers(clients.resource_clients, _NODES)
        own = self._own
        replicasets = ReplicaSetController(tenant_client, own["ReplicaSet"], own["Pod"], actor)
        self._parts: Sequence[Runs] = (
            NamespaceController(tenant_client, own["Namespace"], own["Tenant"], actor),
            replicasets,
            DeploymentController(
                tenant_client, own["Deployment"], own["ReplicaSet"], replicasets.has_unfinished_pods, actor
            ),
            PodGcController(
                tenant_client,
                clients.resource_clients,
                own["Pod"],
                own["ReplicaSet"],
                own["Deployment"],
                self._nodes,
                replicasets.ownerless_pods,
                options,
                actor,
            ),
            *own.values(),
            *self._nodes.values(),
        )

    async def run(self) -> None:
        """Until cancelled. It waits for no partition: each controller works with what it can see."""
        await _run_all(self._parts)

    def ready(self) -> dict[str, bool]:
        """The home partition must be in sight; the others are told, and each may be missing."""
        return _synced(self._own) | {f"nodes of {name}": each.synced for name, each in self._nodes.items()}


class ResourceControllerManager:
    """The controllers of the resource partition `home`; of all tenant partitions' pods they see those on its nodes."""

    def __init__(
        self,
        clients: ClientSet,
        home: str,
        actor: Actor,
        options: ResourceControllerOptions = ResourceControllerOptions(),  # noqa: B008  # immutable
    ) -> None:
        resource_client = clients.resource_clients[home]
        self._own = {
            "Node": Informer(resource_client, _NODES),
            "Placement": Informer(resource_client, BY_KIND["Placement"].resource),
            "Lease": Informer(
                resource_client, BY_KIND["Lease"].resource, tenant=SYSTEM_TENANT, namespace=NODE_LEASE_NAMESPACE
            ),
        }
        self._pods = _informers(clients.tenant_clients, _PODS, field_selector=f"spec.resourcePartition={home}")
        own = self._own
        events = EventRecorder(resource_client, actor, "node-controller")
        self._parts: Sequence[Runs] = (
            NodeLifecycleController(
                resource_client,
                clients.tenant_clients,
                own["Node"],
                own["Lease"],
                self._pods,
                events,
                options,
                actor,
            ),
            PlacementReleaseController(
                resource_client, clients.tenant_clients, own["Placement"], self._pods, options, actor
            ),
            events,
            *own.values(),
            *self._pods.values(),
        )

    async def run(self) -> None:
        """Until cancelled. It waits for no partition: each controller works with what it can see."""
        await _run_all(self._parts)

    def ready(self) -> dict[str, bool]:
        """The home partition must be in sight; the others are told, and each may be missing."""
        return _synced(self._own) | {f"pods of {name}": each.synced for name, each in self._pods.items()}


def _informers(clients: Mapping[str, PartitionClient], resource: str, **selection: str) -> dict[str, Informer]:
    return {name: Informer(client, resource, **selection) for name, client in clients.items()}


def _synced(informers: Mapping[str, Informer]) -> dict[str, bool]:
    return {f"{informer.resource} of {informer.partition}": informer.synced for informer in informers.values()}


async def _run_all(parts: Sequence[Runs]) -> None:
    async with trio.open_nursery() as nursery:
        for part in parts:
            nursery.start_soon(part.run)
