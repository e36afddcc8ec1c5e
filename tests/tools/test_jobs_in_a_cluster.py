"""Jobs from a manifest to their end, on hollow nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
import ursa
from ursa.proto.objects import Object, ObjectKey

from .test_cluster import open_cluster, run

EXAMPLE = Path(__file__).parents[2] / "examples/jobs.yaml"


async def found(cluster: ursa.Cluster, resource: str, name: str) -> Object:
    return await cluster.tenant_client("default").get(resource, ObjectKey("default", "default", name))


def job(name: str, exit_code: int, restart: str, **spec: Any) -> dict[str, Any]:
    annotations = {"ursa.dev/run-seconds": "1", "ursa.dev/exit-code": str(exit_code)}
    template = {
        "metadata": {"annotations": annotations},
        "spec": {"containers": [{"name": "main", "image": "i"}], "restartPolicy": restart},
    }
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template, **spec}}


def reason_of(job: Object, kind: str) -> str:
    return next((each["reason"] for each in job.status.get("conditions", ()) if each["type"] == kind), "")


def test_the_jobs_of_the_example_run() -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            await cluster.apply(EXAMPLE)
            await trio.sleep(20)
            squares = await found(cluster, "jobs.batch", "squares")
            assert reason_of(squares, "Complete") == "CompletionsReached"
            assert (squares.status["completedIndexes"], squares.status["succeeded"]) == ("0-7", 8)
            await trio.sleep(600)
            report = await found(cluster, "cronjobs.batch", "report")
            assert "lastSuccessfulTime" in report.status
            jobs = (await cluster.tenant_client("default").list("jobs.batch")).items
            assert len([each for each in jobs if each.controller is not None]) == 2

    run(main)


def test_pods_that_fail_are_replaced_or_restart_until_the_job_has_failed() -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            await cluster.apply(job("replaced", 1, "Never", backoffLimit=1))
            await cluster.apply(job("restarted", 1, "OnFailure", backoffLimit=2))
            await trio.sleep(120)
            for name, failed in (("replaced", 2), ("restarted", 1)):
                ended = await found(cluster, "jobs.batch", name)
                assert reason_of(ended, "Failed") == "BackoffLimitExceeded"
                assert (ended.status["failed"], ended.status["succeeded"]) == (failed, 0)
            assert len((await cluster.tenant_client("default").list("pods")).items) == 2

    run(main)
