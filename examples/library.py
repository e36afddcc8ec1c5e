"""A cluster inside this program: three pods of a web server, on two resource partitions. Run it with `python`."""

import trio
import ursa


async def main() -> None:
    async with ursa.Cluster(tenant_partitions=2, resource_partitions=2, nodes=10, processes=False) as cluster:
        await cluster.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {"name": "web"},
                "spec": {
                    "replicas": 3,
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{"name": "web", "image": "example.com/web:1"}]},
                    },
                },
            }
        )
        for pod in await cluster.wait_for_pods(3, label_selector="app=web"):
            print(pod.name, "runs on", pod.spec["nodeName"], "of", pod.spec["resourcePartition"])


if __name__ == "__main__":
    trio.run(main)
