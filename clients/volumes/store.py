"""What a tenant partition's claims, volumes and classes are, as somebody's views show them. No I/O.

Unbound claims and free volumes are found by tenant and class, so that news of one wake those that it may concern.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ...proto.objects import ObjectKey
from .matching import is_free, size_order
from .reading import Claim, StorageClass, Volume


class ClassOf(NamedTuple):
    """The volumes and claims of a tenant that go together. `name` of claims None: the default is not known yet."""

    tenant: str
    name: str | None


class VolumeStore:
    """Read it; change it by its methods."""

    def __init__(self) -> None:
        self.claims: dict[ObjectKey, Claim] = {}
        self.volumes: dict[ObjectKey, Volume] = {}
        self.classes: dict[str, StorageClass] = {}
        self._unbound: dict[ClassOf, dict[ObjectKey, None]] = {}
        self._sorted: dict[ClassOf, list[tuple[tuple[Any, ...], ObjectKey]]] = {}
        self._for_claim: dict[ObjectKey, dict[ObjectKey, None]] = {}
        # Volumes that were chosen for a claim, by its uid, until the view shows them as its own.
        self._chosen: dict[ObjectKey, str] = {}

    # -------------------------------------------------------------------------------------------------- what is seen

    def put_claim(self, claim: Claim) -> None:
        self.drop_claim(claim.key)
        self.claims[claim.key] = claim
        if not claim.is_bound:
            self._unbound.setdefault(ClassOf(claim.key.tenant, claim.class_name), {})[claim.key] = None

    def drop_claim(self, key: ObjectKey) -> None:
        known = self.claims.pop(key, None)
        if known is not None and not known.is_bound:
            _discard(self._unbound, ClassOf(key.tenant, known.class_name), key)

    def put_volume(self, volume: Volume) -> None:
        self.drop_volume(volume.key)
        self.volumes[volume.key] = volume
        insort(self._sorted.setdefault(_class_of(volume), []), (size_order(volume), volume.key))
        if volume.claim is not None:
            self._for_claim.setdefault(_claim_key(volume), {})[volume.key] = None
            self._chosen.pop(volume.key, None)

    def drop_volume(self, key: ObjectKey) -> None:
        known = self.volumes.pop(key, None)
        if known is None:
            return
        self._sorted[_class_of(known)].remove((size_order(known), key))
        if not self._sorted[_class_of(known)]:
            del self._sorted[_class_of(known)]
        if known.claim is not None:
            _discard(self._for_claim, _claim_key(known), key)

    def choose(self, volume: Volume, claim: Claim) -> None:
        """It is to become the claim's: no other claim gets it."""
        self._chosen[volume.key] = claim.uid

    def unchoose(self, volume: ObjectKey, claim: Claim | None = None) -> None:
        """It is not to become the claim's after all; None: nobody's. Where it is another's by now, it stays that."""
        if claim is None or self._chosen.get(volume) == claim.uid:
            self._chosen.pop(volume, None)

    # --------------------------------------------------------------------------------------------------- what is asked

    def is_left(self, volume: Volume) -> bool:
        """Nobody was given it, and it was chosen for nobody."""
        return is_free(volume) and volume.key not in self._chosen

    def of_class(self, tenant: str, name: str) -> Iterable[Volume]:
        """In `size_order`."""
        return [self.volumes[key] for _, key in self._sorted.get(ClassOf(tenant, name), ())]

    def default_class(self) -> StorageClass | None:
        """Of several, the newest."""
        defaults = [each for each in self.classes.values() if each.is_default]
        return max(defaults, key=lambda each: (each.created_ms, each.name), default=None)

    def candidates(self, claim: Claim) -> Iterable[Volume]:
        """Those that name it, then those of its class that nobody was given; each in `size_order`."""
        naming = self.volumes_for(claim.key)
        yield from sorted((self.volumes[key] for key in naming), key=size_order)
        of_class = self._sorted.get(ClassOf(claim.key.tenant, claim.class_name or ""), ())
        for _, key in of_class:
            if key not in naming and self._chosen.get(key, claim.uid) == claim.uid:
                yield self.volumes[key]

    def volumes_for(self, claim: ObjectKey) -> list[ObjectKey]:
        """Those that name it."""
        return list(self._for_claim.get(claim, ()))

    def waiting_for(self, volume: Volume) -> list[ObjectKey]:
        """The claims that a free volume may be for."""
        if not is_free(volume):
            return []
        names = (volume.class_name,) if volume.class_name else ("", None)
        return [key for name in names for key in self._unbound.get(ClassOf(volume.key.tenant, name), ())]

    def unbound_of(self, class_name: str) -> list[ObjectKey]:
        """Of all tenants, those of a class, and those that do not know theirs yet."""
        return [key for of, keys in self._unbound.items() if of.name in (class_name, None) for key in keys]


def _class_of(volume: Volume) -> ClassOf:
    return ClassOf(volume.key.tenant, volume.class_name)


def _claim_key(volume: Volume) -> ObjectKey:
    assert volume.claim is not None
    return ObjectKey(volume.key.tenant, volume.claim.namespace, volume.claim.name)


def _discard(index: dict[Any, dict[ObjectKey, None]], key: Any, member: ObjectKey) -> None:
    members: Mapping[ObjectKey, None] = index[key]
    del index[key][member]
    if not members:
        del index[key]
