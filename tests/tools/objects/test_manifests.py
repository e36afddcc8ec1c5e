"""Manifests are read as Kubernetes reads them, and every mistake names its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from ursa.proto.errors import InputError
from ursa.tools.objects.manifests import parse_manifests, read_manifests

POD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers: []\n"


def test_documents_and_lists_become_objects_in_order() -> None:
    text = (
        POD
        + "---\n---\n"
        + "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n"
    )
    found = parse_manifests(text, "f.yaml")
    assert [(m.object.kind, m.object.name, m.line) for m in found] == [("Pod", "a", 1), ("ConfigMap", "b", 9)]


def test_json_is_read_too() -> None:
    [found] = parse_manifests(
        '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}', "f.json"
    )
    assert found.object.rest == {"data": {"a": "1"}}


def test_a_time_is_a_string() -> None:
    [found] = parse_manifests(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {at: 2026-11-23T08:00:00Z}", "f"
    )
    assert found.object.rest == {"data": {"at": "2026-11-23T08:00:00Z"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c\n", "f.yaml:1:5: mapping values are not allowed here"),
        ("metadata:\n  name: a\n name: b\n", "f.yaml:3:2: "),
        ("a: 1\na: 2\n", "f.yaml:2:1: the key 'a' comes twice in this map"),
        ("1: a\n", "f.yaml:1:1: the key 1 is not a string; quote it"),
        ("- a\n", "f.yaml:1:1: a manifest is a map"),
        ("just text", "f.yaml:1:1: a manifest is a map"),
        (
            POD + "---\napiVersion: v1\nkind: Podd\nmetadata: {name: x}\n",
            "f.yaml:8:1: there is no kind 'Podd'; known are",
        ),
        ("apiVersion: v2\nkind: Pod\nmetadata: {name: x}\n", "f.yaml:1:1: kind Pod is served as apiVersion v1, not v2"),
        ("apiVersion: v1\nkind: Pod\n", "f.yaml:1:1: the Pod has no metadata.name"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: 7, labels: {a: 1}}\n",
            "metadata.labels[a]: must be a string, not 1; quote it",
        ),
        ("\x00", "f.yaml: this is no YAML"),
        ("a: !!python/object:os.system x", "f.yaml:1:4: could not determine a constructor"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_manifests(text, "f.yaml")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_directory_stands_for_its_manifests_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(POD)
    (tmp_path / "a.yml").write_text(POD.replace("name: a", "name: first"))
    (tmp_path / "notes.txt").write_text("not a manifest")
    assert [m.object.name for m in read_manifests([str(tmp_path)])] == ["first", "a"]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "bin.yaml").write_bytes(b"\xff\xfe")
    for path, message in (
        (tmp_path / "none.yaml", "cannot be read: No such file"),
        (tmp_path / "bin.yaml", "is no UTF-8"),
    ):
        with pytest.raises(InputError, match=message):
            read_manifests([str(path)])
    (tmp_path / "bin.yaml").unlink()
    with pytest.raises(InputError, match="there are no manifests"):
        read_manifests([str(tmp_path)])
