"""Decides which pods are garbage, and what must be confirmed before one of them is deleted.

Four ways for a pod to be garbage:

* finished, and more than so many finished pods are there: the oldest go;
* being deleted, and never bound: no kubelet will ever confirm it;
* bound to a node that is gone;
* owned by a controller that is gone (also ReplicaSets of Deployments).

The third is where Arktos killed healthy pods: a resource partition that does not answer looks like one without nodes.
So absence is concluded only from a complete and fresh view of the very partition the pod was bound in, the node must
have been missing for a while, and the partition itself is asked about the node before anything is deleted. A partition
that is unknown, not seen yet or stale tells nothing about its nodes. Likewise an owner is gone only when its partition,
asked about it, says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ...proto.objects import Object, ObjectKey
from .options import TenantControllerOptions
from .pods import NodeName, is_finished, node_of


class OwnedBy(NamedTuple):
    """A controller reference of an object, resolved in the object's own namespace."""

    kind: str
    key: ObjectKey
    uid: str


class Suspect(NamedTuple):
    """An object to be deleted if what it depends on is confirmed to be gone."""

    resource: str
    object: Object
    node: NodeName | None = None
    owner: OwnedBy | None = None


class PodGcCore:
    """Of one tenant partition. Times are trio's, in seconds."""

    def __init__(self, options: TenantControllerOptions) -> None:
        self._options = options
        self._missing_since: dict[NodeName, float] = {}
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

        `nodes` holds only the resource partitions whose view is complete and fresh. A partition that drops out of it
        ends the quarantine of its nodes: what happened meanwhile has not been seen.
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
                suspects.append(Suspect("pods", pod, node=node))
        self._missing_since = missing
        return suspects


def orphans(
    resource: str, objects: Iterable[Object], owner_kind: str, uid_of: Callable[[ObjectKey], str | None]
) -> list[Suspect]:
    """Objects whose controller of a kind is not the one their cache shows. `uid_of`: None where there is none."""
    found = []
    for obj in objects:
        for reference in obj.message.metadata.owner_references:
            if not reference.controller or reference.kind != owner_kind or obj.deletion_ms:
                continue
            key = ObjectKey(obj.tenant, obj.namespace, reference.name)
            if uid_of(key) != reference.uid:
                found.append(Suspect(resource, obj, owner=OwnedBy(owner_kind, key, reference.uid)))
    return found
