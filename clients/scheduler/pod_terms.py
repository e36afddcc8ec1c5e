"""What a pod's spec says about other pods: affinity, anti-affinity and topology spread, read once for a template.

A term of a spec is relative: to the tenant and the namespace of its pod, and through its `matchLabelKeys` to the pod's
labels. `of` makes a `PodSelection` of it, which says by itself which pods are meant; equal selections share what is
counted for them (`pod_counts.py`).

The fields and their meaning are Kubernetes' (https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node
and .../topology-spread-constraints), but for one thing: a tenant is a cluster of its own, so "all namespaces" are those
of the pod's tenant, and a pod of another tenant is never meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ...proto.objects import decode, encode
from ...proto.selectors import Requirement, Selector, label_selector_of, selects

DO_NOT_SCHEDULE: Final = "DoNotSchedule"
SCHEDULE_ANYWAY: Final = "ScheduleAnyway"
NODE_POLICIES: Final = ("Honor", "Ignore")
OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist")
WEIGHT_MAX: Final = 100

Labels = Mapping[str, str]
# The labels of namespaces, by tenant and name.
NamespaceLabels = Mapping[tuple[str, str], Labels]


class PodSelection(NamedTuple):
    """Some pods of one tenant.

    `namespaces` None: all of them. `namespace_selector` None: no others than these. `labels` None: no pod at all.
    `terminating`: pods that are being deleted count, too.
    """

    tenant: str
    namespaces: tuple[str, ...] | None
    namespace_selector: Selector | None
    labels: Selector | None
    terminating: bool = True

    def selects(self, tenant: str, namespace: str, labels: Labels, namespaces: NamespaceLabels) -> bool:
        """Whether a pod is meant; of `terminating` the caller takes care."""
        if self.labels is None or tenant != self.tenant:
            return False
        if self.namespaces is not None and namespace not in self.namespaces:
            if self.namespace_selector is None:
                return False
            # As in Kubernetes, a namespace carries its name as a label, whoever made it.
            known = {"kubernetes.io/metadata.name": namespace, **namespaces.get((tenant, namespace), {})}
            if not selects(self.namespace_selector, known.get):
                return False
        return selects(self.labels, labels.get)


class PodTerm(NamedTuple):
    """A PodAffinityTerm. Of `namespace_selector`, None is none, and empty is all namespaces."""

    topology_key: str
    labels: Selector | None
    namespaces: tuple[str, ...] = ()
    namespace_selector: Selector | None = None
    match_label_keys: tuple[str, ...] = ()
    mismatch_label_keys: tuple[str, ...] = ()

    def of(self, tenant: str, namespace: str, labels: Labels) -> PodSelection:
        """Whom it means as a term of a pod there, with these labels."""
        namespaces: tuple[str, ...] | None = self.namespaces
        selector = self.namespace_selector
        if selector is None and not self.namespaces:
            namespaces = (namespace,)
        elif selector == ():
            namespaces = selector = None
        wanted = with_own_labels(self.labels, self.match_label_keys, "In", labels)
        wanted = with_own_labels(wanted, self.mismatch_label_keys, "NotIn", labels)
        return PodSelection(tenant, namespaces, selector, wanted)


class WeightedTerm(NamedTuple):
    """`weight` is negative for anti-affinity."""

    weight: int
    term: PodTerm


class PodAffinity(NamedTuple):
    """The `podAffinity` and the `podAntiAffinity` of a spec.

    `source`: these two as written, encoded; equal ones say the same, and bytes remember their hash.
    """

    required: tuple[PodTerm, ...] = ()
    required_anti: tuple[PodTerm, ...] = ()
    preferred: tuple[WeightedTerm, ...] = ()
    source: bytes = b""


NO_POD_AFFINITY: Final = PodAffinity()


class SpreadConstraint(NamedTuple):
    """A TopologySpreadConstraint; `hard`: DoNotSchedule."""

    max_skew: int
    topology_key: str
    hard: bool
    labels: Selector | None = None
    min_domains: int = 1
    match_label_keys: tuple[str, ...] = ()
    honor_affinity: bool = True
    honor_taints: bool = False

    def of(self, tenant: str, namespace: str, labels: Labels) -> PodSelection:
        """Whom it counts for a pod there, with these labels: pods of the same namespace that are not going."""
        wanted = with_own_labels(self.labels, self.match_label_keys, "In", labels)
        return PodSelection(tenant, (namespace,), None, wanted, terminating=False)


NO_SPREAD: Final[tuple[SpreadConstraint, ...]] = ()


def with_own_labels(selector: Selector | None, keys: tuple[str, ...], operator: str, labels: Labels) -> Selector | None:
    """A selector that asks, too, for the pod's own values of these labels; those it has not are left out."""
    if selector is None or not keys:
        return selector
    more = [Requirement(key, operator, (labels[key],)) for key in keys if key in labels]
    return in_order((*selector, *more))


def in_order(selector: Selector) -> Selector:
    """Selectors that say the same in another order are one."""
    return tuple(sorted(selector, key=lambda each: (each.key, each.operator, each.values)))


# ---------------------------------------------------------------------------------------------------------- reading


def pod_affinity_of(spec: Mapping[str, Any]) -> PodAffinity:
    """Raises ValueError: an affinity that makes no sense; the message names the field."""
    affinity = spec.get("affinity")
    if not affinity:
        return NO_POD_AFFINITY
    among = _mapping(affinity, "affinity")
    wanted = {field: among.get(field) for field in ("podAffinity", "podAntiAffinity")}
    return _read_pod_affinity(encode(wanted)) if any(wanted.values()) else NO_POD_AFFINITY


# The pods of a workload have equal affinities, while once bound no two specs are equal.
@lru_cache(maxsize=4096)
def _read_pod_affinity(data: bytes) -> PodAffinity:
    affinity = decode(data)
    terms: dict[str, tuple[PodTerm, ...]] = {}
    preferred: list[WeightedTerm] = []
    for field, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        among = _mapping(affinity[field], field)
        place = f"{field}.requiredDuringSchedulingIgnoredDuringExecution"
        terms[field] = tuple(_pod_term(each, at) for each, at in _items(among, place))
        for each, at in _items(among, f"{field}.preferredDuringSchedulingIgnoredDuringExecution"):
            weighted = _mapping(each, at)
            weight = _whole(weighted.get("weight"), f"{at}.weight", 1, WEIGHT_MAX)
            preferred.append(WeightedTerm(sign * weight, _pod_term(weighted.get("podAffinityTerm"), at)))
    return PodAffinity(terms["podAffinity"], terms["podAntiAffinity"], tuple(preferred), data)


def _pod_term(value: Any, place: str) -> PodTerm:
    term = _mapping(value, place)
    return PodTerm(
        _topology_key(term, place),
        _selector(term, "labelSelector", place),
        _names(term, "namespaces", place),
        _selector(term, "namespaceSelector", place),
        _names(term, "matchLabelKeys", place),
        _names(term, "mismatchLabelKeys", place),
    )


def spread_constraints_of(
    spec: Mapping[str, Any], field: str = "topologySpreadConstraints"
) -> tuple[SpreadConstraint, ...]:
    """Raises ValueError: a constraint that makes no sense; the message names the field."""
    return (
        tuple(_spread_constraint(_mapping(each, at), at) for each, at in _items(spec, field)) if spec.get(field) else ()
    )


def _spread_constraint(constraint: Mapping[str, Any], place: str) -> SpreadConstraint:
    action = constraint.get("whenUnsatisfiable")
    if action not in (DO_NOT_SCHEDULE, SCHEDULE_ANYWAY):
        raise ValueError(f"{place}.whenUnsatisfiable must be {DO_NOT_SCHEDULE} or {SCHEDULE_ANYWAY}, not {action!r}")
    hard = action == DO_NOT_SCHEDULE
    min_domains = constraint.get("minDomains")
    if min_domains is not None and not hard:
        raise ValueError(f"{place}.minDomains can only be set where whenUnsatisfiable is {DO_NOT_SCHEDULE}")
    return SpreadConstraint(
        _whole(constraint.get("maxSkew"), f"{place}.maxSkew", 1),
        _topology_key(constraint, place),
        hard,
        _selector(constraint, "labelSelector", place),
        1 if min_domains is None else _whole(min_domains, f"{place}.minDomains", 1),
        _names(constraint, "matchLabelKeys", place),
        _policy(constraint, "nodeAffinityPolicy", "Honor", place),
        _policy(constraint, "nodeTaintsPolicy", "Ignore", place),
    )


def _policy(constraint: Mapping[str, Any], field: str, default: str, place: str) -> bool:
    policy = constraint.get(field) or default
    if policy not in NODE_POLICIES:
        raise ValueError(f"{place}.{field} must be {' or '.join(NODE_POLICIES)}, not {policy!r}")
    return bool(policy == "Honor")


def _topology_key(term: Mapping[str, Any], place: str) -> str:
    key = term.get("topologyKey")
    if not isinstance(key, str) or not key:
        raise ValueError(f"{place}.topologyKey must be the key of a node label, such as kubernetes.io/hostname")
    return key


def _selector(term: Mapping[str, Any], field: str, place: str) -> Selector | None:
    value = term.get(field)
    if value is None:
        return None
    structured = _mapping(value, f"{place}.{field}")
    for each, at in _items(structured, f"{place}.{field}.matchExpressions"):
        expression = _mapping(each, at)
        operator, values = expression.get("operator"), expression.get("values") or []
        if operator not in OPERATORS:
            raise ValueError(f"{at}.operator must be one of {', '.join(OPERATORS)}, not {operator!r}")
        if not isinstance(expression.get("key"), str) or not isinstance(values, list):
            raise ValueError(f"{at} must have a key, and a list of values")
        if bool(values) != (operator in ("In", "NotIn")):
            raise ValueError(f"{at}.values must {'not ' if values else ''}be given for the operator {operator}")
    _mapping(structured.get("matchLabels"), f"{place}.{field}.matchLabels")
    return in_order(label_selector_of(structured))


def _items(parent: Mapping[str, Any], place: str) -> Iterator[tuple[Any, str]]:
    """The items of the list that is the last part of `place`, each with its own place."""
    value = parent.get(place.rpartition(".")[2])
    if not isinstance(value, list | None):
        raise ValueError(f"{place} must be a list, not {type(value).__name__}")
    for number, each in enumerate(value or ()):
        yield each, f"{place}[{number}]"


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict | None):
        raise ValueError(f"{place} must be a mapping, not {type(value).__name__}")
    return value or {}


def _names(parent: Mapping[str, Any], field: str, place: str) -> tuple[str, ...]:
    value = parent.get(field) or []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{place}.{field} must be a list of strings")
    return tuple(dict.fromkeys(value))


def _whole(value: Any, place: str, least: int, most: int = 2**31 - 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{place} must be a whole number from {least} to {most}, not {value!r}")
    return value
