"""The nodes of a cluster: made, spread over resource partitions and processes, kept in files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from ..clients import operations
from ..clients.client import PartitionClient
from ..clients.kubelet.node import hollow_node
from ..proto.errors import InputError, Invalid, NotFound, from_status
from ..proto.kinds import BY_KIND, NODE_LEASE_NAMESPACE, SYSTEM_TENANT
from ..proto.objects import Object, ObjectKey

if TYPE_CHECKING:
    from ..clients.kubelet.hollow import HollowNodes

LEASES = BY_KIND["Lease"].resource


@dataclass(frozen=True)
class NodeOptions:
    """What a made-up node has. `extended`: further resources, like {"ursa.dev/gpu-milli": 8000}."""

    name_prefix: str = "node"
    cpu: str = "4"
    memory: str = "32Gi"
    pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)
    extended: Mapping[str, str | int] = field(default_factory=dict)


def make_nodes(count: int, options: NodeOptions, first: int = 0) -> list[Object]:
    """Nodes `<prefix>-00000` and on, the number beginning at `first`."""
    return [
        hollow_node(
            f"{options.name_prefix}-{number:05d}",
            cpu=options.cpu,
            memory=options.memory,
            pods=options.pods,
            labels=options.labels,
            extended=options.extended,
        )
        for number in range(first, first + count)
    ]


def spread(nodes: Sequence[Object], partitions: Sequence[str]) -> dict[str, list[Object]]:
    """Deal nodes to partitions, one after the other: adding nodes at the end moves none."""
    return {partition: list(nodes[at :: len(partitions)]) for at, partition in enumerate(partitions)}


def split(nodes: Sequence[Object], size: int) -> Iterator[Sequence[Object]]:
    """Parts of at most `size`; adding nodes at the end changes only the last part and adds more."""
    return (nodes[at : at + size] for at in range(0, len(nodes), size))


async def host_nodes(host: HollowNodes, resource_client: PartitionClient, nodes: Sequence[Object]) -> None:
    """Let a running host have exactly these nodes. Those it loses are deregistered: their Node and Lease are deleted.

    A node is known by its name; a manifest that changed under the same name is not looked at.

    Raises:
        LinkError: the resource partition does not answer; the nodes are no longer hosted, but may still be registered.
    """
    wanted = dict.fromkeys(node.name for node in nodes)
    hosted = dict.fromkeys(host.node_names)
    gone = [name for name in hosted if name not in wanted]
    host.remove_nodes(gone)
    host.add_nodes(node for node in nodes if node.name not in hosted)
    deletions = [
        deletion
        for name in gone
        for deletion in (
            operations.delete_operation("nodes", ObjectKey("", "", name)),
            operations.delete_operation(LEASES, ObjectKey(SYSTEM_TENANT, NODE_LEASE_NAMESPACE, name)),
        )
    ]
    for result in await resource_client.mutate(deletions) if deletions else []:
        if result.error.reason not in ("", NotFound.reason):
            raise from_status(result.error)


# ---------------------------------------------------------------------------------------------------------------- files


def save_nodes(path: Path, nodes: Sequence[Object]) -> None:
    """Write a msgpack stream of manifests, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(b"".join(msgpack.packb(node.to_dict()) for node in nodes))
    temporary.replace(path)


def load_nodes(path: Path) -> list[Object]:
    """Read Node manifests: a msgpack stream (`.msgpack`), JSON (`.json`: one, or a list), else YAML documents.

    Raises:
        InputError: the file cannot be read, or something in it is no Node; the message says where.
    """
    try:
        manifests = list(_read_manifests(path))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from None
    nodes = [_node(path, number, manifest) for number, manifest in enumerate(manifests, 1)]
    names: dict[str, int] = {}
    for number, node in enumerate(nodes, 1):
        if node.name in names:
            raise InputError(
                f"node {node.name!r} stands in it twice, as number {names[node.name]} and {number}", file=str(path)
            )
        names[node.name] = number
    return nodes


def _read_manifests(path: Path) -> Iterator[Any]:
    if path.suffix == ".msgpack":
        try:
            yield from msgpack.Unpacker(path.open("rb"))
        except (ValueError, msgpack.UnpackException) as error:
            raise InputError(f"is no msgpack stream: {error}", file=str(path)) from None
    elif path.suffix == ".json":
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"is no JSON: {error}", file=str(path)) from None
        yield from content if isinstance(content, list) else [content]
    else:
        yield from _read_yaml(path)


def _read_yaml(path: Path) -> Iterator[Any]:
    import yaml

    try:
        with path.open() as file:
            yield from (document for document in yaml.safe_load_all(file) if document is not None)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
        raise InputError(f"is no YAML: {error.problem}", file=str(path), line=line, column=column) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"is no YAML: {' '.join(str(error).split())}", file=str(path)) from None


def _node(path: Path, number: int, manifest: Any) -> Object:
    if not isinstance(manifest, dict) or manifest.get("kind") != "Node" or manifest.get("apiVersion") != "v1":
        raise InputError(f"manifest number {number} is no v1 Node", file=str(path))
    try:
        node = Object.from_dict(manifest)
    except Invalid as error:
        raise InputError(f"manifest number {number}: {error}", file=str(path)) from None
    if not node.name:
        raise InputError(f"manifest number {number} has no metadata.name", file=str(path))
    return node
