"""What the partitions hold at the end of a run: fresh lists, and the figures counted from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from ...clients.client import ClientSet, PartitionClient
from ...clients.nurseries import run_all
from ...proto.objects import Object
from ..report.observations import PlacementCounts, PodCounts
from .checks import Overcommitment, overcommitted_nodes, placed_by_binding, placed_by_ledger

PODS = "pods"
REPLICA_SETS = "replicasets.apps"
EVENTS = "events"
NODES = "nodes"
PLACEMENTS = "placements.ursa.dev"

FAILED_SCHEDULING = "reason=FailedScheduling"

_TENANT_LISTS = {PODS: "", REPLICA_SETS: "", EVENTS: FAILED_SCHEDULING}
_RESOURCE_LISTS = {NODES: "", PLACEMENTS: ""}


@dataclass
class Survey:
    """Objects by resource, over all partitions; and the revision at which each resource partition was last listed."""

    objects: dict[str, list[Object]] = field(
        default_factory=lambda: {name: [] for name in (*_TENANT_LISTS, *_RESOURCE_LISTS)}
    )
    revisions: dict[str, int] = field(default_factory=dict)

    @property
    def pods(self) -> list[Object]:
        return self.objects[PODS]

    @property
    def replica_sets(self) -> list[Object]:
        return self.objects[REPLICA_SETS]

    @property
    def placements(self) -> list[Object]:
        return self.objects[PLACEMENTS]

    @property
    def failed_scheduling(self) -> dict[str, str]:
        """Why a pod could not be placed, by its uid, from the Events that say so."""
        return {
            event.rest["involvedObject"].get("uid", ""): event.rest.get("message", "") for event in self.objects[EVENTS]
        }

    def pod_counts(self, requested: int) -> PodCounts:
        unplaceable = self.failed_scheduling
        bound = running = failed = unschedulable = 0
        for pod in self.pods:
            phase = pod.status.get("phase")
            is_bound = bool(pod.spec.get("nodeName"))
            bound += is_bound
            running += phase == "Running"
            failed += phase == "Failed"
            unschedulable += not is_bound and (pod.uid in unplaceable or _has_unschedulable_condition(pod))
        return PodCounts(requested, len(self.pods), bound, running, failed, unschedulable)

    def overcommitments(self) -> list[Overcommitment]:
        """A node that is over-committed by the ledger, or by the pods bound to it, or both, is found once."""
        nodes = self.objects[NODES]
        found = overcommitted_nodes(nodes, placed_by_binding(self.pods))
        found.update(overcommitted_nodes(nodes, placed_by_ledger(self.objects[PLACEMENTS])))
        return list(found.values())

    def placement_counts(self, attempts: Mapping[str, int]) -> PlacementCounts:
        """`attempts`: the schedulers' counts. An attempt may be unanswered: neither accepted nor rejected."""
        return PlacementCounts(
            attempts.get("attempted", 0),
            attempts.get("accepted", 0),
            attempts.get("rejected", 0),
            len(self.overcommitments()),
        )


def _has_unschedulable_condition(pod: Object) -> bool:
    return any(
        condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable"
        for condition in pod.status.get("conditions") or ()
    )


async def take_survey(clients: ClientSet) -> Survey:
    """List everything, in all partitions at once.

    Raises:
        Unreachable: a partition did not answer within the client's time for a list.
    """
    survey = Survey()

    async def take(client: PartitionClient, lists: Mapping[str, str]) -> None:
        for resource, field_selector in lists.items():
            listed = await client.list(resource, field_selector=field_selector)
            survey.objects[resource].extend(listed.items)
            survey.revisions[client.partition] = listed.resource_version

    jobs = [partial(take, client, _TENANT_LISTS) for client in clients.tenant_clients.values()]
    jobs += [partial(take, client, _RESOURCE_LISTS) for client in clients.resource_clients.values()]
    await run_all(jobs)
    return survey
