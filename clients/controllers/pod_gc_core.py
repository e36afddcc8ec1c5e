"""Decides which pods are garbage, and what must be confirmed before one of them is deleted.

Three ways for a pod to be garbage:

* finished, and more than so many finished pods are there: the oldest go;
* being deleted, and never bound: no kubelet will ever confirm it;
* bound to a node that is gone.

(Pods whose owners are gone are the garbage collector's.) The third is where Arktos killed healthy pods: a resource
partition that does not answer looks like one without nodes. So absence is concluded only from a complete and fresh view
of the very partition the pod was bound in, the node must have been missing for a while, and the partition itself is
asked about the node before anything is deleted. A partition that is unknown, not seen yet or stale tells nothing about
its nodes.

And a node that is gone may only be out of reach, with a kubelet that still runs its pods. So they are first marked, for
a kubelet that hears of it to stop them and confirm; only when even one that hears of nothing must have stopped them by
itself (`clients/node_fence.py`) are they deleted for good, and their names free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ...proto.objects import Object, ObjectKey
from .options import TenantControllerOptions
from .pods import NodeName, is_finished, node_of


class Suspect(NamedTuple):
    """A pod to be deleted if its node is confirmed to be gone."""

    pod: Object
    node: NodeName


class Steps(NamedTuple):
    """What is next for pods whose node is confirmed to be gone: to be marked, or to be deleted for good."""

    mark: list[Object]
    delete: list[Object]


class PodGcCore:
    """Of one partition. Times are trio's, in seconds."""

    def __init__(self, options: TenantControllerOptions) -> None:
        self._options = options
        self._missing_since: dict[NodeName, float] = {}
        # Pods that are marked, and whose node is gone: since when that is known.
        self._marked_since: dict[str, float] = {}
        # Where bound pods are, by uid: a pod stays where it is, and its spec need not be decoded every round.
        self._node_of: dict[str, NodeName] = {}

    def garbage(self, pods: Iterable[Object]) -> list[Object]:
        """Pods that can go without asking anyone: too many finished ones, and unbound ones being deleted."""
        finished = []
        garbage = []
        for pod in pods:
            if is_finished(pod):
                if not pod.deletion_ms:
                    finished.append(pod)
            elif pod.deletion_ms and node_of(pod) is None and not pod.finalizers:
                garbage.append(pod)
        surplus = len(finished) - self._options.finished_pods_max
        if surplus > 0:
            finished.sort(key=lambda pod: (pod.creation_ms, pod.key))
            garbage += finished[:surplus]
        return garbage

    def lost_with_their_node(
        self, pods: Iterable[Object], nodes: Mapping[str, Mapping[ObjectKey, Object]], now: float
    ) -> list[Suspect]:
        """Pods whose node has been missing for the quarantine.

        `nodes` holds only the resource partitions whose view is complete and fresh, and without any node those that
        were removed. A partition that drops out of it ends the quarantine of its nodes: what happened meanwhile has
        not been seen.
        """
        missing: dict[NodeName, float] = {}
        suspects = []
        known, self._node_of = self._node_of, {}
        for pod in pods:
            uid = pod.uid
            node = known.get(uid) or node_of(pod)
            if node is None:
                continue
            self._node_of[uid] = node
            if node.partition not in nodes:
                continue
            if ObjectKey("", "", node.node) in nodes[node.partition]:
                continue
            since = missing.setdefault(node, self._missing_since.get(node, now))
            if now - since >= self._options.node_quarantine_seconds:
                suspects.append(Suspect(pod, node))
        self._missing_since = missing
        return suspects

    def next_steps(self, lost: Iterable[Object], now: float) -> Steps:
        """`lost`: all pods whose node is gone, as this round has confirmed. One that drops out is waited for anew."""
        steps = Steps([], [])
        marked: dict[str, float] = {}
        for pod in lost:
            if is_finished(pod):
                steps.delete.append(pod)  # Nothing of it runs.
            elif not pod.deletion_ms:
                steps.mark.append(pod)
            else:
                since = marked[pod.uid] = self._marked_since.get(pod.uid, now)
                if now - since >= self._options.node_fence_seconds:
                    steps.delete.append(pod)
        self._marked_since = marked
        return steps
