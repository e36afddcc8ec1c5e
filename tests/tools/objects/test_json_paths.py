"""Paths of printer columns, which are the words of whoever defined a kind."""

from __future__ import annotations

import pytest
from ursa.tools.objects.json_paths import values_at

DOCUMENT = {
    "spec": {"size": 3, "a.b": "dotted"},
    "parts": [{"name": "x", "n": 1}, {"name": "y", "n": 2}],
    "deep": [[1, 2], [3]],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.size", [3]),
        ("{.spec.size}", [3]),
        ("spec['a.b']", ["dotted"]),
        (".parts[0].name", ["x"]),
        (".parts[-1].name", ["y"]),
        (".parts[*].n", [1, 2]),
        ('.parts[?(@.name=="y")].n', [2]),
        (".deep[*][*]", [1, 2, 3]),
        (".parts[7].name", []),
        (".nowhere.at.all", []),
        (".parts[" + "9" * 5000 + "].name", []),
        (".parts[?(@.name", []),
        ("[[[[", []),
        (".a" * 100_000, []),
    ],
)
def test_a_path_selects_what_it_leads_to_and_nothing_where_it_makes_no_sense(path: str, found: list[object]) -> None:
    assert values_at(DOCUMENT, path) == found
