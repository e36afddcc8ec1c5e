"""The thresholds of the controllers, with Kubernetes' defaults where it has them."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class ResourceControllerOptions:
    """Of the controllers of a resource partition."""

    staleness_seconds_max: float = STALENESS_SECONDS_MAX
    # A placement whose pod is not seen on its node is asked about after this: its bind may be on the way.
    placement_grace_seconds: float = 30.0
    # A node whose lease has not been seen to change for this long is unreachable.
    node_grace_seconds: float = 40.0
    node_monitor_seconds: float = 5.0
    # How many nodes a second may begin to lose their pods.
    node_evictions_per_second: float = 0.1
    # How long pods that say nothing about it stay on an unreachable node.
    toleration_seconds: float = 300.0
