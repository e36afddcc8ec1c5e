"""`ursa top`: which client is this, and whom does it hear of?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import trio
from google.protobuf.json_format import MessageToDict

from ...clients.client_set import ClientSet
from ...clients.contact import Seen
from ...proto import ursa_pb2 as pb
from ...proto.errors import InputError, LinkError
from ..endpoints import DEFAULT_NAME, load_cluster
from ..objects.directory import ask_all
from ..objects.printing import aligned, to_json
from ..partition_views import View, partition_views
from . import EXIT_ERROR
from .session import run_with_clients

_GAP = "  "
_PHASES = ("queue", "admission", "encode", "store", "write")
# What gRPC adds to a program's own name.
_AGENT_SUFFIX = " grpc-"

_Row = tuple[str, float, pb.RequestsRow]  # Of a partition, in that many seconds.
_SORTS: dict[str, Callable[[_Row], float]] = {
    "time": lambda row: row[2].requests * _total(row[2].mean),
    "requests": lambda row: row[2].requests,
    "operations": lambda row: row[2].operations,
    "errors": lambda row: row[2].errors,
    "p99": lambda row: row[2].p99_seconds,
    "bytes": lambda row: row[2].bytes_in + row[2].bytes_out,
}


@click.group()
def top() -> None:
    """Show who asks most of the partitions, and who hears of them."""


@top.command()
@click.option("--cluster", default=DEFAULT_NAME, show_default=True, help="The cluster, or its data directory.")
@click.option("--partition", default="", metavar="NAME", help="Ask only this partition.")
@click.option("--slow", is_flag=True, help="The newest requests that were slow, one by one.")
@click.option("--sort", type=click.Choice(list(_SORTS)), default="time", show_default=True, help="What comes first.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many lines.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def requests(cluster: str, partition: str, slow: bool, sort: str, limit: int, output: str) -> int:
    """Who asks for what, how often, and where the time goes, in the last minute or two; of all partitions.

    Times are per request, in milliseconds: waiting for its turn (queue), checked and planned (admission), made into
    bytes (encode), on the way to the disk (store), taken by the client (write). A batch of writes is one request.
    """

    async def body(clients: ClientSet) -> tuple[dict[str, pb.RequestsReply], list[LinkError]]:
        asked = {**clients.tenant_clients, **clients.resource_clients}
        if partition:
            if partition not in asked:
                raise InputError(f"--partition {partition}: there are {', '.join(asked)}; choose one of them")
            asked = {partition: asked[partition]}
        return await ask_all(asked, lambda client: client.requests(slow_max=limit))

    replies, missing = run_with_clients(cluster, body)
    if output == "json":
        documents = [MessageToDict(reply, preserving_proto_field_name=True) for reply in replies.values()]
        click.echo(to_json(documents))
    else:
        for line in slow_lines(replies, limit) if slow else request_lines(replies, sort, limit):
            click.echo(line)
    for error in missing:
        click.echo(f"error: not complete: {error}", err=True)
    return EXIT_ERROR if missing else 0


@top.command()
@click.option("--cluster", default=DEFAULT_NAME, show_default=True, help="The cluster, or its data directory.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def partitions(cluster: str, output: str) -> int:
    """How long ago each component last heard of each partition, and which ones it misses, and why.

    A partition says something every five seconds at least; one that has not for fifteen is missed. A component works
    with those that it hears of. `-`: it does not follow that partition.
    """
    found = load_cluster(cluster)
    views = trio.run(partition_views, [each for each in found.processes if each.component != "apiserver"])
    if output == "json":
        click.echo(to_json([_view_dict(view) for view in views]))
    else:
        for line in partition_lines(views, [*found.tenant_partitions, *found.resource_partitions]):
            click.echo(line)
    for view in views:
        if view.problem:
            click.echo(f"error: not complete: {view.component} does not answer: {view.problem}", err=True)
    return EXIT_ERROR if any(view.problem for view in views) else 0


def partition_lines(views: Sequence[View], names: Sequence[str]) -> Iterator[str]:
    """A table of components and partitions, and below it what is missed."""
    rows = []
    for view in views:
        seen = {each.partition: each for each in view.seen}
        rows.append([view.component, *("?" if view.problem else _heard(seen.get(name)) for name in names)])
    yield from aligned(["COMPONENT", *names], rows, left=1)
    for name in names:
        found = [
            (view.component, each) for view in views for each in view.seen if each.missed and each.partition == name
        ]
        if found:
            yield f"{name} is missed by {', '.join(component for component, _ in found)}: {found[0][1].problem}"


def _heard(seen: Seen | None) -> str:
    if seen is None:
        return "-"
    age = "never" if seen.seconds == math.inf else f"{seen.seconds:.1f}s"
    return f"{age} missed" if seen.missed else age


def _view_dict(view: View) -> dict[str, Any]:
    partitions = [
        each._asdict() | {"seconds": each.seconds if math.isfinite(each.seconds) else None} for each in view.seen
    ]
    return {"component": view.component, "problem": view.problem, "partitions": partitions}


def request_lines(replies: dict[str, pb.RequestsReply], sort: str, limit: int) -> Iterator[str]:
    """A table of the rows of all partitions."""
    found: list[_Row] = [(name, reply.seconds, row) for name, reply in replies.items() for row in reply.rows]
    found.sort(key=_SORTS[sort], reverse=True)
    if not found:
        yield "no requests lately"
        return
    titles = ["PARTITION", "USER", "AGENT", "VERB", "RESOURCE", "LEVEL", "REQ/S", "OPS/S", "ERRORS", "P50", "P99"]
    titles += [*map(str.upper, _PHASES), "IN", "OUT"]
    rows = [
        [
            *(name, row.user or "-", _agent(row.agent), row.verb or "-", row.resource or "-", row.level or "-"),
            *(_rate(row.requests, seconds), _rate(row.operations, seconds), str(row.errors)),
            *(_ms(row.p50_seconds), _ms(row.p99_seconds)),
            *(_ms(getattr(row.mean, phase)) for phase in _PHASES),
            *(_bytes(row.bytes_in), _bytes(row.bytes_out)),
        ]
        for name, seconds, row in found[:limit]
    ]
    yield from aligned(titles, rows, left=6)
    if len(found) > limit:
        yield f"... and {len(found) - limit} more: see --limit"


def slow_lines(replies: dict[str, pb.RequestsReply], limit: int) -> Iterator[str]:
    """A table of the slow requests of all partitions, the newest first."""
    found = [(name, each) for name, reply in replies.items() for each in reply.slow]
    found.sort(key=lambda item: item[1].time_ms, reverse=True)
    if not found:
        seconds = max((reply.slow_seconds for reply in replies.values()), default=0.0)
        yield f"no request took {seconds:g} s or more"
        return
    titles = ["TIME", "PARTITION", "USER", "AGENT", "WHAT", "LEVEL", "TRACE", "TOTAL"]
    titles += [*map(str.upper, _PHASES), "IN", "OUT"]
    rows = [
        [
            *(_time(each.time_ms), name, each.user or "-", _agent(each.agent), _what(each.counts)),
            *(each.level or "-", each.trace or "-", _ms(each.seconds)),
            *(_ms(getattr(each.split, phase)) for phase in _PHASES),
            *(_bytes(each.bytes_in), _bytes(each.bytes_out)),
        ]
        for name, each in found[:limit]
    ]
    yield from aligned(titles, rows, left=7)


def _what(counts: Iterable[Any]) -> str:
    return ", ".join(
        f"{each.verb} {each.resource}{f' x{each.count}' if each.count > 1 else ''} ({each.code})" for each in counts
    )


def _agent(agent: str) -> str:
    return agent.split(_AGENT_SUFFIX)[0] or "-"


def _total(mean: pb.PhaseSeconds) -> float:
    return float(sum(getattr(mean, phase) for phase in _PHASES))


def _rate(number: int, seconds: float) -> str:
    return f"{number / seconds:.1f}" if seconds else "-"


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.2g}"


def _bytes(number: int) -> str:
    value, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f}{unit}" if unit == "B" else f"{value:.1f}{unit}"


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%H:%M:%S")
