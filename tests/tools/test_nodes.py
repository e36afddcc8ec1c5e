from pathlib import Path

import pytest
from ursa.proto.errors import InputError
from ursa.tools.nodes import NodeOptions, load_nodes, make_nodes, save_nodes, split, spread


def names(nodes: list) -> list[str]:
    return [node.name for node in nodes]


def test_made_up_nodes_have_what_was_asked_for() -> None:
    options = NodeOptions(name_prefix="gpu", cpu="32", memory="128Gi", pods=20, extended={"ursa.dev/gpu-milli": 8000})
    (node,) = make_nodes(1, options)
    assert node.name == "gpu-0001"
    allocatable = node.status["allocatable"]
    assert allocatable == {"cpu": "32", "memory": "128Gi", "pods": 20, "ursa.dev/gpu-milli": 8000}


def test_more_nodes_move_none_of_those_that_are_there() -> None:
    few = make_nodes(7, NodeOptions())
    many = [*few, *make_nodes(6, NodeOptions(), first=8)]
    partitions = ["rp-1", "rp-2", "rp-3"]
    before, after = spread(few, partitions), spread(many, partitions)
    for partition in partitions:
        assert after[partition][: len(before[partition])] == before[partition]
    assert sorted(node.name for part in after.values() for node in part) == sorted(names(many))
    parts_before, parts_after = list(split(few, 3)), list(split(many, 3))
    assert parts_after[:2] == parts_before[:2]
    assert [len(part) for part in parts_after] == [3, 3, 3, 3, 1]


def test_a_saved_file_gives_the_same_nodes_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    nodes = make_nodes(3, NodeOptions(labels={"zone": "a"}))
    save_nodes(tmp_path / "nodes.msgpack", nodes)
    read = load_nodes(tmp_path / "nodes.msgpack")
    assert [node.to_dict() for node in read] == [node.to_dict() for node in nodes]
    assert [path.name for path in tmp_path.iterdir()] == ["nodes.msgpack"]


def test_manifests_are_read_from_yaml_too(tmp_path: Path) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text(
        "{apiVersion: v1, kind: Node, metadata: {name: a}}\n---\n{apiVersion: v1, kind: Node, metadata: {name: b}}\n"
    )
    assert names(load_nodes(path)) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("nodes.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: a}}", "is a Pod, not a Node"),
        ("nodes.yaml", "a: [", "nodes.yaml:1:"),
        ("nodes.yaml", "{apiVersion: v1, kind: Node, metadata: {name: a}}\n---\n" * 2, "is a second node 'a'"),
        ("nodes.msgpack", "no msgpack", "no msgpack list"),
        ("nodes.msgpack", "\x93\x01", "no msgpack list"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=complaint) as refusal:
        load_nodes(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("nodes.yaml", "nodes.msgpack"):
        with pytest.raises(InputError, match=f"{name}: cannot be read"):
            load_nodes(tmp_path / name)
