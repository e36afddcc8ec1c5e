"""Quotas: never passed, and what is used is exact at every state that anybody can see."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.partitions.admission.usage import charge_of
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Forbidden, Invalid, from_status
from ursa.proto.kinds import BY_KIND, Role
from ursa.proto.objects import Object, encode
from ursa.proto.sessions import Caller
from ursa.storage import MemoryStore

from ..conftest import HandCommitter, Partition, pod, target


def quota(hard: dict[str, Any], name: str = "q", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": name, "tenant": "system", "namespace": "default"},
        "spec": {"hard": hard, **spec},
    }


def tenant_quota(hard: dict[str, Any], name: str = "all") -> dict[str, Any]:
    return {
        "apiVersion": "ursa.dev/v1",
        "kind": "TenantQuota",
        "metadata": {"name": name, "tenant": "system"},
        "spec": {"hard": hard},
    }


def used(partition: Partition, name: str = "q") -> dict[str, str]:
    status: dict[str, dict[str, str]] = partition.get("resourcequotas", name).status
    return status["used"]


def sized(name: str, cpu: str = "100m", memory: str = "", gpu: int = 0, **metadata: Any) -> dict[str, Any]:
    manifest = pod(name, **metadata)
    requests: dict[str, Any] = {"cpu": cpu} if cpu else {}
    if memory:
        requests["memory"] = memory
    if gpu:
        requests["ursa.dev/gpu-milli"] = gpu
    manifest["spec"]["containers"][0]["resources"] = {"requests": requests}
    return manifest


def config_map(name: str, namespace: str = "default") -> dict[str, Any]:
    metadata = {"name": name, "tenant": "system", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}


def create(manifest: dict[str, Any], *, dry_run: bool = False) -> pb.Operation:
    operation = pb.Operation(resource=BY_KIND[manifest["kind"]].resource, dry_run=dry_run)
    operation.create.object.CopyFrom(Object.from_dict(manifest).message)
    return operation


def finish(partition: Partition, name: str, phase: str) -> None:
    operation = pb.Operation(resource="pods")
    operation.update.object.CopyFrom(partition.get("pods", name).with_status({"phase": phase}).message)
    operation.update.subresource = "status"
    partition.do(operation)


def delete(resource: str, name: str, namespace: str = "default") -> pb.Operation:
    operation = pb.Operation(resource=resource)
    operation.delete.target.CopyFrom(target(resource, name, namespace=namespace))
    return operation


def test_a_pod_beyond_the_quota_is_refused_in_the_words_of_kubernetes(tenant_partition: Partition) -> None:
    tenant_partition.create(quota({"pods": "2", "requests.cpu": "1", "requests.memory": "1Gi"}))
    tenant_partition.create(sized("a", "600m", "256Mi"))
    with pytest.raises(Forbidden) as refused:
        tenant_partition.create(sized("b", "500m", "256Mi"))
    assert str(refused.value) == (
        'pods "b" is forbidden: exceeded quota: q, '
        "requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"
    )
    tenant_partition.create(sized("c", "400m", "256Mi"))
    with pytest.raises(Forbidden, match=r"requested: pods=1,requests\.cpu=1m, used: pods=2,requests\.cpu=1, limited"):
        tenant_partition.create(sized("d", "1m", "1"))
    assert used(tenant_partition) == {"pods": "2", "requests.cpu": "1", "requests.memory": "512Mi"}


def test_a_batch_is_counted_operation_by_operation(tenant_partition: Partition) -> None:
    tenant_partition.create(quota({"pods": 3}))
    results = tenant_partition.write(*(create(pod(f"p-{number}")) for number in range(5)))
    assert [result.error.reason for result in results] == ["", "", "", "Forbidden", "Forbidden"]
    assert used(tenant_partition) == {"pods": "3"}


def test_what_is_used_is_written_once_a_batch_and_in_its_commit(tenant_partition: Partition) -> None:
    tenant_partition.create(quota({"pods": 300}))
    watch = tenant_partition.watch("resourcequotas")
    tenant_partition.committer.automatic = False
    tenant_partition.server.call(
        "Write",
        pb.MutateRequest(operations=[create(pod(f"p-{number}")) for number in range(200)]).SerializeToString(),
        Caller("test"),
        lambda _: None,
    )
    tenant_partition.runtime.advance(0.1)
    assert used(tenant_partition) == {"pods": "0"}, "nothing is committed yet"
    tenant_partition.committer.automatic = True
    tenant_partition.committer.finish()
    assert used(tenant_partition) == {"pods": "200"}
    assert len(tenant_partition.list("pods").items) == 200
    assert [name for _, name, _ in watch.read()] == ["q"], "one write for two hundred pods"


def test_a_quota_knows_what_was_there_before_it(tenant_partition: Partition) -> None:
    tenant_partition.create(sized("a", "250m", gpu=500))
    tenant_partition.create(config_map("c"))
    hard = {"requests.cpu": "1", "ursa.dev/gpu-milli": 1000, "count/configmaps": 1, "configmaps": 5, "count/pods": 9}
    tenant_partition.create(quota(hard))
    assert used(tenant_partition) == {
        "requests.cpu": "250m",
        "ursa.dev/gpu-milli": "500",
        "count/configmaps": "1",
        "configmaps": "1",
        "count/pods": "1",
    }
    assert tenant_partition.get("resourcequotas", "q").status["hard"] == dict(sorted(hard.items()))
    with pytest.raises(
        Forbidden, match=r'configmaps "d" is forbidden: exceeded quota: q, requested: count/configmaps=1'
    ):
        tenant_partition.create(config_map("d"))
    with pytest.raises(Forbidden, match=r"requested: ursa.dev/gpu-milli=501, used: ursa.dev/gpu-milli=500"):
        tenant_partition.create(sized("b", "1m", gpu=501))


def test_a_finished_pod_gives_back_what_it_was_charged_but_still_is_an_object(tenant_partition: Partition) -> None:
    tenant_partition.create(quota({"pods": 1, "cpu": "1", "count/pods": 2}))
    tenant_partition.create(sized("a", "1"))
    finish(tenant_partition, "a", "Succeeded")
    assert used(tenant_partition) == {"pods": "0", "cpu": "0", "count/pods": "1"}
    tenant_partition.create(sized("b", "1"))
    with pytest.raises(Forbidden, match=r"requested: count/pods=1,cpu=1,pods=1"):
        tenant_partition.create(sized("c", "1"))
    tenant_partition.do(delete("pods", "a"))
    tenant_partition.do(delete("pods", "b"))
    assert used(tenant_partition) == {"pods": "0", "cpu": "0", "count/pods": "0"}


def test_a_pod_must_say_what_it_wants_of_what_is_limited(tenant_partition: Partition) -> None:
    tenant_partition.create(quota({"limits.memory": "1Gi", "requests.cpu": "1"}))
    with pytest.raises(Forbidden) as refused:
        tenant_partition.create(sized("a", cpu=""))
    assert str(refused.value) == (
        'pods "a" is forbidden: failed quota: q: must specify limits.memory for: main; requests.cpu for: main'
    )


def test_a_quota_may_be_for_one_class_of_pods(tenant_partition: Partition) -> None:
    tenant_partition.create(quota({"pods": 1}, "worst", scopes=["BestEffort"]))
    tenant_partition.create(quota({"pods": 1, "requests.cpu": "2"}, "rest", scopes=["NotBestEffort"]))
    tenant_partition.create(sized("a", cpu=""))
    tenant_partition.create(sized("b", cpu="1"))
    with pytest.raises(Forbidden, match="exceeded quota: worst"):
        tenant_partition.create(sized("c", cpu=""))
    with pytest.raises(Forbidden, match="exceeded quota: rest"):
        tenant_partition.create(sized("d", cpu="1"))
    assert used(tenant_partition, "worst") == {"pods": "1"}
    assert used(tenant_partition, "rest") == {"pods": "1", "requests.cpu": "1"}


def test_a_tenant_quota_is_for_all_namespaces_together(tenant_partition: Partition) -> None:
    tenant_partition.create(tenant_quota({"pods": 2, "count/namespaces": 2}))
    tenant_partition.create(pod("a"))
    tenant_partition.create(pod("b", namespace="kube-system"))
    with pytest.raises(
        Forbidden, match=r"exceeded tenant quota: all, requested: pods=1, used: pods=2, limited: pods=2"
    ):
        tenant_partition.create(pod("c"))
    with pytest.raises(Forbidden, match="count/namespaces"):
        tenant_partition.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "more", "tenant": "system"}}
        )
    status = tenant_partition.get("tenantquotas.ursa.dev", "all", namespace="").status
    assert status["used"] == {"count/namespaces": "2", "pods": "2"}


def test_another_tenants_pods_do_not_count(tenant_partition: Partition) -> None:
    tenant_partition.create(tenant_quota({"pods": 0}))
    tenant_partition.create({"apiVersion": "ursa.dev/v1", "kind": "Tenant", "metadata": {"name": "acme"}})
    tenant_partition.create(pod("a", tenant="acme"))
    with pytest.raises(Forbidden):
        tenant_partition.create(pod("a"))


def test_a_dry_run_is_checked_and_not_counted(tenant_partition: Partition) -> None:
    tenant_partition.create(quota({"pods": 1}))
    tenant_partition.do(create(pod("a"), dry_run=True))
    assert used(tenant_partition) == {"pods": "0"}
    tenant_partition.create(pod("a"))
    [result] = tenant_partition.write(create(pod("b"), dry_run=True))
    assert isinstance(from_status(result.error), Forbidden)


def test_what_somebody_else_writes_as_used_does_not_stay(tenant_partition: Partition) -> None:
    tenant_partition.create(quota({"pods": 5}))
    lie = tenant_partition.get("resourcequotas", "q").with_status({"used": {"pods": "0"}, "hard": {}})
    operation = pb.Operation(resource="resourcequotas")
    operation.update.object.CopyFrom(lie.message)
    operation.update.subresource = "status"
    tenant_partition.create(pod("a"))
    operation.update.object.metadata.resource_version = 0
    tenant_partition.do(operation)
    assert used(tenant_partition) == {"pods": "1"}


def test_every_broken_rule_of_a_quota_is_listed(tenant_partition: Partition) -> None:
    broken = quota(
        {"pod": 1, "pods": "1500m", "count/events": 1, "requests.cpu": "1", "a b": 1},
        scopes=["BestEffort", "Terminating"],
        scopeSelector={"matchExpressions": []},
    )
    with pytest.raises(Invalid) as refused:
        tenant_partition.create(broken)
    fields = [cause.field for cause in refused.value.causes]
    for field in ("pod", "pods", "count/events", "requests.cpu", "a b"):
        assert f"spec.hard[{field}]" in fields
    assert "spec.scopes[1]" in fields
    with pytest.raises(Invalid, match="must not be negative"):
        tenant_partition.create(quota({"pods": -1}))


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": ["1", "500m"]}, 1500),
        ({"containers": ["1"], "initContainers": ["2"]}, 2000),
        ({"containers": ["1"], "initContainers": ["2"], "overhead": "250m"}, 2250),
        ({"containers": ["1"], "initContainers": [("500m", "Always"), "2"]}, 2500),
        ({"containers": ["3"], "initContainers": [("500m", "Always"), "2"]}, 3500),
    ],
)
def test_a_pod_is_charged_what_it_may_hold_at_once(spec: dict[str, Any], cpu: int) -> None:
    def containers(group: str) -> list[dict[str, Any]]:
        made = []
        for number, each in enumerate(spec.get(group, ())):
            quantity, restart = each if isinstance(each, tuple) else (each, None)
            container = {"name": f"{group}-{number}", "resources": {"requests": {"cpu": quantity}}}
            made.append({**container, "restartPolicy": restart} if restart else container)
        return made

    overhead = {"overhead": {"cpu": spec["overhead"]}} if "overhead" in spec else {}
    made = {"containers": containers("containers"), "initContainers": containers("initContainers"), **overhead}
    charge = charge_of(encode(made))
    assert charge.units == {"pods": 1, "cpu": cpu, "requests.cpu": cpu}


NAMES = st.sampled_from(["a", "b", "c"])
NAMESPACES = st.sampled_from(["default", "kube-system"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), NAMES, NAMESPACES, st.sampled_from(["100m", "1", "2"])),
        st.tuples(st.just("create"), NAMES, NAMESPACES, st.sampled_from(["100m", "1", "2"])),
        st.tuples(st.just("delete"), NAMES, NAMESPACES),
        st.tuples(st.just("finish"), NAMES, NAMESPACES, st.sampled_from(["Succeeded", "Failed", "Running"])),
        st.tuples(st.just("quota"), st.integers(0, 4)),
        st.tuples(st.just("unquota")),
        st.tuples(st.just("restart")),
    ),
    min_size=15,
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(steps=STEPS, batch=st.integers(1, 4))
def test_used_is_what_the_objects_say_and_no_quota_is_passed(steps: list[Any], batch: int) -> None:
    """Take out the check, the charge of an update, or the settling, and this fails."""
    committer = HandCommitter()
    store = MemoryStore(committer, incarnation="one")
    partition = Partition(Role.TENANT, store)
    partition.create(tenant_quota({"pods": 4, "requests.cpu": "5", "count/pods": 3}))
    waiting: list[pb.Operation] = []

    def flush() -> None:
        if waiting:
            partition.write(*waiting)
            waiting.clear()

    for step in steps:
        if step[0] == "create":
            waiting.append(create(sized(step[1], step[3], namespace=step[2])))
        elif step[0] == "delete":
            waiting.append(delete("pods", step[1], step[2]))
        elif step[0] == "finish":
            operation = pb.Operation(resource="pods")
            operation.patch.target.CopyFrom(target("pods", step[1], namespace=step[2]))
            operation.patch.body = encode({"status": {"phase": step[3]}})
            operation.patch.subresource = "status"
            waiting.append(operation)
        elif step[0] == "quota":
            waiting.append(delete("resourcequotas", "q"))
            waiting.append(create(quota({"pods": step[1], "count/pods": step[1] + 1})))
        elif step[0] == "unquota":
            waiting.append(delete("resourcequotas", "q"))
        elif step[0] == "restart":
            flush()
            partition = Partition(Role.TENANT, store)
            partition.committer = committer
        if len(waiting) >= batch:
            flush()
            check_exact(partition)
    flush()
    check_exact(partition)


def check_exact(partition: Partition) -> None:
    pods = [Object(item) for item in partition.list("pods").items]
    for resource, namespaces in (
        ("resourcequotas", ["default"]),
        ("tenantquotas.ursa.dev", ["default", "kube-system"]),
    ):
        own = [each for each in pods if each.namespace in namespaces]
        live = [each for each in own if each.status.get("phase") not in ("Succeeded", "Failed")]
        cpu = sum(charge_of(each.message.spec).units.get("cpu", 0) for each in live)
        for item in partition.list(resource).items:
            found = Object(item)
            expected = {"pods": str(len(live)), "count/pods": str(len(own))}
            told = dict(found.status["used"])
            if "requests.cpu" in told:
                expected["requests.cpu"] = f"{cpu}m" if cpu % 1000 else str(cpu // 1000)
            assert told == expected
            if found.kind == "TenantQuota":
                assert len(own) <= 3
