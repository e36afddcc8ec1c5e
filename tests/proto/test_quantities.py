"""Quantities are exact, and what does not divide is rounded up, as in Kubernetes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.proto.quantities import CPU, MEMORY, format_quantity, resource_list, resource_units


@pytest.mark.parametrize(
    ("resource", "text", "units"),
    [
        (CPU, "100m", 100),
        (CPU, "1", 1000),
        (CPU, 2, 2000),
        (CPU, "0.5", 500),
        (CPU, "0.0001", 1),
        (CPU, "100u", 1),
        (MEMORY, "1Ki", 1024),
        (MEMORY, "1.5Gi", 1610612736),
        (MEMORY, "1k", 1000),
        (MEMORY, "2e3", 2000),
        (MEMORY, "1500m", 2),
        (MEMORY, "-1Mi", -1048576),
        ("pods", 110, 110),
    ],
)
def test_quantities_are_counted_in_the_unit_of_their_resource(resource: str, text: str | int, units: int) -> None:
    assert resource_units(resource, text) == units


@pytest.mark.parametrize("text", ["", "lots", "1Gb", "1 Gi", "--1", "1..2", "0x10", "m", "1e", "٣"])
def test_what_is_no_quantity_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity: write a number"):
        resource_units(MEMORY, text)


@given(st.sampled_from([CPU, MEMORY, "pods", "ursa.dev/gpu-milli"]), st.integers(0, 2**50))
def test_formatting_is_undone_by_parsing(resource: str, units: int) -> None:
    assert resource_units(resource, format_quantity(resource, units)) == units


def test_a_resource_list_may_be_missing() -> None:
    assert resource_list(None) == {}
    assert resource_list({"cpu": "1", "memory": "1Ki"}) == {"cpu": 1000, "memory": 1024}
