"""`ursa partition`: partitions come and go while the cluster runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...clients.registry_core import ACTIVE, REMOVED
from ...proto.kinds import Role
from ..endpoints import DEFAULT_NAME
from ..objects.printing import aligned
from .session import run_with_clients

if TYPE_CHECKING:
    from ...clients.client_set import ClientSet

# Starting an apiserver takes a second or two.
ANSWER_SECONDS = 60.0

_cluster = click.option(
    "--cluster", default=DEFAULT_NAME, show_default=True, help="The cluster, or its data directory."
)


@click.group()
def partition() -> None:
    """Add, drain, remove and list partitions while all runs.

    Schedulers, controllers and kubelets follow within seconds; nothing is restarted.
    """


@partition.command("list")
@_cluster
def list_command(cluster: str) -> None:
    """Show all partitions that are or were, and what each holds."""
    from ..partitions import list_partitions

    titles = ["NAME", "ROLE", "STATE", "ADDRESS", "TENANTS", "NODES", "PODS"]
    rows = []
    for row in run_with_clients(cluster, list_partitions):
        entry, held = row.entry, _count(row.holds)
        state = entry.state if row.reachable or entry.state == REMOVED else f"{entry.state}, does not answer"
        tenants, nodes = (held, "-") if entry.role is Role.TENANT else ("-", held)
        rows.append([entry.name, entry.role.value, state, entry.address or "-", tenants, nodes, _count(row.pods)])
    for line in aligned(titles, rows, left=4):
        click.echo(line)


@partition.command()
@click.argument("role", type=click.Choice([role.value for role in Role]))
@click.option("--name", default="", help="Its name.  [default: the next that was never used]")
@click.option("--address", default="", help="Where its apiserver runs already.  [default: the one box starts one]")
@_cluster
def add(role: str, name: str, address: str, cluster: str) -> None:
    """Add a tenant or a resource partition."""
    from ..partitions import add_partition, give_daemons, wait_for_member

    async def body(clients: ClientSet) -> tuple[str, list[str]]:
        entry = await add_partition(clients, Role(role), name=name, address=address)
        await wait_for_member(clients, entry.name, ANSWER_SECONDS)
        daemons = await give_daemons(clients, entry.name) if entry.role is Role.RESOURCE else []
        return entry.name, daemons

    added, daemons = run_with_clients(cluster, body, follow=True)
    told = f", with the DaemonSets of all others: {', '.join(daemons)}" if daemons else ""
    click.echo(f"partition {added} added{told}")


@partition.command()
@click.argument("name")
@click.option("--timeout", "timeout_seconds", type=click.FloatRange(min=0), default=120.0, show_default=True)
@click.option("--force", is_flag=True, help="Also evict pods that no controller makes again elsewhere.")
@_cluster
def drain(name: str, timeout_seconds: float, force: bool, cluster: str) -> None:
    """Empty a resource partition: place nothing new on it, evict what is there, as disruption budgets allow."""
    from ..partitions import drain as drain_partition

    async def body(clients: ClientSet) -> int:
        return await drain_partition(clients, name, force=force, timeout_seconds=timeout_seconds)

    click.echo(f"partition {name} is drained: {run_with_clients(cluster, body)} pods were evicted")


@partition.command()
@click.argument("name")
@_cluster
def resume(name: str, cluster: str) -> None:
    """Let a partition that drains be used again."""
    from ..partitions import set_state

    async def body(clients: ClientSet) -> None:
        await set_state(clients, name, ACTIVE)

    run_with_clients(cluster, body)
    click.echo(f"partition {name} is used again")


@partition.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Whatever it still holds, and whether or not it answers.")
@_cluster
def remove(name: str, force: bool, cluster: str) -> None:
    """Remove a partition. Without --force it must be empty: no tenants, or no pods on its nodes."""
    from ..partitions import remove_partition

    async def body(clients: ClientSet) -> None:
        await remove_partition(clients, name, force=force)

    run_with_clients(cluster, body)
    click.echo(f"partition {name} removed")


def _count(number: int | None) -> str:
    return "-" if number is None else str(number)
