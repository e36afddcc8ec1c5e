"""Random schemas and random objects: only documented errors, in bounded time."""

from __future__ import annotations

import os
import time
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.partitions.schemas import broken_rules, compile_schema
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, from_status
from ursa.proto.kinds import Role
from ursa.proto.objects import encode

from ..conftest import Partition, target
from ..test_custom_kinds import DEFINITIONS, WIDGETS, creation, definition, deletion, widget
from .making import Maker

CASES = 300_000 if os.environ.get("URSA_SOAK") else 6_000
CASES_PER_EXAMPLE = 60
# Of CPU, for a schema and some values of it. Nothing here is large; what takes this long has no bound.
SECONDS_MAX = 3.0
FIELD_CHARACTERS_MAX = 2000
CAUSES_MAX = 100


def check(maker: Maker) -> bool:
    """Whether the schema was one that is served."""
    schema = maker.any_schema()
    started = time.process_time()
    broken = broken_rules(schema, "s")
    assert all(cause.field.startswith("s") and cause.message and cause.reason for cause in broken), broken
    if broken:
        return False
    node = compile_schema(schema)
    for value in (maker.value(), maker.fitting(schema), maker.fitting(schema)):
        once = deepcopy(value)
        causes = node.check(once)
        assert len(causes) <= CAUSES_MAX
        assert all(cause.reason and cause.message for cause in causes), causes
        assert all(max(len(cause.field), len(cause.message)) < FIELD_CHARACTERS_MAX for cause in causes), causes
        if not causes:
            encode(once)
            twice = deepcopy(once)
            assert node.check(twice) == [], "what was admitted is admitted again"
            assert encode(twice) == encode(once), "and stays as it is"
    assert time.process_time() - started < SECONDS_MAX, schema
    return True


@settings(max_examples=CASES // CASES_PER_EXAMPLE)
@given(st.integers(0, 2**64 - 1))
def test_no_schema_and_no_value_raise_anything(seed: int) -> None:
    maker = Maker(seed)
    for _ in range(CASES_PER_EXAMPLE):
        check(maker)


def test_enough_of_the_schemas_are_served() -> None:
    maker = Maker(1)
    assert sum(check(maker) for _ in range(1000)) > 150


@settings(max_examples=CASES // 300)
@given(st.integers(0, 2**64 - 1))
def test_a_partition_answers_whatever_is_defined_and_written(seed: int) -> None:
    maker = Maker(seed)
    partition = Partition(Role.TENANT)
    for _ in range(4):
        schema = maker.any_schema()
        served = written(partition, creation(DEFINITIONS, defined(maker, schema)))
        for name in "ab":
            fit = maker.fitting(schema)
            spec = fit.get("spec", fit) if isinstance(fit, dict) else fit
            written(partition, with_spec(name, spec))
            written(partition, applied(name, spec, maker.random.choice(("one", "two"))))
        if served:
            names = [item.metadata.name for item in partition.list(WIDGETS).items]
            assert [item.name for item in (partition.get(WIDGETS, name) for name in names)] == names
        written(partition, deletion(DEFINITIONS, WIDGETS, "", ""))
        partition.runtime.advance(5)
        assert not partition.list(DEFINITIONS).items
    partition.server.close()


def defined(maker: Maker, schema: Any) -> dict[str, Any]:
    manifest = definition(schema={"openAPIV3Schema": schema})
    version = manifest["spec"]["versions"][0]
    if maker.random.random() < 0.7:
        version["subresources"], version["selectableFields"] = {"status": {}}, []
    if maker.random.random() < 0.2:
        maker.spoilt(manifest["spec"])
    return manifest


def with_spec(name: str, spec: Any) -> pb.Operation:
    operation = widget(name)
    operation.create.object.spec = packed(spec)
    return operation


def applied(name: str, spec: Any, manager: str) -> pb.Operation:
    manifest = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}
    patch = pb.Patch(target=target(WIDGETS, name), type=pb.Patch.APPLY, body=packed(manifest))
    return pb.Operation(resource=WIDGETS, patch=patch, field_manager=manager)


def packed(value: Any) -> bytes:
    try:
        return encode(value)
    except (ValueError, TypeError, OverflowError):
        return b"\xc1"


def written(partition: Partition, operation: pb.Operation) -> bool:
    """Whether it was; if not, it is the writer's fault."""
    started = time.process_time()
    try:
        [result] = partition.write(operation)
        error: ApiError | None = from_status(result.error) if result.HasField("error") else None
    except ApiError as refused:
        error = refused
    assert time.process_time() - started < SECONDS_MAX, operation
    assert error is None or 400 <= error.code < 500, (error, operation)
    return error is None
