"""`ursa tenant`: who lives where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..endpoints import DEFAULT_NAME
from ..objects.printing import aligned
from .session import run_with_clients

if TYPE_CHECKING:
    from ...clients.client_set import ClientSet
    from ...clients.tenants.moving import Moved

_cluster = click.option(
    "--cluster", default=DEFAULT_NAME, show_default=True, help="The cluster, or its data directory."
)
_timeout = click.option(
    "--timeout", "timeout_seconds", type=click.FloatRange(min=0), default=120.0, show_default=True, help="Seconds."
)


@click.group()
def tenant() -> None:
    """Create, move, list and delete tenants. Each lives in one tenant partition, with all that is its own."""


@tenant.command("list")
@_cluster
def list_command(cluster: str) -> None:
    """Show all tenants, where they live, and what is wrong with one."""
    from ..tenant_acts import list_tenants

    listing = run_with_clients(cluster, list_tenants)
    titles = ["NAME", "PARTITION", "STATE", "NAMESPACES", "PODS"]
    rows = []
    for row in listing.rows:
        home = row.whereabouts.home
        where = [each.partition for each in row.whereabouts.others]
        partition = home.partition if home is not None else ",".join(where)
        state = "in several partitions" if row.whereabouts.problem else _state(home)
        rows.append([row.name, partition, state, _count(row.namespaces), _count(row.pods)])
    for line in aligned(titles, rows, left=3):
        click.echo(line)
    for row in listing.rows:
        if row.whereabouts.problem:
            click.echo(f"warning: {row.whereabouts.problem}", err=True)
    for error in listing.missing:
        click.echo(f"warning: {error}: its tenants are not shown", err=True)


@tenant.command()
@click.argument("name")
@click.option("--partition", default="", metavar="NAME", help="Where it shall live.  [default: the emptiest]")
@click.option("--unreachable-ok", is_flag=True, help="Even if a partition does not answer, which may have one.")
@_cluster
def create(name: str, partition: str, unreachable_ok: bool, cluster: str) -> None:
    """Create a tenant with its namespace "default", unless any partition has one of this name."""
    from ..tenant_acts import create_tenant

    async def body(clients: ClientSet) -> str:
        return await create_tenant(clients, name, partition, unreachable_ok=unreachable_ok)

    click.echo(f"tenant {name} created in {run_with_clients(cluster, body)}")


@tenant.command()
@click.argument("name")
@click.argument("partition")
@_cluster
def move(name: str, partition: str, cluster: str) -> None:
    """Move a tenant with all that it has to another tenant partition. Its pods run on.

    For a second or two nothing of the tenant can be written. A move that was interrupted is gone on with by the same
    command; one that has not gone far is given up by naming the partition from which it set out. Events stay behind.
    """
    from ..tenant_acts import move_tenant

    async def body(clients: ClientSet) -> Moved | None:
        return await move_tenant(clients, name, partition)

    moved = run_with_clients(cluster, body)
    if moved is None:
        click.echo(f"tenant {name} is in {partition}")
        return
    click.echo(
        f"tenant {name} moved from {moved.source} to {moved.target}: {moved.objects:,} objects in {moved.seconds:.1f} "
        f"s, for {moved.frozen_seconds:.2f} s of which nothing could be written"
    )


@tenant.command()
@click.argument("name")
@_timeout
@_cluster
def delete(name: str, timeout_seconds: float, cluster: str) -> None:
    """Delete a tenant with all its namespaces and what is in them, and wait until nothing is left."""
    from ..tenant_acts import delete_tenant

    async def body(clients: ClientSet) -> str:
        return await delete_tenant(clients, name, timeout_seconds=timeout_seconds)

    click.echo(f"tenant {name} deleted from {run_with_clients(cluster, body)}")


@tenant.command()
@click.argument("name")
@click.option("--keep", required=True, metavar="PARTITION", help="Which of them stays.")
@_cluster
def resolve(name: str, keep: str, cluster: str) -> None:
    """Of a tenant that is in several partitions keep one; the others forget theirs, whose pods end."""
    from ..tenant_acts import resolve_tenant

    async def body(clients: ClientSet) -> list[str]:
        return await resolve_tenant(clients, name, keep)

    forgotten = run_with_clients(cluster, body)
    click.echo(f"tenant {name} is in {keep}" + (f", and no longer in {', '.join(forgotten)}" if forgotten else ""))


def _state(home: object) -> str:
    from ...clients.tenants.whereabouts import Sight

    if not isinstance(home, Sight):
        return "being created"
    record = home.record
    if home.tenant.deletion_ms:
        return "Terminating"
    return f"{record.state} to {record.partition}" if record.frozen else record.state


def _count(number: int | None) -> str:
    return "-" if number is None else str(number)
