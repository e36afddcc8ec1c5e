"""Rules about a single value: its range, its length, its form."""

from __future__ import annotations

import base64
import ipaddress
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from ...proto.objects import parse_time
from .finding import DUPLICATE, INVALID, NOT_SUPPORTED, TOO_LONG, TOO_MANY, Findings, Place, named, shown
from .patterns import Pattern

Rule = Callable[[Any, Place | None, Findings], None]
Schema = Mapping[str, Any]
# Of an enum, in a message.
_SHOWN_VALUES = 20


def rules_of(schema: Schema) -> list[Rule]:
    """Those a schema states about the value itself, not about what is in it."""
    found: list[Rule] = []
    if "enum" in schema:
        found.append(_enum(schema["enum"]))
    found += _numbers(schema)
    found += _lengths(schema)
    if schema.get("pattern") is not None:
        found.append(_pattern(Pattern(schema["pattern"])))
    check = FORMATS.get(schema.get("format", ""))
    if check is not None:
        found.append(_format(schema["format"], check))
    list_type = schema.get("x-kubernetes-list-type")
    if list_type == "set":
        found.append(_unique(()))
    elif list_type == "map":
        keys = tuple(schema["x-kubernetes-list-map-keys"])
        properties = schema["items"].get("properties") or {}
        found.append(_unique(keys, {key: properties[key].get("default") for key in keys}))
    return found


def _enum(allowed: list[Any]) -> Rule:
    # An enum may have as many values as a definition has room for, and each object of a list be one of them.
    simple = {(type(each), each): None for each in allowed if not isinstance(each, dict | list)}
    others = [each for each in allowed if isinstance(each, dict | list)]
    listed = ", ".join(map(shown, allowed[:_SHOWN_VALUES])) + (", ..." if len(allowed) > _SHOWN_VALUES else "")

    def is_allowed(value: Any, place: Place | None, findings: Findings) -> bool:
        if not isinstance(value, dict | list):
            return (type(value), value) in simple
        findings.budget.spend(len(others) * (1 + len(value)), place)
        return any(value == each and type(value) is type(each) for each in others)

    def check(value: Any, place: Place | None, findings: Findings) -> None:
        if not is_allowed(value, place, findings):
            findings.add(place, f"must be one of {listed}, not {shown(value)}", NOT_SUPPORTED)

    return check


def _numbers(schema: Schema) -> list[Rule]:
    found: list[Rule] = []

    def rule(holds: Callable[[Any], bool], told: str) -> None:
        def check(value: Any, place: Place | None, findings: Findings) -> None:
            if isinstance(value, int | float) and not isinstance(value, bool) and not holds(value):
                findings.add(place, f"{told}, not {shown(value)}")

        found.append(check)

    if (least := schema.get("minimum")) is not None:
        if schema.get("exclusiveMinimum"):
            rule(lambda value: value > least, f"must be more than {least}")
        else:
            rule(lambda value: value >= least, f"must be {least} or more")
    if (most := schema.get("maximum")) is not None:
        if schema.get("exclusiveMaximum"):
            rule(lambda value: value < most, f"must be less than {most}")
        else:
            rule(lambda value: value <= most, f"must be {most} or less")
    if (unit := schema.get("multipleOf")) is not None:
        rule(lambda value: (value / unit) % 1 == 0, f"must be a multiple of {unit}")
    return found


# What is counted, of which type, and as what too much of it is reported.
_COUNTED = (
    ("Length", str, "characters", TOO_LONG),
    ("Items", list, "items", TOO_MANY),
    ("Properties", dict, "fields", TOO_MANY),
)


def _lengths(schema: Schema) -> list[Rule]:
    found: list[Rule] = []
    for name, of, what, too_much in _COUNTED:
        least, most = schema.get(f"min{name}"), schema.get(f"max{name}")
        if least is not None or most is not None:
            found.append(_length(of, least or 0, most, what, too_much))
    return found


def _length(of: type, least: int, most: int | None, what: str, too_much: str) -> Rule:
    def check(value: Any, place: Place | None, findings: Findings) -> None:
        if isinstance(value, of):
            count = len(value)  # type: ignore[arg-type]
            if count < least:
                findings.add(place, f"must have at least {least} {what}, but has {count}")
            elif most is not None and count > most:
                findings.add(place, f"must have at most {most} {what}, but has {count}", too_much)

    return check


def _pattern(pattern: Pattern) -> Rule:
    told = f"must match {named(pattern.text)}"

    def check(value: Any, place: Place | None, findings: Findings) -> None:
        if isinstance(value, str):
            data = value.encode(errors="surrogatepass")
            findings.budget.spend(pattern.cost(data), place)
            if not pattern.is_in(data):
                findings.add(place, f"{told}, not {shown(value)}")

    return check


def _unique(keys: tuple[str, ...], defaults: Schema | None = None) -> Rule:
    """The items of a list, or their keys."""

    def identity(item: Any) -> Any:
        if not keys:
            return repr(item)
        if not isinstance(item, dict):
            return None  # Its type is wrong, which is said elsewhere.
        return repr([item.get(key, (defaults or {}).get(key)) for key in keys])

    def check(value: Any, place: Place | None, findings: Findings) -> None:
        seen: dict[Any, None] = {}
        for number, item in enumerate(value if isinstance(value, list) else ()):
            known = identity(item)
            if known is not None and known in seen:
                findings.add((place, number), f"is in the list already: {shown(item)}", DUPLICATE)
            seen[known] = None

    return check


# ----------------------------------------------------------------------------------------------------------- formats


def _format(name: str, holds: Callable[[Any], object]) -> Rule:
    def check(value: Any, place: Place | None, findings: Findings) -> None:
        try:
            broken = holds(value) is False
        except (ValueError, TypeError):
            broken = True
        if broken:
            findings.add(place, f"must be of the format {name}, not {shown(value)}", INVALID)

    return check


def _of_text(parse: Callable[[str], object]) -> Callable[[Any], object]:
    return lambda value: parse(value) if isinstance(value, str) else None


def _within(bits: int) -> Callable[[Any], object]:
    return lambda value: -(1 << bits - 1) <= value < 1 << bits - 1 if isinstance(value, int) else None


_DURATION = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+|0")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_HOST = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?")

# Others are taken as they are, as in Kubernetes.
FORMATS: dict[str, Callable[[Any], object]] = {
    "int32": _within(32),
    "int64": _within(64),
    "date-time": _of_text(parse_time),
    "date": _of_text(date.fromisoformat),
    "duration": _of_text(lambda text: _DURATION.fullmatch(text) is not None),
    "byte": _of_text(lambda text: base64.b64decode(text, validate=True) is not None),
    "uuid": _of_text(uuid.UUID),
    "ipv4": _of_text(ipaddress.IPv4Address),
    "ipv6": _of_text(ipaddress.IPv6Address),
    "cidr": _of_text(lambda text: ipaddress.ip_network(text, strict=False) is not None),
    "email": _of_text(lambda text: _EMAIL.fullmatch(text) is not None),
    "hostname": _of_text(lambda text: _HOST.fullmatch(text) is not None),
    "uri": _of_text(lambda text: bool(urlsplit(text).scheme)),
}
