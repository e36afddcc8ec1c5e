"""How fast the nodes of each zone may begin to lose their pods: the slower, the more of the zone is lost.

A node that falls silent is probably dead. Of a zone where most do so at once it is more probable that its network is,
or that whoever watches it is, and that the pods there run on. So, with Kubernetes' thresholds, by zone:

    lost nodes                          large zone                      small zone
    few                                 node_evictions_per_second       the same
    more than 2 of them, and 55 %       secondary_node_evictions_...    none
    all (and more than 2)               the same                        none
    all nodes of all zones              none                            none

Kubernetes evicts from a zone that is lost as a whole as fast as from a healthy one, so evictions that have stopped at
55 % begin again at 100 % (its enhancement #5263). Here the rate never rises with what is lost, unless somebody says so
(`full_disruption_evictions_per_second`): he knows that his zones fail as a whole, and wants their pods elsewhere.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from .options import ResourceControllerOptions

REGION_LABEL = "topology.kubernetes.io/region"
ZONE_LABEL = "topology.kubernetes.io/zone"

# As in Kubernetes: two nodes may die together without that saying anything of their zone.
LOST_NODES_MIN = 3


class Zone(NamedTuple):
    """Both empty: of the nodes that do not say where they are."""

    region: str
    zone: str

    def __str__(self) -> str:
        return "/".join(filter(None, self)) or "<none>"


class Health(enum.Enum):
    NORMAL = "Normal"
    PARTIAL_DISRUPTION = "PartialDisruption"
    FULL_DISRUPTION = "FullDisruption"


class Census(NamedTuple):
    """The nodes of one zone."""

    total: int
    lost: int

    def health(self, unhealthy_threshold: float) -> Health:
        if self.total and self.lost == self.total:
            return Health.FULL_DISRUPTION
        if self.lost >= LOST_NODES_MIN and self.lost / self.total >= unhealthy_threshold:
            return Health.PARTIAL_DISRUPTION
        return Health.NORMAL


def zone_of(labels: Mapping[str, str]) -> Zone:
    return Zone(labels.get(REGION_LABEL, ""), labels.get(ZONE_LABEL, ""))


def evictions_per_second(census: Census, options: ResourceControllerOptions) -> float:
    """Of a zone, as long as some zone is not lost as a whole."""
    health = census.health(options.unhealthy_zone_threshold)
    if health is Health.NORMAL:
        return options.node_evictions_per_second
    if health is Health.FULL_DISRUPTION:
        if options.full_disruption_evictions_per_second is not None:
            return options.full_disruption_evictions_per_second
        if census.lost < LOST_NODES_MIN:
            return options.node_evictions_per_second
    if census.total > options.large_zone_nodes_min:
        return options.secondary_node_evictions_per_second
    return 0.0


class EvictionTurns:
    """Hands out to nodes the right to begin to lose their pods, at the rate of their zone."""

    def __init__(self) -> None:
        self._saved: dict[Zone, float] = {}

    def pass_time(self, rates: Mapping[Zone, float], elapsed: float) -> None:
        """At most one turn is saved, so that those who were spared for long are not hit all at once."""
        self._saved = {zone: min(1.0, self._saved.get(zone, 1.0) + elapsed * rate) for zone, rate in rates.items()}

    def take(self, zone: Zone) -> bool:
        if self._saved[zone] < 1:
            return False
        self._saved[zone] -= 1
        return True
