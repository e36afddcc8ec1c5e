"""The users of a run: each carries out his operations one after the other, and takes what he is told.

An operation that fails is no problem of the run: what its user was told is judged, not whether he was lucky.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import trio

from ...clients.client import ClientSet, PartitionClient
from ...proto.errors import ApiError, Conflict, InputError, LinkError, NotFound, TooManyRequests
from ...proto.kinds import BY_KIND
from ...proto.objects import Object, ObjectKey
from ...proto.quantities import GPU_MILLI
from ...proto.tenants import ACTIVE, TENANTS, record_of
from ..tenant_acts import move_tenant
from .plan import Operation, Topology

# A user who has no answer after this time goes on to the next thing.
PATIENCE_SECONDS = 20.0
NAMESPACE = "default"
# Where the objects are that operations speak of.
CONFIGMAPS, PODS = BY_KIND["ConfigMap"].resource, BY_KIND["Pod"].resource
BUDGETS = BY_KIND["PodDisruptionBudget"].resource
SERVICES = BY_KIND["Service"].resource
REPLICA_SETS, DEPLOYMENTS = BY_KIND["ReplicaSet"].resource, BY_KIND["Deployment"].resource
STATEFUL_SETS, DAEMON_SETS = BY_KIND["StatefulSet"].resource, BY_KIND["DaemonSet"].resource


def tenant_names(topology: Topology) -> tuple[str, ...]:
    """One in each tenant partition."""
    return tuple(f"tenant-{number}" for number in range(1, topology.tenant_partitions + 1))


def neighbour_of(tenant: str) -> str:
    """Another tenant of the same partition, whose namespaces and objects may have the same names."""
    return f"neighbour-{tenant.rpartition('-')[2]}"


def home_of(arguments: Mapping[str, Any]) -> str:
    """The partition that an operation names, as those on DaemonSets and on tenants of one name do; or its tenant's."""
    return str(arguments.get("partition") or f"tp-{arguments['tenant'].rpartition('-')[2]}")


class User:
    """`run` is a component's: it ends when it is cancelled."""

    def __init__(
        self,
        clients: ClientSet,
        operations: Sequence[Operation],
        began: Callable[[], Awaitable[float]],
        *,
        tenants_move: bool = False,
    ) -> None:
        """`began` waits until the plan's time begins, and says when that was. `tenants_move`: look for them first."""
        self._tenants_move = tenants_move
        self._clients = clients
        self._operations = operations
        self._began = began

    def ready(self) -> dict[str, bool]:
        return {}

    async def run(self) -> None:
        began = await self._began()
        for operation in self._operations:
            await trio.sleep_until(began + operation.at)
            with trio.move_on_after(PATIENCE_SECONDS):
                try:
                    await self._do(operation)
                except (ApiError, LinkError):
                    continue
        await trio.sleep_forever()

    async def _do(self, operation: Operation) -> None:
        """Raises ApiError, LinkError."""
        arguments, clients = operation.arguments, self._clients
        if operation.verb == "move":
            with suppress(InputError):
                await move_tenant(clients, arguments["tenant"], arguments["to"])
            return
        client = clients.for_partition(home_of(arguments))
        if self._tenants_move and "partition" not in arguments:
            client = clients.tenant_clients.get(await self._find(arguments["tenant"])) or client
        await _DO[operation.verb](client, arguments)

    async def _find(self, tenant: str) -> str:
        for name, client in self._clients.tenant_clients.items():
            with suppress(NotFound):
                if record_of(await client.get(TENANTS, ObjectKey("", "", tenant))).state == ACTIVE:
                    return name
        return ""


def _key(arguments: Any) -> ObjectKey:
    return ObjectKey(arguments["tenant"], NAMESPACE, arguments["name"])


def _object(api_version: str, kind: str, arguments: Any, **rest: Any) -> Object:
    metadata = {"tenant": arguments["tenant"], "namespace": NAMESPACE, "name": arguments["name"]}
    return Object.from_dict({"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest})


async def _put(client: PartitionClient, arguments: Any) -> None:
    """Read, then write what follows from what was read; as a careful client does."""
    wanted = _object("v1", "ConfigMap", arguments, data={"value": arguments["value"]})
    try:
        present = await client.get(CONFIGMAPS, _key(arguments))
    except NotFound:
        await client.create(wanted)
        return
    wanted.message.metadata.uid = present.uid
    wanted.message.metadata.resource_version = present.resource_version
    await client.update(wanted)


async def _overwrite(client: PartitionClient, arguments: Any) -> None:
    """Write, with no precondition: nothing but the id of the request keeps it from being done twice."""
    wanted = _object("v1", "ConfigMap", arguments, data={"value": arguments["value"]})
    try:
        await client.update(wanted)
    except NotFound:
        await client.create(wanted)


async def _remove(client: PartitionClient, arguments: Any) -> None:
    await client.delete(CONFIGMAPS, _key(arguments))


async def _read(client: PartitionClient, arguments: Any) -> None:
    await client.get(CONFIGMAPS, _key(arguments), resource_version="0" if arguments["match"] == "any" else "")


async def _list(client: PartitionClient, arguments: Any) -> None:
    version = "0" if arguments["match"] == "any" else ""
    await client.list(CONFIGMAPS, tenant=arguments["tenant"], resource_version=version, limit=arguments.get("limit", 0))


def _requests(arguments: Any) -> dict[str, str | int]:
    gpu = arguments.get("gpu", 0)
    return {"cpu": arguments.get("cpu", "100m"), **({GPU_MILLI: gpu} if gpu else {})}


def _template(arguments: Any, image: str) -> dict[str, Any]:
    name, requests = arguments["name"], {**_requests(arguments), "memory": "64Mi"}
    container = {"name": "main", "image": image, "resources": {"requests": requests}}
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}


async def _scale(client: PartitionClient, arguments: Any) -> None:
    key = _key(arguments)
    try:
        await client.scale(REPLICA_SETS, key, arguments["replicas"])
    except NotFound:
        spec = {
            "replicas": arguments["replicas"],
            "selector": {"matchLabels": {"app": key.name}},
            "template": _template(arguments, "app:1"),
        }
        await client.create(_object("apps/v1", "ReplicaSet", arguments, spec=spec))


async def _deploy(client: PartitionClient, arguments: Any) -> None:
    key = _key(arguments)
    try:
        present = await client.get(DEPLOYMENTS, key)
    except NotFound:
        spec = {
            "replicas": arguments["replicas"],
            "selector": {"matchLabels": {"app": key.name}},
            "template": _template(arguments, arguments["image"]),
        }
        await client.create(_object("apps/v1", "Deployment", arguments, spec=spec))
        return
    manifest = present.to_dict()
    manifest["spec"]["replicas"] = arguments["replicas"]
    manifest["spec"]["template"] = _template(arguments, arguments["image"])
    await client.update(Object.from_dict(manifest))


async def _stateful(client: PartitionClient, arguments: Any) -> None:
    spec = {
        "replicas": arguments["replicas"],
        "selector": {"matchLabels": {"app": arguments["name"]}},
        "template": _template(arguments, arguments["image"]),
    }
    try:
        present = await client.get(STATEFUL_SETS, _key(arguments))
    except NotFound:
        policy = "Parallel" if arguments["parallel"] else "OrderedReady"
        await client.create(_object("apps/v1", "StatefulSet", arguments, spec={**spec, "podManagementPolicy": policy}))
        return
    await client.update(present.with_spec({**present.spec, **spec}))


async def _daemon(client: PartitionClient, arguments: Any) -> None:
    template = _template(arguments, arguments["image"])
    spec = {"selector": {"matchLabels": {"app": arguments["name"]}}, "template": template}
    try:
        present = await client.get(DAEMON_SETS, _key(arguments))
    except NotFound:
        await client.create(_object("apps/v1", "DaemonSet", arguments, spec=spec))
        return
    await client.update(present.with_spec({**present.spec, **spec}))


async def _delete_workload(client: PartitionClient, arguments: Any) -> None:
    resource, propagation = BY_KIND[arguments["kind"]].resource, arguments.get("propagation", "")
    await client.delete(resource, _key(arguments), propagation=propagation)


async def _pod(client: PartitionClient, arguments: Any) -> None:
    container = {"name": "main", "image": "app:1", "resources": {"requests": _requests(arguments)}}
    spec: dict[str, Any] = {"containers": [container]}
    obj = _object("v1", "Pod", arguments, spec=spec)
    if arguments.get("run_seconds"):
        manifest = obj.to_dict()
        manifest["spec"]["restartPolicy"] = "Never"
        manifest["metadata"]["annotations"] = {"ursa.dev/run-seconds": str(arguments["run_seconds"])}
        obj = Object.from_dict(manifest)
    await client.create(obj)


async def _job(client: PartitionClient, arguments: Any) -> None:
    template = _template(arguments, "app:1")
    template["metadata"]["annotations"] = {"ursa.dev/run-seconds": str(arguments["run_seconds"])}
    template["spec"]["restartPolicy"] = "Never"
    spec = {name: arguments[name] for name in ("completions", "parallelism")}
    await client.create(_object("batch/v1", "Job", arguments, spec={**spec, "template": template}))


async def _delete_pod(client: PartitionClient, arguments: Any) -> None:
    grace = arguments.get("grace", -1)
    await client.delete(PODS, _key(arguments), grace_seconds=None if grace < 0 else grace)


async def _delete_some_pods(client: PartitionClient, arguments: Any) -> None:
    pods = await client.list(PODS, tenant=arguments["tenant"], resource_version="0")
    for pod in pods.items[: arguments["count"]]:
        try:
            await client.delete(PODS, pod.key, uid=pod.uid)
        except (NotFound, Conflict):
            continue


async def _replace_pod(client: PartitionClient, arguments: Any) -> None:
    """Over the head of its kubelet, if it has one: so it may be bound, or be about to be."""
    with suppress(NotFound):
        await client.delete(PODS, _key(arguments), grace_seconds=0)
    await _pod(client, arguments)


async def _evict_some_pods(client: PartitionClient, arguments: Any) -> None:
    pods = await client.list(PODS, tenant=arguments["tenant"], resource_version="0")
    for pod in pods.items[: arguments["count"]]:
        try:
            await client.evict(pod.key, uid=pod.uid)
        except (NotFound, Conflict, TooManyRequests):
            continue


async def _budget(client: PartitionClient, arguments: Any) -> None:
    spec = {
        "maxUnavailable": arguments["max_unavailable"],
        "selector": {"matchLabels": {"app": arguments["app"]}},
    }
    wanted = _object("policy/v1", "PodDisruptionBudget", arguments, spec=spec)
    try:
        present = await client.get(BUDGETS, _key(arguments))
    except NotFound:
        await client.create(wanted)
        return
    wanted.message.metadata.uid = present.uid
    await client.update(wanted)


async def _service(client: PartitionClient, arguments: Any) -> None:
    spec = {"selector": {"app": arguments["app"]}, "ports": [{"port": 80}]}
    await client.create(_object("v1", "Service", arguments, spec=spec))


async def _delete_service(client: PartitionClient, arguments: Any) -> None:
    await client.delete(SERVICES, _key(arguments))


_DO: dict[str, Callable[[PartitionClient, Any], Awaitable[None]]] = {
    "put": _put,
    "overwrite": _overwrite,
    "remove": _remove,
    "read": _read,
    "list": _list,
    "scale": _scale,
    "deploy": _deploy,
    "stateful": _stateful,
    "daemon": _daemon,
    "delete-workload": _delete_workload,
    "pod": _pod,
    "job": _job,
    "delete-pod": _delete_pod,
    "delete-some-pods": _delete_some_pods,
    "replace-pod": _replace_pod,
    "evict-some-pods": _evict_some_pods,
    "budget": _budget,
    "service": _service,
    "delete-service": _delete_service,
}
