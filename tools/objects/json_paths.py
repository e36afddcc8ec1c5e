"""The JSONPaths of printer columns: `.spec.size`, `.spec.parts[0].name`, `.conditions[?(@.type=="Ready")].status`.

Of what JSONPath has, this is what definitions use: fields, numbers, `[*]`, and a filter by one equal field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_STEP = re.compile(
    r"""\.(?P<field>[^.\[\]]+)
    | \[(?P<number>-?[0-9]{1,9})\]
    | \[(?P<all>\*)\]
    | \[['"](?P<quoted>[^'"]+)['"]\]
    | \[\?\(@\.(?P<key>[^=\s]+)\s*==\s*['"](?P<value>[^'"]*)['"]\s*\)\]""",
    re.VERBOSE,
)


def values_at(document: Any, path: str) -> list[Any]:
    """What a path selects; nothing where it leads nowhere, or is of a form that is not known here."""
    found = [document]
    at = 0
    text = path.strip("{}")
    text = text if text.startswith(("[", ".")) else f".{text}"
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            return []
        found = [inner for value in found for inner in _inner(value, step)]
        at = step.end()
    return found


def _inner(value: Any, step: re.Match[str]) -> Iterator[Any]:
    name = step["field"] or step["quoted"]
    if name is not None:
        if isinstance(value, dict) and name in value:
            yield value[name]
    elif isinstance(value, list):
        if step["number"] is not None:
            yield from value[int(step["number"]) :][:1]
        elif step["all"]:
            yield from value
        else:
            yield from (
                each for each in value if isinstance(each, dict) and str(each.get(step["key"])) == step["value"]
            )
