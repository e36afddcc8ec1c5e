"""The pods that run on nodes, as this scheduler knows them: those it has seen bound, and those it has placed itself.

Only pods of the home partition: what a tenant has lives in one tenant partition, and no term of a pod means pods of
another tenant. As long as no pod says anything about other pods, none might preempt, and none is of a group, nobody
needs this; so it begins idle and empty. It is `wanted` from the moment that somebody asks (`bound_pods.py`); then it is
told of every bound pod, and is `complete` when all of them have been seen once.

A pod placed by us is here at once, so that the next pick sees it. As in the ledger, such an assumption ends by
observation only: the pod is seen bound (the two are one), or its claim is given up, or the view of bound pods has gone
past the revision of its binding and it is not there: it has come and gone while we did not look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...proto.objects import Object, decode
from ..pods import requests_of
from ..revisions import Revision
from .pod_tallies import PodClass, PodTallies
from .pod_terms import NO_POD_AFFINITY, Labels, PodAffinity, pod_affinity_of

if TYPE_CHECKING:
    from .columns import NodeColumns
    from .pending import PendingPod


class PodOnNode:
    """`observed`: it has been seen bound, and is no longer merely our own wish."""

    __slots__ = ("object", "observed", "pods", "slot", "uid")

    def __init__(self, obj: Object, slot: int, pods: PodClass, observed: bool) -> None:
        self.object, self.slot, self.pods, self.observed = obj, slot, pods, observed
        self.uid = obj.uid

    @property
    def tenant(self) -> str:
        return self.pods.tenant

    @property
    def namespace(self) -> str:
        return self.pods.namespace

    @property
    def labels(self) -> Labels:
        return self.pods.labels

    @property
    def affinity(self) -> PodAffinity:
        return self.pods.affinity

    @property
    def terminating(self) -> bool:
        return self.pods.terminating

    @property
    def priority(self) -> int:
        return int(self.object.spec.get("priority") or 0)

    @property
    def requests(self) -> Mapping[str, int]:
        """In the units of `proto.quantities`."""
        return requests_of(self.object)

    @property
    def started_at(self) -> str:
        """When it began to run, RFC 3339; empty: it has not yet."""
        return str(self.object.status.get("startTime") or "")


class PodsOnNodes:
    """By uid, and by the slot of their node. `tallies` counts them for those who ask."""

    def __init__(self, nodes: NodeColumns) -> None:
        self._nodes = nodes
        self.tallies = PodTallies(nodes)
        self.wanted = False
        self.complete = False
        self._pods: dict[str, PodOnNode] = {}
        self._by_slot: dict[int, dict[str, PodOnNode]] = {}
        # Ours that have been bound and not been seen so yet, in the order of the revisions.
        self._bound: deque[tuple[Revision, str]] = deque()

    def __len__(self) -> int:
        return len(self._pods)

    def get(self, uid: str) -> PodOnNode | None:
        return self._pods.get(uid)

    def observed(self) -> list[PodOnNode]:
        """Those that have been seen bound."""
        return [pod for pod in self._pods.values() if pod.observed]

    def on(self, slot: int) -> Iterable[PodOnNode]:
        """Those on one node."""
        return self._by_slot.get(slot, {}).values()

    # --------------------------------------------------------------------------------------------------- our own

    def assume(self, pod: PendingPod) -> None:
        """A node has been chosen for it: `pod.slot`."""
        if not self.wanted:
            return
        known = self._pods.get(pod.uid)
        if known is None or not known.observed:
            self._put(pod.object, pod.slot, pod.template.pod_affinity, observed=False)

    def withdraw(self, uid: str) -> bool:
        """It does not go there after all. False: it was not assumed to."""
        known = self._pods.get(uid)
        if known is None or known.observed:
            return False
        self._take(uid)
        return True

    def bound(self, uid: str, revision: Revision) -> None:
        """It is bound, by a write with this revision (of number 0: the partition does not say)."""
        if uid in self._pods and revision.number:
            self._bound.append((revision, uid))

    # -------------------------------------------------------------------------------------------------------- seen

    def seen(self, obj: Object) -> bool:
        """A bound, unfinished pod has been added, or has changed. False: not in what others may say of it."""
        uid = obj.uid
        known = self._pods.get(uid)
        if known is not None and known.observed and _is_as_before(obj, known):
            known.object = obj
            return False
        spec = decode(obj.message.spec)
        slot = self._nodes.slot(spec.get("resourcePartition") or "", spec.get("nodeName") or "")
        try:
            affinity = pod_affinity_of(spec)
        except ValueError:
            affinity = NO_POD_AFFINITY  # It runs, and what it says of others makes no sense.
        if known is not None and slot == known.slot and affinity == known.affinity and _counts_as_before(obj, known):
            known.object, known.observed = obj, True  # As we wished it: for those who count pods, nothing is new.
        else:
            self._put(obj, slot, affinity, observed=True)
        return True

    def gone(self, uid: str) -> None:
        """A pod that was seen bound has finished, or is gone."""
        if uid in self._pods:
            self._take(uid)

    def seen_up_to(self, revision: Revision) -> bool:
        """All bound pods up to this revision of the home partition have been reported. Whether some of ours are not
        there.

        Raises:
            TypeError: it is another partition's revision.
        """
        withdrawn = False
        while self._bound and self._bound[0][0] <= revision:
            withdrawn |= self.withdraw(self._bound.popleft()[1])
        return withdrawn

    def set_back(self) -> None:
        """The home partition is in another history: what was bound in the former one shall be seen, or is not."""
        while self._bound:
            self.withdraw(self._bound.popleft()[1])

    # ------------------------------------------------------------------------------------------------------ changes

    @contextmanager
    def without(self, *uids: str) -> Iterator[None]:
        """As if these pods were not there, for the moment."""
        absent = [pod for pod in map(self._pods.get, uids) if pod is not None]
        for pod in absent:
            self._nodes.keep(pod.slot)
            self._take(pod.uid)
        try:
            yield
        finally:
            for pod in absent:
                self._put(pod.object, pod.slot, pod.affinity, pod.observed)
                self._nodes.let_go(pod.slot)

    def _put(self, obj: Object, slot: int, affinity: PodAffinity, observed: bool) -> None:
        uid = obj.uid
        self._nodes.keep(slot)
        if uid in self._pods:
            self._take(uid)
        key = obj.key
        pods = self.tallies.class_of(key.tenant, key.namespace, obj.labels, affinity, obj.deletion_ms != 0)
        pod = self._pods[uid] = PodOnNode(obj, slot, pods, observed)
        self._by_slot.setdefault(slot, {})[uid] = pod
        self.tallies.add(pods, slot)

    def _take(self, uid: str) -> None:
        pod = self._pods.pop(uid)
        here = self._by_slot[pod.slot]
        del here[uid]
        if not here:
            del self._by_slot[pod.slot]
        self.tallies.remove(pod.pods, pod.slot)
        self._nodes.let_go(pod.slot)


def _is_as_before(obj: Object, known: PodOnNode) -> bool:
    """Most news of a pod is of its status."""
    return obj.message.spec == known.object.message.spec and _counts_as_before(obj, known)


def _counts_as_before(obj: Object, known: PodOnNode) -> bool:
    return (obj.deletion_ms != 0) == known.terminating and obj.labels == known.labels
