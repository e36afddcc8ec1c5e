"""Objects as text: tables, names, YAML, JSON, and the long form of `ursa describe`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from ...proto.kinds import Kind
from ...proto.objects import Object
from .columns import Column, columns_of_kind

OUTPUTS = ("table", "wide", "name", "json", "yaml")
_GAP = "   "
# A column of a stream cannot know how long its longest value will be.
STREAM_COLUMN_WIDTH_MIN = 12


def table(objects: Sequence[Object], columns: Sequence[Column], now_ms: int) -> Iterator[str]:
    """Lines of a table, columns as wide as their longest value."""
    rows = [[column.value(obj, now_ms) for column in columns] for obj in objects]
    return aligned([column.title for column in columns], rows, left=len(columns))


def aligned(titles: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> Iterator[str]:
    """Lines of a table, columns as wide as their longest value. The first `left` are text, the others numbers."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        cells = [
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield _GAP.join(cells).rstrip()


def stream_row(cells: Sequence[str], titles: Sequence[str]) -> str:
    """A line of a table whose other lines are not known yet."""
    return _GAP.join(
        cell.ljust(max(len(title), STREAM_COLUMN_WIDTH_MIN)) for cell, title in zip(cells, titles, strict=True)
    ).rstrip()


def name_of(obj: Object) -> str:
    """`pod/web-1`, `deployment.apps/web`."""
    group = obj.api_version.rpartition("/")[0]
    return f"{obj.kind.lower()}.{group}/{obj.name}" if group else f"{obj.kind.lower()}/{obj.name}"


def document_of(obj: Object) -> dict[str, Any]:
    """An object for people: without managedFields, which are long and for the server."""
    document = obj.to_dict()
    document["metadata"].pop("managedFields", None)
    return document


def as_document(objects: Sequence[Object], single: bool) -> dict[str, Any]:
    """One object as itself, several as a List."""
    documents = [document_of(obj) for obj in objects]
    if single and len(documents) == 1:
        return documents[0]
    return {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": documents}


def to_yaml(document: Any) -> str:
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=False, allow_unicode=True).rstrip()


def to_json(document: Any, *, indent: int | None = 4) -> str:
    return json.dumps(document, indent=indent, ensure_ascii=False)


def formatted(
    objects: Sequence[Object], kind: Kind, output: str, *, single: bool, scoped: Sequence[Column], now_ms: int
) -> Iterable[str]:
    """The lines of a list in one of OUTPUTS; of a table, all are of one kind."""
    if output == "name":
        return (name_of(obj) for obj in objects)
    if output == "json":
        return (to_json(as_document(objects, single)),)
    if output == "yaml":
        return (to_yaml(as_document(objects, single)),)
    return table(objects, columns_of_kind(kind, wide=output == "wide", scoped=scoped), now_ms)


def outline(value: Any, indent: int = 0) -> Iterator[str]:
    """Nested values as indented `Title: value` lines, the way `kubectl describe` shows what it has no form for."""
    pad = "  " * indent
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, dict | list) and inner:
                yield f"{pad}{_title(key)}:"
                yield from outline(inner, indent + 1)
            else:
                yield f"{pad}{_title(key)}: {_scalar(inner)}"
    elif isinstance(value, list):
        for inner in value:
            lines = list(outline(inner, indent + 1))
            yield f"{pad}- {lines[0].lstrip()}"
            yield from lines[1:]
    else:
        yield f"{pad}{_scalar(value)}"


def _scalar(value: Any) -> str:
    if value in (None, "", [], {}):
        return "<none>"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _title(key: str) -> str:
    """`nodeSelector` -> `Node Selector`; keys with dots or slashes are names and stay as they are."""
    if not key.isalnum():
        return key
    words: list[str] = []
    for letter in key:
        if letter.isupper() and words and not words[-1][-1].isupper():
            words.append(letter)
        elif words:
            words[-1] += letter
        else:
            words.append(letter.upper())
    return " ".join(words)
