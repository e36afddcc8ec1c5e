"""The thresholds of the controllers, with Kubernetes' defaults where it has them."""

from __future__ import annotations

from dataclasses import dataclass

from ..node_fence import CLOCK_RATE_MAX, FENCE_SECONDS

# A partition that says nothing sends a bookmark every five seconds. An informer that has heard nothing for this long
# has missed two: what it does not show may exist all the same.
STALENESS_SECONDS_MAX = 12.0


@dataclass(frozen=True)
class TenantControllerOptions:
    """Of the controllers of a tenant partition."""

    staleness_seconds_max: float = STALENESS_SECONDS_MAX
    # Finished pods beyond this number are deleted, the oldest first.
    finished_pods_max: int = 12_500
    # How often lost pods are looked for, and how long a node must have been missing before its pods are.
    pod_gc_seconds: float = 20.0
    node_quarantine_seconds: float = 40.0
    # How long such a pod, once it is marked, is left to its kubelet, should that be only out of reach.
    node_fence_seconds: float = FENCE_SECONDS * CLOCK_RATE_MAX


@dataclass(frozen=True)
class ResourceControllerOptions:
    """Of the controllers of a resource partition."""

    staleness_seconds_max: float = STALENESS_SECONDS_MAX
    # A placement whose pod is not seen on its node is asked about after this: its bind may be on the way.
    placement_grace_seconds: float = 30.0
    # A pod on one of our nodes without a placement is asked about after this: the views of two partitions differ by
    # less, and until its placement is made again, the pod's room is given away.
    lost_placement_grace_seconds: float = 10.0
    # A node whose lease has not been seen to change for this long is unreachable.
    node_grace_seconds: float = 40.0
    node_monitor_seconds: float = 5.0
    # How many nodes a second may begin to lose their pods, by zone (`node_zones.py`): as Kubernetes'
    # --node-eviction-rate, --secondary-node-eviction-rate, --unhealthy-zone-threshold, --large-cluster-size-threshold.
    node_evictions_per_second: float = 0.1
    secondary_node_evictions_per_second: float = 0.01
    unhealthy_zone_threshold: float = 0.55
    large_zone_nodes_min: int = 50
    # From zones that are lost as a whole, while others are not. None: as if it were lost in part.
    full_disruption_evictions_per_second: float | None = None
    # How long pods that say nothing about it stay on an unreachable node.
    toleration_seconds: float = 300.0
