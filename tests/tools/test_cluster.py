"""The cluster in one process: what the library promises, on a mock clock."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import ursa
from trio.testing import MockClock

from .leftovers import held

POD = {"spec": {"containers": [{"name": "main", "image": "i", "resources": {"requests": {"cpu": "100m"}}}]}}


def pod(name: str, tenant: str = "", **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "tenant": tenant, "labels": labels}, **POD}


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


def open_cluster(**options: Any) -> ursa.Cluster:
    return ursa.Cluster(**{"nodes": 4, "processes": False} | options)


def test_an_open_cluster_has_its_nodes_its_registry_and_a_tenant() -> None:
    async def main() -> None:
        async with open_cluster(tenant_partitions=2, resource_partitions=3, nodes=7) as cluster:
            counts = []
            for client in cluster.clients.resource_clients.values():
                nodes = (await client.list("nodes")).items
                assert all(node.status["conditions"][0]["status"] == "True" for node in nodes)
                counts.append(len(nodes))
            assert counts == [3, 2, 2]
            for client in [*cluster.clients.tenant_clients.values(), *cluster.clients.resource_clients.values()]:
                tenant_partitions = (await client.list("tenantpartitions.ursa.dev")).items
                resource_partitions = (await client.list("resourcepartitions.ursa.dev")).items
                assert {each.name: each.spec["address"] for each in tenant_partitions} == cluster.tenant_addresses
                assert [each.name for each in resource_partitions] == ["rp-1", "rp-2", "rp-3"]
            assert cluster.tenant_client("default").partition == "tp-1"
            assert {info.component for info in cluster.processes.values()} == {
                "apiserver",
                "scheduler",
                "controller-manager",
                "hollow-nodes",
            }

    run(main)


def test_pods_are_placed_run_and_can_be_waited_for() -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            await cluster.create_tenant("other")
            for number in range(5):
                await cluster.apply(pod(f"a{number}", app="a"))
                await cluster.apply(pod(f"b{number}", tenant="other", app="b"))
            assert len(await cluster.wait_for_pods(10)) == 10
            for running in await cluster.wait_for_pods(label_selector="app=a"):
                assert (running.tenant, running.partition) == ("default", "tp-1")
                assert running.spec["resourcePartition"] in cluster.clients.resource_clients
            assert len(await cluster.wait_for_pods(5, tenant="other", namespace="default")) == 5

    run(main)


def test_of_several_replicas_one_works() -> None:
    async def main() -> None:
        async with open_cluster(controller_replicas=2) as cluster:
            names = [name for name in cluster.processes if name.startswith(("scheduler", "controller-manager"))]
            assert len(names) == 2 * 6
            assert {cluster.processes[name].component for name in names} == {"scheduler", "controller-manager"}
            await cluster.apply(pod("a"))
            assert len(await cluster.wait_for_pods(1)) == 1
            client = cluster.clients.tenant_clients["tp-1"]
            leases = await client.list("leases.coordination.k8s.io", tenant="system", namespace="kube-system")
            assert [lease.name for lease in leases.items] == ["controller-manager-tp-1", "scheduler-tp-1"]
            assert all(lease.spec["leaseTransitions"] == 1 for lease in leases.items)

    run(main)


def test_waiting_in_vain_says_how_far_it_got_and_why() -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            await cluster.apply(pod("fits"))
            huge = pod("huge")
            huge["spec"] = {"containers": [{"name": "m", "image": "i", "resources": {"requests": {"cpu": "400"}}}]}
            await cluster.apply(huge)
            with pytest.raises(
                ursa.WaitTimeout, match=r"not all pods are Running after 5 s: 1 Pending, 1 Running; .*huge"
            ):
                await cluster.wait_for_pods(timeout_seconds=5)
            with pytest.raises(ursa.WaitTimeout, match="not all pods are Running after 1 s: there are none"):
                await cluster.wait_for_pods(label_selector="app=none", timeout_seconds=1)

    run(main)


def test_tenants_go_to_the_least_loaded_partition_and_live_in_one() -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            # "default" is in tp-1 already.
            assert [await cluster.create_tenant(name) for name in ("a", "b", "c")] == ["tp-2", "tp-1", "tp-2"]
            assert await cluster.create_tenant("d", "tp-2") == "tp-2"
            assert await cluster.create_tenant("e") == "tp-1"
            assert cluster.tenant_client("a").partition == "tp-2"
            with pytest.raises(ursa.AlreadyExists, match="tenant 'a' exists already, in tp-2"):
                await cluster.create_tenant("a", "tp-1")
            with pytest.raises(ursa.NotFound, match="no tenant partition 'tp-9'; known are tp-1, tp-2"):
                await cluster.create_tenant("f", "tp-9")
            with pytest.raises(ursa.NotFound, match="no tenant 'nobody'"):
                cluster.tenant_client("nobody")
            with pytest.raises(ursa.Invalid):
                await cluster.create_tenant("Not A Label")

    run(main)


def test_apply_creates_then_changes_and_takes_files(tmp_path: Path) -> None:
    manifests = tmp_path / "both.yaml"
    manifests.write_text(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: b}}\n---\n"
        "{apiVersion: ursa.dev/v1, kind: Tenant, metadata: {name: t}}\n"
    )

    async def main() -> None:
        async with open_cluster() as cluster:
            created = await cluster.apply(pod("p"))
            labelled = pod("p")
            labelled["metadata"]["labels"] = {"a": "b"}
            changed = await cluster.apply(labelled)
            assert changed.uid == created.uid
            assert dict(changed.labels) == {"a": "b"}
            assert not (await cluster.apply(pod("p"))).labels
            config, tenant = await cluster.apply(manifests)
            assert config.rest["data"] == {"a": "b"}
            assert (tenant.name, tenant.partition) == ("t", "tp-2")
            labelled = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0002", "labels": {"zone": "z"}}}
            assert (await cluster.apply(labelled)).partition == "rp-2"
            with pytest.raises(ursa.ApiError, match="there is no kind 'Gadget'"):
                await cluster.apply({"apiVersion": "v1", "kind": "Gadget", "metadata": {"name": "g"}})
            with pytest.raises(ursa.NotFound, match="no tenant 'nobody'"):
                await cluster.apply(pod("p", tenant="nobody"))
            with pytest.raises(ursa.InputError, match="cannot be read"):
                await cluster.apply(tmp_path / "none.yaml")

    run(main)


def test_nodes_come_and_go() -> None:
    async def main() -> None:
        async with open_cluster(nodes=3) as cluster:
            for wanted in (5, 1, 0, 2):
                await cluster.scale_nodes(wanted)
                assert await node_names(cluster) == [f"node-{number:04d}" for number in range(1, wanted + 1)]
                assert len(cluster.nodes) == wanted

    run(main)


async def node_names(cluster: ursa.Cluster) -> list[str]:
    lists = [await client.list("nodes") for client in cluster.clients.resource_clients.values()]
    return sorted(node.name for items in lists for node in items.items)


def test_what_the_block_raises_comes_out_as_it_was() -> None:
    async def main() -> None:
        with pytest.raises(KeyError, match="mine"):
            async with open_cluster():
                raise KeyError("mine")
        with trio.move_on_after(1) as scope:
            async with open_cluster():
                await trio.sleep_forever()
        assert scope.cancelled_caught

    run(main)


def test_a_part_that_fails_ends_the_block_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: object) -> None:
        await trio.sleep(5)
        raise ZeroDivisionError("a bug in the scheduler")

    monkeypatch.setattr("ursa.clients.scheduler.Scheduler.run", fail)

    async def main() -> None:
        with pytest.raises(ZeroDivisionError, match="a bug in the scheduler"):
            async with open_cluster(tenant_partitions=1):
                await trio.sleep_forever()

    run(main)


def test_a_cluster_is_used_inside_its_block_and_closes_once() -> None:
    async def main() -> None:
        cluster = open_cluster()
        with pytest.raises(ursa.UrsaError, match="not open: use it inside its `with` block"):
            _ = cluster.clients
        async with cluster:
            await cluster.aclose()
            await cluster.aclose()
            with pytest.raises(ursa.UrsaError, match="not open"):
                await cluster.wait_for_pods(1)
        with pytest.raises(ursa.UrsaError, match="opened before"):
            await cluster.__aenter__()

    run(main)


def test_a_data_directory_is_continued(tmp_path: Path) -> None:
    async def first() -> None:
        async with open_cluster(data_dir=tmp_path) as cluster:
            await cluster.create_tenant("kept")
            await cluster.apply(pod("before", tenant="kept"))
            await cluster.wait_for_pods(1)

    async def second() -> None:
        async with open_cluster(data_dir=tmp_path) as cluster:
            assert cluster.tenant_client("kept").partition == "tp-2"
            await cluster.apply(pod("after", tenant="kept"))
            pods = await cluster.wait_for_pods(2, tenant="kept")
            # One seed, and still no UID comes twice.
            assert len({each.uid for each in pods}) == 2

    run(first)
    run(second)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"nodes": -1}, "-1 nodes"),
        ({"controller_replicas": 0}, "0 replicas"),
        ({"tenant_partitions": 0}, "at least one tenant partition"),
        ({"name": "x"}, "cannot be found from outside"),
        ({"processes": True, "latency_seconds": (0.1, 0.2)}, "links in memory"),
    ],
)
def test_arguments_that_contradict_one_another_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ursa.InputError, match=complaint):
        open_cluster(**options)


def test_a_part_of_a_process_cannot_be_killed() -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            with pytest.raises(ursa.UrsaError, match="tp-1 is no process of its own"):
                cluster.kill("tp-1")

    run(main)


# ------------------------------------------------------------------------------------------------- the blocking face


def test_the_blocking_face_has_the_same_methods() -> None:
    with open_cluster() as cluster:
        assert cluster.create_tenant("a") == "tp-2"
        cluster.apply(pod("p", tenant="a"))
        (running,) = cluster.wait_for_pods(1)
        assert cluster.tenant_client("a").get("pods", running.key).uid == running.uid
        assert len(cluster.clients.tenant_clients["tp-2"].list("pods").items) == 1
        cluster.scale_nodes(2)
        assert len(cluster.nodes) == 2
        assert "scheduler-tp-1" in cluster.processes
        assert cluster.usage()["this-process"].cpu_seconds >= 0
        with pytest.raises(ursa.NotFound):
            cluster.tenant_client("nobody")


def test_the_blocking_face_raises_what_the_cluster_raises(tmp_path: Path) -> None:
    (tmp_path / "tp-1").write_text("in the way")
    with pytest.raises((ursa.UrsaError, OSError)), open_cluster(data_dir=tmp_path):
        pytest.fail("it opened")
    with pytest.raises(KeyError, match="mine"), open_cluster():
        raise KeyError("mine")
    with open_cluster() as cluster:
        cluster.close()
        cluster.close()
        with pytest.raises(ursa.UrsaError, match="not open"):
            cluster.wait_for_pods(1)


# ------------------------------------------------------------------------------------------------------------- leaks


def test_a_hundred_rounds_leave_nothing_behind() -> None:
    async def one_round() -> None:
        async with open_cluster(tenant_partitions=1, resource_partitions=1, nodes=1):
            pass

    def blocking_round() -> None:
        with open_cluster(tenant_partitions=1, resource_partitions=1, nodes=1):
            pass

    for opened in (lambda: run(one_round), blocking_round):
        opened()
        before = held()
        for _ in range(50):
            opened()
        assert held().left_by(before) == ""
