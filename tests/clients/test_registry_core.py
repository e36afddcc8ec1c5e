"""Whoever tells of partitions, in whatever order and however often: everybody believes the same in the end."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from ursa.clients.registry_core import ACTIVE, REMOVED, STATES, Entry, Registry, entry_object, read_entry
from ursa.proto.kinds import Role
from ursa.proto.objects import Object

entries = st.builds(
    lambda epoch, state, address, name: Entry(
        epoch, state, address, Role.TENANT if name[0] == "t" else Role.RESOURCE, name
    ),
    st.integers(0, 3),
    st.sampled_from(STATES),
    st.sampled_from(["", "h:1", "h:2"]),
    st.sampled_from(["tp-1", "tp-2", "rp-1"]),
)


def believed(told: list[Entry]) -> dict[str, Entry]:
    registry = Registry()
    for entry in told:
        registry.learn(entry)
    return registry.entries


@given(st.lists(entries, max_size=12), st.randoms(use_true_random=False))
def test_the_order_and_repetitions_of_what_is_told_make_no_difference(told: list[Entry], random: Random) -> None:
    again = [*told, *random.sample(told, len(told) // 2)]
    random.shuffle(again)
    assert believed(again) == believed(told)


@given(entries, st.lists(entries, max_size=8))
def test_what_is_changed_is_newer_than_all_that_was_known(entry: Entry, told: list[Entry]) -> None:
    known = believed([entry, *told])[entry.name]
    changed = known.changed(state=REMOVED)
    assert believed([changed, entry, *told])[entry.name] == changed


def test_only_news_is_news() -> None:
    registry = Registry()
    first = Entry(1, ACTIVE, "h:1", Role.TENANT, "tp-1")
    assert registry.learn(first)
    assert not registry.learn(first)
    assert not registry.learn(first._replace(epoch=0, address="h:9"))
    assert registry.learn(first.changed(address="h:2"))


def test_a_name_is_used_once_over_both_roles() -> None:
    registry = Registry()
    assert registry.learn(Entry(1, ACTIVE, "h:1", Role.TENANT, "p"))
    assert not registry.learn(Entry(7, ACTIVE, "h:2", Role.RESOURCE, "p"))
    assert registry.entries["p"].role is Role.TENANT


@given(entries)
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    assert read_entry(entry_object(entry)) == entry


def test_an_entry_of_an_older_version_is_active_and_older_than_any_other() -> None:
    made = {"apiVersion": "ursa.dev/v1", "kind": "ResourcePartition", "metadata": {"name": "rp-1"}}
    assert read_entry(Object.from_dict({**made, "spec": {"address": "h:1"}})) == Entry(
        0, ACTIVE, "h:1", Role.RESOURCE, "rp-1"
    )
    assert read_entry(Object.from_dict({**made, "spec": {"state": "Odd", "epoch": "x"}})).state == ACTIVE
