"""`ursa apply`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import click

from ...clients.client_set import ClientSet
from ...clients.partition_client import PartitionClient
from ...clients.tenants.whereabouts import judge
from ...proto.custom_kinds import DEFINITION
from ...proto.errors import ApiError, Conflict, InputError, NotFound
from ...proto.kinds import Kind, Role, Scope
from ...proto.objects import Object
from ...proto.tenants import TENANTS
from ..applying import FIELD_MANAGER, configuration
from ..objects.directory import ask, ask_all, chosen, is_of_all_tenants, is_of_nodes, tenant_client, tenant_for
from ..objects.manifests import Manifest, read_manifests
from ..objects.printing import name_of
from ..tenant_acts import emptiest, survey
from ..tenant_claims import claim_tenant
from .session import known_kinds, run_with_clients, scope_options


class _Target(NamedTuple):
    """An object, with the scope it gets, and the partition it goes to. None: known once an earlier object is there."""

    manifest: Manifest
    kind: Kind
    object: Object
    client: PartitionClient | None


class _Options(NamedTuple):
    force: bool
    validate: str


@click.command()
@click.option(
    "-f", "--filename", "paths", multiple=True, required=True, metavar="FILE", help="A manifest, - or a directory."
)
@scope_options
@click.option("--dry-run", is_flag=True, help="Let the partitions check everything, and change nothing.")
@click.option("--force-conflicts", "force", is_flag=True, help="Take over fields that others manage.")
@click.option(
    "--validate",
    type=click.Choice(("Strict", "Ignore")),
    default="Strict",
    show_default=True,
    help="What to do about fields that the kind does not have.",
)
def apply(
    paths: tuple[str, ...],
    cluster: str,
    partition: str,
    tenant: str,
    namespace: str,
    dry_run: bool,
    force: bool,
    validate: str,
) -> None:
    """Create objects from manifests, or give the objects that are there what the manifests say.

    Everything is checked before anything is written. What was applied before, and the manifest no longer says, is
    removed; what it never said keeps its value. Where others manage a field and say something else, it is a conflict.
    """
    options = _Options(force, validate)
    manifests = read_manifests(paths, known_kinds(cluster))
    if not manifests:
        raise InputError(f"{paths[0]} holds no objects")
    scoped = [_scoped(manifest, tenant, namespace) for manifest in manifests]

    async def body(clients: ClientSet) -> None:
        planner = _Planner(clients, partition, scoped)
        targets = [target for item in scoped for target in await planner.targets(*item)]
        for target in targets:
            if target.client is not None and not planner.depends_on_earlier(target):
                await _put(target.client, target, options, dry_run=True)
        for target in targets:
            client = target.client
            if client is None:
                if dry_run:
                    click.echo(f"{name_of(target.object)} is not checked: its tenant would be created first")
                    continue
                client = await tenant_client(clients, target.object.tenant)
            if dry_run and planner.is_of_new_kind(target):
                click.echo(f"{name_of(target.object)} is not checked: its kind would be defined first")
                continue
            claimed = not dry_run and target.kind.resource == TENANTS and await _claimed(clients, client, target)
            done = await _put(client, target, options, dry_run=dry_run)
            done = "created" if claimed else done
            if is_of_all_tenants(target.kind) or is_of_nodes(target.kind):
                done += f" in {client.partition}"
            click.echo(f"{name_of(target.object)} {done}{' (dry run)' if dry_run else ''}")

    run_with_clients(cluster, body)


def _scoped(manifest: Manifest, tenant: str, namespace: str) -> tuple[Manifest, Kind, Object]:
    """A manifest may leave out its tenant and its namespace."""
    obj = manifest.object
    kind = manifest.kind
    metadata = obj.message.metadata
    if kind.scope is not Scope.CLUSTER:
        metadata.tenant = metadata.tenant or tenant_for(kind, tenant)
    if kind.scope is Scope.NAMESPACE:
        metadata.namespace = metadata.namespace or namespace
    return manifest, kind, obj


class _Planner:
    """Decides which partition each object goes to."""

    def __init__(self, clients: ClientSet, partition: str, scoped: Sequence[tuple[Manifest, Kind, Object]]) -> None:
        self._clients = clients
        self._partition = partition
        self._new_tenants = {obj.name: None for _, kind, obj in scoped if kind.kind == "Tenant"}
        self._new_namespaces = {(obj.tenant, obj.name): None for _, kind, obj in scoped if kind.kind == "Namespace"}
        self._new_kinds = {obj.name: None for _, kind, obj in scoped if kind is DEFINITION}
        self._homes: dict[str, PartitionClient] = {}

    def depends_on_earlier(self, target: _Target) -> bool:
        """It cannot be checked before the objects in front of it are written."""
        obj = target.object
        return (
            obj.tenant in self._new_tenants
            or (obj.tenant, obj.namespace) in self._new_namespaces
            or self.is_of_new_kind(target)
        )

    def is_of_new_kind(self, target: _Target) -> bool:
        return target.kind.resource in self._new_kinds

    async def targets(self, manifest: Manifest, kind: Kind, obj: Object) -> list[_Target]:
        """Mostly one. A definition or a class goes to all tenant partitions: a tenant may live in any of them;
        and a DaemonSet to all resource partitions: each has its own nodes."""
        if is_of_all_tenants(kind) and not self._partition:
            return [_Target(manifest, kind, obj, client) for client in self._clients.tenant_clients.values()]
        if is_of_nodes(kind) and not self._partition:
            return [_Target(manifest, kind, obj, client) for client in self._clients.resource_clients.values()]
        return [_Target(manifest, kind, obj, await self._client(manifest, kind, obj))]

    async def _client(self, manifest: Manifest, kind: Kind, obj: Object) -> PartitionClient | None:
        if self._partition:
            return chosen(self._clients, kind, self._partition)[self._partition]
        if kind.kind == "Tenant":
            return await self._tenant_home(obj)
        if kind.scope is not Scope.CLUSTER and Role.TENANT in kind.roles:
            try:
                return await self._home_of(obj.tenant)
            except InputError as error:
                if obj.tenant in self._new_tenants:
                    return None
                raise InputError(str(error), file=manifest.file, line=manifest.line) from None
        return await self._where_it_is(manifest, kind, obj)

    async def _home_of(self, tenant: str) -> PartitionClient:
        if tenant not in self._homes:
            self._homes[tenant] = await tenant_client(self._clients, tenant)
        return self._homes[tenant]

    async def _tenant_home(self, obj: Object) -> PartitionClient:
        """Where the tenant lives, or else the tenant partition with the fewest tenants.

        Raises:
            Unreachable: a partition that does not answer may have it already.
        """
        sights, missing = await survey(self._clients)
        if missing:
            raise missing[0]
        found = judge(sights.get(obj.name, ()))
        if found.problem:
            raise InputError(found.problem)
        return self._clients.tenant_clients[found.home.partition if found.home else await emptiest(self._clients)]

    async def _where_it_is(self, manifest: Manifest, kind: Kind, obj: Object) -> PartitionClient:
        """An object without a tenant: the one partition that has it, or that serves the kind."""
        serving = self._clients.resource_clients if Role.RESOURCE in kind.roles else self._clients.tenant_clients

        async def has(client: PartitionClient) -> bool:
            try:
                await client.get(kind.resource, obj.key)
            except NotFound:
                return False
            return True

        answers, missing = await ask_all(serving, has)
        if missing:
            raise missing[0]
        holding = [name for name, found in answers.items() if found] or list(answers)
        if len(holding) != 1:
            names = ", ".join(holding)
            raise InputError(
                f"{name_of(obj)} could go to {names}: choose one with --partition",
                file=manifest.file,
                line=manifest.line,
            )
        return serving[holding[0]]


async def _claimed(clients: ClientSet, client: PartitionClient, target: _Target) -> bool:
    """A tenant that is nowhere yet: created as one that is in no other partition. Raises InputError: it is in one."""
    if await ask(client, lambda each: _present(each, target.kind, target.object)) is not None:
        return False
    try:
        await claim_tenant(clients, target.object, client.partition)
    except ApiError as error:
        raise InputError(str(error), file=target.manifest.file, line=target.manifest.line) from None
    return True


async def _put(client: PartitionClient, target: _Target, options: _Options, *, dry_run: bool) -> str:
    """Apply it; says what that did.

    Raises:
        InputError: the partition refused; the message names the file and the line.
    """
    obj, kind = target.object, target.kind

    async def write(to: PartitionClient) -> str:
        if not obj.name:
            await to.create(obj, dry_run=dry_run)
            return "created"
        before = await _present(to, kind, obj)
        after = await to.apply(
            kind.resource,
            obj.key,
            configuration(obj),
            field_manager=FIELD_MANAGER,
            force=options.force,
            field_validation=options.validate,
            dry_run=dry_run,
        )
        if before is None:
            return "created"
        return "unchanged" if before.to_dict() == after.to_dict() else "configured"

    try:
        return await ask(client, write)
    except Conflict as error:
        if any(cause.reason == "FieldManagerConflict" for cause in error.causes):
            message = f"{error}: with --force-conflicts"
            raise InputError(message, file=target.manifest.file, line=target.manifest.line) from None
        raise InputError(str(error), file=target.manifest.file, line=target.manifest.line) from None
    except ApiError as error:
        raise InputError(str(error), file=target.manifest.file, line=target.manifest.line) from None


async def _present(client: PartitionClient, kind: Kind, obj: Object) -> Object | None:
    try:
        return await client.get(kind.resource, obj.key)
    except NotFound:
        return None
