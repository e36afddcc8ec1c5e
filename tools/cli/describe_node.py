"""What `ursa describe node` tells beyond the object: whose pods hold what of it."""

from __future__ import annotations

from ...clients.client_set import ClientSet
from ...clients.partition_client import PartitionClient
from ...proto.errors import LinkError, NotFound
from ...proto.kinds import BY_KIND
from ...proto.objects import Object
from ..objects.directory import ask_all
from ..objects.held import Claim, Held, State, claim_of, homeless_lines, is_live, placement_lines, state_of, total_lines

_PLACEMENTS = BY_KIND["Placement"].resource
_PODS = BY_KIND["Pod"].resource


async def describe_placements(
    clients: ClientSet, resource_client: PartitionClient, node: Object
) -> tuple[list[str], list[LinkError]]:
    """The lines, and the tenant partitions that did not say what their pods are.

    Raises:
        ApiError: a partition refused. LinkError: that of the node does not answer.
    """
    partition = resource_client.partition
    listed = (await resource_client.list(_PLACEMENTS, field_selector=f"spec.node={node.name}")).items
    claims = [claim_of(each) for each in listed]
    on_node = f"spec.nodeName={node.name},spec.resourcePartition={partition}"

    async def look(client: PartitionClient) -> tuple[list[Object], list[Held]]:
        bound = (await client.list(_PODS, field_selector=on_node)).items
        found = {pod.uid: pod for pod in bound}
        own = [claim for claim in claims if claim.tenant_partition == client.partition]
        held = [
            Held(each, state_of(each, found.get(each.uid) or await _pod(client, each), partition, node.name))
            for each in own
        ]
        return bound, held

    answers, missing = await ask_all(clients.tenant_clients, look)
    held = [each for _, some in answers.values() for each in some]
    held += [Held(claim, State.UNKNOWN) for claim in claims if claim.tenant_partition not in answers]
    placed = {claim.uid: None for claim in claims}
    homeless = [pod for bound, _ in answers.values() for pod in bound if pod.uid not in placed and is_live(pod)]
    return [*total_lines(node, held), *placement_lines(held), *homeless_lines(homeless)], missing


async def _pod(client: PartitionClient, claim: Claim) -> Object | None:
    """What the partition has under the pod's name: that it is not on the node does not say that it is gone."""
    try:
        return await client.get(_PODS, claim.pod)
    except NotFound:
        return None
