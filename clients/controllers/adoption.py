"""What nobody controls, and bears a name that a controller needs, becomes its own: so a StatefulSet that is made again
takes up the pods and the revisions that an older one left behind as orphans."""

from __future__ import annotations

from ...proto import ursa_pb2 as pb
from ...proto.errors import NotFound
from ...proto.kinds import BY_KIND, Kind
from ...proto.objects import Object
from ...proto.selectors import label_selector_of, selects
from ..client import PartitionClient
from ..operations import patch_operation, raise_for_error


def may_adopt(owner: Object, found: Object, wanted: Object) -> bool:
    """Whether it is an orphan that the owner selects, and would have made. `wanted`: what the name was needed for."""
    if found.controller is not None or found.deletion_ms:
        return False
    if not selects(label_selector_of(owner.spec.get("selector") or {}), found.labels.get):
        return False
    return bool(found.rest.get("data") == wanted.rest.get("data"))  # Of a revision, what it keeps.


async def adopt(client: PartitionClient, kind: Kind, owner: Object, found: Object) -> bool:
    """Whether it could be done: the owner must still be there, and stay, as the partition says now.

    Raises:
        ApiError, LinkError.
    """
    try:
        present = await client.get(kind.resource, owner.key)
    except NotFound:
        return False
    if present.uid != owner.uid or present.deletion_ms:
        return False
    raise_for_error((await client.mutate([_adoption(kind, owner, found)]))[0])
    return True


def _adoption(kind: Kind, owner: Object, found: Object) -> pb.Operation:
    """If it is still as it was found."""
    others = (found.to_dict()["metadata"].get("ownerReferences")) or []
    own = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {"ownerReferences": [*others, own], "uid": found.uid, "resourceVersion": str(found.resource_version)}
    return patch_operation(BY_KIND[found.kind].resource, found.key, {"metadata": metadata})
