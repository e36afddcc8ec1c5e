"""Objects keep all that a manifest says, and a manifest's mistakes are all named."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.proto import errors
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, Cause, Invalid
from ursa.proto.objects import Object, decode, encode, format_time, parse_time

names = st.text("abcxyz-", min_size=1, max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
manifests = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "kind": st.just("Pod"),
        "metadata": st.fixed_dictionaries(
            {"name": names},
            optional={
                "namespace": names,
                "tenant": names,
                "labels": st.dictionaries(names, names, min_size=1, max_size=3),
                "annotations": st.dictionaries(names, st.text(max_size=5), min_size=1, max_size=3),
                "finalizers": st.lists(names, min_size=1, max_size=2),
                "creationTimestamp": st.integers(1, 4 * 10**12).map(format_time),
                "resourceVersion": st.integers(1, 2**63).map(str),
            },
        ),
    },
    optional={
        "spec": st.dictionaries(names, values, min_size=1, max_size=3),
        "status": st.dictionaries(names, values, min_size=1, max_size=3),
        "data": st.dictionaries(names, st.text(max_size=5), max_size=3),
    },
)


@given(manifests)
def test_a_manifest_survives_the_way_to_the_wire_and_back(manifest: dict[str, object]) -> None:
    obj = Object.from_dict(manifest)
    again = Object.from_bytes(obj.message.SerializeToString(deterministic=True))
    assert again.to_dict() == manifest


@given(values)
def test_contents_survive_encoding(value: object) -> None:
    assert decode(encode(value)) == value


@given(st.integers(0, 10**13))
def test_times_survive_formatting(milliseconds: int) -> None:
    assert parse_time(format_time(milliseconds)) == milliseconds


def test_every_wrong_type_of_the_metadata_is_named() -> None:
    metadata = {
        "name": 5,
        "labels": {"a": 1},
        "finalizers": "x",
        "resourceVersion": 7,
        "creationTimestamp": "yesterday",
    }
    with pytest.raises(Invalid) as refused:
        Object.from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    assert [cause.field for cause in refused.value.causes] == [
        "metadata.name",
        "metadata.resourceVersion",
        "metadata.creationTimestamp",
        "metadata.labels[a]",
        "metadata.finalizers",
    ]


def test_a_change_makes_another_object() -> None:
    first = Object.from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"x": 1}})
    second = first.with_spec({"x": 2}).with_metadata(labels={"l": "1"})
    assert (first.spec, dict(first.labels)) == ({"x": 1}, {})
    assert (second.spec, dict(second.labels)) == ({"x": 2}, {"l": "1"})


def test_stored_bytes_do_not_depend_on_the_process() -> None:
    """A protobuf map is in another order in every process unless asked otherwise."""
    program = (
        "from ursa.proto.objects import Object\n"
        "labels = {f'key-{n}': str(n) for n in range(40)}\n"
        "obj = Object.from_dict({'kind': 'Pod', 'metadata': {'name': 'a', 'labels': labels}})\n"
        "print(obj.message.SerializeToString(deterministic=True).hex())"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert made[0] == made[1]


def api_errors() -> list[type[ApiError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ApiError)]


@pytest.mark.parametrize("kind", [kind for kind in api_errors() if kind is not ApiError])
def test_an_error_survives_the_wire_with_all_its_fields(kind: type[ApiError]) -> None:
    error = kind("do this", key="pods/a", resource_version=7, causes=[Cause("spec.x", "is bad")], retry_after_ms=9)
    again = errors.from_status(pb.Status.FromString(error.status.SerializeToString()))
    assert type(again) is kind
    assert again.status == error.status
    assert str(again) == "do this"
