"""What is still to be brought from one partition to another, so that the second has what the first has. No I/O.

    view of the source    a 7, b 9, c 12          brought, as it was at      a 7, b 8, d 3
                          wanted: b as it is now, c; and word that d is gone

What an earlier attempt has left at the target is gone over again: nobody knows as of when it is.

The order of kinds is what keeps those who watch the target from acting on a half-filled view. Pods come before the
workloads that would make others in their place, workloads before those that own them, and namespaces last: who sees a
namespace sees all that is in it. Until the tenant is Active nothing but what is brought is written there; what was
decided before, and arrives later, finds the object it was about changed, or there already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...proto import ursa_pb2 as pb
from ...proto.kinds import EVENTS_STORE, KINDS, Kind, Role, Scope
from ...proto.objects import Object, ObjectKey
from ...proto.tenants import TENANTS

# Nobody acts on these by themselves, so they are brought while all goes on, and once more what has changed.
EARLY = ("configmaps", "secrets", "leases.coordination.k8s.io")
_MIDDLE = (
    "pods",
    "replicasets.apps",
    "deployments.apps",
    "jobs.batch",
    "cronjobs.batch",
    "poddisruptionbudgets.policy",
)
_LATE = ("resourcequotas", "tenantquotas.ursa.dev", "namespaces")
# Of an object whose state at the source is not known.
_UNKNOWN = -1


def moved_kinds(custom: Iterable[Kind]) -> list[Kind]:
    """All kinds of what a tenant has, in the order in which they are brought. Events stay where they are."""
    kinds = [
        kind
        for kind in (*KINDS, *custom)
        if kind.scope is not Scope.CLUSTER and Role.TENANT in kind.roles and kind.store != EVENTS_STORE
    ]
    order = [*EARLY, *_MIDDLE, "", *_LATE]
    return sorted(kinds, key=lambda kind: (order.index(kind.resource if kind.resource in order else ""), kind.resource))


class Copy:
    """By one move, which the target knows by its name."""

    def __init__(self, move: str) -> None:
        self._move = move
        self._brought: dict[str, dict[ObjectKey, tuple[Object, int]]] = {}

    def found(self, resource: str, objects: Iterable[Object]) -> None:
        """What the target has already."""
        of_kind = self._brought.setdefault(resource, {})
        for obj in objects:
            of_kind[obj.key] = obj, _UNKNOWN

    def wanted(self, resource: str, view: Mapping[ObjectKey, Object]) -> list[pb.Operation]:
        """What makes the target's the same as this view of the source."""
        of_kind = self._brought.get(resource, {})
        operations = [
            self._operation(resource, brought, gone=True)
            for key, (brought, _) in of_kind.items()
            if key not in view or view[key].uid != brought.uid
        ]
        for key, obj in view.items():
            brought_as = of_kind.get(key)
            if brought_as is None or brought_as[0].uid != obj.uid or brought_as[1] != obj.resource_version:
                operations.append(self._operation(resource, obj))
        return operations

    def carried_out(self, operations: Sequence[pb.Operation]) -> None:
        for operation in operations:
            of_kind = self._brought.setdefault(operation.resource, {})
            obj = Object(operation.transfer.object)
            if operation.transfer.gone:
                of_kind.pop(obj.key, None)
            else:
                of_kind[obj.key] = obj, obj.resource_version

    @property
    def count(self) -> int:
        return sum(len(of_kind) for of_kind in self._brought.values())

    def missing(self, resource: str, there: Iterable[Object]) -> list[ObjectKey]:
        """What of this kind the target does not have as it was brought, or has and should not."""
        expected = {key: obj.uid for key, (obj, _) in self._brought.get(resource, {}).items()}
        wrong = [obj.key for obj in there if expected.pop(obj.key, "") != obj.uid]
        return [*wrong, *expected]

    def _operation(self, resource: str, obj: Object, *, gone: bool = False) -> pb.Operation:
        return pb.Operation(resource=resource, transfer=pb.Transfer(object=obj.message, move=self._move, gone=gone))


def arrival(tenant: Object) -> pb.Operation:
    """The Tenant itself, which says that it is Arriving and by which move."""
    return pb.Operation(resource=TENANTS, transfer=pb.Transfer(object=tenant.message), return_object=True)
