"""Operations for `PartitionClient.mutate`, built from objects and keys. Pure functions.

Hot components build many of these and write them in one call; `return_object` costs a copy of the object on the wire,
so it is off unless asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..proto import ursa_pb2 as pb
from ..proto.errors import from_status
from ..proto.kinds import BY_KIND, kind_of
from ..proto.objects import Object, ObjectKey, encode

PODS = "pods"


def resource_of(obj: Object) -> str:
    """The resource an object belongs to: `pods`, `deployments.apps`.

    Raises:
        BadRequest: there is no such kind that is built in.
    """
    message = obj.message
    kind = BY_KIND.get(message.kind)
    if kind is None or kind.api_version != message.api_version:
        kind = kind_of(message.api_version, message.kind)
    return kind.resource


def target(resource: str, key: ObjectKey) -> pb.GetRequest:
    """An object named on the wire."""
    return pb.GetRequest(resource=resource, tenant=key.tenant, namespace=key.namespace, name=key.name)


def create_operation(
    obj: Object, *, resource: str = "", return_object: bool = False, dry_run: bool = False
) -> pb.Operation:
    """`resource`: of a custom kind, which is not known here."""
    return pb.Operation(
        resource=resource or resource_of(obj),
        create=pb.Create(object=obj.message),
        return_object=return_object,
        dry_run=dry_run,
    )


def update_operation(
    obj: Object, *, resource: str = "", return_object: bool = False, dry_run: bool = False
) -> pb.Operation:
    """The whole object but its status."""
    return pb.Operation(
        resource=resource or resource_of(obj),
        update=pb.Update(object=obj.message),
        return_object=return_object,
        dry_run=dry_run,
    )


def update_status_operation(obj: Object, *, resource: str = "", return_object: bool = False) -> pb.Operation:
    """Only the status."""
    return pb.Operation(
        resource=resource or resource_of(obj),
        update=pb.Update(object=obj.message, subresource="status"),
        return_object=return_object,
    )


def patch_operation(
    resource: str,
    key: ObjectKey,
    body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    patch_type: pb.Patch.Type = pb.Patch.MERGE,
    subresource: str = "",
    field_manager: str = "",
    field_validation: str = "",
    return_object: bool = False,
    dry_run: bool = False,
) -> pb.Operation:
    """`body` is a map in Kubernetes' form; of a JSON patch, a list of operations."""
    return pb.Operation(
        resource=resource,
        patch=pb.Patch(target=target(resource, key), type=patch_type, body=encode(body), subresource=subresource),
        return_object=return_object,
        dry_run=dry_run,
        field_manager=field_manager,
        field_validation=field_validation,
    )


def apply_operation(
    resource: str,
    key: ObjectKey,
    configuration: Mapping[str, Any],
    *,
    field_manager: str,
    force: bool = False,
    subresource: str = "",
    field_validation: str = "",
    return_object: bool = False,
    dry_run: bool = False,
) -> pb.Operation:
    """Server-side apply: all that `field_manager` wants of the object, which is created where there is none."""
    operation = patch_operation(
        resource,
        key,
        configuration,
        patch_type=pb.Patch.APPLY,
        subresource=subresource,
        field_manager=field_manager,
        field_validation=field_validation,
        return_object=return_object,
        dry_run=dry_run,
    )
    operation.patch.force = force
    return operation


def delete_operation(
    resource: str,
    key: ObjectKey,
    *,
    uid: str = "",
    resource_version: int = 0,
    grace_seconds: int | None = None,
    propagation: str = "",
) -> pb.Operation:
    """`grace_seconds` None: what the object says itself."""
    return pb.Operation(
        resource=resource,
        delete=pb.Delete(
            target=target(resource, key),
            preconditions=pb.Preconditions(uid=uid, resource_version=resource_version),
            grace_seconds=grace_seconds,
            propagation=propagation,
        ),
    )


def delete_collection_operation(
    selection: pb.Selection,
    *,
    grace_seconds: int | None = None,
    propagation: str = "",
    continue_token: str = "",
    dry_run: bool = False,
) -> pb.Operation:
    """The next step of deleting what is selected; its result says how many, and where to go on."""
    return pb.Operation(
        resource=selection.resource,
        delete_collection=pb.DeleteCollection(
            selection=selection,
            grace_seconds=grace_seconds,
            propagation=propagation,
            continue_token=continue_token,
        ),
        dry_run=dry_run,
    )


def evict_operation(
    key: ObjectKey, *, uid: str = "", grace_seconds: int | None = None, dry_run: bool = False
) -> pb.Operation:
    """Delete a pod if that may be."""
    preconditions = pb.Preconditions(uid=uid)
    return pb.Operation(
        resource=PODS,
        evict=pb.Evict(target=target(PODS, key), preconditions=preconditions, grace_seconds=grace_seconds),
        dry_run=dry_run,
    )


def bind_operation(
    key: ObjectKey,
    *,
    uid: str,
    resource_partition: str,
    node: str,
    resource_version: int = 0,
    devices: Sequence[int] = (),
) -> pb.Operation:
    """Pod to node, and to these devices of it. Idempotent."""
    return pb.Operation(
        resource=PODS,
        bind=pb.Bind(
            target=target(PODS, key),
            preconditions=pb.Preconditions(uid=uid, resource_version=resource_version),
            resource_partition=resource_partition,
            node=node,
            devices=devices,
        ),
    )


def raise_for_error(result: pb.Result) -> None:
    """Raise the ApiError of a failed operation; nothing for one that succeeded."""
    if result.HasField("error"):
        raise from_status(result.error)
