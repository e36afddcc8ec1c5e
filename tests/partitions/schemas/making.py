"""Schemas and values from a seed: sound ones, those with one thing in them replaced, and noise."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import Any

_PATTERNS = (
    "^a+$",
    "(a+)+$",
    "(?=a)",
    "(",
    "\\pL{1,30}",
    "^(([ab]{1,90}){1,9})*c",
    "(a|a)*b",
    "\\1",
    "",
    "a" * 11_000,
    3,
)
_FORMATS = (
    "int32",
    "int64",
    "date-time",
    "date",
    "duration",
    "byte",
    "uuid",
    "ipv4",
    "ipv6",
    "cidr",
    "email",
    "hostname",
)
_NAMES = ("a", "b", "spec", "type", "items", "x.y", "", "n" * 300)
_TEXTS = (
    *("", "a", "ab", "a" * 40 + "!", "ab" * 3000, "1h30m", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "\0"),
    *("9999-12-31", "10.0.0.1/8", "::1", "a@b", "aGk=", "http://[", "\u0663", "\U0001f600", "50%", "1" * 5000),
)
_NUMBERS = (0, 1, -1, 3, 2**63, -(2**63), 2**64 - 1, 1.5, 1e308, 5e-324, float("nan"), float("inf"), -0.0)
_STRANGE: tuple[Any, ...] = (None, True, [], {}, [None], {"a": 1}, {1: 2}, b"\xff", "text", 7, -1, [[[[]]]], [{}] * 50)


class Maker:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    # ----------------------------------------------------------------------------------------------------- schemas

    def schema(self, depth: int = 0) -> Any:
        """Sound, mostly."""
        random = self.random
        kind = random.choice(("object", "array", "string", "integer", "number", "boolean", "free", "either"))
        if depth == 0:
            kind = "object"
        elif depth > 4 and kind in ("object", "array"):
            kind = "string"
        made = getattr(self, f"_{kind}")(depth)
        if random.random() < 0.15:
            made["default"] = self.value()
        if random.random() < 0.1:
            made["nullable"] = random.random() < 0.5
        if random.random() < 0.15:
            made["enum"] = [self.value() for _ in range(random.randint(1, 4))]
        if random.random() < 0.2 and depth < 5:
            self._alternatives(made, depth)
        return made

    def _object(self, depth: int) -> dict[str, Any]:
        random = self.random
        made: dict[str, Any] = {"type": "object"}
        if random.random() < 0.2 and depth:
            made["additionalProperties"] = random.choice((True, self.schema(depth + 1)))
        else:
            made["properties"] = {random.choice(_NAMES): self.schema(depth + 1) for _ in range(random.randint(0, 3))}
        if random.random() < 0.3:
            made["required"] = [random.choice(_NAMES)]
        for name, chance in (("maxProperties", 0.1), ("minProperties", 0.1)):
            if random.random() < chance:
                made[name] = random.randint(0, 3)
        for name in ("preserve-unknown-fields", "embedded-resource"):
            if random.random() < 0.1:
                made[f"x-kubernetes-{name}"] = True
        return made

    def _array(self, depth: int) -> dict[str, Any]:
        random = self.random
        made: dict[str, Any] = {"type": "array", "items": self.schema(depth + 1)}
        list_type = random.choice((None, None, "atomic", "set", "map"))
        if list_type:
            made["x-kubernetes-list-type"] = list_type
        if list_type == "map":
            made["items"] = self._object(depth + 1)
            made["x-kubernetes-list-map-keys"] = list(made["items"].get("properties") or ("a",))[:2]
        if random.random() < 0.2:
            made["maxItems"] = random.randint(0, 3)
        return made

    def _string(self, _depth: int) -> dict[str, Any]:
        random = self.random
        made: dict[str, Any] = {"type": "string"}
        if random.random() < 0.4:
            made["pattern"] = random.choice(_PATTERNS)
        if random.random() < 0.3:
            made["format"] = random.choice((*_FORMATS, "uri", "what"))
        if random.random() < 0.2:
            made["maxLength"] = random.randint(0, 50)
        return made

    def _number(self, _depth: int) -> dict[str, Any]:
        random = self.random
        made: dict[str, Any] = {"type": "number"}
        for name in ("minimum", "maximum", "multipleOf"):
            if random.random() < 0.25:
                made[name] = random.choice(_NUMBERS)
        return made

    def _integer(self, depth: int) -> dict[str, Any]:
        return {**self._number(depth), "type": "integer", "format": self.random.choice(_FORMATS)}

    def _boolean(self, _depth: int) -> dict[str, Any]:
        return {"type": "boolean"}

    def _free(self, _depth: int) -> dict[str, Any]:
        return {"x-kubernetes-preserve-unknown-fields": True}

    def _either(self, _depth: int) -> dict[str, Any]:
        return {"x-kubernetes-int-or-string": True}

    def _alternatives(self, made: dict[str, Any], depth: int) -> None:
        random = self.random
        junctor = random.choice(("allOf", "anyOf", "oneOf", "not"))
        inner = [self._within(self.schema(depth + 2)) for _ in range(random.randint(1, 3))]
        made[junctor] = inner[0] if junctor == "not" else inner

    def _within(self, schema: Any) -> Any:
        """What may be said in an alternative."""
        unsaid = ("type", "default", "nullable", "additionalProperties", "x-kubernetes-preserve-unknown-fields")
        made = {name: value for name, value in schema.items() if name not in unsaid}
        if "properties" in made:
            made["properties"] = {name: self._within(each) for name, each in made["properties"].items()}
        if "items" in made:
            made["items"] = self._within(made["items"])
        return made

    # ------------------------------------------------------------------------------------------------------ values

    def value(self, depth: int = 0) -> Any:
        random = self.random
        kind = random.randrange(6 if depth < 4 else 3)
        if kind == 0:
            return random.choice(_TEXTS)
        if kind == 1:
            return random.choice(_NUMBERS)
        if kind == 2:
            return deepcopy(random.choice(_STRANGE))
        if kind == 3:
            return [self.value(depth + 1) for _ in range(random.choice((0, 1, 3)))]
        return {random.choice(_NAMES): self.value(depth + 1) for _ in range(random.choice((0, 1, 3)))}

    def fitting(self, schema: Any) -> Any:
        """A value that has the types of the schema, mostly."""
        random = self.random
        if not isinstance(schema, dict) or random.random() < 0.1:
            return self.value()
        kind = schema.get("type")
        properties, items = schema.get("properties"), schema.get("items")
        if kind == "object" and isinstance(properties, dict):
            return {name: self.fitting(each) for name, each in properties.items() if random.random() < 0.8}
        if kind == "object":
            return {random.choice(_NAMES): self.fitting(schema.get("additionalProperties")) for _ in range(2)}
        if kind == "array":
            return [self.fitting(items) for _ in range(random.choice((0, 1, 2, 40)))]
        return random.choice(_NUMBERS if kind in ("integer", "number") else _TEXTS)

    def spoilt(self, schema: Any) -> Any:
        """Something in it, at any depth, becomes something else."""
        random = self.random
        holder = schema
        while True:
            if not isinstance(holder, dict | list) or not holder:
                return schema
            at: Any = random.choice(list(holder)) if isinstance(holder, dict) else random.randrange(len(holder))
            if isinstance(holder[at], dict | list) and holder[at] and random.random() < 0.7:
                holder = holder[at]
                continue
            holder[at] = deepcopy(random.choice((*_STRANGE, *_NUMBERS, *_PATTERNS)))
            return schema

    def any_schema(self) -> Any:
        kind = self.random.randrange(4)
        if kind == 0:
            return self.value()
        return self.spoilt(self.schema()) if kind == 1 else self.schema()
