"""Which volume a claim gets: the smallest that will do. A pure function.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding: a volume will do if it is free, is as large as
the claim asks, has all its access modes, is of its class and its volume mode, and is selected by its selector. A volume
that names the claim itself, as one that was reserved for it, comes before all others, and is looked at no further.
Among those of one size the one with the fewest access modes comes first, then the first by name; Kubernetes says of
these nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ...proto.selectors import selects
from ...proto.volumes import AVAILABLE
from .reading import Claim, Volume


def size_order(volume: Volume) -> tuple[Any, ...]:
    return volume.size, len(volume.modes), volume.key.name


def will_do(volume: Volume, claim: Claim) -> bool:
    """Whether a volume that is free is what the claim asks for, wherever it is."""
    return is_large_enough(volume, claim) and (
        volume.class_name == (claim.class_name or "")
        and all(mode in volume.modes for mode in claim.modes)
        and (not claim.selector or selects(claim.selector, volume.labels.get))
    )


def is_large_enough(volume: Volume, claim: Claim) -> bool:
    """All that is asked of a volume that names the claim itself."""
    return volume.size >= claim.size and volume.volume_mode == claim.volume_mode and not volume.deleting


def is_free(volume: Volume) -> bool:
    return volume.claim is None and volume.phase == AVAILABLE


def find_volume(claim: Claim, volumes: Iterable[Volume], allowed: Callable[[Volume], bool]) -> Volume | None:
    """The one for the claim; None: there is none. `volumes`: as `VolumeStore.candidates` has them; `allowed`: whether
    it may be used where the claim is needed.
    """
    for volume in volumes:
        if volume.is_for(claim):
            if is_large_enough(volume, claim):
                return volume if allowed(volume) else None
        elif is_free(volume) and will_do(volume, claim) and allowed(volume):
            return volume
    return None
