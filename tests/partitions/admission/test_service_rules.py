"""What Services must be like, what the server makes of them, and which addresses they are given."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.operations import apply_operation, create_operation, delete_operation
from ursa.partitions.admission.service_addresses import ASKED_FOR_MAX, SERVICE_NETWORK, ServiceAddresses, read_address
from ursa.proto.errors import AlreadyExists, Invalid
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey

from ..conftest import Partition
from .test_job_rules import told
from .test_rules import causes_of, plain, update


def service(name: str = "s", **spec: Any) -> dict[str, Any]:
    return plain("Service", name, spec={"selector": {"app": "web"}, "ports": [{"port": 80}], **spec})


def test_what_a_service_does_not_say_is_said(tenant_partition: Partition) -> None:
    created = tenant_partition.create(service())
    spec = created.spec
    assert read_address(spec["clusterIP"]) is not None
    assert spec == {
        "type": "ClusterIP",
        "clusterIP": spec["clusterIP"],
        "clusterIPs": [spec["clusterIP"]],
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv6"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "selector": {"app": "web"},
        "sessionAffinity": "None",
    }
    assert created.status == {"loadBalancer": {}}
    sticky = tenant_partition.create(service("t", sessionAffinity="ClientIP")).spec
    assert sticky["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10_800}}
    headless = tenant_partition.create(service("h", clusterIP="None", ports=None)).spec
    assert (headless["clusterIP"], headless["clusterIPs"]) == ("None", ["None"])
    external = tenant_partition.create(service("e", type="ExternalName", externalName="example.com", ports=None)).spec
    assert set(external) == {"type", "externalName", "selector", "sessionAffinity", "ports"}


@pytest.mark.parametrize(
    ("spec", "field", "said"),
    [
        ({"type": "NodePort"}, "spec.type", "nothing listens on the nodes"),
        ({"type": "LoadBalancer"}, "spec.type", "nobody makes load balancers"),
        ({"type": "Other"}, "spec.type", "must be ClusterIP or ExternalName"),
        ({"type": ["x"]}, "spec.type", "must be ClusterIP or ExternalName"),
        ({"externalIPs": ["1.2.3.4"]}, "spec.externalIPs", "is not served"),
        ({"trafficDistribution": "PreferClose"}, "spec.trafficDistribution", "no hints"),
        ({"ports": []}, "spec.ports", "is required"),
        ({"ports": [{"port": 80}, {"port": 81, "name": "a"}]}, "spec.ports[0].name", "is required"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port", "1 to 65535"),
        ({"ports": [{"port": 80, "protocol": "ICMP"}]}, "spec.ports[0].protocol", "TCP, UDP, SCTP"),
        ({"ports": [{"port": 80, "targetPort": "-web"}]}, "spec.ports[0].targetPort", "no name of a port"),
        ({"ports": [{"port": 80, "targetPort": "8080"}]}, "spec.ports[0].targetPort", "with a letter"),
        ({"ports": [{"port": 80, "targetPort": 70_000}]}, "spec.ports[0].targetPort", "1 to 65535"),
        ({"ports": [{"port": 80, "nodePort": 30_000}]}, "spec.ports[0].nodePort", "nothing listens"),
        ({"ports": [{"port": 80, "appProtocol": "a b"}]}, "spec.ports[0].appProtocol", "no name"),
        (
            {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b", "protocol": "TCP"}]},
            "spec.ports[1]",
            "another port of this Service",
        ),
        (
            {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "a", "protocol": "UDP"}]},
            "spec.ports[1].name",
            "another port already",
        ),
        ({"selector": {"a b": "c"}}, "spec.selector", "no label key"),
        ({"sessionAffinity": "Cookie"}, "spec.sessionAffinity", "None, ClientIP"),
        ({"sessionAffinityConfig": {"clientIP": {}}}, "spec.sessionAffinityConfig", "sessionAffinity is None"),
        ({"ipFamilies": ["IPv4"]}, "spec.ipFamilies", "no other family"),
        ({"ipFamilyPolicy": "RequireDualStack"}, "spec.ipFamilyPolicy", "cannot be met"),
        ({"externalName": "example.com"}, "spec.externalName", "is for the type ExternalName"),
        ({"type": "ExternalName"}, "spec.externalName", "is required"),
        ({"type": "ExternalName", "externalName": "a_b"}, "spec.externalName", "no DNS name"),
        ({"type": "ExternalName", "externalName": "a", "clusterIP": "None"}, "spec.clusterIP", "must not be set"),
        ({"clusterIP": "10.0.0.1"}, "spec.clusterIP", "an address in fd01::/64"),
        ({"clusterIP": "fd01::"}, "spec.clusterIP", "an address in fd01::/64"),
        ({"clusterIPs": ["fd01::5"]}, "spec.clusterIPs", "must be left out"),
        ({"publishNotReadyAddresses": "yes"}, "spec.publishNotReadyAddresses", "true or false"),
    ],
)
def test_each_broken_rule_is_told(tenant_partition: Partition, spec: dict[str, Any], field: str, said: str) -> None:
    found = told(tenant_partition, service(**spec))
    assert list(found) == [field]
    assert said in found[field]


def test_all_broken_rules_are_told_at_once(tenant_partition: Partition) -> None:
    manifest = service(type="NodePort", ports=[{"port": "a"}], sessionAffinity=1, clusterIP=3)
    assert causes_of(tenant_partition, manifest) == [
        "spec.type",
        "spec.ports[0].port",
        "spec.sessionAffinity",
        "spec.clusterIP",
    ]


def test_a_service_has_a_name_of_dns(tenant_partition: Partition) -> None:
    for name in ("1st", "a.b", "x" * 64):
        assert causes_of(tenant_partition, service(name)) == ["metadata.name"]


# ------------------------------------------------------------------------------------------------------------ addresses


def test_an_address_that_is_asked_for_is_given_unless_another_service_has_it(tenant_partition: Partition) -> None:
    assert tenant_partition.create(service("a", clusterIP="fd01:0::0:5")).spec["clusterIP"] == "fd01::5"
    assert "another Service" in told(tenant_partition, service("b", clusterIP="fd01::5"))["spec.clusterIP"]
    with pytest.raises(AlreadyExists):
        tenant_partition.create(service("a", clusterIP="fd01::5"))
    delete(tenant_partition, "a")
    tenant_partition.create(service("b", clusterIP="fd01::5"))


def test_a_service_keeps_its_address_when_a_manifest_leaves_it_out(tenant_partition: Partition) -> None:
    created = tenant_partition.create(service())
    stripped = {k: v for k, v in reversed(created.spec.items()) if k not in ("clusterIP", "clusterIPs")}
    again = update(tenant_partition, created.with_spec(stripped))
    assert (again.spec, again.resource_version) == (created.spec, created.resource_version), "nothing has changed"
    moved = update(tenant_partition, created.with_spec({**stripped, "ports": [{"port": 81}]}))
    assert (moved.spec["clusterIP"], moved.generation) == (created.spec["clusterIP"], 2)
    with pytest.raises(Invalid, match="is immutable"):
        update(tenant_partition, moved.with_spec({**stripped, "clusterIP": "fd01::5"}))
    with pytest.raises(Invalid, match="is immutable"):
        update(tenant_partition, moved.with_spec({**stripped, "clusterIP": "None"}))


def test_apply_needs_no_address(tenant_partition: Partition) -> None:
    body = service()
    for _ in range(2):
        operation = apply_operation("services", key("s"), body, field_manager="m")
        operation.return_object = True
        applied = Object(tenant_partition.do(operation).object)
    assert applied.generation == 1
    assert read_address(applied.spec["clusterIP"]) is not None


def test_a_service_that_becomes_an_external_name_lets_its_address_go_and_is_given_one_when_it_is_no_more(
    tenant_partition: Partition,
) -> None:
    created = tenant_partition.create(service(clusterIP="fd01::7"))
    name = {"type": "ExternalName", "externalName": "example.com"}
    external = update(tenant_partition, created.with_spec({**created.spec, **name}))
    assert "clusterIP" not in external.spec
    tenant_partition.create(service("other", clusterIP="fd01::7"))
    with pytest.raises(Invalid, match="another Service"):
        update(tenant_partition, external.with_spec({**service()["spec"], "clusterIP": "fd01::7"}))
    back = update(tenant_partition, external.with_spec(service()["spec"]))
    assert read_address(back.spec["clusterIP"]) is not None
    assert back.spec["clusterIP"] != "fd01::7"


def test_a_dry_run_takes_no_address(tenant_partition: Partition) -> None:
    tenant_partition.do(create_operation(Object.from_dict(service("a", clusterIP="fd01::5")), dry_run=True))
    tenant_partition.create(service("b", clusterIP="fd01::5"))


def key(name: str) -> ObjectKey:
    return ObjectKey("system", "default", name)


def delete(partition: Partition, name: str) -> None:
    partition.do(delete_operation("services", key(name)))


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["create", "delete", "external", "internal", "reopen"]),
        st.sampled_from("abcd"),
        st.sampled_from(["", "", "None", "fd01::5", "fd01::6"]),
    ),
    max_size=25,
)


@settings(max_examples=50, deadline=None)
@given(ACTS)
def test_no_two_services_have_one_address_whatever_becomes_of_them(acts: list[tuple[str, str, str]]) -> None:
    partition = Partition(Role.TENANT)
    for act, name, address in acts:
        held = {each.metadata.name: Object(each) for each in partition.list("services").items}
        wanted = {"clusterIP": address} if address else {}
        try:
            if act == "create":
                partition.create(service(name, **wanted))
            elif act == "reopen":
                partition = Partition(Role.TENANT, partition.store)
            elif name in held and act == "delete":
                delete(partition, name)
            elif name in held:
                external = {"type": "ExternalName", "externalName": "example.com"}
                update(partition, held[name].with_spec(external if act == "external" else service(**wanted)["spec"]))
        except AlreadyExists:
            assert name in held
        except Invalid:
            taken = [each.spec.get("clusterIP") for each in held.values()]
            assert address in taken or name in held
        specs = [Object(each).spec for each in partition.list("services").items]
        addresses = [spec["clusterIP"] for spec in specs if spec["type"] == "ClusterIP"]
        assert all(each == "None" or read_address(each) is not None for each in addresses)
        own = [each for each in addresses if each != "None"]
        assert len(own) == len(dict.fromkeys(own))
        assert not any("clusterIP" in spec for spec in specs if spec["type"] == "ExternalName")


def test_addresses_are_handed_out_above_those_that_are_asked_for_until_there_are_none() -> None:
    asked_for, last = ASKED_FOR_MAX, ASKED_FOR_MAX + 100
    addresses = ServiceAddresses(last)
    assert addresses.free_address("00000000-0000") == str(SERVICE_NETWORK[ASKED_FOR_MAX + 1])
    for offset in range(ASKED_FOR_MAX + 1, last + 1):
        addresses.observe(f"k{offset}", str(SERVICE_NETWORK[offset]))
    assert addresses.free_address("ffffffff-0000") == "fd01::1"
    for offset in range(1, asked_for + 1):
        addresses.observe(f"k{offset}", str(SERVICE_NETWORK[offset]))
    assert addresses.is_full
    addresses.observe("k300", "None")
    assert not addresses.is_full
    assert addresses.free_address("ffffffff-0000") == str(SERVICE_NETWORK[300])


HOLDINGS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "fd01::5", "fd01::6"])), max_size=20)


@given(HOLDINGS)
def test_an_address_that_several_have_is_free_when_none_of_them_has_it(changes: list[tuple[str, str]]) -> None:
    """A tenant that moved here has brought it along."""
    addresses, held = ServiceAddresses(), dict.fromkeys("abc", "")
    for key, address in changes:
        addresses.observe(key, address)
        held[key] = address
        for each in ("fd01::5", "fd01::6"):
            having = [key for key, address in held.items() if address == each]
            assert addresses.holder(each) in (having or [""])
