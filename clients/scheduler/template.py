"""What scheduling needs to know of a pod, read once for all pods that share it.

Pods of a ReplicaSet have the same spec, byte for byte, so a spec is parsed once and found again by its bytes. Specs
that differ only in what does not concern scheduling (command, environment, name) share one `Template`, and with it what
plugins have said of the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from ...proto.devices import NO_DEVICES, device_request
from ...proto.host_ports import HostPort, read_host_ports
from ...proto.objects import decode, encode
from ...proto.quantities import PODS
from ..placements import placed_requests
from ..volumes.reading import claims_of
from .node_facts import UNITS_MAX
from .node_selectors import NO_AFFINITY, NodeAffinity, read_node_affinity
from .options import DEFAULT_SCHEDULER
from .pod_terms import NO_POD_AFFINITY, NO_SPREAD, PodAffinity, SpreadConstraint, pod_affinity_of, spread_constraints_of
from .taints import Toleration, read_tolerations

# Distinct spec bytes remembered, of about a kilobyte each. If more are alive at once they are all different, and are
# parsed again when they come back.
SPECS_MAX: Final = 4096
# What plugins read of a spec by themselves.
READ_AS_WRITTEN: Final = ("affinity", "topologySpreadConstraints")

_Read = TypeVar("_Read")


class Template:
    """One set of scheduling constraints. `requests` in the units of `proto.quantities`, `pods: 1` included."""

    __slots__ = (
        "charges",
        "claims",
        "devices",
        "error",
        "host_ports",
        "id",
        "images",
        "node_affinity",
        "node_name",
        "node_selector",
        "pod_affinity",
        "priority",
        "requests",
        "scheduler_name",
        "spec",
        "spread",
        "tolerations",
    )

    def __init__(
        self,
        template_id: int,
        requests: Mapping[str, int],
        *,
        node_selector: tuple[tuple[str, str], ...] = (),
        tolerations: tuple[Toleration, ...] = (),
        node_affinity: NodeAffinity = NO_AFFINITY,
        pod_affinity: PodAffinity = NO_POD_AFFINITY,
        spread: tuple[SpreadConstraint, ...] = (),
        node_name: str = "",
        host_ports: tuple[HostPort, ...] = (),
        images: tuple[str, ...] = (),
        claims: tuple[str, ...] = (),
        priority: int = 0,
        scheduler_name: str = DEFAULT_SCHEDULER,
        spec: Mapping[str, Any] | None = None,
        error: str = "",
    ) -> None:
        self.id = template_id
        self.requests = requests
        self.devices = NO_DEVICES if error else device_request(requests)
        self.node_selector = node_selector
        self.tolerations = tolerations
        self.node_affinity = node_affinity
        self.pod_affinity = pod_affinity
        self.spread = spread
        self.node_name = node_name
        self.host_ports = host_ports
        self.images = images  # of each container, init containers too, with a tag
        self.claims = claims  # the names of the PersistentVolumeClaims it uses
        self.priority = priority
        self.scheduler_name = scheduler_name
        # As it is written, of the fields READ_AS_WRITTEN those that are set.
        self.spec = spec or {}
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
        errors: list[str] = []
        requests = _attempt(errors, {PODS: 1}, placed_requests, spec)
        errors.extend(_too_many(requests))
        _attempt(errors, NO_DEVICES, device_request, requests)
        written = {field: spec[field] for field in READ_AS_WRITTEN if spec.get(field)}
        affinity = (spec.get("affinity") or {}).get("nodeAffinity")
        read: dict[str, Any] = {
            "node_selector": tuple(sorted((spec.get("nodeSelector") or {}).items())),
            "tolerations": read_tolerations(spec.get("tolerations")),
            "node_affinity": _attempt(errors, NO_AFFINITY, read_node_affinity, affinity),
            "pod_affinity": _attempt(errors, NO_POD_AFFINITY, pod_affinity_of, spec),
            "spread": _attempt(errors, NO_SPREAD, spread_constraints_of, spec),
            "node_name": spec.get("nodeName") or "",
            "host_ports": read_host_ports(spec),
            "images": read_images(spec),
            "claims": claims_of(spec),
            "priority": int(spec.get("priority") or 0),
            "scheduler_name": spec.get("schedulerName") or DEFAULT_SCHEDULER,
            "error": "; ".join(errors),
        }
        meaning = (tuple(requests.items()), encode(written), *read.values())
        template = self._by_meaning.get(meaning)
        if template is None:
            self._made += 1
            template = Template(self._made, requests, spec=written, **read)
            _make_room(self._by_meaning)
            self._by_meaning[meaning] = template
        return template


def _attempt(errors: list[str], instead: _Read, read: Callable[[Any], _Read], field: Any) -> _Read:
    try:
        return read(field)
    except ValueError as problem:
        errors.append(str(problem))
        return instead


def _too_many(requests: Mapping[str, int]) -> Iterator[str]:
    for resource, units in requests.items():
        if units > UNITS_MAX:
            yield f"it requests {units} of {resource}, and no node has more than {UNITS_MAX}"


def read_images(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The image of each container, with a tag."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return tuple(tagged(container.get("image") or "") for container in containers)


def tagged(image: str) -> str:
    """An image without a tag is the latest; a colon before the last slash is that of a port."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def _make_room(cache: dict[Any, Template]) -> None:
    if len(cache) >= SPECS_MAX:
        del cache[next(iter(cache))]
