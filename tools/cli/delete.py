"""`ursa delete`."""

from __future__ import annotations

from contextlib import suppress

import click

from ...clients.client_set import ClientSet
from ...clients.partition_client import PartitionClient
from ...proto.errors import InputError, NotFound
from ...proto.kinds import Kind
from ...proto.objects import Object
from ...proto.propagation import POLICIES
from ..objects.directory import ask, ask_all, clients_for, is_of_nodes
from ..objects.kinds import KnownKinds
from ..objects.manifests import read_manifests
from ..objects.printing import name_of
from .session import (
    Scoping,
    check_selectors,
    known_kinds,
    parse_target,
    run_with_clients,
    scope_options,
    selector_options,
)


@click.command()
@click.argument("target", nargs=-1, metavar="[KIND NAME...]")
@click.option("-f", "--filename", "paths", multiple=True, metavar="FILE", help="Delete what these manifests name.")
@scope_options
@selector_options
@click.option("--all", "every", is_flag=True, help="All objects of the kind in the namespace.")
@click.option("--grace-period", type=click.IntRange(min=0), metavar="SECONDS", help="Instead of the pod's own.")
@click.option(
    "--cascade",
    type=click.Choice([policy.lower() for policy in POLICIES]),
    default="background",
    show_default=True,
    help="What becomes of the objects that it owns: they go after it, before it, or stay.",
)
@click.option("--ignore-not-found", is_flag=True, help="A missing object is no error.")
def delete(
    target: tuple[str, ...],
    paths: tuple[str, ...],
    cluster: str,
    partition: str,
    tenant: str,
    namespace: str,
    label_selector: str,
    field_selector: str,
    every: bool,
    grace_period: int | None,
    cascade: str,
    ignore_not_found: bool,
) -> None:
    """Delete objects by name, by selector, or those of manifests. Pods on nodes go once they are stopped."""
    check_selectors(label_selector, field_selector)
    kinds = known_kinds(cluster)
    wanted = _wanted(target, paths, tenant, namespace, partition, kinds)
    selecting = bool(label_selector or field_selector or every)
    if not wanted and not selecting:
        raise InputError("say what to delete: names, -f FILE, a selector, or --all")
    if wanted and selecting:
        raise InputError("give names or a selector, not both")

    selected = parse_target(target, kinds) if selecting else None
    propagation = cascade.capitalize()

    async def body(clients: ClientSet) -> None:
        if selected is not None:
            kind, _ = selected
            scoping = Scoping(tenant, namespace, False, partition)
            found = await _select(clients, kind, scoping, label_selector, field_selector)
            for client, obj in found:
                await _delete(client, kind, obj, grace_period, propagation)
            if not found:
                click.echo(f"no {kind.plural} found", err=True)
            return
        for kind, name, scoping in wanted:
            found = await _find(clients, kind, name, scoping)
            if not found and not ignore_not_found:
                raise NotFound(f"there is no {kind.singular} {scoping.key(kind, name)}")
            for client, obj in found:
                await _delete(client, kind, obj, grace_period, propagation)

    run_with_clients(cluster, body)


def _wanted(
    target: tuple[str, ...], paths: tuple[str, ...], tenant: str, namespace: str, partition: str, kinds: KnownKinds
) -> list[tuple[Kind, str, Scoping]]:
    if target and paths:
        raise InputError("give a kind and names, or -f FILE, not both")
    wanted = []
    for manifest in read_manifests(paths, kinds):
        obj = manifest.object
        scoping = Scoping(obj.tenant or tenant, obj.namespace or namespace, False, partition)
        wanted.append((manifest.kind, obj.name, scoping))
    if target:
        kind, names = parse_target(target, kinds)
        wanted += [(kind, name, Scoping(tenant, namespace, False, partition)) for name in names]
    return wanted


async def _find(clients: ClientSet, kind: Kind, name: str, scoping: Scoping) -> list[tuple[PartitionClient, Object]]:
    """The object in each partition that has it. Raises LinkError if one of them cannot be asked."""
    asked = await clients_for(clients, kind, partition=scoping.partition, tenant=scoping.tenant, everywhere=False)

    async def question(client: PartitionClient) -> Object | None:
        try:
            return await client.get(kind.resource, scoping.key(kind, name))
        except NotFound:
            return None

    answers, missing = await ask_all(asked, question)
    if missing:
        raise missing[0]
    return [(asked[partition], obj) for partition, obj in answers.items() if obj is not None]


async def _select(
    clients: ClientSet, kind: Kind, scoping: Scoping, label_selector: str, field_selector: str
) -> list[tuple[PartitionClient, Object]]:
    asked = await clients_for(clients, kind, partition=scoping.partition, tenant=scoping.tenant, everywhere=False)
    owner, space = scoping.selection(kind)

    async def question(client: PartitionClient) -> list[Object]:
        listed = await client.list(
            kind.resource, tenant=owner, namespace=space, label_selector=label_selector, field_selector=field_selector
        )
        return listed.items

    answers, missing = await ask_all(asked, question)
    if missing:
        raise missing[0]
    return [(asked[partition], obj) for partition, objects in answers.items() for obj in objects]


async def _delete(
    client: PartitionClient, kind: Kind, obj: Object, grace_seconds: int | None, propagation: str
) -> None:
    """Delete just the object that was found, not one that has taken its name since."""

    async def question(to: PartitionClient) -> None:
        await to.delete(kind.resource, obj.key, uid=obj.uid, grace_seconds=grace_seconds, propagation=propagation)

    with suppress(NotFound):  # Gone meanwhile, which is what was asked for.
        await ask(client, question)
    click.echo(f"{name_of(obj)} deleted{f' in {client.partition}' if is_of_nodes(kind) else ''}")
