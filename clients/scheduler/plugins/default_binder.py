"""DefaultBinder: pods are bound by the scheduler's own stream of Binds, many in a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..framework.interface import BindPlugin, Skip
from ..pending import PendingPod

if TYPE_CHECKING:
    from ..binding_cycles import Binding


class DefaultBinder(BindPlugin):
    name: ClassVar[str] = "DefaultBinder"
    skips: ClassVar[bool] = False

    async def bind(self, pod: PendingPod, binding: Binding) -> str | Skip:
        return ""  # The Bind that follows is all that is needed.
