"""Losing sight of a resource partition evicts nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf

from ...clients.controllers.options import ResourceControllerOptions
from ...proto.kinds import MAIN_STORE, NODE_LEASE_NAMESPACE, SYSTEM_TENANT
from .changes import resource_of
from .deletions import DECIDED_SECONDS_MAX
from .recorded import History, Recording
from .violations import Violation

EVICTIONS = "Losing sight evicts nothing"

PODS, NODES = "pods", "nodes"
LEASES_PREFIX = f"/registry/leases.coordination.k8s.io/{SYSTEM_TENANT}/{NODE_LEASE_NAMESPACE}/"
_CONTROLLERS = "controller-manager-"
GRACE_SECONDS = ResourceControllerOptions().node_grace_seconds

# By node: when it gave a sign of life. That its Node was made is one.
Signs = Mapping[str, Sequence[float]]


def losing_sight_evicts_nothing(recording: Recording) -> Iterator[Violation]:
    """**A pod is driven off a node only where that node was silent for the grace period while another one was not**:
    whether its Lease stood still is what the log says, and not what a controller saw of it; and where all nodes of a
    partition are silent, it is the partition that is away. (clients/controllers/node_lifecycle_core.py)

    A reason that held in the minute before the delete was carried out will do: it may have waited for a link.
    """
    authors = {write.request_id: write.client for write in recording.writes if write.request_id}
    signs = {
        partition: _signs(histories)
        for (partition, store), histories in recording.incarnations.items()
        if store == MAIN_STORE and any(history.by_resource.get(NODES) for history in histories)
    }
    for history in recording.histories.values():
        if history.partition in signs:
            continue  # Of its own pods, daemons, a partition's controllers delete many for other reasons.
        going: dict[str, None] = {}
        for change in history.by_resource.get(PODS, ()):
            if change.uid in going or not change.going:
                continue
            going[change.uid] = None
            author = authors.get(change.request_id, "")
            home = next((home for home in signs if author.startswith(f"{_CONTROLLERS}{home}")), "")
            if not home or not change.time:
                continue
            pod = history.pods[change.revision]
            node, at = pod.node, pod.resource_partition
            if at != home or not _was_alone_in_silence(signs[home], node, change.time):
                text = f"{author} drove {change.key} ({change.uid}) of {history.partition} off {node} of {at}, which"
                yield Violation(
                    EVICTIONS, f"{text} had not been silent for {GRACE_SECONDS:g} s by itself", change.key, change.time
                )


def _was_alone_in_silence(signs: Signs, node: str, until: float) -> bool:
    """Whether, at a time of the last minute, it had been silent for the grace period, and another one had not."""
    since = until - DECIDED_SECONDS_MAX
    of_node = [-inf, *signs.get(node, ()), inf]
    for sign, following in pairwise(of_node):
        first, last = max(since, sign + GRACE_SECONDS), min(until, following)
        if first > last:
            continue
        # The others' news were as late as this one's may have been.
        earliest = first - GRACE_SECONDS - DECIDED_SECONDS_MAX
        if any(earliest < each <= last for other, times in signs.items() if other != node for each in times):
            return True
    return False


def _signs(histories: Sequence[History]) -> Signs:
    found: dict[str, list[float]] = {}
    for history in histories:
        for change in history.changes:
            is_lease = change.key.startswith(LEASES_PREFIX)
            is_new = not change.previous_revision and resource_of(change.key) == NODES
            if not change.deleted and (is_lease or is_new):
                found.setdefault(change.key.rpartition("/")[2], []).append(change.time)
    return {node: sorted(times) for node, times in found.items()}
