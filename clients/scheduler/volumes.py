"""The claims and volumes of the home partition as scheduling sees them: as they are, and as they are about to be.

A pod that is given a node takes volumes with it, before any partition knows. Until they are written and seen, or the
pod goes elsewhere, this is assumed: a volume is its claim's, and a claim to be provisioned for is meant for its node.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ...proto.objects import Object, ObjectKey
from ...proto.volumes import CLAIMS, STORAGE_CLASSES
from ..volumes.matching import size_order
from ..volumes.reading import Claim, ClaimRef, NodePlace, Volume, read_claim, read_class, read_volume
from ..volumes.store import VolumeStore
from .node_selectors import Term, read_terms
from .volume_pools import ClaimKind, Pool, kind_of

# Kinds of claims whose volumes are followed. Each costs a little with every change of a volume.
POOLS_MAX: Final = 32
# A volume whose affinity makes no sense can be used nowhere.
NOWHERE: tuple[Term, ...] = ()


class Taken(NamedTuple):
    """What a pod takes with it: volumes for claims, and claims whose volume is to be made for the pod's node."""

    volumes: tuple[tuple[Claim, Volume], ...] = ()
    provisioned: tuple[Claim, ...] = ()
    place: NodePlace = NodePlace()

    def __bool__(self) -> bool:
        return bool(self.volumes or self.provisioned)


class Volumes:
    """Read it; `seen`, `gone`, `assume` and `withdraw` change it.

    `wanted`: somebody needs to know of volumes. `complete`: all have been seen. `changes` counts what has changed.
    """

    def __init__(self) -> None:
        self.wanted = self.complete = False
        self.changes = 0
        self._store = VolumeStore()
        self.classes = self._store.classes
        self._terms: dict[ObjectKey, tuple[Term, ...] | None] = {}
        self._taken: dict[str, Taken] = {}  # By the uid of the pod.
        # By claim, what is assumed of it, and the pods that do.
        self._given: dict[ObjectKey, tuple[Volume, dict[str, None]]] = {}
        self._meant_for: dict[ObjectKey, tuple[NodePlace, dict[str, None]]] = {}
        self._pools: OrderedDict[ClaimKind, Pool] = OrderedDict()

    # -------------------------------------------------------------------------------------------------- what is seen

    def known(self, resource: str) -> Iterable[ObjectKey]:
        if resource == STORAGE_CLASSES:
            return [ObjectKey("", "", name) for name in self.classes]
        return list(self._store.claims if resource == CLAIMS else self._store.volumes)

    def seen(self, resource: str, obj: Object) -> None:
        self.changes += 1
        if resource == STORAGE_CLASSES:
            self.classes[obj.name] = read_class(obj)
        elif resource == CLAIMS:
            self._store.put_claim(read_claim(obj))
        else:
            volume = read_volume(obj)
            self._terms[volume.key] = _terms_of(volume)
            self._store.put_volume(volume)
            self._sort_in(volume.key)

    def gone(self, resource: str, key: ObjectKey) -> None:
        self.changes += 1
        if resource == STORAGE_CLASSES:
            self.classes.pop(key.name, None)
        elif resource == CLAIMS:
            self._store.drop_claim(key)
        else:
            self._store.drop_volume(key)
            self._terms.pop(key, None)
            self._sort_in(key)

    # --------------------------------------------------------------------------------------------------- what is asked

    def claim(self, key: ObjectKey) -> Claim | None:
        """With the node that it is meant for, if that is assumed."""
        claim = self._store.claims.get(key)
        meant = self._meant_for.get(key)
        return claim if claim is None or meant is None else claim._replace(selected=meant[0])

    def seen_claim(self, key: ObjectKey) -> Claim | None:
        """As the partition has it."""
        return self._store.claims.get(key)

    def volume(self, tenant: str, name: str) -> Volume | None:
        return self._store.volumes.get(ObjectKey(tenant, "", name))

    def terms(self, volume: Volume) -> tuple[Term, ...] | None:
        """One of them selects the nodes where it can be used; None: any node does."""
        return self._terms.get(volume.key, NOWHERE)

    def naming(self, claim: Claim) -> Sequence[Volume]:
        """Those that name the claim, in the order of size. The one that it is about to have names it too, and stands
        alone."""
        given = self._given.get(claim.key)
        volume = None if given is None else self._store.volumes.get(given[0].key)
        if volume is not None and (volume.claim is None or volume.is_for(claim)):
            return [volume._replace(claim=ClaimRef(claim.key.namespace, claim.key.name, claim.uid))]
        return sorted((self._store.volumes[key] for key in self._store.volumes_for(claim.key)), key=size_order)

    def pool(self, claim: Claim) -> Pool:
        """Those that name nobody, that nobody is about to have, and that will do for the claim."""
        kind = kind_of(claim)
        pool = self._pools.get(kind)
        if pool is None:
            if len(self._pools) >= POOLS_MAX:
                self._pools.popitem(last=False)
            pool = self._pools[kind] = Pool(claim)
            for volume in self._store.of_class(kind.tenant, kind.class_name):
                if self._store.is_left(volume):
                    pool.put(volume, self.terms(volume))
        self._pools.move_to_end(kind)
        return pool

    def _sort_in(self, key: ObjectKey) -> None:
        """Something has happened to a volume: it belongs into other pools, or into none."""
        volume = self._store.volumes.get(key)
        left = volume is not None and self._store.is_left(volume)
        for kind, pool in self._pools.items():
            if kind.tenant != key.tenant:
                continue
            if volume is not None and left:
                pool.put(volume, self.terms(volume))
            else:
                pool.drop(key)

    # ------------------------------------------------------------------------------------------------- what is assumed

    def taken(self, pod_uid: str) -> Taken | None:
        return self._taken.get(pod_uid)

    def assume(self, pod_uid: str, taken: Taken) -> None:
        """A pod is to have these, on its node."""
        self.withdraw(pod_uid)
        self._taken[pod_uid] = taken
        if not taken:
            return
        self.changes += 1
        for claim, volume in taken.volumes:
            self._given.setdefault(claim.key, (volume, {}))[1][pod_uid] = None
            self._store.choose(volume, claim)
            self._sort_in(volume.key)
        for claim in taken.provisioned:
            self._meant_for.setdefault(claim.key, (taken.place, {}))[1][pod_uid] = None

    def withdraw(self, pod_uid: str) -> Taken | None:
        """It has them, or does not go there after all. What was assumed for it alone is assumed no more."""
        taken = self._taken.pop(pod_uid, None)
        if not taken:
            return None
        self.changes += 1
        for claim, volume in taken.volumes:
            pods = self._given[claim.key][1]
            pods.pop(pod_uid, None)
            if not pods:
                del self._given[claim.key]
                self._store.unchoose(volume.key, claim)
                self._sort_in(volume.key)
        for claim in taken.provisioned:
            pods = self._meant_for[claim.key][1]
            pods.pop(pod_uid, None)
            if not pods:
                del self._meant_for[claim.key]
        return taken


def _terms_of(volume: Volume) -> tuple[Term, ...] | None:
    if volume.terms is None:
        return None
    try:
        return read_terms(volume.terms, "spec.nodeAffinity.required.nodeSelectorTerms")
    except ValueError:
        return NOWHERE
