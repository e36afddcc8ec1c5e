"""The nodes of a cluster: made, spread over resource partitions and processes, kept in files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack

from ..clients import operations
from ..clients.client import PartitionClient
from ..clients.kubelet.node import hollow_node
from ..proto.errors import InputError, Invalid, NotFound, from_status
from ..proto.kinds import BY_KIND, NODE_LEASE_NAMESPACE, SYSTEM_TENANT
from ..proto.objects import Object, ObjectKey
from ..proto.quantities import resource_units
from .addresses import require_label

if TYPE_CHECKING:
    from ..clients.kubelet.hollow import HollowNodes

LEASES = BY_KIND["Lease"].resource


@dataclass(frozen=True)
class NodeOptions:
    """What a made-up node has. `extended`: further resources, like {"ursa.dev/gpu-milli": 8000}.

    Raises:
        InputError: a resource is no quantity, or negative, or the name is no DNS label.
    """

    name_prefix: str = "node"
    cpu: str = "4"
    memory: str = "32Gi"
    pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)
    extended: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_label(self.name_prefix, "the name prefix of nodes")
        resources = {"cpu": self.cpu, "memory": self.memory, "pods": self.pods, **self.extended}
        for resource, quantity in resources.items():
            try:
                units = resource_units(resource, quantity)
            except ValueError as error:
                raise InputError(f"{resource} of a node: {error}") from None
            if units < 0:
                raise InputError(f"{resource} of a node: {quantity} is negative; use 0 or more")


def make_nodes(count: int, options: NodeOptions, first: int = 1) -> list[Object]:
    """Nodes `<prefix>-0001` and on, the number beginning at `first`."""
    return [
        hollow_node(
            f"{options.name_prefix}-{number:04d}",
            cpu=options.cpu,
            memory=options.memory,
            pods=options.pods,
            labels=options.labels,
            extended=options.extended,
        )
        for number in range(first, first + count)
    ]


def spread(
    nodes: Sequence[Object], partitions: Sequence[str], before: Mapping[str, Sequence[Object]] | None = None
) -> dict[str, list[Object]]:
    """Deal nodes to partitions, each to the one that has the fewest by then. Those that `before` has already stay."""
    home = {node.name: partition for partition, its in (before or {}).items() for node in its}
    dealt: dict[str, list[Object]] = {partition: [] for partition in partitions}
    for stays in (True, False):
        for node in nodes:
            if (home.get(node.name) in dealt) is stays:
                dealt[home[node.name] if stays else min(dealt, key=lambda name: len(dealt[name]))].append(node)
    return dealt


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
    await deregister(resource_client, gone)


async def deregister(resource_client: PartitionClient, names: Iterable[str]) -> None:
    """Delete the Node and the Lease of each, where they are still there.

    Raises:
        ApiError, LinkError.
    """
    deletions = [
        deletion
        for name in names
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
    """Write a msgpack list of manifests, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(msgpack.packb([node.to_dict() for node in nodes]))
    temporary.replace(path)


def load_nodes(path: Path) -> list[Object]:
    """Read Node manifests: a msgpack list (`.msgpack`), else YAML documents or JSON.

    Raises:
        InputError: the file cannot be read, or something in it is no Node; the message says where.
    """
    read = _read_msgpack if path.suffix == ".msgpack" else _read_text
    nodes: dict[str, Object] = {}
    for node, where in read(path):
        if node.kind != "Node":
            raise InputError(f"{where} is a {node.kind or 'nothing'}, not a Node", file=str(path))
        if not node.name or node.name in nodes:
            problem = f"is a second node {node.name!r}" if node.name else "has no metadata.name"
            raise InputError(f"{where} {problem}: give each node a name of its own", file=str(path))
        nodes[node.name] = node
    return list(nodes.values())


def _read_msgpack(path: Path) -> Iterator[tuple[Object, str]]:
    try:
        manifests = msgpack.unpackb(path.read_bytes())
        if not isinstance(manifests, list):
            raise ValueError(f"it holds no list but {manifests!r:.40}")
        for number, manifest in enumerate(manifests, 1):
            yield Object.from_dict(manifest), f"manifest {number}"
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except (ValueError, AttributeError, msgpack.UnpackException, Invalid) as error:
        raise InputError(f"this is no msgpack list of manifests: {error}", file=str(path)) from None


def _read_text(path: Path) -> Iterator[tuple[Object, str]]:
    from .objects.manifests import read_manifests

    for manifest in read_manifests([str(path)]):
        yield manifest.object, f"the object in line {manifest.line}"
