"""Why a pod fits on no node, in the words of Kubernetes.

    0/5 nodes are available: 2 node(s) didn't match Pod's node affinity/selector, 3 Insufficient cpu.

Each node counts under the first filter that keeps the pod away; one that fails for resources, under each that it lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .columns import PODS, NodeColumns
from .taints import UNSCHEDULABLE, untolerated
from .template import Template

Bools = NDArray[np.bool_]


def explain(nodes: NodeColumns, template: Template, unseen_partitions: Sequence[str] = ()) -> str:
    """One sentence. `unseen_partitions`: those of which nothing is known yet, so that their nodes are not counted."""
    if template.error:
        return f"the pod cannot be scheduled: {template.error}"
    total = int(np.count_nonzero(nodes.present[: nodes.high]))
    counted: dict[str, int] = {}
    for count, reason in _reasons(nodes, template):
        if count:
            counted[reason] = counted.get(reason, 0) + count
    reasons = sorted(f"{count} {reason}" for reason, count in counted.items())
    sentence = (
        f"0/{total} nodes are available: {', '.join(reasons)}." if total else "no nodes available to schedule pods."
    )
    if unseen_partitions:
        sentence += f" Not seen yet: {', '.join(unseen_partitions)}."
    return sentence


def _reasons(nodes: NodeColumns, template: Template) -> Iterator[tuple[int, str]]:
    high = nodes.high
    left = nodes.present[:high].copy()
    yield _strike(left, ~nodes.open[:high]), "node(s) were in a resource partition out of reach"
    yield _strike(left, ~nodes.ready[:high]), "node(s) were not ready"
    for taint_id, taints in enumerate(nodes.taint_sets):
        taint = untolerated(taints, template.tolerations)
        if taint is not None:
            reason = "were unschedulable" if taint == UNSCHEDULABLE else f"had untolerated taint {taint}"
            yield _strike(left, nodes.taint_set[:high] == taint_id), f"node(s) {reason}"
    for key, value in template.node_selector:
        elsewhere = ~nodes.labels.equal(key, value, slice(0, high), nodes.capacity)
        yield _strike(left, elsewhere), "node(s) didn't match Pod's node affinity/selector"
    lacking = np.zeros(high, np.bool_)
    for resource, units in template.requests.items():
        column = nodes.resource_columns.get(resource)
        lacks: Bools = left.copy()
        if column is not None:
            lacks &= nodes.free[column][:high] < units
        lacking |= lacks
        yield int(np.count_nonzero(lacks)), "Too many pods" if column == PODS else f"Insufficient {resource}"
    _strike(left, lacking)
    refused = sum(1 for slot, templates in nodes.refusals.items() if template.id in templates and left[slot])
    yield refused, "node(s) were taken by another scheduler"
    yield (
        sum(1 for slot in nodes.withheld if left[slot]),
        "node(s) have just become free and are offered to others first",
    )


def _strike(left: Bools, failing: Bools) -> int:
    """Take the failing ones out of those left; how many there were."""
    count = int(np.count_nonzero(left & failing))
    if count:
        np.logical_and(left, ~failing, out=left)
    return count
