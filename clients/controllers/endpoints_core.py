"""Which pods each Service has, and where they are, without I/O.

A Service keeps the endpoints of the pods that it selects, and every event of a pod keeps that true: an event that
changes nothing of a pod's endpoint (most do not) makes nothing due, and where a namespace has no Service it costs
nothing. What to write is worked out from there: `endpoint_slices.py`, `endpoints_object.py`.

As in Kubernetes a pod is an endpoint as soon as it has an address, until it has finished. It is ready if it is and is
not being deleted (or if the Service publishes it whatever it is), serving if it is ready, deleted or not. A port by
name is where the pod's containers have it, so pods of one Service may have different ports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ...proto.objects import Object, ObjectKey, decode, decode_shared
from ..informer import Event, EventType
from .pods import is_finished, ready_condition

Space = tuple[str, str]  # A tenant and a namespace.


class Port(NamedTuple):
    """`number`: where the pods listen. `app_protocol` empty: the Service does not say."""

    name: str
    protocol: str
    number: int
    app_protocol: str = ""


Ports = tuple[Port, ...]


class Endpoint(NamedTuple):
    """A pod as an endpoint of one Service."""

    pod: ObjectKey
    uid: str
    address: str
    node: str
    hostname: str
    ports: Ports
    ready: bool
    serving: bool
    terminating: bool


class Served:
    """A Service, and the endpoints that it has by now."""

    __slots__ = ("endpoints", "publishes_all", "selector", "service")

    def __init__(self, service: Object) -> None:
        self.service = service
        spec = service.spec
        self.selector: Mapping[str, str] = spec["selector"]
        self.publishes_all = bool(spec.get("publishNotReadyAddresses"))
        self.endpoints: dict[ObjectKey, Endpoint] = {}

    def observe(self, pod: Object) -> bool:
        """Whether its endpoint, or that it has none, is another one than before."""
        key = pod.key
        made = endpoint_of(self, pod) if self._selects(pod.labels) else None
        known = self.endpoints.get(key)
        if made == known:
            return False
        if made is None:
            del self.endpoints[key]
        else:
            self.endpoints[key] = made
        return True

    def drop(self, key: ObjectKey) -> bool:
        return self.endpoints.pop(key, None) is not None

    def _selects(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.selector.items())


def has_endpoints(service: Object) -> bool:
    """Whether its endpoints are found here: without a selector somebody else says where they are."""
    return bool(service.spec.get("selector")) and service.spec.get("type") != "ExternalName"


def endpoint_of(served: Served, pod: Object) -> Endpoint | None:
    """None: it has no address yet, or has finished."""
    if is_finished(pod):
        return None
    status = decode(pod.message.status)
    address = status.get("podIP")
    if not address or not isinstance(address, str):
        return None
    serving, terminating = ready_condition(status) is not None, bool(pod.deletion_ms)
    spec = decode_shared(pod.message.spec)
    return Endpoint(
        pod.key,
        pod.uid,
        address,
        str(spec.get("nodeName") or ""),
        str(spec.get("hostname") or "") if spec.get("subdomain") == served.service.name else "",
        tuple(_ports(served.service, spec)),
        served.publishes_all or (serving and not terminating),
        serving,
        terminating,
    )


def _ports(service: Object, pod_spec: Mapping[str, Any]) -> Iterator[Port]:
    for port in service.spec.get("ports") or ():
        number = _number(port, pod_spec)
        if number is not None:
            yield Port(port.get("name") or "", port["protocol"], number, port.get("appProtocol") or "")


def _number(port: Mapping[str, Any], pod_spec: Mapping[str, Any]) -> int | None:
    wanted = port.get("targetPort")
    if not isinstance(wanted, str):
        return int(wanted or port["port"])
    for container in (*(pod_spec.get("containers") or ()), *(pod_spec.get("initContainers") or ())):
        for each in container.get("ports") or ():
            if each.get("name") == wanted and (each.get("protocol") or "TCP") == port["protocol"]:
                return int(each["containerPort"])
    return None


class EndpointsCore:
    """Events in, endpoints out. `pods` is the informer's cache."""

    def __init__(self, pods: Mapping[ObjectKey, Object]) -> None:
        self._pods = pods
        self._spaces: dict[Space, dict[ObjectKey, Served]] = {}
        self._due: dict[ObjectKey, None] = {}

    def service_event(self, event: Event) -> None:
        service = event.object
        key, space = service.key, (service.tenant, service.namespace)
        self._due[key] = None
        if event.type is EventType.DELETED or not has_endpoints(service):
            beside = self._spaces.get(space, {})
            beside.pop(key, None)
            if not beside:
                self._spaces.pop(space, None)
            return
        beside = self._spaces.setdefault(space, {})
        known = beside.get(key)
        if known is not None and known.service.message.spec == service.message.spec:
            known.service = service
        else:
            beside[key] = self._gathered(service)

    def _gathered(self, service: Object) -> Served:
        made = Served(service)
        for key, pod in self._pods.items():
            if key.namespace == service.namespace and key.tenant == service.tenant:
                made.observe(pod)
        return made

    def pod_event(self, event: Event) -> None:
        """The hot path: once for every change of every pod."""
        if not self._spaces:
            return
        key = event.object.key
        for name, served in self._spaces.get((key.tenant, key.namespace), {}).items():
            if served.drop(key) if event.type is EventType.DELETED else served.observe(event.object):
                self._due[name] = None

    def take_due(self) -> list[ObjectKey]:
        due = list(self._due)
        self._due.clear()
        return due

    def served(self, key: ObjectKey) -> Served | None:
        """None: there is no such Service, or its endpoints are not found here."""
        return self._spaces.get((key.tenant, key.namespace), {}).get(key)


def sorted_endpoints(served: Served) -> Sequence[Endpoint]:
    """In the order of the pods' names, whatever the order of events."""
    return sorted(served.endpoints.values(), key=lambda each: each.pod)
