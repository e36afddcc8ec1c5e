"""The controller managers: the controllers of one partition, and the informers they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import trio

from ...proto.kinds import BY_KIND, NODE_LEASE_NAMESPACE, SYSTEM_TENANT
from ..actor import Actor
from ..client import ClientSet
from ..events import EventRecorder
from ..informer import Informer
from ..spanning import SpanningInformer
from .cronjob import CronJobController
from .daemonset import DaemonSetController
from .deployment import DeploymentController
from .disruption import DisruptionController
from .endpoints import EndpointsController
from .garbage_collector import GarbageCollector
from .job import JobController
from .job_ttl import JobTtlController
from .leader_leases import LeaderLeasesController
from .lost_placements import LostPlacementController
from .namespaces import NamespaceController
from .node_lifecycle import NodeLifecycleController
from .node_names import NodeNameController
from .options import ResourceControllerOptions, TenantControllerOptions
from .persistentvolume_binder import PersistentVolumeBinder
from .placement_release import PlacementReleaseController
from .pod_gc import HomeNodes, PodGcController
from .registry import RegistryController
from .replicaset import ReplicaSetController
from .statefulset import StatefulSetController
from .tenants import TenantController

_PODS = BY_KIND["Pod"].resource
_NODES = BY_KIND["Node"].resource
# What a resource partition's own pods are made from.
_OF_DAEMONS = ("Pod", "DaemonSet", "ControllerRevision")


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
            for kind in (
                "Tenant",
                "Namespace",
                "Deployment",
                "ReplicaSet",
                "StatefulSet",
                "ControllerRevision",
                "Job",
                "CronJob",
                "Pod",
                "PodDisruptionBudget",
                "Service",
                "EndpointSlice",
                "Endpoints",
                "PersistentVolumeClaim",
                "PersistentVolume",
                "StorageClass",
            )
        }
        self._nodes = SpanningInformer(clients.resource_clients, _NODES)
        own = self._own
        job_events = EventRecorder(tenant_client, actor, "job-controller")
        cron_job_events = EventRecorder(tenant_client, actor, "cronjob-controller")
        volume_events = EventRecorder(tenant_client, actor, "persistentvolume-controller")
        statefulset_events = EventRecorder(tenant_client, actor, "statefulset-controller")
        replicasets = ReplicaSetController(tenant_client, own["ReplicaSet"], own["Pod"], actor, own["Tenant"])
        self._parts: Sequence[Runs] = (
            NamespaceController(tenant_client, own["Namespace"], own["Tenant"], actor),
            replicasets,
            DeploymentController(
                tenant_client, own["Deployment"], own["ReplicaSet"], replicasets.has_unfinished_pods, actor
            ),
            StatefulSetController(
                tenant_client, own["StatefulSet"], own["ControllerRevision"], own["Pod"], statefulset_events, actor
            ),
            JobController(tenant_client, own["Job"], own["Pod"], job_events, actor),
            CronJobController(tenant_client, own["CronJob"], own["Job"], cron_job_events, actor),
            JobTtlController(tenant_client, own["Job"], own["CronJob"], actor),
            DisruptionController(
                tenant_client,
                own["PodDisruptionBudget"],
                own["Pod"],
                own["ReplicaSet"],
                own["Deployment"],
                own["StatefulSet"],
                actor,
            ),
            EndpointsController(
                tenant_client, own["Service"], own["Pod"], own["EndpointSlice"], own["Endpoints"], actor
            ),
            PersistentVolumeBinder(
                tenant_client,
                own["PersistentVolumeClaim"],
                own["PersistentVolume"],
                own["StorageClass"],
                self._nodes,
                volume_events,
                actor,
            ),
            PodGcController(tenant_client, clients.resource_clients, own["Pod"], self._nodes, options, actor),
            GarbageCollector(clients, home, list(own.values()), actor, [self._nodes]),
            RegistryController(clients, home, actor),
            LeaderLeasesController(tenant_client, actor),
            NodeNameController(home, self._nodes, actor),
            TenantController(clients, home, options, actor),
            job_events,
            cron_job_events,
            statefulset_events,
            volume_events,
            *own.values(),
            self._nodes,
        )

    async def run(self) -> None:
        """Until cancelled. It waits for no partition: each controller works with what it can see."""
        await _run_all(self._parts)

    def ready(self) -> dict[str, bool]:
        """The home partition must be in sight; the others are told, and each may be missing."""
        return _synced(self._own) | {f"nodes of {name}": synced for name, synced in self._nodes.synced.items()}


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
            **{kind: Informer(resource_client, BY_KIND[kind].resource) for kind in _OF_DAEMONS},
        }
        self._pods = SpanningInformer(clients.tenant_clients, _PODS, field_selector=f"spec.resourcePartition={home}")
        own = self._own
        events = EventRecorder(resource_client, actor, "node-controller")
        daemonset_events = EventRecorder(resource_client, actor, "daemonset-controller")
        pod_gc_options = TenantControllerOptions(staleness_seconds_max=options.staleness_seconds_max)
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
            LostPlacementController(
                resource_client,
                clients.tenant_clients,
                own["Placement"],
                own["Node"],
                self._pods,
                options,
                actor,
            ),
            DaemonSetController(
                resource_client,
                own["DaemonSet"],
                own["ControllerRevision"],
                own["Pod"],
                own["Node"],
                own["Placement"],
                daemonset_events,
                actor,
            ),
            # Of the pods of this partition itself, whose nodes are here, too.
            PodGcController(
                resource_client, {home: resource_client}, own["Pod"], HomeNodes(own["Node"]), pod_gc_options, actor
            ),
            GarbageCollector(clients, home, list(own.values()), actor, [self._pods]),
            RegistryController(clients, home, actor),
            LeaderLeasesController(resource_client, actor),
            events,
            daemonset_events,
            *own.values(),
            self._pods,
        )

    async def run(self) -> None:
        """Until cancelled. It waits for no partition: each controller works with what it can see."""
        await _run_all(self._parts)

    def ready(self) -> dict[str, bool]:
        """The home partition must be in sight; the others are told, and each may be missing."""
        return _synced(self._own) | {f"pods of {name}": synced for name, synced in self._pods.synced.items()}


def _synced(informers: Mapping[str, Informer]) -> dict[str, bool]:
    return {f"{informer.resource} of {informer.partition}": informer.synced for informer in informers.values()}


async def _run_all(parts: Sequence[Runs]) -> None:
    async with trio.open_nursery() as nursery:
        for part in parts:
            nursery.start_soon(part.run)
