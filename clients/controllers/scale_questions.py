"""Asks controllers of custom kinds how many pods they want, by their scale subresource, as an autoscaler would."""

from __future__ import annotations

from collections.abc import Sequence

from ...proto.errors import BadRequest, NotFound
from ...proto.kinds import Kind, KindTable, Scope
from ...proto.objects import ObjectKey
from ..client import PartitionClient
from .scales import Controller, Told


class ScaleQuestions:
    """Of one tenant partition."""

    def __init__(self, tenant_client: PartitionClient) -> None:
        self._tenant_client = tenant_client

    async def ask(self, beside: ObjectKey, controllers: Sequence[Controller]) -> Told:
        """`beside`: any object in their namespace.

        Raises:
            ApiError, LinkError: it cannot be told.
        """
        kinds = await self._tenant_client.kinds()
        return {each: await self._replicas(beside, each, kinds) for each in controllers}

    async def _replicas(self, beside: ObjectKey, controller: Controller, kinds: KindTable) -> int | str:
        kind = _kind_of(controller, kinds)
        named = f"{controller.kind} {controller.name!r}"
        if kind is None or kind.scale is None:
            why = "there is no such kind" if kind is None else "the kind has no scale"
            return f"found no controllers for pods of {named}: {why}"
        namespace = beside.namespace if kind.scope is Scope.NAMESPACE else ""
        tenant = beside.tenant if kind.scope is not Scope.CLUSTER else ""
        key = ObjectKey(tenant, namespace, controller.name)
        try:
            scale = await self._tenant_client.get(kind.resource, key, subresource="scale")
        except NotFound:
            return f"found no controllers for pods of {named}: it is gone"
        if scale.uid != controller.uid:
            return f"found no controllers for pods of {named}: it is gone, there is another of its name"
        return int(scale.spec.get("replicas") or 0)


def _kind_of(controller: Controller, kinds: KindTable) -> Kind | None:
    try:
        return kinds.of(controller.api_version, controller.kind)
    except BadRequest:
        return None
