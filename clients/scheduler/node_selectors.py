"""What a pod's node affinity says of nodes, read once for all pods that share it.

As https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity has it: a node will do if one
of the terms selects it, which it does if all that the term says is so; a term that says nothing selects no node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ...proto.selectors import Requirement

NAME_FIELD: Final = "metadata.name"
_LISTED, _BARE, _COMPARED = ("In", "NotIn"), ("Exists", "DoesNotExist"), ("Gt", "Lt")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


class Term(NamedTuple):
    """`expressions` of the node's labels, `names` of its name; all must be so, and there must be one."""

    expressions: tuple[Requirement, ...] = ()
    names: tuple[Requirement, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.expressions and not self.names

    def selects(self, name: str, labels: Mapping[str, str]) -> bool:
        """By plain values, for one node."""
        return (
            not self.is_empty
            and all(each.matches(labels.get(each.key)) for each in self.expressions)
            and all(each.matches(name) for each in self.names)
        )


class NodeAffinity(NamedTuple):
    """`required`: terms of which one must select the node; None: any node. `preferred`: (weight, term)."""

    required: tuple[Term, ...] | None = None
    preferred: tuple[tuple[int, Term], ...] = ()


NO_AFFINITY: Final = NodeAffinity()


def read_node_affinity(affinity: Mapping[str, Any] | None, field: str = "spec.affinity.nodeAffinity") -> NodeAffinity:
    """Of a spec's `nodeAffinity`.

    Raises:
        ValueError: it makes no sense; the message names the field.
    """
    if not affinity:
        return NO_AFFINITY
    required, preferred = None, []
    where = "requiredDuringSchedulingIgnoredDuringExecution"
    if affinity.get(where) is not None:
        required = read_terms(affinity[where].get("nodeSelectorTerms") or (), f"{field}.{where}.nodeSelectorTerms")
    where = "preferredDuringSchedulingIgnoredDuringExecution"
    for at, each in enumerate(affinity.get(where) or ()):
        weight = each.get("weight")
        if not isinstance(weight, int) or not 1 <= weight <= 100:
            raise ValueError(f"{field}.{where}[{at}].weight must be a whole number from 1 to 100, not {weight!r}")
        term = _term(each.get("preference") or {}, f"{field}.{where}[{at}].preference")
        if not term.is_empty:
            preferred.append((weight, term))
    return NodeAffinity(required, tuple(preferred))


def read_terms(terms: Sequence[Mapping[str, Any]], field: str) -> tuple[Term, ...]:
    """Of a node selector.

    Raises:
        ValueError: they make no sense, or there is none; the message names the field.
    """
    if not terms:
        raise ValueError(f"{field} must have a term")
    return tuple(_term(each, f"{field}[{at}]") for at, each in enumerate(terms))


def _term(term: Mapping[str, Any], field: str) -> Term:
    expressions = enumerate(term.get("matchExpressions") or ())
    fields = enumerate(term.get("matchFields") or ())
    return Term(
        tuple(_requirement(each, f"{field}.matchExpressions[{at}]") for at, each in expressions),
        tuple(_name_requirement(each, f"{field}.matchFields[{at}]") for at, each in fields),
    )


def _requirement(entry: Mapping[str, Any], field: str) -> Requirement:
    key, operator, values = entry.get("key"), entry.get("operator"), tuple(entry.get("values") or ())
    if not isinstance(key, str) or not key:
        raise ValueError(f"{field}.key must be the key of a label")
    if operator in _LISTED:
        sensible = bool(values) and all(isinstance(each, str) for each in values)
    elif operator in _COMPARED:
        sensible = len(values) == 1 and isinstance(values[0], str) and _NUMBER.fullmatch(values[0]) is not None
    elif operator in _BARE:
        sensible = not values
    else:
        operators = ", ".join((*_LISTED, *_BARE, *_COMPARED))
        raise ValueError(f"{field}.operator must be one of {operators}, not {operator!r}")
    if not sensible:
        needs = {
            "In": "texts",
            "NotIn": "texts",
            "Gt": "one whole number, as a text",
            "Lt": "one whole number, as a text",
        }
        raise ValueError(f"{field}.values must be {needs.get(operator, 'left out')} where the operator is {operator}")
    return Requirement(key, operator, values)


def _name_requirement(entry: Mapping[str, Any], field: str) -> Requirement:
    if entry.get("key") != NAME_FIELD:
        raise ValueError(f"{field}.key must be {NAME_FIELD}, not {entry.get('key')!r}")
    if entry.get("operator") not in _LISTED:
        raise ValueError(f"{field}.operator must be one of {', '.join(_LISTED)}, not {entry.get('operator')!r}")
    return _requirement(entry, field)
