"""What a partition does with the objects of a tenant that has moved away: it forgets them, a few at a time.

They live elsewhere, so nothing is deleted: no finalizer, no grace, no owner has a say. Who watches is told by the last
state of each where it went (`proto/tenants.py`). A partition that stops in between goes on when it is opened again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..proto import ursa_pb2 as pb
from ..proto.kinds import EVENTS_STORE, Kind, KindTable, Role, Scope
from .admission import Tenants
from .entries import Entry
from .writes.plans import Write
from .writes.transfers import forgotten

# Some milliseconds of the loop.
STEP_OBJECTS = 256
# Before the rest, so that nobody keeps account of what goes.
_FIRST = ("resourcequotas", "tenantquotas.ursa.dev")

Select = Callable[[Kind, pb.Selection], Iterator[Entry]]


class Forgetter:
    """`select`: the objects of a kind as they are now, those of a tenant."""

    def __init__(
        self,
        tenants: Tenants,
        kinds: KindTable,
        select: Select,
        stage: Callable[[tuple[Write, ...]], None],
    ) -> None:
        self._tenants, self._kinds = tenants, kinds
        self._select, self._stage = select, stage

    def step(self) -> bool:
        """Forget some. Whether there may be more."""
        for tenant, moved_to in list(self._tenants.forgetting.items()):
            writes = self._next(tenant, moved_to)
            if writes:
                self._stage(writes)
                return True
            del self._tenants.forgetting[tenant]
        return False

    def _next(self, tenant: str, moved_to: str) -> tuple[Write, ...]:
        """Of one kind, and so of one store."""
        kinds = [kind for kind in self._kinds if _is_a_tenants(kind)]
        for kind in sorted(kinds, key=lambda each: each.resource not in _FIRST):
            found: list[Write] = []
            for entry in self._select(kind, pb.Selection(resource=kind.resource, tenant=tenant)):
                found.append(forgotten(kind, entry, moved_to))
                if len(found) == STEP_OBJECTS:
                    break
            if found:
                return tuple(found)
        return ()


def _is_a_tenants(kind: Kind) -> bool:
    return kind.scope is not Scope.CLUSTER and kind.store != EVENTS_STORE and Role.TENANT in kind.roles
