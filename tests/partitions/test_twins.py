"""Pods that are alike but for their names are looked at once; what is stored is as if each had been looked at."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.partitions.admission import twins as twins_module
from ursa.partitions.admission.pods import PodStrategy
from ursa.partitions.admission.validation import Causes
from ursa.proto.errors import ApiError, BadRequest, Invalid
from ursa.proto.kinds import BY_KIND, Role

from .conftest import Partition, pod


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pods all of whose rules were checked."""
    names: list[str] = []
    check = PodStrategy.check_create

    def noting(self: PodStrategy, message: Any, causes: Causes) -> None:
        names.append(message.metadata.name)
        check(self, message, causes)

    monkeypatch.setattr(PodStrategy, "check_create", noting)
    return names


def test_only_the_first_of_many_that_are_alike_is_looked_at(tenant_partition: Partition, looked_at: list[str]) -> None:
    created = [tenant_partition.create(pod(name, labels={"app": "web"})) for name in ("a", "b", "c")]
    assert looked_at == ["a"]
    assert len({each.uid for each in created}) == 3
    assert [each.labels for each in created] == [{"app": "web"}] * 3
    assert [each.status for each in created] == [{"phase": "Pending"}] * 3
    for selector in ({"label_selector": "app=web"}, {"field_selector": "status.phase=Pending"}):
        assert [item.metadata.name for item in tenant_partition.list("pods", **selector).items] == ["a", "b", "c"]


def test_the_name_of_each_is_looked_at(tenant_partition: Partition) -> None:
    tenant_partition.create(pod("a"))
    with pytest.raises(Invalid, match="Not_A_Name"):
        tenant_partition.create(pod("Not_A_Name"))
    nameless = pod("b")
    del nameless["metadata"]["name"]
    with pytest.raises(Invalid, match=r"metadata.name"):
        tenant_partition.create(nameless)


def test_one_that_breaks_a_rule_is_no_example_for_others(tenant_partition: Partition, looked_at: list[str]) -> None:
    for name in ("a", "b"):
        manifest = pod(name)
        manifest["spec"]["nodeName"] = "n1"
        with pytest.raises(Invalid, match=r"spec.nodeName"):
            tenant_partition.create(manifest)
    assert looked_at == ["a", "b"]


@pytest.mark.parametrize("other", [{"labels": {"app": "db"}}, {"namespace": "elsewhere"}, {"generateName": "a-"}])
def test_any_difference_but_the_name_is_a_difference(
    tenant_partition: Partition, looked_at: list[str], other: dict[str, Any]
) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"tenant": "system", "name": "elsewhere"}}
    tenant_partition.create(namespace)
    tenant_partition.create(pod("a"))
    tenant_partition.create(pod("b", **other))
    assert looked_at == ["a", "b"]


def test_a_pod_sent_as_another_kind_is_refused_though_it_was_seen_before(tenant_partition: Partition) -> None:
    tenant_partition.create(pod("a"))
    manifest = pod("b")
    manifest["apiVersion"] = "v2"
    with pytest.raises(BadRequest, match="the request is for"):
        tenant_partition.create(manifest)


def test_what_is_remembered_is_bounded(tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twins_module, "TWINS_MAX", 4)
    strategy = PodStrategy(BY_KIND["Pod"])
    assert strategy.twins is not None
    for number in range(10):
        strategy.twins.add(b"%d" % number, b"")
    assert [strategy.twins.find(b"%d" % number) is not None for number in range(10)] == [False] * 6 + [True] * 4
    assert strategy.twins.add(bytes(twins_module.LIKENESS_BYTES_MAX + 1), b"") is None


LABELS = st.dictionaries(st.sampled_from(("app", "tier", "a b")), st.sampled_from(("web", "db", "no good")), max_size=2)
SPECS = st.fixed_dictionaries(
    {"containers": st.just([{"name": "main", "image": "app:1"}])},
    optional={
        "schedulerName": st.sampled_from(("default-scheduler", "mine")),
        "restartPolicy": st.sampled_from(("Always", "Never", "Sometimes")),
        "nodeName": st.sampled_from(("", "n1")),
    },
)
NAMES = st.sampled_from(("a", "b", "c", "d", "Not_A_Name"))


@given(st.lists(st.tuples(NAMES, LABELS, SPECS), max_size=12))
def test_a_partition_that_remembers_stores_what_one_that_does_not_would(
    pods: list[tuple[str, dict[str, str], dict[str, Any]]],
) -> None:
    """The same pods, created in a partition that has forgotten each before the next comes."""
    remembering, forgetting = Partition(Role.TENANT), Partition(Role.TENANT)
    for name, labels, spec in pods:
        outcomes = []
        for partition in (remembering, forgetting):
            if partition is forgetting:
                partition.server._state._strategies["pods"].twins = twins_module.Twins()
            manifest = {**pod(name, labels=labels), "spec": spec}
            try:
                outcomes.append(partition.create(manifest).message.SerializeToString(deterministic=True))
            except ApiError as error:
                outcomes.append(error.message.encode())
        assert outcomes[0] == outcomes[1]
    assert remembering.list("pods") == forgetting.list("pods")
    for selector in ("app=web", "tier!=db"):
        assert remembering.list("pods", label_selector=selector) == forgetting.list("pods", label_selector=selector)
