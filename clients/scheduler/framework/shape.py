"""All that Filter and Score may know of a pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..template import Template


class Shape:
    """Pods of one shape are one to the framework: the same scheduling constraints, namespace and labels.

    `id` is its own; `template` says what its spec demands.
    """

    __slots__ = ("id", "labels", "namespace", "template", "tenant")

    def __init__(
        self, shape_id: int, template: Template, tenant: str, namespace: str, labels: Mapping[str, str]
    ) -> None:
        self.id = shape_id
        self.template = template
        self.tenant = tenant
        self.namespace = namespace
        self.labels = labels
