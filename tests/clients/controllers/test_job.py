"""Jobs under the real managers, against real apiservers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
from ursa.clients.controllers import TenantControllerManager
from ursa.proto.batch import TRACKING_FINALIZER
from ursa.proto.errors import ApiError
from ursa.proto.objects import Object

from .region import Region, actor, key, manifest, node, open_region, run

RESOURCE = "jobs.batch"


@asynccontextmanager
async def manager(region: Region) -> AsyncIterator[TenantControllerManager]:
    """The controllers of tp-1, and a kubelet that confirms what is being deleted."""
    await region.resource_client().create(node("n1"))
    this = TenantControllerManager(region.clients, "tp-1", actor())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(this.run)
        nursery.start_soon(kubelet, region)
        yield this
        nursery.cancel_scope.cancel()


async def kubelet(region: Region) -> None:
    """A pod runs for a second, and ends as its `ursa.dev/exit-code` says."""
    while True:
        await trio.sleep(1)
        with suppress(ApiError):  # It is going, or has gone meanwhile.
            for pod in await region.pods():
                if not pod.deletion_ms and pod.status.get("phase") == "Running":
                    code = pod.annotations.get("ursa.dev/exit-code", "0")
                    await region.set_status(pod, phase="Succeeded" if code == "0" else "Failed")
            await region.run_all_pods()
            await region.confirm_deletions()


def job(name: str, exit_code: str = "0", **spec: Any) -> Object:
    template = {
        "metadata": {"annotations": {"ursa.dev/exit-code": exit_code}},
        "spec": {"containers": [{"name": "c", "image": "app:1"}], "restartPolicy": "Never"},
    }
    return manifest("Job", name, api_version="batch/v1", spec={"template": template, **spec})


def conditions_of(job: Object) -> dict[str, str]:
    return {each["type"]: each["reason"] for each in job.status.get("conditions", ()) if each["status"] == "True"}


def test_a_job_runs_to_its_end_and_its_pods_are_counted() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region) as this:
            client = region.tenant_client()
            created = await client.create(job("work", completions=5, parallelism=2))
            for _ in range(100):
                await trio.sleep(0.1)
                active = [pod for pod in await region.pods() if pod.status["phase"] not in ("Succeeded", "Failed")]
                assert len(active) <= 2
            done = await client.get(RESOURCE, key("work"))
            assert conditions_of(done) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
            assert (done.status["succeeded"], done.status["failed"], done.status["active"]) == (5, 0, 0)
            assert "uncountedTerminatedPods" not in done.status
            assert done.status["startTime"] < done.status["completionTime"]
            pods = await region.pods(label_selector=f"batch.kubernetes.io/controller-uid={created.uid}")
            assert len(pods) == 5
            assert not any(TRACKING_FINALIZER in pod.finalizers for pod in pods)
            assert all(this.ready().values())

    run(main)


def test_pods_that_fail_are_tried_again_and_the_job_fails_in_the_end() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            await client.create(job("work", exit_code="1", backoffLimit=2))
            await trio.sleep(20)
            assert conditions_of(await client.get(RESOURCE, key("work"))) == {}
            await trio.sleep(60)
            failed = await client.get(RESOURCE, key("work"))
            assert conditions_of(failed)["Failed"] == "BackoffLimitExceeded"
            assert (failed.status["failed"], len(await region.pods())) == (3, 3)

    run(main)


def test_each_pod_is_counted_once_over_lost_links_and_lives_of_the_controller() -> None:
    async def main() -> None:
        async with open_region() as region:
            client = region.tenant_client()
            await region.resource_client().create(node("n1"))
            await client.create(job("work", completions=30, parallelism=4))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kubelet, region)
                for life in range(12):
                    with trio.move_on_after(3 + life % 3):
                        await TenantControllerManager(region.clients, "tp-1", actor(seed=life)).run()
                    region.links["tp-1"].cut()
                    await trio.sleep(0.3)
                    region.links["tp-1"].heal()
                with trio.move_on_after(60):
                    await TenantControllerManager(region.clients, "tp-1", actor()).run()
                nursery.cancel_scope.cancel()
            done = await client.get(RESOURCE, key("work"))
            pods = await region.pods()
            assert "Complete" in conditions_of(done)
            assert done.status["succeeded"] == len(pods) == 30

    run(main)


def test_a_deleted_job_takes_its_pods_with_it_however_it_is_deleted() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            for policy in ("Background", "Foreground"):
                await client.create(job("work", completions=9, parallelism=3))
                await trio.sleep(1.5)
                assert len(await region.pods()) == 3
                await client.delete(RESOURCE, key("work"), propagation=policy)
                await trio.sleep(30)
                assert await region.pods() == []
                assert not await region.exists(client, RESOURCE, key("work"))

    run(main)


def test_the_pods_of_a_job_that_is_deleted_without_them_are_let_go() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            await client.create(job("work", completions=9, parallelism=3))
            await trio.sleep(1.5)
            await client.delete(RESOURCE, key("work"), propagation="Orphan")
            await trio.sleep(30)
            pods = await region.pods()
            assert len(pods) == 3
            assert not any(pod.finalizers or pod.owner_references for pod in pods)

    run(main)


def test_a_namespace_goes_with_its_jobs() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            await client.create(manifest("Namespace", "team", namespace=""))
            await client.create(
                manifest("Job", "work", api_version="batch/v1", namespace="team", spec=job("x", completions=4).spec)
            )
            await trio.sleep(2)
            assert len(await region.pods()) == 1
            await client.delete("namespaces", key("team", namespace=""))
            await trio.sleep(60)
            assert await region.pods() == []
            assert not await region.exists(client, "namespaces", key("team", namespace=""))

    run(main)


def test_a_job_that_has_ended_and_its_pods_go_when_their_time_is_over() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            await client.create(job("work", ttlSecondsAfterFinished=100))
            await client.create(job("stays"))
            await trio.sleep(90)
            assert "Complete" in conditions_of(await client.get(RESOURCE, key("work")))
            await trio.sleep(30)
            assert not await region.exists(client, RESOURCE, key("work"))
            assert [pod.labels["job-name"] for pod in await region.pods()] == ["stays"]

    run(main)


def test_pods_that_a_quota_refuses_are_told_of_and_made_when_there_is_room() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            await client.create(manifest("ResourceQuota", "quota", spec={"hard": {"pods": 2}}))
            await client.create(job("work", completions=4, parallelism=4))
            await trio.sleep(0.9)
            assert len(await region.pods()) == 2
            await trio.sleep(1)
            events = [each.rest["reason"] for each in (await client.list("events")).items]
            assert "FailedCreate" in events
            await client.delete("resourcequotas", key("quota"))
            await trio.sleep(30)
            assert "Complete" in conditions_of(await client.get(RESOURCE, key("work")))

    run(main)


def test_a_job_that_has_ended_or_waits_writes_nothing() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            await region.tenant_client().create(job("work"))
            await region.tenant_client().create(job("waits", suspend=True))
            await trio.sleep(30)
            messages = len(region.trace)
            await trio.sleep(300)
            assert not [line for line in region.trace[messages:] if " Mutate > " in line]

    run(main)
