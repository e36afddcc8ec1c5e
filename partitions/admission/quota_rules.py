"""ResourceQuota (of a namespace) and TenantQuota (of all namespaces of a tenant together)."""

from __future__ import annotations

from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.objects import decode_shared
from ...proto.quantities import CPU, PODS, parse_quantity
from .quotas import BEST_EFFORT, COUNT, COUNTED_BY_NAME, NOT_BEST_EFFORT, NOT_COUNTED, base_resource
from .strategy import Strategy
from .usage import COMPUTE_RESOURCES, LIMITS, REQUESTS
from .validation import Causes, check_quantities, is_qualified, mapping, sequence

_SCOPES = (BEST_EFFORT, NOT_BEST_EFFORT)
# What may be limited for one class of pods: the best-effort ones ask for nothing that could be added up.
_SCOPED = {
    BEST_EFFORT: (PODS,),
    NOT_BEST_EFFORT: (PODS, *(f"{part}{name}" for part in ("", REQUESTS, LIMITS) for name in COMPUTE_RESOURCES)),
}
_FRACTIONS = (CPU, "memory", "ephemeral-storage")


class QuotaStrategy(Strategy):
    """`spec.hard`: quantities by name; `status.used` is the server's to say."""

    def check_spec(self, spec: Any, causes: Causes) -> None:
        hard = mapping(spec.get("hard"), "spec.hard", causes)
        known = len(causes.found)
        check_quantities(hard, "spec.hard", causes)
        if len(causes.found) == known:
            for name, quantity in hard.items():
                _check_limit(name, quantity, causes)
        scopes = sequence(spec.get("scopes"), "spec.scopes", causes)
        for number, scope in enumerate(scopes):
            if scope not in _SCOPES:
                causes.add(f"spec.scopes[{number}]", f"must be one of {', '.join(_SCOPES)}; others are not served")
            else:
                _check_scoped(scope, hard, causes)
        if len(scopes) > 1:
            causes.add("spec.scopes", "name one class of pods, or leave it out for all")
        if spec.get("scopeSelector"):
            causes.add("spec.scopeSelector", "is not served; use scopes, or a quota without")

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        if decode_shared(new.spec).get("scopes") != decode_shared(old.spec).get("scopes"):
            causes.add("spec.scopes", "is immutable; delete the quota and create another")


def _check_limit(name: Any, quantity: Any, causes: Causes) -> None:
    field = f"spec.hard[{name}]"
    if not isinstance(name, str) or not is_qualified(name.removeprefix(COUNT)):
        causes.add(field, "is no name of a resource: pods, requests.cpu, limits.memory, count/deployments.apps, ...")
    elif name.removeprefix(COUNT) in NOT_COUNTED:
        causes.add(field, "Events are not counted: they expire by themselves")
    elif not _known(name):
        causes.add(field, "is not something that is counted: write count/<resource>, or requests.<resource> of pods")
    elif (name.startswith(COUNT) or base_resource(name) not in _FRACTIONS) and parse_quantity(quantity) % 1:
        causes.add(field, f"must be a whole number, not {quantity}")


def _known(name: str) -> bool:
    """Names without a prefix or a domain are from a fixed list, so that a slip is not a quota of nothing."""
    if name.startswith((COUNT, REQUESTS, LIMITS)) or "/" in name:
        return True
    return name in (PODS, *COMPUTE_RESOURCES, *COUNTED_BY_NAME)


def _check_scoped(scope: str, hard: Any, causes: Causes) -> None:
    for name in hard:
        if name not in _SCOPED[scope]:
            causes.add(f"spec.hard[{name}]", f"cannot be limited for {scope} pods alone")
