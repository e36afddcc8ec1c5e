"""What a PodDisruptionBudget can spare, as its pods come, run and go; and evictions against it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from ursa.clients.controllers.managers import TenantControllerManager
from ursa.clients.controllers.scale_questions import ScaleQuestions
from ursa.clients.controllers.scales import Controller
from ursa.proto.errors import TooManyRequests
from ursa.proto.objects import Object

from .region import Region, actor, key, manifest, node, open_region, pod_template, replicaset, run

BUDGETS = "poddisruptionbudgets.policy"
SOON = 2.0
TIMEOUT = 120.0


@asynccontextmanager
async def managed() -> AsyncIterator[Region]:
    """A region with a node and the controllers of its tenant partition."""
    async with open_region() as region, trio.open_nursery() as nursery:
        await region.resource_client().create(node("n1"))
        nursery.start_soon(TenantControllerManager(region.clients, "tp-1", actor()).run)
        yield region
        nursery.cancel_scope.cancel()


def budget(**spec: Any) -> Object:
    selector = {"matchLabels": {"app": "web"}}
    return manifest("PodDisruptionBudget", "b", api_version="policy/v1", spec={"selector": selector, **spec})


def widgets() -> Object:
    """The definition of a custom kind that has a scale."""
    replicas = {"type": "object", "properties": {"size": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"spec": replicas, "status": replicas}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
        },
    }
    names = {"kind": "Widget", "plural": "widgets"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    metadata = {"name": "widgets.example.com"}
    api_version = "apiextensions.k8s.io/v1"
    return Object.from_dict(
        {"apiVersion": api_version, "kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec}
    )


async def pods_of(region: Region, owner: Object, count: int) -> None:
    reference = {"apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid}
    for number in range(count):
        of_pod = {"labels": {"app": "web"}, "ownerReferences": [{**reference, "controller": True}]}
        await region.tenant_client().create(manifest("Pod", f"p{number}", spec=pod_template()["spec"], metadata=of_pod))
    await region.run_all_pods()


def test_controllers_of_custom_kinds_are_asked_by_their_scale_what_they_want() -> None:
    async def main() -> None:
        async with managed() as region:
            await region.tenant_client().create(widgets())
            made = manifest("Widget", "w", api_version="example.com/v1", spec={"size": 6})
            owner = await region.tenant_client().create(made)
            await pods_of(region, owner, 4)
            await started(region, budget(minAvailable="50%"), running=False)
            assert await counts(region) == (1, 4, 3, 6)
            await region.tenant_client().scale("widgets.example.com", owner.key, 4)
            await trio.sleep(20)
            assert await counts(region) == (2, 4, 2, 4)

    run(main)


def test_of_pods_whose_controller_cannot_be_asked_nothing_is_spared_in_shares() -> None:
    async def main() -> None:
        async with managed() as region:
            nobody = Object.from_dict(
                {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "w", "uid": "u"}}
            )
            await pods_of(region, nobody, 4)
            await started(region, budget(minAvailable="50%"), running=False)
            assert await condition(region) == ("False", "SyncFailed")
            assert (await region.tenant_client().get(BUDGETS, key("b"))).status["disruptionsAllowed"] == 0

    run(main)


def test_why_a_controller_cannot_say_what_it_wants_is_told() -> None:
    async def main() -> None:
        async with open_region() as region:
            await region.tenant_client().create(widgets())
            made = manifest("Widget", "w", api_version="example.com/v1", spec={"size": 4})
            owner = await region.tenant_client().create(made)
            plain = widgets().to_dict()
            plain["metadata"] = {"name": "boxes.example.com"}
            plain["spec"]["names"] = {"kind": "Box", "plural": "boxes"}
            del plain["spec"]["versions"][0]["subresources"]
            await region.tenant_client().create(Object.from_dict(plain))
            asked = {
                Controller("Widget", "w", owner.uid, "example.com/v1"): 4,
                Controller("Widget", "w", "another", "example.com/v1"): "there is another of its name",
                Controller("Widget", "gone", "u", "example.com/v1"): "it is gone",
                Controller("Box", "w", "u", "example.com/v1"): "the kind has no scale",
                Controller("Gadget", "w", "u", "example.com/v1"): "there is no such kind",
            }
            told = await ScaleQuestions(region.tenant_client()).ask(owner.key, list(asked))
            for controller, said in asked.items():
                found = told[controller]
                assert found == said if isinstance(said, int) else str(found).endswith(said)

    run(main)


def deployment(replicas: int) -> Object:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": pod_template()}
    return manifest("Deployment", "web", api_version="apps/v1", spec=spec)


async def counts(region: Region) -> tuple[int, int, int, int]:
    """Allowed, current, desired, expected."""
    status = (await region.tenant_client().get(BUDGETS, key("b"))).status
    fields = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    return tuple(status[each] for each in fields)  # type: ignore[return-value]


async def condition(region: Region) -> tuple[str, str]:
    [found] = (await region.tenant_client().get(BUDGETS, key("b"))).status["conditions"]
    return found["status"], found["reason"]


async def started(region: Region, *objects: Object, running: bool = True) -> None:
    for obj in objects:
        await region.tenant_client().create(obj)
    await trio.sleep(SOON)
    if running:
        await region.run_all_pods()
        await trio.sleep(SOON)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minAvailable": 3}, (2, 5, 3, 5)),
        ({"minAvailable": 7}, (0, 5, 7, 5)),
        ({"minAvailable": "50%"}, (2, 5, 3, 5)),
        ({"maxUnavailable": 1}, (1, 5, 4, 5)),
        ({"maxUnavailable": "30%"}, (2, 5, 3, 5)),
        ({"maxUnavailable": 0}, (0, 5, 5, 5)),
        ({"maxUnavailable": "100%"}, (5, 5, 0, 5)),
    ],
    ids=str,
)
def test_limits_are_numbers_or_shares_of_what_the_controllers_want(
    spec: dict[str, Any], expected: tuple[int, int, int, int]
) -> None:
    async def main() -> None:
        async with managed() as region:
            await started(region, replicaset("r", 5), budget(**spec))
            assert await counts(region) == expected
            assert await condition(region) == (
                ("True", "SufficientPods") if expected[0] else ("False", "InsufficientPods")
            )

    run(main)


def test_pods_that_are_not_ready_are_not_healthy() -> None:
    async def main() -> None:
        async with managed() as region:
            await started(region, replicaset("r", 3), budget(minAvailable=1), running=False)
            assert await counts(region) == (0, 0, 1, 3)
            await region.run_all_pods()
            await trio.sleep(SOON)
            assert await counts(region) == (2, 3, 1, 3)
            first = (await region.pods())[0]
            await region.set_status(first, phase="Running", conditions=[{"type": "Ready", "status": "False"}])
            await trio.sleep(SOON)
            assert await counts(region) == (1, 2, 1, 3)

    run(main)


def test_a_deployment_is_counted_once_whatever_its_replicasets_and_a_new_scale_at_once() -> None:
    async def main() -> None:
        async with managed() as region:
            await started(region, deployment(4), budget(maxUnavailable="25%"))
            assert await counts(region) == (1, 4, 3, 4)
            await region.tenant_client().scale("deployments.apps", key("web"), 8)
            await trio.sleep(SOON)
            assert await counts(region) == (0, 4, 6, 8)
            await region.run_all_pods()
            await trio.sleep(SOON)
            assert await counts(region) == (2, 8, 6, 8)

    run(main)


def test_a_changed_budget_is_worked_out_anew_also_where_it_selects_others() -> None:
    async def main() -> None:
        async with managed() as region:
            await started(region, replicaset("r", 3), budget(minAvailable=1))
            client = region.tenant_client()
            await client.patch(BUDGETS, key("b"), {"spec": {"minAvailable": 3}})
            await trio.sleep(SOON)
            assert await counts(region) == (0, 3, 3, 3)
            await client.patch(BUDGETS, key("b"), {"spec": {"selector": {"matchLabels": {"app": "db"}}}})
            await trio.sleep(SOON)
            assert await counts(region) == (0, 0, 3, 0)
            found = await client.get(BUDGETS, key("b"))
            assert found.status["observedGeneration"] == found.generation == 3

    run(main)


def test_pods_of_a_controller_that_is_not_known_make_a_budget_of_shares_spare_nothing() -> None:
    async def main() -> None:
        async with managed() as region:
            owner = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "u", "controller": True}
            metadata = {"labels": {"app": "web"}, "ownerReferences": [owner]}
            owned = manifest("Pod", "a", metadata=metadata, spec=pod_template()["spec"])
            await started(region, owned, budget(maxUnavailable=1))
            assert await condition(region) == ("False", "SyncFailed")
            with pytest.raises(TooManyRequests):
                await region.tenant_client().evict(key("a"))

    run(main)


def test_pods_that_nobody_controls_are_nobodys_share_and_a_budget_of_shares_spares_none_of_them() -> None:
    async def main() -> None:
        async with managed() as region:
            metadata = {"labels": {"app": "web"}}
            bare = [manifest("Pod", name, metadata=metadata, spec=pod_template()["spec"]) for name in ("a", "b")]
            await started(region, *bare, budget(maxUnavailable=1))
            assert await counts(region) == (0, 2, 0, 0)

    run(main)


def test_evictions_at_once_take_no_more_than_the_budget_has_and_a_new_pod_gives_it_back() -> None:
    async def main() -> None:
        async with managed() as region:
            await started(region, replicaset("r", 5), budget(maxUnavailable=2))
            pods = await region.pods()
            evicted: list[str] = []

            async def evict(pod: Object) -> None:
                try:
                    await region.tenant_client().evict(pod.key)
                except TooManyRequests:
                    return
                evicted.append(pod.name)

            async with trio.open_nursery() as nursery:
                for pod in pods:
                    nursery.start_soon(evict, pod)
            assert len(evicted) == 2
            await trio.sleep(SOON)
            assert await counts(region) == (0, 3, 3, 5)
            assert "disruptedPods" not in (await region.tenant_client().get(BUDGETS, key("b"))).status
            await region.confirm_deletions()
            await trio.sleep(SOON)
            await region.run_all_pods()
            await trio.sleep(SOON)
            assert await counts(region) == (2, 5, 3, 5)
            assert "disruptedPods" not in (await region.tenant_client().get(BUDGETS, key("b"))).status

    run(main)


def test_an_eviction_that_nobody_carried_out_is_given_up_after_two_minutes() -> None:
    async def main() -> None:
        async with managed() as region:
            await started(region, replicaset("r", 3), budget(maxUnavailable=1))
            client = region.tenant_client()
            found = await client.get(BUDGETS, key("b"))
            name = (await region.pods())[0].name
            now = found.status["conditions"][0]["lastTransitionTime"]
            paid = {**found.status, "disruptionsAllowed": 0, "disruptedPods": {name: now}}
            await client.update_status(found.with_status(paid))
            await trio.sleep(TIMEOUT / 2)
            assert await counts(region) == (0, 2, 2, 3)
            await trio.sleep(TIMEOUT)
            assert await counts(region) == (1, 3, 2, 3)
            assert "disruptedPods" not in (await client.get(BUDGETS, key("b"))).status

    run(main)
