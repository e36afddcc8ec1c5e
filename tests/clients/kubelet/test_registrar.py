"""What nodes owe their resource partition, without one."""

from __future__ import annotations

import math
from random import Random

import pytest
from ursa.clients.kubelet import HollowNodesOptions, hollow_node
from ursa.clients.kubelet.registrar import (
    LEASE_TIMES_PER_INTERVAL_MAX,
    LEASES_PER_TIME_MIN,
    REGISTER_SECONDS_MAX,
    REPORT_SECONDS_MIN,
    Purpose,
    Registrar,
    Write,
)
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, decode

NOW = 1_790_000_000.0


def result(reason: str = "") -> pb.Result:
    answer = pb.Result()
    if reason:
        answer.error.reason = reason
        answer.error.message = "because"
    return answer


class Desk:
    """A registrar whose writes are answered by the test."""

    def __init__(self, nodes: int = 1) -> None:
        self.registrar = Registrar(Random(1), HollowNodesOptions())
        self.now = NOW
        for number in range(nodes):
            self.registrar.add(hollow_node(f"node-{number}"))

    def due(self) -> list[Purpose]:
        return [write.purpose for write in self.registrar.due(self.now)]

    def answer(self, *reasons: str) -> list[Write]:
        """Answer what is due: with these reasons in turn, then well."""
        writes = self.registrar.due(self.now)
        for write, reason in zip(writes, [*reasons, *[""] * len(writes)], strict=False):
            self.registrar.answered(write, result(reason), self.now)
        return writes

    def wait(self) -> float:
        """Until something is due."""
        wait = self.registrar.next_due() - self.now
        self.now += wait
        return wait

    def registered(self) -> Desk:
        while not all(node.registered and node.lease_exists for node in self.registrar.nodes.values()):
            self.answer()
        return self


def observed(desk: Desk, status: str) -> None:
    message = pb.Object()
    message.metadata.name = "node-0"
    node = Object(message).with_status({"conditions": [{"type": "Ready", "status": status}]})
    desk.registrar.observed(node.message, desk.now)


def test_taking_over_sends_the_same_bytes_in_every_process() -> None:
    """The labels are a map of protobuf, whose order differs from process to process: same seed, another trace."""
    desk = Desk()
    node = desk.registrar.nodes["node-0"]
    for number in range(20):
        node.manifest.message.metadata.labels[f"example.com/label-{(7 * number) % 20:02}"] = "x"
    desk.answer("AlreadyExists")
    [take_over, _] = desk.registrar.due(desk.now)
    assert take_over.purpose is Purpose.TAKE_OVER
    names = list(decode(take_over.operation.patch.body)["metadata"]["labels"])
    assert names == sorted(names)
    assert len(names) > 20


def test_a_node_is_created_and_then_leased() -> None:
    desk = Desk()
    assert desk.due() == [Purpose.REGISTER]
    desk.answer()
    assert desk.due() == [Purpose.CREATE_LEASE]
    desk.answer()
    assert desk.due() == []
    assert 0 < desk.wait() <= 10
    assert desk.due() == [Purpose.RENEW_LEASE]


def test_a_node_that_is_there_is_taken_over() -> None:
    desk = Desk()
    desk.answer("AlreadyExists")
    assert desk.due() == [Purpose.TAKE_OVER, Purpose.REPORT]
    patch, report = desk.answer()
    assert decode(patch.operation.patch.body)["metadata"]["labels"]["kubernetes.io/hostname"] == "node-0"
    assert report.operation.update.subresource == "status"
    assert desk.registrar.nodes["node-0"].registered


@pytest.mark.parametrize("reasons", [("Forbidden", ""), ("", "Forbidden"), ("Forbidden", "Forbidden")])
def test_half_a_take_over_is_none(reasons: tuple[str, str]) -> None:
    desk = Desk()
    desk.answer("AlreadyExists")
    desk.answer(*reasons)
    node = desk.registrar.nodes["node-0"]
    assert not node.registered
    assert node.error == "Forbidden: because"
    assert desk.due() == []
    assert desk.wait() == pytest.approx(1.0)
    desk.registered()


def test_a_node_taken_over_that_is_deleted_meanwhile_is_created() -> None:
    desk = Desk()
    desk.answer("AlreadyExists")
    desk.answer("NotFound", "NotFound")
    desk.wait()
    assert desk.due() == [Purpose.REGISTER]


def test_a_refused_node_waits_longer_each_time() -> None:
    desk = Desk()
    waits = []
    for _ in range(10):
        desk.answer("Invalid")
        waits.append(desk.wait())
    assert waits[:3] == pytest.approx([1, 2, 4])
    assert waits[-1] == REGISTER_SECONDS_MAX
    assert "because" in desk.registrar.nodes["node-0"].error


def test_a_node_deleted_after_a_long_life_comes_back_soon() -> None:
    desk = Desk().registered()
    for _ in range(5):
        desk.registrar.vanished("node-0", desk.now)
        desk.wait()
        desk.registered()
    desk.now += REGISTER_SECONDS_MAX + 1
    desk.registrar.vanished("node-0", desk.now)
    assert desk.wait() == pytest.approx(1.0)
    assert desk.due() == [Purpose.REGISTER]


def test_a_report_that_finds_no_node_registers_it_anew() -> None:
    desk = Desk().registered()
    desk.now += 301
    assert Purpose.REPORT in desk.due()
    desk.answer("NotFound")
    assert not desk.registrar.nodes["node-0"].registered


def test_a_lease_that_somebody_deleted_is_created_again() -> None:
    desk = Desk().registered()
    desk.wait()
    desk.answer("NotFound")
    assert desk.due() == [Purpose.CREATE_LEASE]
    desk.answer("AlreadyExists")
    assert desk.due() == [Purpose.RENEW_LEASE]


def test_a_refused_renewal_is_tried_again_soon() -> None:
    desk = Desk().registered()
    desk.wait()
    desk.answer("TooManyRequests")
    assert desk.due() == []
    assert desk.wait() == pytest.approx(1.0)
    assert desk.due() == [Purpose.RENEW_LEASE]


@pytest.mark.parametrize("nodes", [1, LEASES_PER_TIME_MIN, LEASES_PER_TIME_MIN + 1, 1500])
def test_leases_are_renewed_in_time_at_few_times_per_interval(nodes: int) -> None:
    desk = Desk(nodes).registered()
    begin = desk.now
    last = dict.fromkeys(desk.registrar.nodes, desk.now)
    times = 0
    while desk.now < begin + 40:
        desk.wait()
        writes = desk.answer()
        assert writes
        times += 1
        for write in writes:
            assert desk.now - last[write.node.name] <= 10.01
            last[write.node.name] = desk.now
    assert times <= 4 * min(LEASE_TIMES_PER_INTERVAL_MAX, math.ceil(nodes / LEASES_PER_TIME_MIN)) + 4


def test_a_node_declared_not_ready_is_reported_at_once_but_not_in_a_circle() -> None:
    desk = Desk().registered()
    desk.now += 5
    observed(desk, "Unknown")
    assert Purpose.REPORT in desk.due()
    desk.answer()
    observed(desk, "True")
    assert Purpose.REPORT not in desk.due()
    observed(desk, "False")
    assert Purpose.REPORT not in desk.due()
    desk.now += REPORT_SECONDS_MIN
    assert Purpose.REPORT in desk.due()


def test_a_manifest_without_conditions_is_ready_all_the_same() -> None:
    desk = Desk(0)
    desk.registrar.add(Object.from_dict({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0"}}))
    [write] = desk.answer()
    [condition] = decode(write.operation.create.object.status)["conditions"]
    assert (condition["type"], condition["status"]) == ("Ready", "True")
    desk.registered()
    observed(desk, "True")
    assert desk.due() == []


def test_only_a_complete_view_tells_that_a_node_is_gone() -> None:
    desk = Desk(2).registered()
    desk.now += 1
    desk.registrar.view_started(desk.now)
    assert desk.registrar.nodes["node-1"].registered
    observed(desk, "True")
    desk.registrar.view_complete(desk.now)
    assert desk.registrar.nodes["node-0"].registered
    assert not desk.registrar.nodes["node-1"].registered


def test_a_node_registered_while_a_view_is_taken_may_be_missing_from_it() -> None:
    desk = Desk()
    desk.registrar.view_started(desk.now)
    desk.now += 1
    desk.answer()
    desk.registrar.view_complete(desk.now)
    assert desk.registrar.nodes["node-0"].registered


def test_removed_nodes_owe_nothing() -> None:
    desk = Desk(2).registered()
    desk.registrar.remove("node-0")
    desk.registrar.vanished("node-0", desk.now)
    desk.wait()
    assert [write.node.name for write in desk.answer()] == ["node-1"]
