"""A schema made into a tree that goes through a value once: it prunes, defaults and checks.

At each map, fields that the schema does not have are taken away, missing ones get their defaults, and then what is
there is visited; so what a default brings is completed and checked like what was sent. Values are changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...proto.errors import Cause
from ...proto.objects import encode
from ..patching.values import copied
from .budget import Budget, TooMuchWork
from .finding import REQUIRED, TOO_LONG, TYPE_INVALID, Findings, Place, shown, text_of
from .rules import Rule, rules_of

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_INT_OR_STRING = ((int, str), "integer or string")
_EMBEDDED = ("apiVersion", "kind", "metadata")
_NOTHING = object()
# Defaults are copied into whatever lacks them; a list of a million empty maps must not become a terabyte.
_STEPS_OF_A_DEFAULT = 10
# Most of an alternative's work is to say what is wrong, to nobody.
_STEPS_OF_AN_ALTERNATIVE = 10
_TOO_MUCH_WORK = (
    "takes too long to check by the schema of its kind: make the object smaller, or the patterns, alternatives and "
    "defaults of the schema simpler"
)


def compile_schema(schema: Mapping[str, Any], *, structural: bool = True) -> Node:
    """Of a schema without `broken_rules`. Not `structural`: it only checks, as within an anyOf."""
    return Node(schema, structural)


class Node:
    """One schema of the tree."""

    __slots__ = (
        "_all_of",
        "_alternatives_steps",
        "_any_of",
        "_keeps_unknown",
        "_not",
        "_one_of",
        "_required",
        "_rules",
        "_type_name",
        "_types",
        "additional",
        "default",
        "default_steps",
        "items",
        "nullable",
        "properties",
    )

    def __init__(self, schema: Mapping[str, Any], structural: bool) -> None:
        self._types, self._type_name = _types_of(schema)
        self.nullable = bool(schema.get("nullable"))
        self.default: Any = schema.get("default", _NOTHING) if structural else _NOTHING
        self._keeps_unknown = not structural or bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        properties: dict[str, Any] = dict(schema.get("properties") or {})
        if schema.get("x-kubernetes-embedded-resource"):
            for name in _EMBEDDED:
                properties.setdefault(name, {"x-kubernetes-preserve-unknown-fields": True})
        self.properties = {name: Node(each, structural) for name, each in properties.items()}
        additional = schema.get("additionalProperties")
        self.additional = Node(additional, structural) if isinstance(additional, Mapping) else None
        self._keeps_unknown = self._keeps_unknown or additional is True
        self.items = Node(schema["items"], structural) if "items" in schema else None
        self._required: tuple[str, ...] = tuple(schema.get("required") or ())
        self._rules: tuple[Rule, ...] = tuple(rules_of(schema))
        self._all_of, self._any_of, self._one_of = (
            tuple(Node(each, structural=False) for each in schema.get(name) or ())
            for name in ("allOf", "anyOf", "oneOf")
        )
        self._not = Node(schema["not"], structural=False) if "not" in schema else None
        alternatives = 1 + len(self._all_of) + len(self._any_of) + len(self._one_of)
        self._alternatives_steps = alternatives * _STEPS_OF_AN_ALTERNATIVE
        self.default_steps = 0 if self.default is _NOTHING else _STEPS_OF_A_DEFAULT + len(encode(self.default))

    def check(self, value: Any, place: Place | None = None, budget: Budget | None = None) -> list[Cause]:
        """Prune, default and check a value that is its caller's to change: the rules that it breaks."""
        findings = Findings(budget or Budget())
        try:
            self.visit(value, place, findings)
        except TooMuchWork as error:
            return [Cause(text_of(error.place), _TOO_MUCH_WORK, TOO_LONG)]
        return findings.causes

    def visit(self, value: Any, place: Place | None, findings: Findings) -> None:
        """`check`, of a part. Raises TooMuchWork."""
        if value is None:
            if not self.nullable and self._types:
                findings.add(place, f"must be of type {self._type_name}, not null", TYPE_INVALID)
            return
        if self._types and type(value) not in self._types:
            findings.add(place, f"must be of type {self._type_name}, not {shown(value)}", TYPE_INVALID)
            return
        if type(value) is dict:
            self._visit_map(value, place, findings)
        elif self.items is not None and type(value) is list:
            findings.budget.spend(len(value), place)
            visit = self.items.visit
            for number, item in enumerate(value):
                visit(item, (place, number), findings)
        for rule in self._rules:
            rule(value, place, findings)
        if self._all_of or self._any_of or self._one_of or self._not is not None:
            self._visit_alternatives(value, place, findings)

    def _visit_map(self, value: dict[str, Any], place: Place | None, findings: Findings) -> None:
        properties, additional = self.properties, self.additional
        findings.budget.spend(2 + len(properties) + len(value) + len(self._required), place)
        if additional is not None:
            for name, item in value.items():
                if name not in properties:
                    additional.visit(item, (place, name), findings)
        elif not self._keeps_unknown:
            for name in [name for name in value if name not in properties]:
                del value[name]
        for name, node in properties.items():
            item = value.get(name, _NOTHING)
            # As Kubernetes: a null for which there is a default is as if it were not there.
            if node.default is not _NOTHING and (item is _NOTHING or (item is None and not node.nullable)):
                findings.budget.spend(node.default_steps, place)
                item = value[name] = copied(node.default)
            if item is not _NOTHING:
                node.visit(item, (place, name), findings)
        for name in self._required:
            if name not in value:
                findings.add((place, name), "is required", REQUIRED)

    def _visit_alternatives(self, value: Any, place: Place | None, findings: Findings) -> None:
        findings.budget.spend(self._alternatives_steps, place)
        for node in self._all_of:
            node.visit(value, place, findings)
        if self._any_of and not any(node.accepts(value, place, findings) for node in self._any_of):
            findings.add(place, "must satisfy at least one of the schemas of its anyOf")
        if self._one_of:
            count = sum(node.accepts(value, place, findings) for node in self._one_of)
            if count != 1:
                findings.add(place, f"must satisfy exactly one of the schemas of its oneOf, but satisfies {count}")
        if self._not is not None and self._not.accepts(value, place, findings):
            findings.add(place, "must not satisfy the schema of its not")

    def accepts(self, value: Any, place: Place | None, findings: Findings) -> bool:
        """The findings are those of whoever asks: only their budget is used."""
        own = Findings(findings.budget)
        self.visit(value, place, own)
        return not own.causes


def _types_of(schema: Mapping[str, Any]) -> tuple[tuple[type, ...], str]:
    """The types a value may have, none meaning any, and what to call them."""
    if schema.get("x-kubernetes-int-or-string"):
        return _INT_OR_STRING
    name = schema.get("type", "")
    return _TYPES.get(name, ()), name
