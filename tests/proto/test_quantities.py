"""Quantities: what they are worth, and that none is too large to be reckoned with."""

from __future__ import annotations

from decimal import Decimal

import pytest
from ursa.proto.quantities import CPU, MEMORY, QUANTITY_MAX, parse_quantity, resource_units


@pytest.mark.parametrize(
    ("text", "value"), [("500m", "0.5"), ("1Gi", str(2**30)), ("1e3", "1000"), ("-2k", "-2000"), ("0e999999", "0")]
)
def test_a_quantity_is_what_kubernetes_takes_it_for(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["1e999999", "1e1000000", "1e99999", "9" * 90, "9000000000Gi", "1e18E"])
def test_one_beyond_the_largest_is_the_largest(text: str) -> None:
    assert parse_quantity(text) == QUANTITY_MAX
    assert parse_quantity(f"-{text}") == -QUANTITY_MAX
    assert resource_units(MEMORY, text) == 2**63 - 1
    assert resource_units(CPU, text) == (2**63 - 1) * 1000


@pytest.mark.parametrize("text", ["1e-999999", "0.000001n"])
def test_the_smallest_is_rounded_up(text: str) -> None:
    assert resource_units(MEMORY, text) == 1


@pytest.mark.parametrize("text", ["9" * 1_000_000, "", "1Zi", "1.2.3", "1e99999999999999999999999", "nan"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        parse_quantity(text)
