"""The endpoints controller: keeps the EndpointSlices and the Endpoints of each Service as its cores work them out.

Changes that come together are written once: after the first, others are waited for. As long as pods come and go, a
Service is written at that pace and no faster, however many of its pods do. What is written is worked out from views
that contain all that was written for the Service before.
"""

from __future__ import annotations

from ...proto.errors import LinkError, from_status
from ...proto.objects import Object, ObjectKey
from ..actor import Actor
from ..client import PartitionClient
from ..informer import Event, Informer
from ..metrics import counter
from .awaited import WAIT_SECONDS, Awaited
from .endpoint_slices import MANAGER, MANAGER_LABEL, SERVICE_LABEL, plan_slices
from .endpoints_core import EndpointsCore, sorted_endpoints
from .endpoints_object import plan_endpoints
from .reconciler import Reconciler

WORKERS = 4
# As Kubernetes' --endpoint-updates-batch-period and --endpointslice-updates-batch-period, which are 0 there.
BATCH_SECONDS = 0.5
# A Service of very many pods is written more seldom, as its plan goes through all of them.
ENDPOINTS_PER_SECOND = 10_000

_BY_SERVICE = "service"
# What has changed or gone since it was seen is looked at again when the view shows it.
_OUTDATED = ("Conflict", "NotFound", "AlreadyExists")


class EndpointsController:
    """Of one tenant partition. Its informers are run by the manager."""

    def __init__(
        self,
        tenant_client: PartitionClient,
        services: Informer,
        pods: Informer,
        slices: Informer,
        endpoints: Informer,
        actor: Actor,
    ) -> None:
        self._tenant_client = tenant_client
        self._services, self._pods, self._slices, self._endpoints = services, pods, slices, endpoints
        self._informers = (services, pods, slices, endpoints)
        self._core = EndpointsCore(pods.objects)
        self._awaited = Awaited(tenant_client, services.resource)
        self._reconciler: Reconciler[ObjectKey] = Reconciler(actor, "endpoints", self._sync, WORKERS)
        self._writes = counter(
            actor.registry, "ursa_endpoints_writes_total", "Slices and Endpoints written.", ["resource", "verb"]
        )
        services.add_handler(self._core.service_event)
        pods.add_handler(self._core.pod_event)
        slices.add_handler(self._slice_event)
        slices.add_index(_BY_SERVICE, _service_of)
        endpoints.add_handler(self._endpoints_event)
        for informer in (services, pods):
            informer.add_burst_handler(self._enqueue)

    def _enqueue(self) -> None:
        for key in self._core.take_due():
            self._add(key)

    def _slice_event(self, event: Event) -> None:
        """Ours have changed, as we wrote or as somebody else did."""
        obj = event.object
        if obj.labels.get(MANAGER_LABEL) == MANAGER and SERVICE_LABEL in obj.labels:
            self._add(ObjectKey(obj.tenant, obj.namespace, obj.labels[SERVICE_LABEL]))

    def _endpoints_event(self, event: Event) -> None:
        self._add(event.object.key)

    def _add(self, key: ObjectKey) -> None:
        served = self._core.served(key)
        count = 0 if served is None else len(served.endpoints)
        self._reconciler.queue.add_after(key, max(BATCH_SECONDS, count / ENDPOINTS_PER_SECOND))

    async def run(self) -> None:
        """Until cancelled. Nothing is worked out before all views are complete."""
        for informer in self._informers:
            await informer.wait_synced()
        await self._reconciler.run()

    async def _sync(self, key: ObjectKey) -> float | None:
        history = self._history()
        complete_up_to = min(self._slices.resource_version, self._endpoints.resource_version)
        if not history or not await self._awaited.seen(key, history, complete_up_to):
            return WAIT_SECONDS
        served = self._core.served(key)  # As it is now, and nothing is waited for from here to the plan.
        if served is None or served.service.deletion_ms:
            return None  # The collector deletes what it had.
        if history != self._history():
            return WAIT_SECONDS
        service, endpoints = served.service, sorted_endpoints(served)
        present = self._slices.by_index(_BY_SERVICE, str(key))
        operations = plan_slices(service, endpoints, present, self._slices.objects.__contains__)
        operations += plan_endpoints(service, endpoints, self._endpoints.objects.get(key))
        if not operations:
            return None
        try:
            results = await self._tenant_client.mutate(operations, history=history)
        except LinkError:
            self._awaited.lost(key, history)
            raise
        self._awaited.wrote(key, history, results)
        for operation, result in zip(operations, results, strict=True):
            if not result.HasField("error"):
                self._writes.labels(operation.resource, operation.WhichOneof("verb")).inc()
            elif result.error.reason not in _OUTDATED:
                raise from_status(result.error)
        return None

    def _history(self) -> str:
        """That all views are of. Empty, while there is none."""
        history = self._services.history
        return history if all(informer.history == history for informer in self._informers) else ""


def _service_of(obj: Object) -> tuple[str, ...]:
    labels = obj.labels
    if labels.get(MANAGER_LABEL) != MANAGER or SERVICE_LABEL not in labels:
        return ()
    return (str(ObjectKey(obj.tenant, obj.namespace, labels[SERVICE_LABEL])),)
