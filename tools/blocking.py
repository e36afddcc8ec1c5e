"""The cluster for programs without an event loop: the loop runs in a thread of its own, and every method waits.

    with ursa.Cluster(nodes=10) as cluster:
        cluster.apply({"apiVersion": "v1", "kind": "Pod", ...})
        pods = cluster.wait_for_pods(1)

Methods may be called from any thread. What the loop raises comes out where it was asked for.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import trio

from ..clients.client import ObjectList, PartitionClient
from ..clients.scheduler.explanation import Explanation
from ..clients.tenants.moving import Moved
from ..proto import ursa_pb2 as pb
from ..proto.errors import UrsaError
from ..proto.kinds import Role
from ..proto.objects import Object, ObjectKey
from .faults.control import Faults
from .faults.rules import ALL, Fault
from .processes import ProcessInfo
from .tenant_acts import Listing
from .usage import Usage

if TYPE_CHECKING:
    from .cluster import Cluster

_Result = TypeVar("_Result")
_Results = list[pb.Result]  # `list` is a method below.


class BlockingCluster:
    """`Cluster`, with the same methods, none of them a coroutine. What they raise is said there."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._loop = _LoopThread(self._serve)

    def __enter__(self) -> Self:
        self._loop.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it before its block does. Idempotent."""
        self._loop.stop()

    @property
    def tenant_clients(self) -> dict[str, BlockingPartitionClient]:
        """By partition name."""
        return self._blocking(self._cluster.clients.tenant_clients)

    @property
    def resource_clients(self) -> dict[str, BlockingPartitionClient]:
        """By partition name."""
        return self._blocking(self._cluster.clients.resource_clients)

    @property
    def clients(self) -> BlockingCluster:
        """Itself: `cluster.clients.tenant_clients` reads as it does without blocking."""
        return self

    @property
    def processes(self) -> dict[str, ProcessInfo]:
        return self._loop.call_sync(lambda: self._cluster.processes)

    @property
    def nodes(self) -> list[Object]:
        return self._loop.call_sync(lambda: self._cluster.nodes)

    @property
    def tenant_addresses(self) -> Mapping[str, str]:
        return self._loop.call_sync(lambda: self._cluster.tenant_addresses)

    @property
    def resource_addresses(self) -> Mapping[str, str]:
        return self._loop.call_sync(lambda: self._cluster.resource_addresses)

    @property
    def data_dir(self) -> Path | None:
        return self._loop.call_sync(lambda: self._cluster.data_dir)

    def usage(self) -> dict[str, Usage]:
        return self._loop.call_sync(self._cluster.usage)

    def add_partition(self, role: Role | str) -> str:
        return self._loop.call(partial(self._cluster.add_partition, role))

    def drain_partition(self, name: str, *, force: bool = False, timeout_seconds: float = 120.0) -> int:
        call = partial(self._cluster.drain_partition, name, force=force, timeout_seconds=timeout_seconds)
        return self._loop.call(call)

    def remove_partition(self, name: str, *, force: bool = False) -> None:
        self._loop.call(partial(self._cluster.remove_partition, name, force=force))

    def create_tenant(self, name: str, partition: str | None = None, *, unreachable_ok: bool = False) -> str:
        call = partial(self._cluster.create_tenant, name, partition, unreachable_ok=unreachable_ok)
        return self._loop.call(call)

    def move_tenant(self, name: str, partition: str) -> Moved | None:
        return self._loop.call(partial(self._cluster.move_tenant, name, partition))

    def delete_tenant(self, name: str, *, timeout_seconds: float = 120.0) -> str:
        return self._loop.call(partial(self._cluster.delete_tenant, name, timeout_seconds=timeout_seconds))

    def tenants(self) -> Listing:
        return self._loop.call(self._cluster.tenants)

    def tenant_client(self, tenant: str) -> BlockingPartitionClient:
        client = self._loop.call_sync(partial(self._cluster.tenant_client, tenant))
        return BlockingPartitionClient(client, self._loop)

    @overload
    def apply(self, manifest: str | os.PathLike[str]) -> list[Object]: ...
    @overload
    def apply(self, manifest: Mapping[str, Any] | Object) -> Object: ...
    def apply(self, manifest: str | os.PathLike[str] | Mapping[str, Any] | Object) -> Object | list[Object]:
        return self._loop.call(partial(self._cluster.apply, manifest))

    def explain(self, pod: Object) -> Explanation:
        return self._loop.call(partial(self._cluster.explain, pod))

    def wait_for_pods(
        self,
        count: int | None = None,
        *,
        tenant: str = "",
        namespace: str = "",
        label_selector: str = "",
        phase: str = "Running",
        timeout_seconds: float = 60.0,
    ) -> list[Object]:
        return self._loop.call(
            partial(
                self._cluster.wait_for_pods,
                count,
                tenant=tenant,
                namespace=namespace,
                label_selector=label_selector,
                phase=phase,
                timeout_seconds=timeout_seconds,
            )
        )

    def scale_nodes(self, count: int) -> None:
        self._loop.call(partial(self._cluster.scale_nodes, count))

    def kill(self, name: str) -> None:
        self._loop.call_sync(partial(self._cluster.kill, name))

    @property
    def faults(self) -> BlockingFaults:
        return BlockingFaults(self._loop.call_sync(lambda: self._cluster.faults), self._loop)

    async def _serve(self, opened: Callable[[], None]) -> None:
        async with self._cluster:
            opened()
            await trio.sleep_forever()

    def _blocking(self, clients: Mapping[str, PartitionClient]) -> dict[str, BlockingPartitionClient]:
        return {name: BlockingPartitionClient(client, self._loop) for name, client in clients.items()}


class BlockingPartitionClient:
    """`PartitionClient`'s reads and writes, none of them a coroutine. What they raise is said there."""

    def __init__(self, client: PartitionClient, loop: _LoopThread) -> None:
        self.partition = client.partition
        self._client = client
        self._loop = loop

    def get(self, resource: str, key: ObjectKey) -> Object:
        return self._loop.call(partial(self._client.get, resource, key))

    def list(
        self,
        resource: str,
        *,
        tenant: str = "",
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        exact: bool = False,
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        return self._loop.call(
            partial(
                self._client.list,
                resource,
                tenant=tenant,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                resource_version=resource_version,
                exact=exact,
                limit=limit,
                continue_token=continue_token,
            )
        )

    def status(self) -> pb.PartitionStatus:
        return self._loop.call(self._client.status)

    def mutate(self, operations: Sequence[pb.Operation]) -> _Results:
        return self._loop.call(partial(self._client.mutate, operations))

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        return self._loop.call(partial(self._client.create, obj, dry_run=dry_run))

    def update(self, obj: Object, *, dry_run: bool = False) -> Object:
        return self._loop.call(partial(self._client.update, obj, dry_run=dry_run))

    def update_status(self, obj: Object) -> Object:
        return self._loop.call(partial(self._client.update_status, obj))

    def patch(
        self,
        resource: str,
        key: ObjectKey,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        patch_type: pb.Patch.Type = pb.Patch.MERGE,
        subresource: str = "",
        field_manager: str = "",
        dry_run: bool = False,
    ) -> Object:
        return self._loop.call(
            partial(
                self._client.patch,
                resource,
                key,
                body,
                patch_type=patch_type,
                subresource=subresource,
                field_manager=field_manager,
                dry_run=dry_run,
            )
        )

    def apply(
        self,
        resource: str,
        key: ObjectKey,
        configuration: Mapping[str, Any],
        *,
        field_manager: str,
        force: bool = False,
        subresource: str = "",
        field_validation: str = "",
        dry_run: bool = False,
    ) -> Object:
        return self._loop.call(
            partial(
                self._client.apply,
                resource,
                key,
                configuration,
                field_manager=field_manager,
                force=force,
                subresource=subresource,
                field_validation=field_validation,
                dry_run=dry_run,
            )
        )

    def scale(self, resource: str, key: ObjectKey, replicas: int) -> Object:
        return self._loop.call(partial(self._client.scale, resource, key, replicas))

    def delete_collection(
        self,
        resource: str,
        *,
        tenant: str = "",
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        grace_seconds: int | None = None,
        propagation: str = "",
        dry_run: bool = False,
    ) -> int:
        return self._loop.call(
            partial(
                self._client.delete_collection,
                resource,
                tenant=tenant,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                grace_seconds=grace_seconds,
                propagation=propagation,
                dry_run=dry_run,
            )
        )

    def evict(self, key: ObjectKey, *, uid: str = "", grace_seconds: int | None = None) -> None:
        self._loop.call(partial(self._client.evict, key, uid=uid, grace_seconds=grace_seconds))

    def delete(
        self,
        resource: str,
        key: ObjectKey,
        *,
        uid: str = "",
        resource_version: int = 0,
        grace_seconds: int | None = None,
        propagation: str = "",
    ) -> None:
        self._loop.call(
            partial(
                self._client.delete,
                resource,
                key,
                uid=uid,
                resource_version=resource_version,
                grace_seconds=grace_seconds,
                propagation=propagation,
            )
        )


class BlockingFaults:
    """`Faults`, with the same methods, none of them a coroutine. What they raise is said there."""

    def __init__(self, faults: Faults, loop: _LoopThread) -> None:
        self._faults = faults
        self._loop = loop

    @property
    def in_force(self) -> list[Fault]:
        return self._loop.call_sync(lambda: self._faults.in_force)

    def cut(self, source: str, target: str, *, one_way: bool = False, refuse: bool = False) -> None:
        self._loop.call(partial(self._faults.cut, source, target, one_way=one_way, refuse=refuse))

    def delay(self, source: str, target: str, seconds: float, *, one_way: bool = False) -> None:
        self._loop.call(partial(self._faults.delay, source, target, seconds, one_way=one_way))

    def freeze(self, source: str, target: str, *, one_way: bool = False) -> None:
        self._loop.call(partial(self._faults.freeze, source, target, one_way=one_way))

    def heal(self, source: str = ALL, target: str = ALL) -> list[Fault]:
        return self._loop.call(partial(self._faults.heal, source, target))


class _LoopThread:
    """A trio loop in a thread for as long as `serve(opened)` runs, which calls `opened` and waits to be cancelled."""

    def __init__(self, serve: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        self._serve = serve
        self._started = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._stopping = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ursa-cluster")

    def start(self) -> None:
        """Raises what `serve` raised instead of calling `opened`."""
        self._thread.start()
        try:
            self._started.wait()
        except BaseException:
            # Ctrl-C while it starts.
            self.stop()
            raise
        if self._failure is not None:
            self.stop()

    def stop(self) -> None:
        """Cancel `serve` and wait until it has ended; raises what it raised, once."""
        self._stopping = True
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._scope.cancel)
        if self._thread.ident is not None:
            self._thread.join()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def call(self, function: Callable[[], Awaitable[_Result]]) -> _Result:
        return trio.from_thread.run(function, trio_token=self._open_token())

    def call_sync(self, function: Callable[[], _Result]) -> _Result:
        return trio.from_thread.run_sync(function, trio_token=self._open_token())

    def _open_token(self) -> trio.lowlevel.TrioToken:
        if self._token is None or not self._thread.is_alive():
            raise UrsaError("the cluster is not open: use it inside its `with` block")
        return self._token

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits for it
            self._failure = error
        finally:
            self._started.set()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        if self._stopping:  # It came before there was a token to cancel through.
            return
        with self._scope:
            await self._serve(self._started.set)
