"""Hand-made wire fields are what protobuf itself would make."""

from __future__ import annotations

import msgpack
from hypothesis import given
from hypothesis import strategies as st
from ursa.partitions import frames
from ursa.partitions.writes.spec_bytes import append_fields
from ursa.proto import ursa_pb2 as pb

revisions = st.integers(1, 2**63)
objects = st.builds(
    lambda name, spec: pb.Object(kind="Pod", metadata=pb.ObjectMeta(name=name), spec=spec),
    st.text(),
    st.binary(max_size=300),
)


@given(st.lists(objects, max_size=5), revisions, st.text(max_size=5))
def test_a_list_joined_from_items_parses_as_the_list_that_protobuf_builds(
    items: list[pb.Object], revision: int, token: str
) -> None:
    trailer = pb.ListReply(resource_version=revision, continue_token=token, remaining=3).SerializeToString()
    joined = b"".join(frames.list_item(item.SerializeToString()) for item in items) + trailer
    assert pb.ListReply.FromString(joined) == pb.ListReply(
        items=items, resource_version=revision, continue_token=token, remaining=3
    )


@given(st.lists(objects, max_size=20), st.integers(1, 2000), st.booleans())
def test_chunks_of_a_list_are_its_items_and_no_longer_than_one_item_too_many(
    items: list[pb.Object], bytes_max: int, without_contents: bool
) -> None:
    datas = [item.SerializeToString() for item in items]
    trailer = pb.ListReply(resource_version=7).SerializeToString()
    chunks = list(frames.list_chunks(datas, trailer, bytes_max, without_contents=without_contents))
    if without_contents:
        for item in items:
            item.ClearField("spec")
    assert pb.ListReply.FromString(b"".join(chunks)) == pb.ListReply(items=items, resource_version=7)
    assert [b"" if chunk is not chunks[-1] else trailer for chunk in chunks] == [
        pb.ListReply(resource_version=pb.ListReply.FromString(chunk).resource_version).SerializeToString()
        for chunk in chunks
    ]
    for chunk in chunks:
        lengths = [item.ByteSize() for item in pb.ListReply.FromString(chunk).items]
        assert sum(lengths[:-1]) < bytes_max
        assert sum(lengths) >= bytes_max or chunk is chunks[-1]


def test_only_as_much_of_a_list_is_looked_at_as_a_chunk_needs() -> None:
    small, large = b"\x0a\x01v", b"\x22\x80\x80\x04" + bytes(1 << 16)
    chunks = list(frames.list_chunks([small] * 2000 + [large] * 3, b"", 1 << 16))
    assert sum(len(pb.ListReply.FromString(chunk).items) for chunk in chunks) == 2003
    assert max(map(len, chunks)) < 2 << 16


@given(
    st.text(max_size=300),
    st.dictionaries(st.text(max_size=5), st.text(max_size=50), max_size=9),
    st.binary(max_size=300),
    st.binary(max_size=5),
)
def test_metadata_is_the_beginning_of_an_object(name: str, labels: dict[str, str], spec: bytes, rest: bytes) -> None:
    metadata = pb.ObjectMeta(name=name, labels=labels)
    whole = pb.Object(api_version="v1", kind="Pod", metadata=metadata, spec=spec, status=spec, rest=rest)
    data = frames.metadata_only(whole.SerializeToString(deterministic=True))
    assert pb.Object.FromString(data) == pb.Object(api_version="v1", kind="Pod", metadata=metadata)


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2]), objects, revisions), max_size=4),
    st.integers(1, 2**32 - 1),
    st.booleans(),
    revisions,
    st.text(max_size=8),
)
def test_a_watch_reply_joined_from_events_parses_as_the_reply_that_protobuf_builds(
    events: list[tuple[int, pb.Object, int]], watch_id: int, synced: bool, revision: int, incarnation: str
) -> None:
    error = pb.Status(code=410, reason="Expired")
    joined = frames.watch_reply(
        [
            *frames.watch_batch(
                watch_id, [frames.watch_event(kind, item.SerializeToString(), at) for kind, item, at in events], synced
            ),
            *frames.watch_batch(7, [], error=error.SerializeToString()),
        ],
        revision,
        incarnation,
    )
    built = pb.WatchReply(resource_version=revision, incarnation=incarnation)
    batch = built.batches.add(id=watch_id, initial_events_end=synced)
    for kind, item, at in events:
        batch.events.add(type=kind, object=item, resource_version=at)
    built.batches.add(id=7, error=error)
    assert pb.WatchReply.FromString(joined) == built


@given(
    st.dictionaries(st.text(max_size=4), st.integers() | st.text(), max_size=70),
    st.dictionaries(st.text(min_size=5, max_size=6), st.text(), min_size=1, max_size=3),
)
def test_fields_appended_to_an_encoded_map_are_decoded_with_it(
    contents: dict[str, object], added: dict[str, str]
) -> None:
    contents = {
        key: value for key, value in contents.items() if not isinstance(value, int) or -(2**63) <= value < 2**64
    }
    data = append_fields(msgpack.packb(contents), added)
    assert msgpack.unpackb(data) == {**contents, **added}
