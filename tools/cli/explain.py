"""`ursa explain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from ...clients.client_set import ClientSet
from ...clients.scheduler.explanation import Explanation, NodeScore
from ...proto.errors import InputError, LinkError, NotFound
from ...proto.kinds import BY_KIND
from ...proto.objects import Object
from ..endpoints import load_cluster
from ..explaining import explain_pod
from ..objects.directory import ask_all, clients_for
from ..objects.printing import aligned
from ..scheduler_config import read_scheduler_config
from . import EXIT_ERROR
from .session import Scoping, known_kinds, parse_target, run_with_clients, scope_options

_POD = BY_KIND["Pod"]


@click.command()
@click.argument("target", nargs=-1, metavar="pod NAME")
@scope_options
def explain(target: tuple[str, ...], cluster: str, partition: str, tenant: str, namespace: str) -> int:
    """Tell why a pod is on its node, or on none: what each plugin of its profile says of all nodes, as they are now.

    A pod that has a node is looked at as if it were to be given one now.
    """
    kind, names = parse_target(target, known_kinds(cluster))
    if kind is not _POD or len(names) != 1:
        raise InputError("only a pod is explained: ursa explain pod NAME")
    key = Scoping(tenant, namespace, False, partition).key(kind, names[0])
    running = load_cluster(cluster)
    options = read_scheduler_config(running.scheduler_config or None, running.scheduler_plugins).options

    async def body(clients: ClientSet) -> tuple[Object, Explanation, list[LinkError]]:
        asked = await clients_for(clients, kind, partition=partition, tenant=tenant, everywhere=False)
        found, missing = await ask_all(asked, lambda client: client.get(kind.resource, key))
        if not found:
            raise missing[0] if missing else NotFound(f"there is no pod {key}")
        [pod] = found.values()
        return pod, *await explain_pod(clients, pod, options)

    pod, explanation, missing = run_with_clients(cluster, body)
    for line in explanation_lines(pod, explanation):
        click.echo(line)
    for error in missing:
        click.echo(f"error: not complete: {error}", err=True)
    return EXIT_ERROR if missing else 0


def explanation_lines(pod: Object, explanation: Explanation) -> Iterator[str]:
    """For a person to read."""
    node = pod.spec.get("nodeName")
    yield f"Pod:       {pod.key} of {pod.partition}"
    yield f"Node:      {node} of {pod.spec.get('resourcePartition')}" if node else "Node:      <none>"
    yield f"Profile:   {explanation.profile}"
    if explanation.problem:
        yield f"Problem:   {explanation.problem}"
        return
    yield f"Feasible:  {explanation.feasible} of {explanation.nodes} nodes"
    if explanation.refused:
        yield "Refused by:"
        rows = [
            [refused.plugin or "-", str(count), reason]
            for refused in explanation.refused
            for reason, count in refused.reasons.items()
        ]
        for line in aligned(["PLUGIN", "NODES", "REASON"], rows, left=3):
            yield f"  {line}"
    if explanation.best:
        yield "Best:"
        yield from (f"  {line}" for line in _score_lines(explanation))
    if node and explanation.chosen is None:
        yield f"{node} would not be chosen now: it is not among the feasible nodes."


def _score_lines(explanation: Explanation) -> Iterator[str]:
    """The best nodes, and the pod's own if it is not one of them. Those of the scheduler's own share come first."""
    rows: list[NodeScore] = list(explanation.best)
    chosen = explanation.chosen
    if chosen is not None and chosen not in rows:
        rows.append(chosen)
    plugins: Sequence[str] = list(rows[0].scores)
    titles = ["NODE", "PARTITION", "OWN SHARE", "TOTAL", *plugins]
    cells = [
        [
            f"{row.node} (its node)" if row == chosen else row.node,
            row.partition,
            "yes" if row.own else "no",
            str(row.total),
            *(str(row.scores[plugin]) for plugin in plugins),
        ]
        for row in rows
    ]
    yield from aligned(titles, cells, left=3)
