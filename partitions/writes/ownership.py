"""Which part of an object managers own, and keeping track of it when an object is written.

Nobody owns its name, its identity or what the server counts; the status is owned by those who write the status.
Objects that were never applied are not tracked, and writing them costs nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from ...proto import ursa_pb2 as pb
from ...proto.errors import BadRequest
from ...proto.kinds import Kind
from ...proto.objects import Object, decode
from ..patching import UPDATE, Manager, Managers, shape_of

_OWNED_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")
_NEVER_OWNED = ("apiVersion", "kind", "metadata")
# As Kubernetes.
MANAGER_LENGTH_MAX = 128
UNKNOWN_MANAGER = "unknown"


class Reviewer(Protocol):
    """Whoever else has a say in what is written."""

    def mutate(self, kind: Kind, new: pb.Object, old: pb.Object | None) -> pb.Object:
        """What is to be written in place of `new`. Raises ApiError: nothing."""


class Writer(NamedTuple):
    """Who writes, when, and how strictly unknown fields are taken (a `field_validation` of the wire).

    `manager` is what the writer calls itself, for this write; `agent` the program, as every request says it. `fence`:
    the term that it must still lead in.
    """

    manager: str = ""
    now_ms: int = 0
    field_validation: str = ""
    agent: str = ""
    reviewer: Reviewer | None = None
    fence: pb.Fence | None = None

    @property
    def updater(self) -> str:
        """Who owns what an update changes: as in Kubernetes, the program's name without its version if need be."""
        agent = self.agent.partition("/")[0][:MANAGER_LENGTH_MAX]
        return self.manager or (agent if agent.isprintable() else "") or UNKNOWN_MANAGER


def check_manager(name: str) -> None:
    """Raises BadRequest: no name that could be shown."""
    if len(name) > MANAGER_LENGTH_MAX or not name.isprintable():
        raise BadRequest(f"field_manager must be at most {MANAGER_LENGTH_MAX} printable characters, not {name[:200]!r}")


def owned_part(kind: Kind, manifest: Mapping[str, Any], subresource: str = "") -> dict[str, Any]:
    """What a writer of the object, or of one of its subresources, can own of it."""
    if subresource == "status":
        return {"status": manifest["status"]} if "status" in manifest else {}
    if subresource == "scale":
        spec = manifest.get("spec")
        return {"spec": {"replicas": spec["replicas"]}} if isinstance(spec, Mapping) and "replicas" in spec else {}
    part = {
        name: value
        for name, value in manifest.items()
        if name not in _NEVER_OWNED and not (name == "status" and kind.has_status)
    }
    metadata = manifest.get("metadata")
    if isinstance(metadata, Mapping):
        owned = {name: metadata[name] for name in _OWNED_METADATA if name in metadata}
        if owned:
            part["metadata"] = owned
    return part


def with_owned_part(
    kind: Kind, manifest: Mapping[str, Any], part: Mapping[str, Any], subresource: str = ""
) -> dict[str, Any]:
    """The manifest with another owned part."""
    if subresource == "status":
        result = {name: value for name, value in manifest.items() if name != "status"}
        return {**result, **part}
    if subresource == "scale":
        spec = {name: value for name, value in manifest["spec"].items() if name != "replicas"}
        return {**manifest, "spec": {**spec, **part.get("spec", {})}}
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _OWNED_METADATA}
    result = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], **part}
    result["metadata"] = {**metadata, **part.get("metadata", {})}
    if kind.has_status and "status" in manifest:
        result["status"] = manifest["status"]
    return result


def keep_managed_fields(new: pb.ObjectMeta, old: pb.ObjectMeta) -> None:
    """Writers do not say who owns what, but for one thing: a single empty entry ends the tracking, as in Kubernetes."""
    if not new.managed_fields and not old.managed_fields:
        return
    ends = len(new.managed_fields) == 1 and not new.managed_fields[0].ByteSize()
    del new.managed_fields[:]
    if not ends:
        new.managed_fields.extend(old.managed_fields)


def track_update(kind: Kind, old: pb.Object, new: pb.Object, subresource: str, writer: Writer) -> None:
    """Give what an update changes to its writer, in `new`, which has the managed fields of `old`."""
    if not new.metadata.managed_fields:
        return
    managers = Managers(new.metadata.managed_fields)
    manager = Manager(writer.updater, UPDATE, subresource, kind.api_version)
    before, after = (_owned_part_of(kind, message, subresource) for message in (old, new))
    managers.update(manager, before, after, shape_of(kind))
    if managers.changed:
        managers.write_to(new.metadata, writer.now_ms)


def _owned_part_of(kind: Kind, message: pb.Object, subresource: str) -> dict[str, Any]:
    """Decodes no more than it needs."""
    if subresource == "status":
        return {"status": decode(message.status)} if message.status else {}
    if subresource == "scale":
        return owned_part(kind, {"spec": decode(message.spec)}, subresource)
    return owned_part(kind, Object(message).to_dict())
