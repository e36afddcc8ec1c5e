"""Services.

What nothing here would carry out is refused, each in a sentence of its own: hollow nodes open no ports, and nobody
makes load balancers. A Service gives a set of pods a name and an address; where they are, its EndpointSlices say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.kinds import BY_KIND, Kind
from ...proto.objects import decode, decode_shared, encode
from .pods import PORT_MAX, PROTOCOLS
from .service_addresses import SERVICE_NETWORK, ServiceAddresses, read_address
from .strategy import Strategy
from .validation import Causes, check_labels, is_label, is_qualified, is_subdomain, mapping, sequence

CLUSTER_IP, EXTERNAL_NAME = "ClusterIP", "ExternalName"
HEADLESS = "None"  # Kubernetes' word for no address.
AFFINITIES = ("None", "ClientIP")
AFFINITY_SECONDS = 10_800
AFFINITY_SECONDS_MAX = 86_400
FAMILY = "IPv6"
FAMILY_POLICIES = ("SingleStack", "PreferDualStack")
PORT_NAME_LENGTH_MAX = 15

_SERVICE = BY_KIND["Service"]
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?")

_TYPES_NOT_SERVED = {
    "NodePort": "is not served, as nothing listens on the nodes: use ClusterIP",
    "LoadBalancer": "is not served, as nobody makes load balancers: use ClusterIP",
}
_NOT_SERVED = {
    "externalIPs": "is not served: nothing takes in traffic for other addresses",
    "externalTrafficPolicy": "is for the types NodePort and LoadBalancer, which are not served",
    "healthCheckNodePort": "is for the type LoadBalancer, which is not served",
    "loadBalancerIP": "is for the type LoadBalancer, which is not served",
    "loadBalancerSourceRanges": "is for the type LoadBalancer, which is not served",
    "loadBalancerClass": "is for the type LoadBalancer, which is not served",
    "allocateLoadBalancerNodePorts": "is for the type LoadBalancer, which is not served",
    "trafficDistribution": "is not served: EndpointSlices have no hints",
}
_INITIAL_STATUS = encode({"loadBalancer": {}})


def has_address(spec: Mapping[str, Any]) -> bool:
    """Whether it is of a type that has a cluster address, or says that it wants none."""
    return spec.get("type") != EXTERNAL_NAME


class ServiceStrategy(Strategy):
    """Gives addresses. Its `addresses` are told of every Service that is staged."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.addresses = ServiceAddresses()

    def default_spec(self, spec: dict[str, Any]) -> None:
        for field, value in (("type", CLUSTER_IP), ("sessionAffinity", AFFINITIES[0])):
            if not spec.get(field):
                spec[field] = value
        if spec["sessionAffinity"] == "ClientIP":
            timeout = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS, **timeout}}
        for port in spec.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = PROTOCOLS[0]
            if port.get("targetPort") in (None, 0, ""):
                port["targetPort"] = port["port"]
        if not has_address(spec):
            for field in ("internalTrafficPolicy", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(field, None)
        else:
            spec["internalTrafficPolicy"] = spec.get("internalTrafficPolicy") or "Cluster"
            spec["ipFamilyPolicy"] = spec.get("ipFamilyPolicy") or FAMILY_POLICIES[0]
            spec["ipFamilies"] = [FAMILY]
            if spec.get("clusterIP"):
                address = read_address(spec["clusterIP"])
                spec["clusterIP"] = HEADLESS if address is None else str(address)
                spec["clusterIPs"] = [spec["clusterIP"]]
        _sort(spec)

    def check_spec(self, spec: Any, causes: Causes) -> None:
        kind = spec.get("type") or CLUSTER_IP
        if isinstance(kind, str) and kind in _TYPES_NOT_SERVED:
            causes.forbid("spec.type", f"{kind} {_TYPES_NOT_SERVED[kind]}")
        elif kind not in (CLUSTER_IP, EXTERNAL_NAME):
            causes.add("spec.type", f"must be {CLUSTER_IP} or {EXTERNAL_NAME}, not {kind!r}")
        for name, told in _NOT_SERVED.items():
            if spec.get(name):
                causes.forbid(f"spec.{name}", told)
        check_labels(mapping(spec.get("selector"), "spec.selector", causes), "spec.selector", causes)
        if not isinstance(spec.get("publishNotReadyAddresses"), bool | None):
            causes.add("spec.publishNotReadyAddresses", "must be true or false")
        _check_ports(spec, causes)
        _check_affinity(spec, causes)
        _check_families(spec, causes)
        _check_external_name(spec, kind, causes)
        _check_addresses(spec, causes)

    def check_create(self, message: pb.Object, causes: Causes) -> None:
        name = message.metadata.name
        if len(name) > 63 or not _DNS_1035.fullmatch(name):
            causes.add("metadata.name", "must begin with a letter and be a DNS label: it is a name in DNS")
        _forbid_address(decode_shared(message.spec), causes)
        self._check_free(message, causes)

    def know_uid(self, message: pb.Object) -> None:
        spec = decode_shared(message.spec)
        if has_address(spec) and not spec.get("clusterIP"):
            self._give_address(message, self.addresses.free_address(message.metadata.uid))

    def initial_status(self, message: pb.Object) -> bytes:
        return _INITIAL_STATUS

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        """What a manifest leaves out stays: an address is given once, and kept as long as the Service has one."""
        after, before = decode_shared(new.spec), decode_shared(old.spec)
        if not has_address(before):
            _forbid_address(after, causes)
            self._check_free(new, causes)
            if not causes.found and has_address(after) and not after.get("clusterIP"):
                self._give_address(new, self.addresses.free_address(old.metadata.uid))
        elif not has_address(after):
            if after.get("clusterIP") not in (None, "", before["clusterIP"]):
                _forbid_address(after, causes)
            self._give_address(new, "")
        elif not after.get("clusterIP"):
            self._give_address(new, before["clusterIP"])
        elif after["clusterIP"] != before["clusterIP"]:
            causes.add("spec.clusterIP", f"is immutable, it is {before['clusterIP']}; delete the Service to change it")

    def observe(self, message: pb.Object, *, deleted: bool) -> None:
        """A Service was staged."""
        metadata = message.metadata
        address = "" if deleted else str(decode_shared(message.spec).get("clusterIP") or "")
        self.addresses.observe(_SERVICE.key(metadata.tenant, metadata.namespace, metadata.name), address)

    def _check_free(self, message: pb.Object, causes: Causes) -> None:
        spec, metadata = decode_shared(message.spec), message.metadata
        address = spec.get("clusterIP")
        if not address and has_address(spec) and self.addresses.is_full:
            causes.add("spec.clusterIP", f"no address of {SERVICE_NETWORK} is free: delete Services, or use None")
        holder = self.addresses.holder(address or "")
        if holder and holder != _SERVICE.key(metadata.tenant, metadata.namespace, metadata.name):
            causes.add("spec.clusterIP", f"{address} is the address of another Service: leave it out to be given one")

    def _give_address(self, message: pb.Object, address: str) -> None:
        spec = decode(message.spec)
        spec.pop("clusterIP", None)
        spec.pop("clusterIPs", None)
        if address:
            spec["clusterIP"], spec["clusterIPs"] = address, [address]
        _sort(spec)
        message.spec = encode(spec)


def _forbid_address(spec: Mapping[str, Any], causes: Causes) -> None:
    if not has_address(spec) and spec.get("clusterIP"):
        causes.forbid("spec.clusterIP", f"must not be set in a Service of type {EXTERNAL_NAME}")


def _sort(spec: dict[str, Any]) -> None:
    """Fields that the server fills in again and again are always in the same place, so equal specs are equal bytes."""
    fields = sorted(spec.items())
    spec.clear()
    spec.update(fields)


def _check_ports(spec: Mapping[str, Any], causes: Causes) -> None:
    ports = sequence(spec.get("ports"), "spec.ports", causes)
    if not ports and spec.get("type") != EXTERNAL_NAME and spec.get("clusterIP") != HEADLESS:
        causes.require("spec.ports")
    names: dict[str, None] = {}
    taken: dict[tuple[Any, Any], None] = {}
    for number, entry in enumerate(ports):
        field = f"spec.ports[{number}]"
        port = mapping(entry, field, causes)
        check_port_name(port.get("name"), field, names, causes, needed=len(ports) > 1)
        check_port(port.get("port"), f"{field}.port", causes)
        check_protocol(port, field, causes)
        _check_target_port(port.get("targetPort"), f"{field}.targetPort", causes)
        check_app_protocol(port, field, causes)
        if port.get("nodePort"):
            causes.forbid(f"{field}.nodePort", "is not served, as nothing listens on the nodes")
        pair = (port.get("port"), port.get("protocol") or PROTOCOLS[0])
        if isinstance(pair[0], int) and isinstance(pair[1], str):
            if pair in taken:
                causes.add(field, f"{pair[1]} {pair[0]} is another port of this Service already")
            taken[pair] = None


def check_port_name(name: Any, field: str, names: dict[str, None], causes: Causes, *, needed: bool) -> None:
    """`names`: those of the ports before."""
    if not name:
        if needed:
            causes.require(f"{field}.name")
    elif not isinstance(name, str) or not is_label(name):
        causes.add(f"{field}.name", f"{name!r} is no DNS label")
    elif name in names:
        causes.add(f"{field}.name", f"{name!r} is the name of another port already")
    else:
        names[name] = None


def check_port(value: Any, field: str, causes: Causes) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= PORT_MAX:
        causes.add(field, f"must be a port, 1 to {PORT_MAX}, not {value!r}")


def check_protocol(port: Mapping[str, Any], field: str, causes: Causes) -> None:
    if port.get("protocol") not in (None, "", *PROTOCOLS):
        causes.add(f"{field}.protocol", f"must be one of {', '.join(PROTOCOLS)}, not {port['protocol']!r}")


def check_app_protocol(port: Mapping[str, Any], field: str, causes: Causes) -> None:
    value = port.get("appProtocol")
    if value is not None and (not isinstance(value, str) or not is_qualified(value)):
        causes.add(f"{field}.appProtocol", f"{value!r} is no name: [prefix/]name, as a label key")


def _check_target_port(value: Any, field: str, causes: Causes) -> None:
    if isinstance(value, str) and value:
        if len(value) > PORT_NAME_LENGTH_MAX or not _PORT_NAME.fullmatch(value):
            told = f"lower case letters, digits and single '-', with a letter, at most {PORT_NAME_LENGTH_MAX}"
            causes.add(field, f"{value!r} is no name of a port: {told}")
    elif value not in (None, "", 0) or isinstance(value, bool):
        check_port(value, field, causes)


def _check_affinity(spec: Mapping[str, Any], causes: Causes) -> None:
    affinity = spec.get("sessionAffinity") or AFFINITIES[0]
    if affinity not in AFFINITIES:
        causes.add("spec.sessionAffinity", f"must be one of {', '.join(AFFINITIES)}, not {affinity!r}")
    config = mapping(spec.get("sessionAffinityConfig"), "spec.sessionAffinityConfig", causes)
    if config and affinity != "ClientIP":
        causes.forbid("spec.sessionAffinityConfig", "must not be set where sessionAffinity is None")
        return
    client = mapping(config.get("clientIP"), "spec.sessionAffinityConfig.clientIP", causes)
    seconds = client.get("timeoutSeconds")
    if seconds is not None and (type(seconds) is not int or not 1 <= seconds <= AFFINITY_SECONDS_MAX):
        told = f"must be a number of seconds, 1 to {AFFINITY_SECONDS_MAX}, not {seconds!r}"
        causes.add("spec.sessionAffinityConfig.clientIP.timeoutSeconds", told)


def _check_families(spec: Mapping[str, Any], causes: Causes) -> None:
    families = sequence(spec.get("ipFamilies"), "spec.ipFamilies", causes)
    if any(family != FAMILY for family in families) or len(families) > 1:
        causes.add("spec.ipFamilies", f"must be [{FAMILY}], or left out: pods have addresses of no other family")
    policy = spec.get("ipFamilyPolicy")
    if policy == "RequireDualStack":
        causes.add("spec.ipFamilyPolicy", f"RequireDualStack cannot be met: pods have {FAMILY} addresses only")
    elif policy not in (None, *FAMILY_POLICIES):
        causes.add("spec.ipFamilyPolicy", f"must be one of {', '.join(FAMILY_POLICIES)}, not {policy!r}")
    traffic = spec.get("internalTrafficPolicy")
    if traffic not in (None, "Cluster", "Local"):
        causes.add("spec.internalTrafficPolicy", f"must be Cluster or Local, not {traffic!r}")


def _check_external_name(spec: Mapping[str, Any], kind: str, causes: Causes) -> None:
    name = spec.get("externalName")
    if kind != EXTERNAL_NAME:
        if name:
            causes.forbid("spec.externalName", f"is for the type {EXTERNAL_NAME}")
    elif not name:
        causes.require("spec.externalName")
    elif not isinstance(name, str) or not is_subdomain(name.removesuffix(".")):
        causes.add("spec.externalName", f"{name!r} is no DNS name")


def _check_addresses(spec: Mapping[str, Any], causes: Causes) -> None:
    address = spec.get("clusterIP")
    addresses = sequence(spec.get("clusterIPs"), "spec.clusterIPs", causes)
    if addresses and list(addresses) != [address]:
        causes.add("spec.clusterIPs", f"must be left out, or [{address or ''}], as clusterIP says")
    if not address:
        return
    if not isinstance(address, str) or (address != HEADLESS and read_address(address) is None):
        told = f"must be None, or an address in {SERVICE_NETWORK}, not {address!r}; leave it out to be given one"
        causes.add("spec.clusterIP", told)
