"""Endpoints and EndpointSlices: where the pods of a Service are. Controllers write them, and users who have no pods."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.objects import decode, decode_shared, encode
from .pods import PROTOCOLS
from .services import check_app_protocol, check_port, check_port_name, check_protocol
from .strategy import Strategy
from .validation import Causes, is_label, is_subdomain, mapping, sequence

ADDRESS_TYPES = ("IPv4", "IPv6", "FQDN")
# As in Kubernetes. The controller puts a hundred into one.
ENDPOINTS_MAX = 1000
ADDRESSES_MAX = 100
PORTS_MAX = 20_000

_CONDITIONS = ("ready", "serving", "terminating")


class EndpointSliceStrategy(Strategy):
    """Some of the endpoints of a Service, all with the same ports."""

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        rest = decode(message.rest)
        kind = rest.get("addressType")
        if not kind:
            causes.require("addressType")
        elif kind not in ADDRESS_TYPES:
            causes.add("addressType", f"must be one of {', '.join(ADDRESS_TYPES)}, not {kind!r}")
        endpoints = sequence(rest.get("endpoints"), "endpoints", causes)
        if len(endpoints) > ENDPOINTS_MAX:
            causes.add("endpoints", f"must have at most {ENDPOINTS_MAX} items, but has {len(endpoints)}")
            return
        for number, endpoint in enumerate(endpoints):
            _check_endpoint(endpoint, kind, f"endpoints[{number}]", causes)
        known = len(causes.found)
        _check_ports(rest.get("ports"), "ports", causes, named=True)
        if len(causes.found) == known and rest.get("ports"):
            rest["ports"] = [_defaulted(port) for port in rest["ports"]]
            message.rest = encode(rest)

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        if decode_shared(new.rest).get("addressType") != decode_shared(old.rest).get("addressType"):
            causes.add("addressType", "is immutable; delete the EndpointSlice and create another")


class EndpointsStrategy(Strategy):
    """All endpoints of a Service, in subsets that have the same ports."""

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        rest = decode(message.rest)
        subsets = sequence(rest.get("subsets"), "subsets", causes)
        known = len(causes.found)
        for number, subset in enumerate(subsets):
            _check_subset(mapping(subset, f"subsets[{number}]", causes), f"subsets[{number}]", causes)
        if len(causes.found) == known and subsets:
            for subset in subsets:
                if subset.get("ports"):
                    subset["ports"] = [_defaulted(port) for port in subset["ports"]]
            message.rest = encode(rest)


def _defaulted(port: Mapping[str, Any]) -> dict[str, Any]:
    return {**port, "protocol": port.get("protocol") or PROTOCOLS[0]}


def _check_endpoint(value: Any, kind: Any, field: str, causes: Causes) -> None:
    endpoint = mapping(value, field, causes)
    addresses = sequence(endpoint.get("addresses"), f"{field}.addresses", causes)
    if not addresses:
        causes.require(f"{field}.addresses")
    elif len(addresses) > ADDRESSES_MAX:
        causes.add(f"{field}.addresses", f"must have at most {ADDRESSES_MAX} items, but has {len(addresses)}")
    else:
        for number, address in enumerate(addresses):
            if kind in ADDRESS_TYPES and not _is_of_type(address, kind):
                causes.add(f"{field}.addresses[{number}]", f"{address!r} is no {kind} address of another machine")
    conditions = mapping(endpoint.get("conditions"), f"{field}.conditions", causes)
    for name in _CONDITIONS:
        if not isinstance(conditions.get(name), bool | None):
            causes.add(f"{field}.conditions.{name}", f"must be true or false, not {conditions[name]!r}")
    _check_named(endpoint, field, causes)


def _check_named(endpoint: Mapping[str, Any], field: str, causes: Causes) -> None:
    hostname, node = endpoint.get("hostname"), endpoint.get("nodeName")
    if hostname is not None and (not isinstance(hostname, str) or not is_label(hostname)):
        causes.add(f"{field}.hostname", f"{hostname!r} is no DNS label")
    if node is not None and (not isinstance(node, str) or not is_subdomain(node)):
        causes.add(f"{field}.nodeName", f"{node!r} is no name of a node")
    mapping(endpoint.get("targetRef"), f"{field}.targetRef", causes)


def _check_ports(value: Any, field: str, causes: Causes, *, named: bool) -> None:
    """`named`: also the empty name counts as one, as in an EndpointSlice."""
    ports = sequence(value, field, causes)
    if len(ports) > PORTS_MAX:
        causes.add(field, f"must have at most {PORTS_MAX} items, but has {len(ports)}")
        return
    names: dict[str, None] = {}
    unnamed = 0
    for number, entry in enumerate(ports):
        place = f"{field}[{number}]"
        port = mapping(entry, place, causes)
        check_port_name(port.get("name"), place, names, causes, needed=not named and len(ports) > 1)
        unnamed += not port.get("name")
        if port.get("port") is not None or not named:  # In an EndpointSlice none means all.
            check_port(port.get("port"), f"{place}.port", causes)
        check_protocol(port, place, causes)
        check_app_protocol(port, place, causes)
    if named and unnamed > 1:
        causes.add(field, "at most one port may have no name")


def _check_subset(subset: Mapping[str, Any], field: str, causes: Causes) -> None:
    found = 0
    for group in ("addresses", "notReadyAddresses"):
        for number, value in enumerate(sequence(subset.get(group), f"{field}.{group}", causes)):
            place = f"{field}.{group}[{number}]"
            address = mapping(value, place, causes)
            if not any(_is_of_type(address.get("ip"), kind) for kind in ("IPv4", "IPv6")):
                causes.add(f"{place}.ip", f"{address.get('ip')!r} is no address of another machine")
            _check_named(address, place, causes)
            found += 1
    if not found:
        causes.require(f"{field}.addresses")
    _check_ports(subset.get("ports"), f"{field}.ports", causes, named=False)


def _is_of_type(value: Any, kind: str) -> bool:
    """An address of a machine itself, or of one on its own link, tells nobody else where to go."""
    if not isinstance(value, str):
        return False
    if kind == "FQDN":
        return is_subdomain(value)
    try:
        address = ip_address(value)
    except ValueError:
        return False
    if not isinstance(address, IPv4Address if kind == "IPv4" else IPv6Address):
        return False
    return not (address.is_unspecified or address.is_loopback or address.is_link_local or address.is_multicast)
