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
    known_kinds,
    now_ms,
    once_by_name,
    parse_targets,
    run_with_clients,
    scope_options,
    selector_options,
)


@click.command()
@click.argument("target", nargs=-1, metavar="KIND[,KIND...] [NAME...]")
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
    check_selectors(label_selector, field_selector)
    scoping = Scoping(tenant, namespace, everywhere, partition)
    kinds, names = parse_targets(target, known_kinds(cluster))
    if names and everywhere:
        raise InputError("a name needs its tenant and namespace: leave out -A, or the name")

    async def body(clients: ClientSet) -> list[tuple[Kind, list[Object], list[LinkError]]]:
        return [(kind, *await _found(clients, kind, names, scoping, label_selector, field_selector)) for kind in kinds]

    found = run_with_clients(cluster, body)
    if output in ("json", "yaml"):
        every = [obj for _, objects, _ in found for obj in objects]
        click.echo("\n".join(formatted(every, kinds[0], output, single=bool(names), scoped=(), now_ms=0)))
    else:
        _print_tables(found, output, scoping)
    missing = [error for _, _, errors in found for error in errors]
    for error in missing:
        click.echo(f"error: not complete: {error}", err=True)
    return EXIT_ERROR if missing else 0


def _print_tables(found: list[tuple[Kind, list[Object], list[LinkError]]], output: str, scoping: Scoping) -> None:
    """One table a kind, with a line between them."""
    shown = [(kind, objects) for kind, objects, _ in found if objects]
    for number, (kind, objects) in enumerate(shown):
        if number and output != "name":
            click.echo()
        for line in formatted(objects, kind, output, single=False, scoped=scoping.columns(kind), now_ms=now_ms()):
            click.echo(line)
    if not shown and not any(errors for _, _, errors in found):
        plurals = ", ".join(kind.plural for kind, _, _ in found)
        owner, space = scoping.selection(found[0][0])
        where = f"in {'/'.join(filter(None, (owner, space)))}" if owner else "anywhere"
        click.echo(f"no {plurals} found {where}", err=True)


async def _found(
    clients: ClientSet, kind: Kind, names: list[str], scoping: Scoping, label_selector: str, field_selector: str
) -> tuple[list[Object], list[LinkError]]:
    """The objects of one kind, in order, and the partitions that could not be asked."""
    asked = await clients_for(
        clients, kind, partition=scoping.partition, tenant=scoping.tenant, everywhere=scoping.everywhere
    )
    if names:
        objects, missing = await _by_name(asked, kind, names, scoping)
    else:
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
        objects = once_by_name([obj for found in answers.values() for obj in found], kind)
    return sorted(objects, key=lambda obj: obj.key), missing


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
