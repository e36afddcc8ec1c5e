"""A scheduler of one's own in a simulated cluster: where does it break?

    python examples/own_scheduler.py

This one binds each pod to the node with the fewest pods of its own tenants, and asks nobody: it claims no room from the
ledger of the node's partition, as the ancestors of Ursa did not. Two such schedulers do not see each other. On small
nodes they bind pods where there is no room, kubelets refuse them, and the cluster does not come to rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import trio
import ursa
from ursa.clients.actor import Actor
from ursa.tools.simulation import Knobs


class FewestPods:
    """A part of a cluster is an object with `run` and `ready`, made of clients and an actor."""

    def __init__(self, clients: ursa.ClientSet, actor: Actor) -> None:
        self._clients = clients
        self._home = actor.name.removeprefix("scheduler-").partition("#")[0]

    def ready(self) -> Mapping[str, bool]:
        return {}

    async def run(self) -> None:
        while True:
            await trio.sleep(0.5)
            try:
                await self._schedule()
            except (ursa.ApiError, ursa.LinkError):
                continue  # Something is down; the next round will show.

    async def _schedule(self) -> None:
        client = self._clients.tenant_clients[self._home]
        pods = (await client.list("pods")).items
        load = Counter(dict.fromkeys(await self._nodes(), 0))
        load.update((pod.spec["resourcePartition"], pod.spec["nodeName"]) for pod in pods if pod.spec.get("nodeName"))
        for pod in pods:
            if not pod.spec.get("nodeName") and not pod.deletion_ms:
                (partition, node), _ = min(load.items(), key=lambda item: (item[1], item[0]))
                await client.bind(pod.key, uid=pod.uid, resource_partition=partition, node=node)
                load[partition, node] += 1

    async def _nodes(self) -> list[tuple[str, str]]:
        found = []
        for partition, client in self._clients.resource_clients.items():
            found += [(partition, node.name) for node in (await client.list("nodes")).items]
        return found


def main() -> None:
    plan = ursa.draw_plan(1, ursa.Swarm(seconds=30.0, workload=("workloads",), faults=()))
    plan = plan.with_(knobs=Knobs(node_cpu="500m"))
    own = {f"scheduler-{name}": FewestPods for name in plan.topology.tenant_names}
    for what, components in (("Ursa's own schedulers", None), ("schedulers that claim nothing", own)):
        outcome = ursa.simulate(plan, components=components)
        print(f"{what}: broken promises: {len(outcome.violations)}")
        for violation in outcome.violations[:3]:
            print(f"  {violation}")


if __name__ == "__main__":
    main()
