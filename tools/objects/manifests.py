"""Kubernetes manifests from files: YAML with several documents, or JSON.

Every mistake names its file, line and column. As in Kubernetes, a timestamp is a string and a key may not come twice.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ...proto.errors import ApiError, InputError
from ...proto.kinds import Kind
from ...proto.objects import Object
from .kinds import KnownKinds

SUFFIXES = (".yaml", ".yml", ".json")
STANDARD_INPUT = "-"


class Manifest(NamedTuple):
    """An object of a file, its kind, and where it stands there."""

    object: Object
    file: str
    line: int
    kind: Kind


def read_manifests(paths: Iterable[str], kinds: KnownKinds | None = None) -> list[Manifest]:
    """The objects of all files, in order. A directory stands for its manifests by name; `-` is standard input.

    `kinds`: those that objects may be of. Without it, those built in, and what the manifests define.

    Raises:
        InputError: a file that cannot be read, is no YAML, or holds something that is no object.
    """
    kinds = kinds or KnownKinds()
    return [each for path in paths for file, text in _texts(path) for each in parse_manifests(text, file, kinds)]


def parse_manifests(text: str, file: str, kinds: KnownKinds | None = None) -> list[Manifest]:
    """Raises InputError."""
    kinds = kinds or KnownKinds()
    found: list[Manifest] = []
    try:
        for document, line, column in _documents(text):
            found.extend(_objects(document, file, line, column, kinds))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise InputError(error.problem or "this is no YAML", file=file, line=line, column=column) from None
    except yaml.YAMLError as error:
        raise InputError(f"this is no YAML: {' '.join(str(error).split())}", file=file) from None
    return found


def _documents(text: str) -> Iterator[tuple[Any, int, int]]:
    """The documents of a text, each with the line and the column where it starts."""
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node is not None, "check_node said that there is one"
            yield loader.construct_document(node), node.start_mark.line + 1, node.start_mark.column + 1
    finally:
        loader.dispose()


def _texts(path: str) -> Iterator[tuple[str, str]]:
    if path == STANDARD_INPUT:
        yield "standard input", sys.stdin.read()
        return
    file = Path(path)
    files = sorted(f for f in file.iterdir() if f.suffix in SUFFIXES) if file.is_dir() else [file]
    if not files:
        raise InputError(f"there are no manifests ({', '.join(SUFFIXES)}) in this directory", file=path)
    for one in files:
        try:
            yield str(one), one.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", file=str(one)) from None
        except UnicodeDecodeError:
            raise InputError("is no UTF-8 text", file=str(one)) from None


def _objects(document: Any, file: str, line: int, column: int, kinds: KnownKinds) -> Iterator[Manifest]:
    if document is None:
        return  # An empty document, as between two separators.
    if not isinstance(document, dict):
        raise InputError("a manifest is a map with apiVersion, kind and metadata", file=file, line=line, column=column)
    if document.get("kind") == "List" and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _objects(item, file, line, column, kinds)
        return
    try:
        kind = kinds.of(str(document.get("apiVersion") or ""), str(document.get("kind") or ""))
        kinds.define(document)
        obj = Object.from_dict(document)
    except ApiError as error:
        raise InputError(str(error), file=file, line=line, column=column) from None
    if not obj.name and not obj.message.metadata.generate_name:
        raise InputError(f"the {obj.kind} has no metadata.name", file=file, line=line, column=column)
    yield Manifest(obj, file, line, kind)


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Hashable, None] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not a string; quote it", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} comes twice in this map", key_node.start_mark
                )
            seen[key] = None
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
