"""Quotas: how much a namespace, or all namespaces of a tenant together, may hold.

What is held is counted for every namespace and tenant, with every change that is staged, whether there is a quota or
not: a new quota then knows at once what is used, and a create is checked against what is there at this very moment,
committed or not. So the limit is never passed, at any revision, and what is used is exact.

    quota q: hard pods=2           used 1, two creates in one batch
    create b                    -> admitted, 2 used
    create c                    -> Forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2

`status.used` tells people. It is written once for each batch of writes and in the same commit: nobody sees a pod
without seeing it counted, and a batch of 256 creates does not write the quota 256 times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.errors import Forbidden
from ...proto.kinds import BY_KIND, Kind, Scope
from ...proto.objects import decode_shared, encode
from ...proto.quantities import PODS, format_quantity, resource_units
from ..entries import Entry
from .usage import LIMITS, REQUESTS, Charge, charge_of

COUNT = "count/"
# Kinds that have a name of their own in a quota beside `count/<resource>`, from before there was that form.
COUNTED_BY_NAME = ("configmaps", "secrets", "services", "resourcequotas")
BEST_EFFORT, NOT_BEST_EFFORT = "BestEffort", "NotBestEffort"
# As Kubernetes: they come and go by themselves, and whoever is refused one could not even say so.
NOT_COUNTED = ("events",)

_POD = BY_KIND["Pod"]
_RESOURCE_QUOTA, _TENANT_QUOTA = BY_KIND["ResourceQuota"], BY_KIND["TenantQuota"]
_PHASE = tuple(_POD.fields).index("status.phase")
_FINISHED = ("Succeeded", "Failed")
_NOTHING: Mapping[str, int] = {}


# Tenant, namespace, resource, by how many its objects are more; and, of a pod, what was charged how often.
_Happened = tuple[str, str, str, int, Charge | None, int]


class _Limit(NamedTuple):
    """`what`: a resource whose objects are counted, or something that pods are charged for."""

    name: str
    counts: bool
    what: str
    units: int


class _Quota:
    """One quota, as its object says. `best_effort`: of which class of pods; None: of both."""

    def __init__(self, kind: Kind, entry: Entry, message: pb.Object) -> None:
        spec = decode_shared(message.spec)
        self.kind = kind
        self.key = entry.key
        self.name = entry.name
        self.holder = (entry.tenant, entry.namespace)
        self.hard: Mapping[str, str | int | float] = spec.get("hard") or {}
        self.limits = tuple(_limit(name, quantity) for name, quantity in sorted(self.hard.items()))
        scopes = spec.get("scopes") or ()
        self.best_effort = BEST_EFFORT in scopes if scopes else None
        self.status = message.status


class _Usage:
    """What a namespace or a tenant holds: objects by resource, and its pods that are not finished, by their charge.

    `parent` is the tenant of a namespace. Where there are quotas, what the pods are charged is kept added up.
    """

    __slots__ = ("best_effort", "charges", "counts", "holder", "parent", "quotas", "units")

    def __init__(self, holder: tuple[str, str], parent: _Usage | None) -> None:
        self.holder = holder
        self.parent = parent
        self.counts: dict[str, int] = {}
        self.charges: dict[Charge, int] = {}
        self.quotas: dict[str, _Quota] = {}
        self.units: dict[str, int] = {}
        self.best_effort = 0

    def count(self, resource: str, by: int) -> None:
        number = self.counts.get(resource, 0) + by
        if number:
            self.counts[resource] = number
        else:
            del self.counts[resource]

    def charge(self, charge: Charge, by: int) -> None:
        number = self.charges.get(charge, 0) + by
        if number:
            self.charges[charge] = number
        else:
            del self.charges[charge]
        if self.quotas:
            self._add(charge, by)

    def add_quota(self, quota: _Quota) -> None:
        if not self.quotas:
            self.units, self.best_effort = {}, 0
            for charge, number in self.charges.items():
                self._add(charge, number)
        self.quotas[quota.name] = quota

    def _add(self, charge: Charge, by: int) -> None:
        units = self.units
        for name, amount in charge.units.items():
            units[name] = units.get(name, 0) + by * amount
        self.best_effort += by * charge.best_effort

    def used(self, quota: _Quota, limit: _Limit) -> int:
        if limit.counts:
            return self.counts.get(limit.what, 0)
        if limit.what == PODS and quota.best_effort is not None:
            return self.best_effort if quota.best_effort else self.units.get(PODS, 0) - self.best_effort
        return self.units.get(limit.what, 0)

    @property
    def empty(self) -> bool:
        return not self.counts and not self.quotas


class Quotas:
    """Follows the newest (staged) state; owned by the apiserver's loop."""

    def __init__(self) -> None:
        self._usages: dict[tuple[str, str], _Usage] = {}  # By tenant and namespace; of a tenant: "".
        self._quotas: dict[str, _Quota] = {}
        self._dirty: dict[str, None] = {}
        # How often what has happened since usages were last looked at. The pods of one template count alike.
        self._uncounted: dict[_Happened, int] = {}

    # ------------------------------------------------------------------------------------------------------ admit

    def check(self, kind: Kind, message: pb.Object) -> None:
        """Whether there is room for a new object.

        Raises:
            Forbidden: it would exceed a quota, or does not say how much of it it wants; as Kubernetes words it.
        """
        if not self._quotas or kind.resource in NOT_COUNTED:
            return
        metadata = message.metadata
        charge = charge_of(message.spec) if kind is _POD else None
        tenant, namespace = metadata.tenant, metadata.namespace
        self._count()
        usage = self._usages.get((tenant, namespace)) or self._usages.get((tenant, ""))
        while usage is not None:
            for name in sorted(usage.quotas):
                _check_quota(usage, usage.quotas[name], kind, metadata.name, charge)
            usage = usage.parent

    # ----------------------------------------------------------------------------------------------------- follow

    def changed(self, kind: Kind, old: Entry | None, new: Entry | None, message: pb.Object) -> None:
        """An object was created, changed or deleted; `message` is what it is now, or was last."""
        if kind.scope is Scope.CLUSTER or kind.resource in NOT_COUNTED:
            return
        entry = new or old
        assert entry is not None, "there was an object before or there is one after"
        count = (old is None) - (new is None)
        charge = 0
        if kind is _POD:
            charge = (new is not None and new.fields[_PHASE] not in _FINISHED) - (
                old is not None and old.fields[_PHASE] not in _FINISHED
            )
        if count or charge:
            # The requests of a pod are fixed: what it was charged once is what it gives back.
            charged = charge_of(message.spec) if charge else None
            happened = (entry.tenant, entry.namespace, kind.resource, count, charged, charge)
            self._uncounted[happened] = self._uncounted.get(happened, 0) + 1
        if kind is _RESOURCE_QUOTA or kind is _TENANT_QUOTA:
            self._count()
            self._quota_changed(kind, entry, None if new is None else message)

    def _count(self) -> None:
        """Bring the usages up to date."""
        if self._uncounted:
            uncounted, self._uncounted = self._uncounted, {}
            for happened, times in uncounted.items():
                self._account(happened, times)

    def _account(self, happened: _Happened, times: int) -> None:
        tenant, namespace, resource, count, charged, charge = happened
        usage: _Usage | None = self._usage((tenant, namespace))
        while usage is not None:
            if count:
                usage.count(resource, count * times)
            if charged is not None:
                usage.charge(charged, charge * times)
            for quota in usage.quotas.values():
                self._dirty[quota.key] = None
            if usage.empty:
                del self._usages[usage.holder]
            usage = usage.parent

    def _usage(self, holder: tuple[str, str]) -> _Usage:
        usage = self._usages.get(holder)
        if usage is None:
            tenant, namespace = holder
            usage = self._usages[holder] = _Usage(holder, self._usage((tenant, "")) if namespace else None)
        return usage

    def _quota_changed(self, kind: Kind, entry: Entry, message: pb.Object | None) -> None:
        known = self._quotas.pop(entry.key, None)
        if known is not None:
            usage = self._usages.get(known.holder)
            if usage is not None:
                del usage.quotas[known.name]
                if usage.empty:
                    del self._usages[known.holder]
        if message is None:
            self._dirty.pop(entry.key, None)
            return
        quota = self._quotas[entry.key] = _Quota(kind, entry, message)
        self._usage(quota.holder).add_quota(quota)
        self._dirty[quota.key] = None

    # ------------------------------------------------------------------------------------------------------- tell

    def outdated(self) -> list[tuple[Kind, str, bytes]]:
        """The quotas whose stored status is not what it should be: kind, key, and the status.

        To be asked often, once a batch: what has happened is counted here.
        """
        self._count()
        found = []
        for key in self._dirty:
            quota = self._quotas[key]
            usage = self._usages[quota.holder]
            used = {limit.name: _format(limit.name, usage.used(quota, limit)) for limit in quota.limits}
            status = encode({"hard": dict(sorted(quota.hard.items())), "used": used})
            if status != quota.status:
                found.append((quota.kind, key, status))
        self._dirty.clear()
        return found

    def tell_again(self, key: str) -> None:
        """Its status could not be written."""
        self._dirty[key] = None


def _check_quota(usage: _Usage, quota: _Quota, kind: Kind, name: str, charge: Charge | None) -> None:
    charged = charge
    if charged is not None and quota.best_effort is not None and quota.best_effort != charged.best_effort:
        charged = None
    exceeded: list[tuple[str, tuple[int, int, int]]] = []
    for limit in quota.limits:
        if limit.counts:
            wanted = int(limit.what == kind.resource)
        else:
            wanted = (charged.units if charged is not None else _NOTHING).get(limit.what, 0)
        used = usage.used(quota, limit)
        if wanted and used + wanted > limit.units:
            exceeded.append((limit.name, (wanted, used, limit.units)))
    title = "quota" if quota.kind is _RESOURCE_QUOTA else "tenant quota"
    if charged is not None:
        unsaid = [f"{limit.name} for: {','.join(said)}" for limit in quota.limits if (said := _unsaid(limit, charged))]
        if unsaid:
            _refuse(kind, name, quota, f"failed {title}: {quota.name}: must specify {'; '.join(unsaid)}")
    if exceeded:
        requested, in_use, limited = (
            ",".join(f"{what}={_format(what, units[place])}" for what, units in exceeded) for place in range(3)
        )
        text = f"requested: {requested}, used: {in_use}, limited: {limited}"
        _refuse(kind, name, quota, f"exceeded {title}: {quota.name}, {text}")


def _unsaid(limit: _Limit, charge: Charge) -> tuple[str, ...]:
    return () if limit.counts else charge.unsaid.get(limit.what, ())


def _refuse(kind: Kind, name: str, quota: _Quota, text: str) -> None:
    raise Forbidden(f'{kind.resource} "{name}" is forbidden: {text}', key=quota.key.removeprefix("/registry/"))


def _limit(name: str, quantity: str | float) -> _Limit:
    if name.startswith(COUNT):
        return _Limit(name, True, name.removeprefix(COUNT), resource_units(name, quantity))
    return _Limit(name, name in COUNTED_BY_NAME, name, resource_units(base_resource(name), quantity))


def base_resource(name: str) -> str:
    """`requests.cpu` -> `cpu`: what a name in a quota is a quantity of."""
    return name.removeprefix(REQUESTS).removeprefix(LIMITS)


def _format(name: str, units: int) -> str:
    return format_quantity(base_resource(name), units)
