"""The watch cache is compared with the store while everything goes on, and a difference is never overlooked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from ursa.partitions import ApiServer
from ursa.partitions.entries import Entry
from ursa.partitions.history import History
from ursa.partitions.reads import consistency
from ursa.partitions.reads.consistency import CHECK_SECONDS
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError
from ursa.proto.kinds import Role
from ursa.storage import MemoryStore

from .conftest import HandCommitter, HandRuntime, Partition, pod
from .test_writes import delete, patch


class Checked(Partition):
    """A partition whose metrics and caches are at hand, with a store for Events."""

    def __init__(self) -> None:
        super().__init__(Role.TENANT)
        self.server.close()
        self.registry = CollectorRegistry()
        self.runtime = HandRuntime()
        events_store = MemoryStore(HandCommitter(), incarnation="events")
        self.server = ApiServer(
            "p-1", self.role, self.store, self.runtime, Random(7), self.registry, events_store=events_store
        )
        self.runtime.advance(0.1)

    def history(self, resource: str = "pods") -> History:
        return self.server._histories.of_resource(resource)

    def checks(self, store: str = "main") -> dict[str, float]:
        """How many there were, by outcome."""
        name = "apiserver_watch_cache_consistency_checks_total"
        counts = {
            status: self.registry.get_sample_value(name, {"store": store, "status": status})
            for status in ("success", "failure", "error")
        }
        return {status: count for status, count in counts.items() if count}

    def differences(self) -> list[str]:
        """Of a check, all steps of which are taken at once."""
        return whole(self.history())


def whole(history: History) -> list[str]:
    steps = consistency.compare(history)
    while (found := step(steps)) is None:
        pass
    return found


def step(steps: consistency.Steps) -> list[str] | None:
    try:
        next(steps)
    except StopIteration as last:
        found: list[str] = last.value
        return found
    return None


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Checked:
    monkeypatch.setattr(consistency, "STEP_RECORDS", 3)
    partition = Checked()
    for number in range(10):
        partition.create(pod(f"p{number}"))
    return partition


def test_every_few_minutes_every_store_is_compared_with_its_cache(checked: Checked) -> None:
    checked.runtime.advance(CHECK_SECONDS - 1)
    assert (checked.checks(), checked.checks("events")) == ({}, {})
    checked.runtime.advance(2 * CHECK_SECONDS)
    assert (checked.checks(), checked.checks("events")) == ({"success": 2}, {"success": 2})


def test_a_check_leaves_the_loop_to_others_and_ends_with_the_partition(checked: Checked) -> None:
    checked.runtime.advance(CHECK_SECONDS - checked.runtime.now)
    assert not checked.checks(), "ten pods, three a step: it has only begun"
    checked.server.close()
    checked.runtime.advance(2 * CHECK_SECONDS)
    assert not checked.checks()


def ghost(history: History) -> None:
    """A deletion that never reached the cache (S17)."""
    old = history.cache.collections["pods"].entries["/registry/pods/system/default/p4"]
    entry = Entry(f"{old.key}-ghost", old.message(), old.data, old.revision, old.fields)
    history.cache.collections["pods"].load(entry)


def ghost_at_the_end(history: History) -> None:
    old = history.cache.collections["pods"].entries["/registry/pods/system/default/p4"]
    history.cache.collections["pods"].load(
        Entry("/registry/pods/zzz/zzz/zzz", old.message(), old.data, old.revision, old.fields)
    )


def missing(history: History) -> None:
    pods = history.cache.collections["pods"]
    del pods.entries["/registry/pods/system/default/p4"]
    pods._order.changed("/registry/pods/system/default/p4")


def stale(history: History) -> None:
    pods = history.cache.collections["pods"].entries
    old = pods["/registry/pods/system/default/p4"]
    pods[old.key] = Entry(old.key, old.message(), old.data, old.revision - 1, old.fields)


def other_bytes(history: History) -> None:
    pods = history.cache.collections["pods"].entries
    old = pods["/registry/pods/system/default/p4"]
    pods[old.key] = Entry(old.key, old.message(), old.data + b"x", old.revision, old.fields)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (ghost, "p4-ghost: the cache has it of revision .* it is not in the store"),
        (ghost_at_the_end, "/zzz: the cache has it"),
        (missing, "p4: written at revision .*, missing in the cache"),
        (stale, "p4: of revision .*, the cache has"),
        (other_bytes, "p4: of revision .*, the cache has other bytes"),
    ],
)
def test_a_damaged_cache_is_counted_and_said(
    checked: Checked, damage: Callable[[History], None], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """S17. The guard is the comparison in both directions, up to the last key (`consistency._differences`)."""
    assert checked.differences() == []
    damage(checked.history())
    with caplog.at_level(logging.ERROR, "ursa.consistency"):
        checked.runtime.advance(CHECK_SECONDS + 10)
    assert checked.checks() == {"failure": 1}
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "restart the partition" in record.getMessage()
    with pytest.raises(AssertionError, match=said):
        assert checked.differences() == []


def test_not_more_is_said_than_can_be_read(checked: Checked) -> None:
    pods = checked.history().cache.collections["pods"]
    keys = list(pods.entries)
    for number in range(30):
        old = pods.entries[keys[0]]
        pods.load(Entry(f"{old.key}-{number}", old.message(), old.data, old.revision, old.fields))
    assert len(checked.differences()) == consistency.DIFFERENCES_MAX


def test_a_store_that_cannot_be_read_is_an_error_and_no_difference(checked: Checked) -> None:
    frozen = Partition(Role.TENANT, checked.store)
    checked.create(pod("q"))
    checked.store.compact(checked.store.head)
    counted: list[tuple[str, str]] = []
    runtime = HandRuntime()
    consistency.ConsistencyChecker(frozen.server._histories, runtime, lambda *count: counted.append(count))
    runtime.advance(CHECK_SECONDS + 1)
    assert counted == [("main", "error")]


def test_kinds_may_come_and_go_while_they_are_compared(checked: Checked) -> None:
    collections = checked.history().cache.collections
    steps = consistency.compare(checked.history())
    assert step(steps) is None
    collections["sparkapplications.example.com"] = collections.pop("pods")
    while (found := step(steps)) is None:
        pass
    assert found == []


moves = st.lists(st.tuples(st.sampled_from(["create", "delete", "label", "step"]), st.integers(0, 9)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(moves, st.integers(1, 4))
def test_a_cache_that_is_right_is_never_called_wrong_whatever_happens_between_two_steps(
    asked: list[tuple[str, int]], step_records: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(consistency, "STEP_RECORDS", step_records)
        partition = Checked()
        steps = consistency.compare(partition.history())
        for verb, number in asked:
            name = f"p{number}"
            try:
                if verb == "create":
                    partition.create(pod(name))
                elif verb == "delete":
                    partition.do(delete("pods", name, grace_seconds=0))
                elif verb == "label":
                    partition.do(patch("pods", name, {"metadata": {"labels": {"x": str(partition.store.head)}}}))
                elif (found := step(steps)) is not None:
                    assert found == []
                    steps = consistency.compare(partition.history())
            except ApiError:
                continue
        assert whole(partition.history()) == []
        assert listed(partition) == sorted(partition.history().cache.collections["pods"].entries)
        partition.server.close()


def listed(partition: Partition) -> list[str]:
    reply: pb.ListReply = partition.list("pods")
    return [f"/registry/pods/system/default/{item.metadata.name}" for item in reply.items]
