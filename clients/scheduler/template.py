"""What scheduling needs to know of a pod, read once for all pods that share it.

Pods of a ReplicaSet have the same spec, byte for byte, so a spec is parsed once and found again by its bytes. Specs
that differ only in what does not concern scheduling (image, command, name) share one `Template`, and with it the cached
column of scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...proto.objects import decode
from ...proto.quantities import PODS
from ..placements import placed_requests
from .options import DEFAULT_SCHEDULER
from .taints import Toleration, read_tolerations

# Distinct spec bytes remembered, of about a kilobyte each. If more are alive at once they are all different, and are
# parsed again when they come back.
SPECS_MAX: Final = 4096


class Template:
    """One set of scheduling constraints. `requests` in the units of `proto.quantities`, `pods: 1` included."""

    __slots__ = ("charges", "error", "id", "node_selector", "priority", "requests", "scheduler_name", "tolerations")

    def __init__(
        self,
        template_id: int,
        requests: Mapping[str, int],
        node_selector: tuple[tuple[str, str], ...] = (),
        tolerations: tuple[Toleration, ...] = (),
        priority: int = 0,
        scheduler_name: str = DEFAULT_SCHEDULER,
        error: str = "",
    ) -> None:
        self.id = template_id
        self.requests = requests
        self.node_selector = node_selector
        self.tolerations = tolerations
        self.priority = priority
        self.scheduler_name = scheduler_name
        # What a pod of it takes, in the node table's columns; filled in by whoever needs it first.
        self.charges: tuple[tuple[int, int], ...] | None = None
        # Why the spec cannot be scheduled at all; empty if it can.
        self.error = error


class Templates:
    """Templates by the bytes of the specs they were read from."""

    def __init__(self) -> None:
        self._by_spec: dict[bytes, Template] = {}
        self._by_meaning: dict[tuple[Any, ...], Template] = {}
        self._made = 0

    def of(self, spec: bytes) -> Template:
        """The template of a pod with this encoded spec. A spec that makes no sense gives one with its `error` set."""
        template = self._by_spec.get(spec)
        if template is None:
            template = self._read(spec)
            _make_room(self._by_spec)
            self._by_spec[spec] = template
        return template

    def _read(self, data: bytes) -> Template:
        spec = decode(data)
        error = ""
        try:
            requests = placed_requests(spec)
        except ValueError as problem:
            requests, error = {PODS: 1}, str(problem)
        meaning = (
            tuple(requests.items()),
            tuple(sorted((spec.get("nodeSelector") or {}).items())),
            read_tolerations(spec.get("tolerations")),
            int(spec.get("priority") or 0),
            spec.get("schedulerName") or DEFAULT_SCHEDULER,
            error,
        )
        template = self._by_meaning.get(meaning)
        if template is None:
            self._made += 1
            template = Template(self._made, requests, *meaning[1:])
            _make_room(self._by_meaning)
            self._by_meaning[meaning] = template
        return template


def _make_room(cache: dict[Any, Template]) -> None:
    if len(cache) >= SPECS_MAX:
        del cache[next(iter(cache))]
