"""Who owns whom, without I/O: references resolved to where the owner would be, and the dependents of each owner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.kinds import BY_KIND, Kind, Role, Scope
from ...proto.objects import Object, ObjectKey, decode
from ...proto.propagation import POLICY_OF
from ..informer import Informer


class Item(NamedTuple):
    """An object by its place and its uid: one that is reborn under its name is another.

    `elsewhere`: it is not at home, but in a partition of the other role; in which, the item does not say.
    """

    resource: str
    key: ObjectKey
    uid: str
    elsewhere: bool = False


# The kind that a reference names, None where there is no such kind.
KindOf = Callable[[str, str], Kind | None]
# What the informers show, by resource: of home, and of the partitions of the other role, each with its informer.
Views = Mapping[str, Mapping[ObjectKey, Object]]
ForeignViews = Mapping[str, Mapping[str, Informer]]

_PLACEMENT = BY_KIND["Placement"].kind


def waits_for(obj: Object) -> str:
    """The policy by which an object that is being deleted waits for its dependents; empty: it does not."""
    metadata = obj.message.metadata
    if metadata.deletion_ms:
        for finalizer in metadata.finalizers:
            if finalizer in POLICY_OF:
                return POLICY_OF[finalizer]
    return ""


class Owners:
    """The dependents of each owner, by the owner's uid. They are kept as items, so most events change nothing here."""

    def __init__(self, role: Role, views: Views, kind_of: KindOf, foreign_views: ForeignViews | None = None) -> None:
        """`role`: of the home partition."""
        self._role = role
        self._views = views
        self._foreign_views = foreign_views or {}
        self._kind_of = kind_of
        self._dependents: dict[str, dict[Item, None]] = {}

    def shown(self, item: Item) -> Object | None:
        """The object as the informers have it."""
        if item.elsewhere:
            for informer in self._foreign_views.get(item.resource, {}).values():
                obj = informer.objects.get(item.key)
                if obj is not None and obj.uid == item.uid:
                    return obj
            return None
        view = self._views.get(item.resource)
        obj = view.get(item.key) if view is not None else None
        return obj if obj is not None and obj.uid == item.uid else None

    def owner(self, reference: pb.OwnerReference, dependent: Object) -> Item | None:
        """Where the owner would be: in its dependent's namespace, or in none. None: it cannot be told."""
        kind = self._kind_of(reference.api_version, reference.kind)
        if kind is None:
            return None
        tenant, namespace, elsewhere = "", "", self._role not in kind.roles
        if kind.scope is not Scope.CLUSTER:
            tenant, namespace, of_placement = _space(dependent)
            elsewhere = elsewhere or of_placement
        if kind.scope is not Scope.NAMESPACE:
            namespace = ""
        if (kind.scope is not Scope.CLUSTER and not tenant) or (kind.scope is Scope.NAMESPACE and not namespace):
            return None
        return Item(kind.resource, ObjectKey(tenant, namespace, reference.name), reference.uid, elsewhere)

    def owners(self, obj: Object) -> list[tuple[pb.OwnerReference, Item | None]]:
        return [(reference, self.owner(reference, obj)) for reference in obj.message.metadata.owner_references]

    def link(self, item: Item, obj: Object) -> None:
        for reference in obj.message.metadata.owner_references:
            bucket = self._dependents.get(reference.uid)
            if bucket is None:
                bucket = self._dependents[reference.uid] = {}
            bucket[item] = None

    def unlink(self, item: Item, obj: Object) -> None:
        for reference in obj.message.metadata.owner_references:
            bucket = self._dependents.get(reference.uid)
            if bucket is not None:
                bucket.pop(item, None)
                if not bucket:
                    del self._dependents[reference.uid]

    def dependents(self, uid: str) -> list[Item]:
        return list(self._dependents.get(uid, ()))

    def dependents_elsewhere(self, resource: str) -> list[Item]:
        """All that have an owner of this kind elsewhere. It goes through everything."""
        found = []
        for item in {item: None for bucket in self._dependents.values() for item in bucket}:
            obj = self.shown(item)
            owners = self.owners(obj) if obj is not None else ()
            if any(owner is not None and owner.elsewhere and owner.resource == resource for _, owner in owners):
                found.append(item)
        return found

    def has_dependents(self, uid: str) -> bool:
        return uid in self._dependents

    def dependents_shown(self, uid: str) -> Iterator[Object]:
        for item in self._dependents.get(uid, ()):
            obj = self.shown(item)
            if obj is not None:
                yield obj


def _space(obj: Object) -> tuple[str, str, bool]:
    """The tenant and the namespace where an object's owners are: its own. A Placement has none, but its pod has, and
    that may be in another partition: whether it is."""
    metadata = obj.message.metadata
    if not metadata.tenant and obj.message.kind == _PLACEMENT and obj.message.spec:
        spec = decode(obj.message.spec)
        pod = spec.get("pod") or {}
        return str(pod.get("tenant", "")), str(pod.get("namespace", "")), spec.get("tenantPartition") != obj.partition
    return metadata.tenant, metadata.namespace, False


def blocks(obj: Object, uid: str) -> bool:
    """Whether an owner that is deleted in the foreground must wait for this dependent."""
    return any(each.uid == uid and each.block_owner_deletion for each in obj.message.metadata.owner_references)
