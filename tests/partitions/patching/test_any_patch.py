"""Whatever a patch says: it is carried out or refused in Kubernetes' words, and what is stored stays readable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from ursa.partitions.patching import decode_body, json_patch, merge_patch, shape_of, strategic_merge
from ursa.partitions.patching.field_sets import broken_lists
from ursa.partitions.patching.managers import APPLY, UPDATE, Manager, Managers
from ursa.partitions.patching.unknown import unknown_fields
from ursa.partitions.patching.values import copied
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError
from ursa.proto.kinds import BY_KIND
from ursa.proto.objects import encode

SHAPE = shape_of(BY_KIND["Deployment"])
NAMES = st.sampled_from(
    (
        *("metadata", "spec", "status", "template", "containers", "name", "env", "ports", "containerPort", "protocol"),
        *("finalizers", "labels", "strategy", "nodeSelector", "tolerations", "conditions", "type", "replicas"),
        *("ownerReferences", "uid", "$patch", "$retainKeys"),
        *("$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers"),
    )
)
TEXTS = st.sampled_from(("delete", "replace", b"\xff"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2)
    | st.floats()
    | NAMES
    | st.sampled_from(["delete", "replace", b"\xff"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
MAPS = st.dictionaries(NAMES, VALUES, max_size=4)
POINTERS = st.lists(NAMES | st.sampled_from(["0", "-"]), max_size=3).map(lambda steps: "/" + "/".join(steps))


OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(("add", "remove", "replace", "move", "copy", "test")),
        "path": POINTERS,
        "from": POINTERS,
        "value": VALUES,
    }
)


def code_of(run: Callable[[], Any]) -> int:
    """200, or that of the refusal."""
    try:
        encode(run())
    except ApiError as error:
        return error.code
    return 200


@given(live=MAPS, patch=MAPS)
def test_a_merge_of_any_values(live: Any, patch: Any) -> None:
    before = encode(live)
    assert code_of(lambda: merge_patch(live, patch)) in (200, 400)
    assert code_of(lambda: strategic_merge(live, patch, SHAPE)) in (200, 400)
    assert encode(live) == before


@given(live=MAPS, operations=st.lists(OPERATIONS, max_size=4))
def test_a_json_patch_of_any_values(live: Any, operations: Any) -> None:
    assert code_of(lambda: json_patch(copied(live), operations)) in (200, 400, 422)


@given(live=MAPS, config=MAPS, changed=MAPS, force=st.booleans())
def test_an_apply_and_an_update_of_any_values(live: Any, config: Any, changed: Any, force: bool) -> None:
    managers = Managers()
    managers.adopt(live, SHAPE, "apps/v1")
    list(broken_lists(config, SHAPE))
    list(unknown_fields(config, SHAPE))
    metadata = pb.ObjectMeta()

    def run() -> Any:
        result = managers.apply(Manager("one", APPLY, "", "apps/v1"), live, config, SHAPE, force=force)
        managers.write_to(metadata, 1)
        again = Managers(metadata.managed_fields)
        again.update(Manager("two", UPDATE, "", "apps/v1"), result, changed, SHAPE)
        again.write_to(metadata, 2)
        return result

    assert code_of(run) in (200, 409)


@given(data=st.binary(max_size=40))
def test_a_body_of_any_bytes(data: bytes) -> None:
    assert code_of(lambda: decode_body(data)) in (200, 400)
