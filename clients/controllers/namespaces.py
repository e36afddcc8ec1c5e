"""Empties namespaces and tenants that are being deleted, and then lets them go.

A namespace that is being deleted takes no new objects (the apiserver refuses them), so what a complete list shows is
all there will ever be. Its objects are deleted kind by kind; pods on nodes take their grace. After that only one object
of each kind is asked for, so that waiting for the last of a hundred thousand pods costs no more than for the last of
ten. Once nothing comes back, from the partition itself and not from a cache, the finalizer is removed and the namespace
vanishes. A tenant goes the same way: first its namespaces, then itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

import trio

from ...proto.errors import Conflict, NotFound, from_status
from ...proto.kinds import BY_KIND, KINDS, Role, Scope
from ...proto.objects import Object, ObjectKey
from ..actor import Actor
from ..client import PartitionClient
from ..informer import Event, EventType, Informer
from ..operations import delete_operation
from .reconciler import Reconciler

NAMESPACE_FINALIZER = "kubernetes"
TENANT_FINALIZER = "ursa.dev/tenant"
# How soon to look again at what must still end by itself: the grace of a pod is some seconds.
LOOK_AGAIN_SECONDS = 1.0
# All is asked for again after this, should something have been left over against all expectation.
SWEEP_AGAIN_SECONDS = 60.0
# Objects listed and deleted at once: two of the largest messages, the second fills up while the first is on its way.
PAGE_OBJECTS = 512
WORKERS = 4

_NAMESPACE = BY_KIND["Namespace"]
_TENANT = BY_KIND["Tenant"]
# Workloads first, so that no controller goes on making what is being deleted.
_WORKLOADS = ("cronjobs.batch", "deployments.apps", "jobs.batch", "replicasets.apps")
_NAMESPACED = sorted(
    (kind.resource for kind in KINDS if kind.scope is Scope.NAMESPACE and Role.TENANT in kind.roles),
    key=lambda resource: (resource not in _WORKLOADS, resource),
)
# The namespaces first: quotas hold until there is nothing left to hold.
_OF_TENANTS = sorted(
    (kind.resource for kind in KINDS if kind.scope is Scope.TENANT and Role.TENANT in kind.roles),
    key=lambda resource: (resource != _NAMESPACE.resource, resource),
)


class NamespaceController:
    """Of one tenant partition. Its informers are run by the manager."""

    def __init__(self, tenant_client: PartitionClient, namespaces: Informer, tenants: Informer, actor: Actor) -> None:
        self._tenant_client = tenant_client
        self._informers = {_NAMESPACE.resource: namespaces, _TENANT.resource: tenants}
        self._reconciler: Reconciler[tuple[str, ObjectKey]] = Reconciler(actor, "namespace", self._sync, WORKERS)
        # When everything in a namespace was last asked to go, by the namespace's uid.
        self._swept: dict[str, float] = {}
        for resource, informer in self._informers.items():
            self._follow(resource, informer)

    def _follow(self, resource: str, informer: Informer) -> None:
        def on_event(event: Event) -> None:
            if event.type is EventType.DELETED:
                self._swept.pop(event.object.uid, None)
            elif event.object.deletion_ms:
                self._reconciler.queue.add((resource, event.object.key))

        informer.add_handler(on_event)

    async def run(self) -> None:
        """Until cancelled."""
        await self._reconciler.run()

    async def _sync(self, which: tuple[str, ObjectKey]) -> float | None:
        resource, key = which
        obj = self._informers[resource].objects.get(key)
        if obj is None or not obj.deletion_ms:
            return None
        if resource == _TENANT.resource:
            empty = await self._empty_tenant(obj)
        else:
            empty = await self._empty_namespace(obj)
        if not empty:
            return LOOK_AGAIN_SECONDS
        await self._let_go(obj, TENANT_FINALIZER if resource == _TENANT.resource else NAMESPACE_FINALIZER)
        return None

    async def _empty_namespace(self, namespace: Object) -> bool:
        """Delete what is in it; whether there was nothing."""
        if namespace.status.get("phase") != "Terminating":
            await self._mark(namespace)
        resources = await self._namespaced()
        if trio.current_time() - self._swept.get(namespace.uid, -math.inf) >= SWEEP_AGAIN_SECONDS:
            for resource in resources:
                await self._delete_all(resource, namespace.tenant, namespace.name)
            self._swept[namespace.uid] = trio.current_time()
        for resource in resources:
            first = await self._tenant_client.list(resource, tenant=namespace.tenant, namespace=namespace.name, limit=1)
            if first.items:
                return False
        return True

    async def _namespaced(self) -> list[str]:
        """All that may be in a namespace, custom kinds first: their controllers may own the rest."""
        custom = (await self._tenant_client.kinds()).custom
        return [*(kind.resource for kind in custom if kind.scope is Scope.NAMESPACE), *_NAMESPACED]

    async def _empty_tenant(self, tenant: Object) -> bool:
        for resource in _OF_TENANTS:
            await self._delete_all(resource, tenant.name, "")
            if (await self._tenant_client.list(resource, tenant=tenant.name, limit=1)).items:
                return False
        return True

    async def _delete_all(self, resource: str, tenant: str, namespace: str) -> None:
        """Ask for the deletion of all objects that have not been asked yet."""
        token = ""
        while True:
            page = await self._tenant_client.list(
                resource, tenant=tenant, namespace=namespace, limit=PAGE_OBJECTS, continue_token=token
            )
            await self._delete(resource, [obj for obj in page.items if not obj.deletion_ms])
            token = page.continue_token
            if not token:
                return

    async def _mark(self, namespace: Object) -> None:
        terminating = namespace.with_status({**namespace.status, "phase": "Terminating"})
        with suppress(Conflict, NotFound):  # It has changed; the event will bring it here again.
            await self._tenant_client.update_status(terminating)

    async def _delete(self, resource: str, objects: Sequence[Object]) -> None:
        """Raises ApiError: one was refused, and not because it is gone already."""
        results = await self._tenant_client.mutate(
            [delete_operation(resource, obj.key, uid=obj.uid) for obj in objects]
        )
        for result in results:
            if result.HasField("error") and result.error.reason not in (NotFound.reason, Conflict.reason):
                raise from_status(result.error)

    async def _let_go(self, obj: Object, finalizer: str) -> None:
        newest = await self._tenant_client.get(BY_KIND[obj.kind].resource, obj.key)
        if newest.uid != obj.uid or finalizer not in newest.finalizers:
            return
        kept = [each for each in newest.finalizers if each != finalizer]
        with suppress(NotFound):
            await self._tenant_client.update(newest.with_metadata(finalizers=kept))
