"""How many pods their controllers want, as the disruption controller counts: a Deployment for all its ReplicaSets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ...proto.kinds import KINDS
from ...proto.objects import Object, ObjectKey


class Controller(NamedTuple):
    kind: str
    name: str
    uid: str
    api_version: str = ""


# What those said that no informer shows: how many replicas they want, or why that cannot be told.
Told = Mapping[Controller, int | str]


_BUILT_IN = {(kind.kind, kind.api_version): None for kind in KINDS}


class Unknown(Exception):
    """It cannot be told how many pods there should be."""


def controller_of_pod(pod: Object) -> Controller | None:
    for owner in pod.message.metadata.owner_references:
        if owner.controller:
            return Controller(owner.kind, owner.name, owner.uid, owner.api_version)
    return None


def is_custom(controller: Controller) -> bool:
    """Whether it is of no kind that is built in: then its partition is asked for its scale."""
    return (controller.kind, controller.api_version) not in _BUILT_IN


class Scales:
    """All three are informers' caches."""

    def __init__(
        self,
        replicasets: Mapping[ObjectKey, Object],
        deployments: Mapping[ObjectKey, Object],
        statefulsets: Mapping[ObjectKey, Object],
    ) -> None:
        self._replicasets, self._deployments, self._statefulsets = replicasets, deployments, statefulsets

    def expected(self, beside: Object, controllers: Iterable[Controller], told: Told) -> int:
        """The sum of what the controllers want. `beside` is in their namespace; `told` is what custom ones said.

        Raises:
            Unknown: one of them is no workload that is known, or is not seen yet.
        """
        wanted: dict[str, int] = {}
        for controller in controllers:
            if is_custom(controller):
                said = told[controller]
                if isinstance(said, str):
                    raise Unknown(said)
                wanted[controller.uid] = said
                continue
            workload = self._workload(beside, controller)
            replicas = workload.spec.get("replicas")
            wanted[workload.uid] = 1 if replicas is None else replicas
        return sum(wanted.values())

    def _workload(self, beside: Object, controller: Controller) -> Object:
        if controller.kind == "StatefulSet":
            return _found(self._statefulsets, beside, controller.name, controller.uid)
        if controller.kind != "ReplicaSet":
            raise Unknown(f"found no controllers for pods of {controller.kind} {controller.name!r}")
        replicaset = _found(self._replicasets, beside, controller.name, controller.uid)
        for owner in replicaset.message.metadata.owner_references:
            if owner.controller and owner.kind == "Deployment":
                return _found(self._deployments, beside, owner.name, owner.uid)
        return replicaset


def _found(objects: Mapping[ObjectKey, Object], beside: Object, name: str, uid: str) -> Object:
    obj = objects.get(ObjectKey(beside.tenant, beside.namespace, name))
    if obj is None or obj.uid != uid:
        raise Unknown(f"found no controllers for pods of {name!r}: it is gone, or not seen yet")
    return obj
