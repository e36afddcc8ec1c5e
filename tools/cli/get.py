"""`ursa get`."""

from __future__ import annotations

import click

from ...clients.client_set import ClientSet
from ...clients.partition_client import PartitionClient
from ...proto.errors import InputError, LinkError, NotFound
from ...proto.kinds import Kind
from ...proto.objects import Object
from ..objects.directory import ask_all, clients_for
from ..objects.printing import OUTPUTS, formatted
from . import EXIT_ERROR
from .session import (
    Scoping,
    check_selectors,
    everywhere_option,
    now_ms,
    once_by_name,
    parse_target,
    run_with_clients,
    scope_options,
    selector_options,
)


@click.command()
@click.argument("target", nargs=-1, metavar="KIND [NAME...]")
@scope_options
@everywhere_option
@selector_options
@click.option("-o", "--output", type=click.Choice(OUTPUTS), default="table", show_default=True, help="The form.")
def get(
    target: tuple[str, ...],
    cluster: str,
    partition: str,
    tenant: str,
    namespace: str,
    everywhere: bool,
    label_selector: str,
    field_selector: str,
    output: str,
) -> int:
    """List objects, or show those named: `ursa get pods`, `ursa get nodes`, `ursa get pod/web -o yaml`.

    Nodes are those of all resource partitions; with -A, pods are those of all tenant partitions.
    """
    kind, names = parse_target(target)
    check_selectors(label_selector, field_selector)
    scoping = Scoping(tenant, namespace, everywhere, partition)
    if names and everywhere:
        raise InputError("a name needs its tenant and namespace: leave out -A, or the name")

    async def body(clients: ClientSet) -> tuple[list[Object], list[LinkError]]:
        asked = await clients_for(clients, kind, partition=partition, tenant=tenant, everywhere=everywhere)
        if names:
            return await _by_name(asked, kind, names, scoping)
        owner, space = scoping.selection(kind)

        async def question(client: PartitionClient) -> list[Object]:
            listed = await client.list(
                kind.resource,
                tenant=owner,
                namespace=space,
                label_selector=label_selector,
                field_selector=field_selector,
            )
            return listed.items

        answers, missing = await ask_all(asked, question)
        return once_by_name([obj for objects in answers.values() for obj in objects], kind), missing

    objects, missing = run_with_clients(cluster, body)
    objects.sort(key=lambda obj: obj.key)
    if objects or output in ("json", "yaml"):
        single = bool(names)
        for line in formatted(objects, output, single=single, scoped=scoping.columns(kind), now_ms=now_ms()):
            click.echo(line)
    elif not missing:
        where = "anywhere" if everywhere or not scoping.selection(kind)[0] else f"in {tenant}/{namespace}"
        click.echo(f"no {kind.plural} found {where}", err=True)
    for error in missing:
        click.echo(f"error: not complete: {error}", err=True)
    return EXIT_ERROR if missing else 0


async def _by_name(
    asked: dict[str, PartitionClient], kind: Kind, names: list[str], scoping: Scoping
) -> tuple[list[Object], list[LinkError]]:
    """Objects by name. Raises NotFound for the first that no partition has."""

    async def question(client: PartitionClient) -> list[Object]:
        found = []
        for name in names:
            try:
                found.append(await client.get(kind.resource, scoping.key(kind, name)))
            except NotFound:
                continue
        return found

    answers, missing = await ask_all(asked, question)
    objects = once_by_name([obj for found in answers.values() for obj in found], kind)
    absent = [name for name in names if all(obj.name != name for obj in objects)]
    if absent and not missing:
        raise NotFound(f"there is no {kind.singular} {scoping.key(kind, absent[0])}")
    return objects, missing
