"""Kubernetes quantities ("100m", "1.5Gi", "2e3") as integers, and back.

Arithmetic on resources is exact: `cpu` counts millicores, everything else counts whole units (bytes, pods, devices'
thousandths for `ursa.dev/gpu-milli`). As in Kubernetes, what does not divide is rounded up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from functools import lru_cache

CPU = "cpu"
MEMORY = "memory"
PODS = "pods"
GPU_MILLI = "ursa.dev/gpu-milli"

_SUFFIXES: dict[str, Decimal] = {
    **{
        suffix: Decimal(1000) ** power
        for power, suffix in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)
    },
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
QUANTITY_MAX = Decimal(2**63 - 1)
# More than any quantity needs to be exact.
_CHARACTERS_MAX = 100
_FORM = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]{0,2})")


@lru_cache(maxsize=4096)
def parse_quantity(text: str | float) -> Decimal:
    """The exact value.

    Raises:
        ValueError: not a quantity; the message says what one looks like.
    """
    try:
        match = _FORM.fullmatch(str(text).strip()) if len(str(text)) <= _CHARACTERS_MAX else None
        if match is None or match[2] not in _SUFFIXES:
            raise InvalidOperation
        return _capped(Decimal(match[1]), _SUFFIXES[match[2]])
    except InvalidOperation:
        raise ValueError(
            f"{str(text)[:_CHARACTERS_MAX]!r} is no quantity: "
            "write a number with an optional suffix, like 500m, 2 or 1.5Gi"
        ) from None


def _capped(number: Decimal, unit: Decimal) -> Decimal:
    """As in Kubernetes, what is beyond the largest quantity is the largest. It is not even multiplied: 1e999999 made
    into a whole number takes half a minute."""
    if number and number.adjusted() > QUANTITY_MAX.adjusted() - unit.adjusted() + 1:
        return QUANTITY_MAX.copy_sign(number)
    return max(-QUANTITY_MAX, min(number * unit, QUANTITY_MAX))


def resource_units(resource: str, quantity: str | float) -> int:
    """A quantity in the unit its resource is counted in: millicores for cpu, whole units for the rest."""
    value = parse_quantity(quantity)
    return int((value * 1000 if resource == CPU else value).to_integral_value(ROUND_CEILING))


def resource_list(quantities: Mapping[str, str | int | float] | None) -> dict[str, int]:
    """A Kubernetes ResourceList in units."""
    return {name: resource_units(name, quantity) for name, quantity in (quantities or {}).items()}


def format_quantity(resource: str, units: int) -> str:
    """Units as Kubernetes would print them: `250m`, `4`, `512Mi`."""
    if resource == CPU:
        return f"{units}m" if units % 1000 else str(units // 1000)
    if resource == MEMORY:
        for suffix in ("Ti", "Gi", "Mi", "Ki"):
            size = int(_SUFFIXES[suffix])
            if units and units % size == 0:
                return f"{units // size}{suffix}"
    return str(units)
