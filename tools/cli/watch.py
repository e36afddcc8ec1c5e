"""`ursa watch`."""

from __future__ import annotations

import click
import trio

from ...clients.client_set import ClientSet
from ...clients.informer import Event, EventType, Informer
from ...proto.errors import InputError
from ..objects.columns import Column, columns_of_kind
from ..objects.directory import clients_for
from ..objects.printing import document_of, name_of, stream_row, to_json, to_yaml
from .session import (
    Scoping,
    check_selectors,
    everywhere_option,
    known_kinds,
    now_ms,
    parse_target,
    run_with_clients,
    scope_options,
    selector_options,
)

_EVENT = "EVENT"


@click.command()
@click.argument("target", nargs=-1, metavar="KIND [NAME]")
@scope_options
@everywhere_option
@selector_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(("table", "wide", "name", "json", "yaml")),
    default="table",
    show_default=True,
    help="The form of an event.",
)
def watch(
    target: tuple[str, ...],
    cluster: str,
    partition: str,
    tenant: str,
    namespace: str,
    everywhere: bool,
    label_selector: str,
    field_selector: str,
    output: str,
) -> None:
    """Show objects, and then every change of them, until Ctrl-C. A lost link is taken up again."""
    kind, names = parse_target(target, known_kinds(cluster))
    check_selectors(label_selector, field_selector)
    if len(names) > 1:
        raise InputError("watch one name, or leave names out and select by label")
    if names:
        field_selector = ",".join(filter(None, (field_selector, f"metadata.name={names[0]}")))
    scoping = Scoping(tenant, namespace, everywhere, partition)
    columns = columns_of_kind(kind, wide=output == "wide", scoped=scoping.columns(kind))
    printer = _Printer(columns, output)

    async def body(clients: ClientSet) -> None:
        owner, space = scoping.selection(kind)
        asked = await clients_for(clients, kind, partition=partition, tenant=tenant, everywhere=everywhere)
        async with trio.open_nursery() as nursery:
            for client in asked.values():
                informer = Informer(
                    client,
                    kind.resource,
                    tenant=owner,
                    namespace=space,
                    label_selector=label_selector,
                    field_selector=field_selector,
                )
                informer.add_handler(printer.show)
                nursery.start_soon(informer.run)

    run_with_clients(cluster, body)


class _Printer:
    """One line, or one document, for each event."""

    def __init__(self, columns: list[Column], output: str) -> None:
        self._columns = columns
        self._output = output
        self._titles = [_EVENT, *(column.title for column in columns)]
        if output in ("table", "wide"):
            click.echo(stream_row(self._titles, self._titles))

    def show(self, event: Event) -> None:
        obj = event.object
        if self._output == "json":
            click.echo(to_json({"type": event.type.value, "object": document_of(obj)}, indent=None))
        elif self._output == "yaml":
            click.echo("---\n" + to_yaml({"type": event.type.value, "object": document_of(obj)}))
        elif self._output == "name":
            click.echo(f"{event.type.value} {name_of(obj)}" if event.type is not EventType.MODIFIED else name_of(obj))
        else:
            cells = [event.type.value, *(column.value(obj, now_ms()) for column in self._columns)]
            click.echo(stream_row(cells, self._titles))
