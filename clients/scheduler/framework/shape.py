"""All that Filter and Score may know of a pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ....proto.objects import Object
from ..template import Template

# Shapes remembered, of about half a kilobyte each; one that is forgotten is made anew, with another id.
SHAPES_MAX: Final = 16384


class Shape:
    """Pods of one shape are one to the framework: the same scheduling constraints, namespace and labels.

    `id` is its own; `template` says what its spec demands. `needs_bound_pods`: what its profile's plugins say of it
    depends on the pods on nodes (None: nobody has asked yet).
    """

    __slots__ = ("id", "labels", "namespace", "needs_bound_pods", "template", "tenant")

    def __init__(
        self, shape_id: int, template: Template, tenant: str, namespace: str, labels: Mapping[str, str]
    ) -> None:
        self.id = shape_id
        self.template = template
        self.tenant = tenant
        self.namespace = namespace
        self.labels = labels
        self.needs_bound_pods: bool | None = None


class Shapes:
    """One shape for all pods that share it."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[Template, str, str, tuple[tuple[str, str], ...]], Shape] = {}
        self._made = 0

    def of(self, pod: Object, template: Template) -> Shape:
        metadata = pod.message.metadata
        labels = metadata.labels
        key = (template, metadata.tenant, metadata.namespace, tuple(sorted(labels.items())) if labels else ())
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= SHAPES_MAX:
                del self._shapes[next(iter(self._shapes))]
            self._made += 1
            shape = self._shapes[key] = Shape(self._made, template, key[1], key[2], dict(key[3]))
        return shape
