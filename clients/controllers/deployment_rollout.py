"""The arithmetic of a rollout: how many replicas each ReplicaSet of a Deployment shall have next.

Two bounds hold at every step, and each step is computed from what the ReplicaSets are asked for (spec), never from what
they have reached, where more is the danger, and from what is available of that, where less is:

    sum of spec.replicas                          <=  replicas + maxSurge
    sum of min(availableReplicas, spec.replicas)  >=  replicas - maxUnavailable

The second is a bound on what a step takes away; pods that fail by themselves are nobody's decision. `min`, because pods
that are about to be deleted are counted as gone. And a status that is older than its spec counts for nothing: a set
that was shrunk and grown again may still report the pods it has lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...proto.objects import Object

DESIRED_ANNOTATION = "deployment.kubernetes.io/desired-replicas"
MAX_ANNOTATION = "deployment.kubernetes.io/max-replicas"


class PlannedSet:
    """One ReplicaSet and how many replicas it shall have."""

    def __init__(self, replicaset: Object) -> None:
        self.object = replicaset
        self.replicas = spec_replicas(replicaset.spec)
        status = replicaset.status
        self.reported = (status.get("observedGeneration") or 0) >= replicaset.generation
        self._available: int = (status.get("availableReplicas") or 0) if self.reported else 0

    @property
    def available(self) -> int:
        """At least so many of the planned replicas are available."""
        return min(self._available, self.replicas)

    @property
    def unavailable(self) -> int:
        """At least so many are not."""
        return self.replicas - self.available if self.reported else 0

    @property
    def changed(self) -> bool:
        return self.replicas != spec_replicas(self.object.spec)


class Rollout:
    """A Deployment's ReplicaSets: `new` has its present template (None: not created yet), `old` the former ones."""

    def __init__(self, deployment: Object, new: Object | None, old: Sequence[Object]) -> None:
        spec = deployment.spec
        self.desired = spec_replicas(spec)
        self.new = PlannedSet(new) if new is not None else None
        # The oldest first.
        self.old = [PlannedSet(each) for each in sorted(old, key=_age)]
        self.rolling = (spec.get("strategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
        surge, unavailable = fenceposts(spec)
        self.max_surge = surge if self.rolling else 0
        self.max_unavailable = min(unavailable, self.desired) if self.rolling else 0

    @property
    def sets(self) -> list[PlannedSet]:
        return [*self.old, self.new] if self.new is not None else list(self.old)

    @property
    def total(self) -> int:
        return sum(each.replicas for each in self.sets)

    @property
    def available(self) -> int:
        return sum(each.available for each in self.sets)

    @property
    def most(self) -> int:
        """The upper bound; a Deployment that is to have nothing has no surge."""
        return self.desired + self.max_surge if self.desired else 0

    @property
    def least_available(self) -> int:
        return self.desired - self.max_unavailable

    # ---------------------------------------------------------------------------------------------- a new template

    def new_replicas(self) -> int:
        """How many replicas the new set may have now. It may not exist yet."""
        present = self.new.replicas if self.new is not None else 0
        if not self.rolling:
            return self.desired
        if present >= self.desired:
            return self.desired
        room = max(self.desired + self.max_surge - self.total, 0)
        return min(present + room, self.desired)

    def roll(self) -> None:
        """One step of a rolling update: grow the new set, or else shrink old ones."""
        assert self.new is not None
        replicas = self.new_replicas()
        if replicas != self.new.replicas:
            self.new.replicas = replicas
        else:
            self._shrink_old()

    def _shrink_old(self) -> None:
        new = self.new
        assert new is not None
        room = self.total - self.least_available - (new.replicas - new.available)
        # Those that are not available go first: nothing is lost with them.
        for each in self.old:
            count = max(min(room, each.unavailable), 0)
            each.replicas -= count
            room -= count
        room = min(room, self.available - self.least_available)
        for each in self.old:
            count = max(min(room, each.replicas), 0)
            each.replicas -= count
            room -= count

    def recreate(self, old_pods_run: bool) -> None:
        """One step of Recreate: the new set starts when no pod of an old one is left."""
        if any(each.replicas for each in self.old):
            self.stop_old()
        elif not old_pods_run and self.new is not None:
            self.new.replicas = self.desired

    def stop_old(self) -> None:
        for each in self.old:
            each.replicas = 0

    # --------------------------------------------------------------------------------------- another number wanted

    def is_scaling(self) -> bool:
        """The Deployment's `replicas` has changed since its active sets were last sized."""
        return any(
            each.replicas and each.object.annotations.get(DESIRED_ANNOTATION, str(self.desired)) != str(self.desired)
            for each in self.sets
        )

    def scale(self, complete: bool) -> None:
        """Fit the sets to the number wanted. `complete`: the new set has all its replicas available.

        Where several sets are active, in the midst of a rollout, each gets its share, so that a bad new template is
        not spread by scaling up.
        """
        active = [each for each in self.sets if each.replicas]
        if len(active) <= 1:
            only = active[0] if active else (self.new or (self.old[-1] if self.old else None))
            if only is not None:
                only.replicas = self.desired
        elif complete:
            self.stop_old()
        elif self.rolling:
            self._scale_in_proportion(active)

    def _scale_in_proportion(self, active: list[PlannedSet]) -> None:
        to_add = self.most - self.total
        # The larger first; among equals the newer when growing, the older when shrinking.
        active.sort(key=lambda each: (each.replicas, *_age(each.object)), reverse=True)
        if to_add < 0:
            active.sort(key=lambda each: (-each.replicas, *_age(each.object)))
        added = 0
        for each in active:
            share = self._share(each) if to_add else 0
            left = to_add - added
            share = min(max(share, 0), left) if to_add > 0 else max(min(share, 0), left)
            each.replicas += share
            added += share
        # What rounding has left over.
        active[0].replicas = max(active[0].replicas + to_add - added, 0)

    def _share(self, each: PlannedSet) -> int:
        if not self.desired:
            return -each.replicas
        before = int(each.object.annotations.get(MAX_ANNOTATION) or 0) or self.most
        return round_half_up(each.replicas * self.most / before) - each.replicas


def spec_replicas(spec: Mapping[str, Any]) -> int:
    replicas = spec.get("replicas")
    return 1 if replicas is None else int(replicas)


def fenceposts(spec: Mapping[str, Any]) -> tuple[int, int]:
    """maxSurge and maxUnavailable as numbers: a surge is rounded up, what is missing down; never both 0."""
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    desired = spec_replicas(spec)
    surge = _count(rolling.get("maxSurge", "25%"), desired, math.ceil)
    unavailable = _count(rolling.get("maxUnavailable", "25%"), desired, math.floor)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _count(value: Any, of: int, rounded: Any) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return int(rounded(int(value[:-1]) * of / 100))
    return int(value or 0)


def round_half_up(value: float) -> int:
    return math.floor(value + 0.5)


def _age(replicaset: Object) -> tuple[int, str]:
    return replicaset.creation_ms, replicaset.name
