"""Every list of seeded bugs fits the source as it is: a bug that cannot be seeded any more judges no test."""

from __future__ import annotations

from importlib import import_module

import pytest

from .seeding import ROOT, Bug

LISTS = tuple(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "tests").rglob("*.py"))
    if "seeding import" in path.read_text() and path.parent != ROOT / "tests"
)


def bugs_of(name: str) -> list[Bug]:
    values = vars(import_module(name)).values()
    return [bug for value in values if isinstance(value, tuple) for bug in value if isinstance(bug, Bug)]


@pytest.mark.parametrize("name", LISTS)
def test_each_can_be_seeded(name: str) -> None:
    bugs = bugs_of(name)
    assert bugs
    occurrences = {(bug.file, bug.old): (ROOT / bug.file).read_text().count(bug.old) for bug in bugs}
    assert {bug: count for bug, count in occurrences.items() if count != 1} == {}


def test_there_are_lists() -> None:
    assert len(LISTS) > 5
