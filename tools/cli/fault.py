"""`ursa fault`: disturb the links between the parts of a cluster that runs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from ..endpoints import DEFAULT_NAME, load_cluster
from ..faults.control import Faults
from ..faults.file import FILE_NAME
from ..faults.processes import FaultsOfProcesses
from ..faults.rules import ALL, Fault
from ..objects.printing import aligned

_Command = TypeVar("_Command", bound=Callable[..., Any])

_cluster = click.option(
    "--cluster", default=DEFAULT_NAME, show_default=True, help="The cluster, or its data directory."
)
_one_way = click.option("--one-way", is_flag=True, help="Only what FROM sends to TO.")


def _between(command: _Command) -> _Command:
    return click.argument("source", metavar="FROM")(click.argument("target", metavar="TO")(command))


@click.group()
def fault() -> None:
    """Cut, delay and freeze the links between the parts of a running cluster, and heal them.

    FROM and TO are a component (a scheduler, a controller manager, a host of hollow nodes) and a partition, called as
    `ursa up` shows them; '*' stands for all. What is disturbed stays so, also for a process that is started again,
    until it is healed or the cluster ends.
    """


@fault.command()
@_between
@_one_way
@click.option("--refuse", is_flag=True, help="Reset connections instead, so that both ends know.")
@_cluster
def cut(source: str, target: str, one_way: bool, refuse: bool, cluster: str) -> None:
    """Lose what the two send each other, and tell neither: a half-open link."""
    _begin(cluster, lambda faults: faults.cut(source, target, one_way=one_way, refuse=refuse))


@fault.command()
@_between
@click.argument("seconds", type=float)
@_one_way
@_cluster
def delay(source: str, target: str, seconds: float, one_way: bool, cluster: str) -> None:
    """Let what the two send each other arrive later, in its order."""
    _begin(cluster, lambda faults: faults.delay(source, target, seconds, one_way=one_way))


@fault.command()
@_between
@_one_way
@_cluster
def freeze(source: str, target: str, one_way: bool, cluster: str) -> None:
    """Hold what the two send each other; it arrives, in its order, when the link is healed."""
    _begin(cluster, lambda faults: faults.freeze(source, target, one_way=one_way))


@fault.command()
@click.argument("source", metavar="[FROM]", default=ALL)
@click.argument("target", metavar="[TO]", default=ALL)
@_cluster
def heal(source: str, target: str, cluster: str) -> None:
    """End the faults between the two, whichever way; without names, all that there are."""
    ended = _run(cluster, lambda faults: faults.heal(source, target))
    for each in ended:
        click.echo(f"healed: {each}")
    if not ended:
        click.echo("nothing was disturbed there")


@fault.command("list")
@_cluster
def list_command(cluster: str) -> None:
    """Show what is in force."""
    _show(_faults(cluster).in_force)


def _begin(cluster: str, body: Callable[[Faults], Awaitable[None]]) -> None:
    async def begin_and_show(faults: Faults) -> list[Fault]:
        await body(faults)
        return faults.in_force

    _show(_run(cluster, begin_and_show))


def _show(faults: list[Fault]) -> None:
    if not faults:
        click.echo("no link is disturbed")
        return
    now_ms = time.time_ns() // 1_000_000
    rows = [[each.source, each.target, each.what, f"{(now_ms - each.since_ms) / 1000:.0f}s"] for each in faults]
    for line in aligned(["FROM", "TO", "FAULT", "FOR"], rows, left=3):
        click.echo(line)


_Result = TypeVar("_Result")


def _run(cluster: str, body: Callable[[Faults], Awaitable[_Result]]) -> _Result:
    return trio.run(body, _faults(cluster))


def _faults(cluster: str) -> Faults:
    """Of a running one box. Raises InputError: there is none."""
    found = load_cluster(cluster)
    return Faults(FaultsOfProcesses(Path(found.data_dir) / FILE_NAME, lambda: found.processes))
