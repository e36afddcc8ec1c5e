"""Two custom kinds, SparkApplication and Workflow, with their controllers, in one program. Run it with `python`."""

from pathlib import Path

import trio
import ursa
from controller import SPARK_APPLICATIONS, WORKFLOWS, key_of, run_controllers

HERE = Path(__file__).parent
WAIT_SECONDS = 30
POLL_SECONDS = 0.1
PODS_OF_PI = 3


async def status_when(
    tenant_client: ursa.PartitionClient, resource: str, name: str, done: dict[str, object]
) -> dict[str, object]:
    """The status of an object, once it is as it should be."""
    while (await tenant_client.get(resource, key_of(name))).status != done:  # noqa: ASYNC110
        await trio.sleep(POLL_SECONDS)
    return done


async def main() -> None:
    async with (
        ursa.Cluster(resource_partitions=2, nodes=10, processes=False) as cluster,
        trio.open_nursery() as nursery,
    ):
        await cluster.apply(HERE)
        tenant_client = cluster.tenant_client("default")
        nursery.start_soon(run_controllers, tenant_client)
        await cluster.apply(HERE / "objects")
        await cluster.wait_for_pods(7, timeout_seconds=WAIT_SECONDS)
        with trio.fail_after(WAIT_SECONDS):
            for resource, name, done in (
                (SPARK_APPLICATIONS, "pi", {"applicationState": "Running", "executors": 2}),
                (WORKFLOWS, "diamond", {"phase": "AllStarted", "started": 4}),
            ):
                print(resource, name, await status_when(tenant_client, resource, name, done))
            await tenant_client.delete(WORKFLOWS, key_of("diamond"))
            while len((await tenant_client.list("pods", tenant="default")).items) > PODS_OF_PI:  # noqa: ASYNC110
                await trio.sleep(POLL_SECONDS)
        print("the workflow is gone, and its pods with it")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
