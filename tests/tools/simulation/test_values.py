"""What was asked for once and happened twice is seen, under whatever names it was sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ursa.proto.objects import Object
from ursa.tools.checking.recorded import Recording
from ursa.tools.recording.records import Complete, Logged
from ursa.tools.simulation import Operation, Plan
from ursa.tools.simulation.values import values_are_put_once

PLAN = Plan(
    1,
    operations=tuple(
        Operation(at, "user-1", verb, {"tenant": "tenant-1", "name": "register-1", "value": value})
        for at, verb, value in ((1.0, "put", "a"), (2.0, "overwrite", "b"), (3.0, "put", "c"), (4.0, "put", "c"))
    ),
)


def log(*values: str) -> Iterator[Logged | Complete]:
    """`-`: it is deleted."""
    key, living = "/registry/configmaps/tenant-1/default/register-1", 0
    create = 0
    for revision, value in enumerate(values, 1):
        create = create if living else revision
        data = Object.from_dict({"data": {"value": value}}).message.SerializeToString(deterministic=True)
        yield Logged("tp-1", "main", "i", revision, key, value == "-", create, living, data)
        living = 0 if value == "-" else revision
    yield Complete("tp-1", "main", "i", 0, len(values))


def found(*values: str) -> list[str]:
    return [each.text for each in values_are_put_once(PLAN, Recording(list(log(*values))))]


@pytest.mark.parametrize("values", [(), ("a", "b", "c"), ("a", "a"), ("c", "a", "c"), ("a", "-", "b"), ("x", "b", "x")])
def test_what_happened_as_often_as_it_was_asked_for_is_well(values: tuple[str, ...]) -> None:
    assert found(*values) == []


@pytest.mark.parametrize("values", [("a", "b", "a"), ("b", "-", "b"), ("c", "a", "c", "b", "c")])
def test_what_happened_once_more_is_told(values: tuple[str, ...]) -> None:
    [text] = found(*values)
    assert f"{values[-1]} was put into register-1 of tenant-1 at revisions " in text
