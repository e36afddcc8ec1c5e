"""`ursa describe`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ...clients.client_set import ClientSet
from ...clients.partition_client import PartitionClient
from ...proto.errors import InputError, LinkError, NotFound
from ...proto.kinds import BY_KIND, Kind
from ...proto.objects import Object
from ..objects.columns import columns_of
from ..objects.directory import ask_all, clients_for
from ..objects.printing import outline, table
from . import EXIT_ERROR
from .describe_node import describe_placements
from .session import Scoping, known_kinds, now_ms, parse_target, run_with_clients, scope_options

_EVENTS = BY_KIND["Event"]


@click.command()
@click.argument("target", nargs=-1, metavar="KIND [NAME...]")
@scope_options
def describe(target: tuple[str, ...], cluster: str, partition: str, tenant: str, namespace: str) -> int:
    """Show objects with what happened to them; a node also with the pods that hold its room."""
    kind, names = parse_target(target, known_kinds(cluster))
    scoping = Scoping(tenant, namespace, False, partition)
    if kind is _EVENTS:
        raise InputError("events are shown by `ursa get events`")

    async def body(clients: ClientSet) -> list[LinkError]:
        asked = await clients_for(clients, kind, partition=partition, tenant=tenant, everywhere=False)
        found, missing = await ask_all(asked, lambda client: _objects(client, kind, scoping, names))
        objects = [obj for listed in found.values() for obj in listed]
        absent = [name for name in names if all(obj.name != name for obj in objects)]
        if absent and not missing:
            raise NotFound(f"there is no {kind.singular} {scoping.key(kind, absent[0])}")
        for number, obj in enumerate(sorted(objects, key=lambda obj: obj.key)):
            if number:
                click.echo("\n")
            lines, unseen = await _described(clients, asked[obj.partition], obj)
            missing += [error for error in unseen if error not in missing]
            for line in lines:
                click.echo(line)
        return missing

    missing = run_with_clients(cluster, body)
    for error in missing:
        click.echo(f"error: not complete: {error}", err=True)
    return EXIT_ERROR if missing else 0


async def _objects(client: PartitionClient, kind: Kind, scoping: Scoping, names: list[str]) -> list[Object]:
    if not names:
        owner, space = scoping.selection(kind)
        return (await client.list(kind.resource, tenant=owner, namespace=space)).items
    found = []
    for name in names:
        try:
            found.append(await client.get(kind.resource, scoping.key(kind, name)))
        except NotFound:
            continue
    return found


async def _described(clients: ClientSet, client: PartitionClient, obj: Object) -> tuple[list[str], list[LinkError]]:
    """The lines, and the partitions without whose answer they are not complete."""
    lines = list(_identity(obj))
    manifest = obj.to_dict()
    for part in ("spec", "status"):
        if manifest.get(part):
            lines += [f"{part.title()}:", *outline(manifest[part], 1)]
    rest = {k: v for k, v in manifest.items() if k not in ("apiVersion", "kind", "metadata", "spec", "status")}
    if obj.kind == "Secret":
        rest["data"] = {key: f"{len(value) * 3 // 4} bytes" for key, value in (rest.get("data") or {}).items()}
    lines += outline(rest)
    missing: list[LinkError] = []
    if obj.kind == "Node":
        placements, missing = await describe_placements(clients, client, obj)
        lines += placements
    return lines + await _events(client, obj), missing


def _identity(obj: Object) -> Iterator[str]:
    """What every object has."""
    yield f"Name:         {obj.name}"
    if obj.namespace:
        yield f"Namespace:    {obj.namespace}"
    if obj.tenant:
        yield f"Tenant:       {obj.tenant}"
    yield f"Partition:    {obj.partition}"
    yield f"UID:          {obj.uid}"
    for title, values in (("Labels", obj.labels), ("Annotations", obj.annotations)):
        first, *others = [f"{key}={value}" for key, value in sorted(values.items())] or ["<none>"]
        yield f"{title + ':':<14}{first}"
        yield from (" " * 14 + other for other in others)
    yield f"Created:      {obj.to_dict()['metadata'].get('creationTimestamp', '<unknown>')}"
    if obj.deletion_ms:
        yield f"Deleting:     {obj.to_dict()['metadata']['deletionTimestamp']}"
    if obj.controller is not None:
        yield f"Controlled By:  {obj.controller.kind}/{obj.controller.name}"


async def _events(client: PartitionClient, obj: Object) -> list[str]:
    events = (await client.list(_EVENTS.resource, field_selector=f"involvedObject.uid={obj.uid}")).items
    if not events:
        return ["Events:       <none>"]
    events.sort(key=lambda event: (event.rest.get("lastTimestamp") or "", event.resource_version))
    return ["Events:", *(f"  {line}" for line in table(events, columns_of("Event"), now_ms()))]
