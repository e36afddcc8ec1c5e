"""CronJobs under the real managers, against real apiservers."""

from __future__ import annotations

from typing import Any

import trio
from ursa.clients.controllers import TenantControllerManager
from ursa.clients.controllers.cronjob_core import scheduled_ms
from ursa.clients.informer import Event, EventType, Informer
from ursa.proto.objects import Object, parse_time

from .region import Region, actor, key, manifest, node, open_region, run
from .test_job import conditions_of, job, kubelet, manager

RESOURCE, JOBS = "cronjobs.batch", "jobs.batch"


def cron_job(name: str, exit_code: str = "0", **spec: Any) -> Object:
    fields = {"schedule": "* * * * *", "jobTemplate": {"spec": job("x", exit_code).spec}, **spec}
    return manifest("CronJob", name, api_version="batch/v1", spec=fields)


async def jobs(region: Region) -> list[Object]:
    return (await region.tenant_client().list(JOBS)).items


def test_a_cron_job_runs_each_minute_and_keeps_the_last_few() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            created = await client.create(cron_job("tick", successfulJobsHistoryLimit=2))
            seen: dict[str, int] = {}
            for _ in range(70):
                await trio.sleep(5)
                seen |= {each.name: scheduled_ms(each) for each in await jobs(region)}
            first_ms = created.creation_ms // 60_000 * 60_000 + 60_000
            assert list(seen.values()) == [first_ms + 60_000 * number for number in range(len(seen))]
            assert len(seen) >= 5
            kept = await jobs(region)
            assert len(kept) == 2
            assert all("Complete" in conditions_of(each) for each in kept)
            assert len(await region.pods()) == 2
            status = (await client.get(RESOURCE, key("tick"))).status
            assert parse_time(status["lastScheduleTime"]) == max(seen.values())
            assert "active" not in status

    run(main)


def test_no_time_is_started_twice_though_jobs_go_at_once_and_controllers_die() -> None:
    async def main() -> None:
        async with open_region() as region:
            client = region.tenant_client()
            await region.resource_client().create(node("n1"))
            created: list[str] = []

            def note(event: Event) -> None:
                if event.type is EventType.ADDED:
                    created.append(event.object.name)

            watching = Informer(client, JOBS)
            watching.add_handler(note)
            await client.create(cron_job("tick", jobTemplate={"spec": {**job("x").spec, "ttlSecondsAfterFinished": 0}}))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watching.run)
                nursery.start_soon(kubelet, region)
                for life in range(10):
                    with trio.move_on_after(40):
                        await TenantControllerManager(region.clients, "tp-1", actor(seed=life)).run()
                    region.links["tp-1"].cut()
                    await trio.sleep(1)
                    region.links["tp-1"].heal()
                nursery.cancel_scope.cancel()
            assert len(created) >= 6
            assert len(dict.fromkeys(created)) == len(created)

    run(main)


def test_a_deleted_cron_job_takes_its_jobs_and_their_pods_with_it() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            await client.create(cron_job("tick"))
            await trio.sleep(130)
            assert len(await jobs(region)) >= 2
            await client.delete(RESOURCE, key("tick"))
            await trio.sleep(60)
            assert await jobs(region) == []
            assert await region.pods() == []

    run(main)


def test_what_could_not_be_started_is_told() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            await client.create(manifest("ResourceQuota", "quota", spec={"hard": {"count/jobs.batch": 0}}))
            await client.create(cron_job("tick"))
            await trio.sleep(70)
            events = (await client.list("events")).items
            assert {(each.rest["reason"], each.rest["involvedObject"]["kind"]) for each in events} == {
                ("FailedCreate", "CronJob")
            }

    run(main)
