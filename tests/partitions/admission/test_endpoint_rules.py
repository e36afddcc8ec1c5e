"""What Endpoints and EndpointSlices must be like."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.proto.errors import Invalid

from ..conftest import Partition
from .test_job_rules import told
from .test_rules import causes_of, plain, update


def endpoint_slice(*endpoints: Any, kind: Any = "IPv6", **fields: Any) -> dict[str, Any]:
    return plain("EndpointSlice", "s", addressType=kind, endpoints=list(endpoints), **fields)


def endpoints(*subsets: Any) -> dict[str, Any]:
    return plain("Endpoints", "e", subsets=list(subsets))


def test_ports_without_a_protocol_are_of_tcp(tenant_partition: Partition) -> None:
    created = tenant_partition.create(endpoint_slice({"addresses": ["fd00::1"]}, ports=[{"name": "a", "port": 80}]))
    assert created.rest["ports"] == [{"name": "a", "port": 80, "protocol": "TCP"}]
    made = tenant_partition.create(endpoints({"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}))
    assert made.rest["subsets"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]


def test_the_type_of_the_addresses_stays(tenant_partition: Partition) -> None:
    created = tenant_partition.create(endpoint_slice())
    update(tenant_partition, created.with_rest({**created.rest, "endpoints": [{"addresses": ["fd00::1"]}]}))
    created = tenant_partition.get("endpointslices.discovery.k8s.io", "s")
    with pytest.raises(Invalid, match="is immutable"):
        update(tenant_partition, created.with_rest({**created.rest, "addressType": "IPv4", "endpoints": []}))


@pytest.mark.parametrize(
    ("manifest", "fields"),
    [
        (endpoint_slice(kind=None), ["addressType"]),
        (endpoint_slice(kind=["IPv4"]), ["addressType"]),
        (endpoint_slice({}), ["endpoints[0].addresses"]),
        (endpoint_slice("a"), ["endpoints[0]", "endpoints[0].addresses"]),
        (endpoint_slice({"addresses": ["10.0.0.1", "::1", 3]}), [f"endpoints[0].addresses[{n}]" for n in range(3)]),
        (endpoint_slice({"addresses": ["fd00::1"] * 101}), ["endpoints[0].addresses"]),
        (
            endpoint_slice(
                {
                    "addresses": ["fd00::1"],
                    "conditions": {"ready": "True"},
                    "hostname": "a.b",
                    "nodeName": "N",
                    "targetRef": [],
                }
            ),
            [f"endpoints[0].{part}" for part in ("conditions.ready", "hostname", "nodeName", "targetRef")],
        ),
        (endpoint_slice(*[{"addresses": ["fd00::1"]}] * 1001), ["endpoints"]),
        (endpoint_slice(ports=[{"port": 0}, {"protocol": "x"}]), ["ports[0].port", "ports[1].protocol", "ports"]),
        (endpoint_slice(ports=[{"name": "a"}, {"name": "a"}]), ["ports[1].name"]),
        (endpoints({}), ["subsets[0].addresses"]),
        (endpoints({"addresses": [{"ip": "169.254.0.1"}]}), ["subsets[0].addresses[0].ip"]),
        (
            endpoints({"notReadyAddresses": [{"ip": "a", "hostname": 1}], "ports": [{}]}),
            [
                "subsets[0].notReadyAddresses[0].ip",
                "subsets[0].notReadyAddresses[0].hostname",
                "subsets[0].ports[0].port",
            ],
        ),
        (
            endpoints({"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 1}, {"port": 2, "name": "b"}]}),
            ["subsets[0].ports[0].name"],
        ),
    ],
)
def test_broken_rules_are_told(tenant_partition: Partition, manifest: dict[str, Any], fields: list[str]) -> None:
    assert causes_of(tenant_partition, manifest) == fields


def test_names_are_addresses_too(tenant_partition: Partition) -> None:
    tenant_partition.create(endpoint_slice({"addresses": ["db.example.com"]}, kind="FQDN", ports=[{}]))
    refused = told(tenant_partition, endpoint_slice({"addresses": ["a_b"]}, kind="FQDN"))
    assert list(refused) == ["endpoints[0].addresses[0]"]
