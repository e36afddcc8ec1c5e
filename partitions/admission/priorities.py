"""PriorityClasses, and what they make of the pods that name one.

As in Kubernetes, a pod's priority is worked out once, when it is created: a class that changes or goes later changes
no pod. `system-node-critical` and `system-cluster-critical` are there without an object. A class is of its partition,
not of a tenant; `ursa apply` puts it into every tenant partition.

    priorityClassName: fast      -> priority and preemptionPolicy of the class `fast`; Forbidden if there is none
    nothing                      -> those of the class with `globalDefault`, if there is one
    priority: 5, no class named  -> taken as it is (Kubernetes would demand the global default's)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.errors import Forbidden
from ...proto.kinds import Kind
from ...proto.objects import decode_shared
from .strategy import Strategy
from .validation import Causes

PREEMPT, NEVER = "PreemptLowerPriority", "Never"
# What a class of one's own may have at most; above it are the two of the system.
VALUE_MAX: Final = 1_000_000_000
VALUE_MIN: Final = -(2**31)
SYSTEM_PREFIX: Final = "system-"


class PriorityClass(NamedTuple):
    name: str
    value: int
    preemption_policy: str


SYSTEM_CLASSES: Final = {
    name: PriorityClass(name, value, PREEMPT)
    for name, value in (("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000))
}


class PriorityClasses:
    """Those of a partition, as its newest state has them."""

    def __init__(self) -> None:
        self._known: dict[str, PriorityClass] = {}
        self._default: PriorityClass | None = None

    @property
    def default(self) -> str:
        """The name of the class for pods that name none; empty: there is none."""
        return "" if self._default is None else self._default.name

    def observe(self, name: str, new: pb.Object | None) -> None:
        """A class was staged, or is gone (None)."""
        self._known.pop(name, None)
        if name == self.default:
            self._default = None
        if new is not None:
            rest = decode_shared(new.rest)
            found = PriorityClass(name, rest["value"], rest.get("preemptionPolicy") or PREEMPT)
            self._known[name] = found
            if rest.get("globalDefault"):
                self._default = found

    def resolve(self, spec: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The spec of a new pod with its priority; None: it has that already.

        Raises:
            Forbidden: there is no such class, or the spec says something else than the class does.
        """
        name = spec.get("priorityClassName")
        if not isinstance(name, str | None):
            return None  # That is told when it is checked.
        if name:
            found = SYSTEM_CLASSES.get(name) or self._known.get(name)
            if found is None:
                raise Forbidden(f"no PriorityClass with name {name} was found: create it, or name another")
        elif self._default is not None and spec.get("priority") is None:
            found = self._default
        else:
            return None
        _check_same(spec, "priority", found.value, found.name)
        _check_same(spec, "preemptionPolicy", found.preemption_policy, found.name)
        made = {
            "priorityClassName": found.name,
            "priority": found.value,
            "preemptionPolicy": found.preemption_policy,
        }
        return None if all(spec.get(field) == value for field, value in made.items()) else {**spec, **made}


def _check_same(spec: Mapping[str, Any], field: str, value: Any, name: str) -> None:
    if spec.get(field) not in (None, value):
        raise Forbidden(f"spec.{field} must not be {spec[field]!r}: PriorityClass {name} says {value!r}; leave it out")


class PriorityClassStrategy(Strategy):
    """Its `classes` are told of every class that is staged, and asked for every new pod."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.classes = PriorityClasses()

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        rest = decode_shared(message.rest) if message.rest else {}
        value = rest.get("value")
        if not isinstance(value, int) or isinstance(value, bool):
            causes.add("value", f"must be a whole number, not {value!r}")
        elif not VALUE_MIN <= value <= VALUE_MAX:
            causes.add("value", f"must be from {VALUE_MIN} to {VALUE_MAX}, not {value}")
        if message.metadata.name.startswith(SYSTEM_PREFIX):
            causes.add("metadata.name", f"must not begin with {SYSTEM_PREFIX!r}: those classes are built in")
        if rest.get("preemptionPolicy") not in (None, "", PREEMPT, NEVER):
            causes.add("preemptionPolicy", f"must be {PREEMPT} or {NEVER}, not {rest['preemptionPolicy']!r}")
        if not isinstance(rest.get("globalDefault"), bool | None):
            causes.add("globalDefault", "must be true or false")
        elif rest.get("globalDefault") and self.classes.default not in ("", message.metadata.name):
            causes.add("globalDefault", f"{self.classes.default} is the global default already, and there can be one")

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        after, before = decode_shared(new.rest), decode_shared(old.rest)
        for field, default in (("value", None), ("preemptionPolicy", PREEMPT)):
            if (after.get(field) or default) != (before.get(field) or default):
                causes.add(field, "is immutable: delete the class and create it anew; its pods keep their priority")
