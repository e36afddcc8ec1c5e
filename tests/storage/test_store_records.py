"""The format on disk."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.proto.errors import StoreCorrupt, StoreIncompatible
from ursa.storage import Record, records

revisions = st.integers(1, 2**63 - 1)
some_records = st.builds(
    Record, revisions, st.text(max_size=20), st.binary(max_size=40), st.booleans(), revisions, st.integers(0, 2**63 - 1)
)


def test_the_worked_examples_are_true():
    outcome = doctest.testmod(records)
    assert (outcome.failed, outcome.attempted) == (0, 4)


@given(some_records)
def test_what_was_encoded_is_decoded(record):
    key, data = records.encode(record)
    assert records.decode(key, data) == record
    assert len(key) + len(data) == records.record_bytes(record.key, record.value)


@given(st.lists(revisions, min_size=2))
def test_the_order_of_bytes_is_the_order_of_revisions(some):
    assert [records.decode_key(key) for key in sorted(map(records.encode_key, some))] == sorted(some)


@given(some_records, st.data())
def test_any_flipped_bit_is_found_and_named(record, data):
    """Of the key in the tree as well: a record that answers for another revision is as wrong as a damaged one."""
    key, value = records.encode(record)
    whole = bytearray(key + value)
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    found = int.from_bytes(whole[:8])
    with pytest.raises(StoreCorrupt, match=f"revision {found} fails its checksum"):
        records.decode(bytes(whole[:8]), bytes(whole[8:]))


@given(some_records, st.data())
def test_a_record_cut_short_is_found(record, data):
    key, value = records.encode(record)
    with pytest.raises(StoreCorrupt):
        records.decode(key, value[: data.draw(st.integers(0, len(value) - 1))])


@given(st.integers(0, 2**63), st.text("0123456789abcdef", max_size=32))
def test_the_description_of_a_store(compacted, incarnation):
    description = records.Description(compacted, incarnation)
    data = records.encode_description(description)
    assert records.decode_description(data) == description
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(StoreCorrupt, match="revision 0"):
        records.decode_description(damaged)


@pytest.mark.parametrize("data", [None, b"", b"ursalog", b"something else altogether"])
def test_what_is_no_description(data):
    with pytest.raises(StoreIncompatible, match="not the data of an Ursa store"):
        records.decode_description(data)


def test_another_version_is_named_whatever_follows_it():
    with pytest.raises(StoreIncompatible, match=r"format version 9, this Ursa needs 1"):
        records.decode_description(b"ursalog\0\x00\x09 who knows")
