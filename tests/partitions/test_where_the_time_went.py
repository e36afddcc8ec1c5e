"""Every request leaves a trace: who asked, what for, what came of it, and in which phase its time went."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from ursa.partitions import ApiServer
from ursa.partitions.requests import audit, audit_file, request_table
from ursa.partitions.requests.audit import Answered
from ursa.partitions.requests.audit_file import AuditFile
from ursa.partitions.requests.request import Phase
from ursa.partitions.requests.request_table import OTHERS, RequestTable, quantile
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, InputError, ServiceUnavailable
from ursa.proto.kinds import Role
from ursa.proto.objects import Object
from ursa.proto.sessions import Caller
from ursa.storage import MemoryStore

from .conftest import HandCommitter, HandRuntime

ALICE = Caller("alice", "kubectl/1.0 grpc-python/1", "stream-trace")


class Sink:
    def __init__(self) -> None:
        self.lines: list[Answered] = []

    def put(self, answered: Answered) -> None:
        self.lines.append(answered)


class Server:
    def __init__(self) -> None:
        self.sink = Sink()
        self.committer = HandCommitter()
        self.runtime = HandRuntime()
        self.registry = CollectorRegistry()
        store = MemoryStore(self.committer, incarnation="one")
        self.server = ApiServer(
            "p-1", Role.TENANT, store, self.runtime, Random(7), self.registry, audit=self.sink, slow_request_seconds=0.5
        )
        self.runtime.advance(0.1)

    def mutate(self, *operations: pb.Operation, trace: str = "t-1") -> Any:
        stream = self.server.open("Mutate", ALICE, lambda: None)
        stream.receive(pb.MutateRequest(operations=operations, batch=1, trace=trace).SerializeToString())
        return stream

    def requests(self, **fields: Any) -> pb.RequestsReply:
        answers: list[bytes | ApiError] = []
        request = pb.RequestsRequest(**fields).SerializeToString()
        self.server.call("Requests", request, Caller("op"), answers.append)
        assert isinstance(answers[0], bytes)
        return pb.RequestsReply.FromString(answers[0])

    def call(self, method: str, request: bytes) -> bytes | ApiError:
        answers: list[bytes | ApiError] = []
        self.server.call(method, request, ALICE, answers.append)
        return answers[0]


def config_map(name: str) -> pb.Operation:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}
    operation = pb.Operation(resource="configmaps")
    operation.create.object.CopyFrom(Object.from_dict(manifest).message)
    operation.create.object.metadata.tenant = "system"
    return operation


def split_of(answered: Answered) -> dict[str, float]:
    return {phase.name: answered.split[phase] for phase in Phase if answered.split[phase] > 1e-9}


def test_a_batch_says_who_wrote_what_with_which_outcome() -> None:
    server = Server()
    stream = server.mutate(config_map("a"), config_map("a"), config_map("b"))
    reply = stream.take()
    [line] = server.sink.lines
    assert (line.user, line.agent, line.trace, line.verb) == ("alice", ALICE.agent, "t-1", "mutate")
    assert line.counts == (("create", "configmaps", 200, 2), ("create", "configmaps", 409, 1))
    assert line.code == 409
    assert line.bytes_out == len(reply) > 0
    assert line.bytes_in > 0
    assert line.level


def test_the_time_on_the_way_to_the_disk_and_that_until_the_answer_is_taken_are_told_apart() -> None:
    server = Server()
    server.committer.automatic = False
    stream = server.mutate(config_map("a"))
    server.runtime.advance(0.25)
    assert stream.take() is None
    server.committer.finish()
    server.runtime.advance(0.125)
    assert stream.take() is not None
    [line] = server.sink.lines
    assert split_of(line) == pytest.approx({"STORE": 0.25, "WRITE": 0.125})
    assert line.seconds == pytest.approx(0.375)


def test_phases_add_up_to_the_whole() -> None:
    server = Server()
    server.runtime.monotonic = _ticking(server.runtime)  # type: ignore[method-assign]
    server.server = ApiServer(
        "p-2", Role.TENANT, MemoryStore(HandCommitter(), incarnation="x"), server.runtime, Random(1), audit=server.sink
    )
    server.runtime.advance(0.1)
    assert server.mutate(*(config_map(f"c-{n}") for n in range(20))).take() is not None
    line = server.sink.lines[-1]
    assert sum(line.split) == pytest.approx(line.seconds, abs=0.005)
    # Each look at the clock is a millisecond: the objects were encoded twenty times, which is not admission.
    assert line.split[Phase.ENCODE] >= 0.020


def _ticking(runtime: HandRuntime) -> Any:
    def monotonic() -> float:
        runtime.now += 0.001
        return runtime.now

    return monotonic


def test_a_refused_operation_and_a_refused_request_quote_the_trace() -> None:
    server = Server()
    server.mutate(config_map("a")).take()
    reply = pb.MutateReply.FromString(server.mutate(config_map("a"), trace="t-9").take())
    assert reply.results[0].error.trace == "t-9"
    refusal = server.call("Get", pb.GetRequest(resource="pods", tenant="x", name="y").SerializeToString())
    assert isinstance(refusal, ApiError)
    assert refusal.trace == "stream-trace"
    assert "stream-trace" not in str(refusal)  # The caller's own fault: it has no use for it.
    assert "(request t-3)" in str(ServiceUnavailable("gone", trace="t-3"))


def test_a_get_a_list_and_a_watch_are_requests() -> None:
    server = Server()
    server.mutate(config_map("a")).take()
    server.call(
        "Get", pb.GetRequest(resource="configmaps", tenant="system", namespace="default", name="a").SerializeToString()
    )
    listing = server.server.open("List", ALICE, lambda: None)
    listing.receive(pb.ListRequest(selection=pb.Selection(resource="configmaps")).SerializeToString())
    assert listing.take() is not None
    server.runtime.advance(0.75)  # The client reads slowly.
    assert listing.take() is None
    watching = server.server.open("Watch", ALICE, lambda: None)
    start = pb.WatchStart(id=1, selection=pb.Selection(resource="configmaps"), initial_events=True)
    watching.receive(pb.WatchRequest(start=[start]).SerializeToString())
    while watching.take() is not None:
        pass
    _, get, listed, watched = server.sink.lines
    assert [line.counts for line in (get, listed, watched)] == [
        (("get", "configmaps", 200, 1),),
        (("list", "configmaps", 200, 1),),
        (("watch", "configmaps", 200, 1),),
    ]
    assert split_of(listed) == pytest.approx({"WRITE": 0.75})
    assert min(get.bytes_out, listed.bytes_out, watched.bytes_out) > 50


def test_a_client_that_goes_away_before_its_answer_is_seen() -> None:
    server = Server()
    listing = server.server.open("List", ALICE, lambda: None)
    listing.receive(pb.ListRequest(selection=pb.Selection(resource="pods")).SerializeToString())
    listing.close()
    server.committer.automatic = False
    server.mutate(config_map("a")).close()
    assert [line.counts for line in server.sink.lines] == [
        (("list", "pods", 499, 1),),
        (("create", "configmaps", 499, 1),),
    ]


def test_a_kind_that_is_not_served_makes_no_label_of_its_own() -> None:
    server = Server()
    server.call("Get", pb.GetRequest(resource="nonsense", name="y").SerializeToString())
    listing = server.server.open("List", ALICE, lambda: None)
    with pytest.raises(ApiError):
        listing.receive(pb.ListRequest(selection=pb.Selection(resource="nonsense")).SerializeToString())
    assert all(resource == "" for line in server.sink.lines for _, resource, _, _ in line.counts)
    assert len(server.sink.lines) == 2


def test_nor_does_one_that_is_written_to() -> None:
    """Labels are kept for good: a client that makes up resources would fill the memory with them."""
    server = Server()
    made_up = config_map("a")
    made_up.resource = "x" * 10_000
    stream = server.mutate(made_up, config_map("b"))
    server.runtime.advance(0.1)
    assert stream.take()
    gone = server.mutate(made_up)
    gone.close()
    resources = [resource for line in server.sink.lines for _, resource, _, _ in line.counts]
    assert resources == ["", "configmaps", ""]
    assert b"xxx" not in generate_latest(server.registry)


def test_phases_are_histograms() -> None:
    server = Server()
    server.mutate(config_map("a")).take()
    labels = {"verb": "mutate", "phase": "store"}
    assert server.registry.get_sample_value("apiserver_request_phase_seconds_count", labels) == 1


def test_a_slow_request_has_a_line_in_the_log_and_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.committer.automatic = False
    stream = server.mutate(config_map("a"), trace="slow-1")
    server.runtime.advance(0.5)
    server.committer.finish()
    with caplog.at_level(logging.WARNING, "ursa.requests"):
        stream.take()
    [record] = caplog.records
    assert "0.500 s for 1 x create configmaps (200) by alice" in record.message
    assert "trace slow-1" in record.message
    [slow] = server.requests().slow
    assert (slow.trace, slow.user, slow.split.store) == ("slow-1", "alice", pytest.approx(0.5))
    assert slow.counts[0] == pb.RequestCount(verb="create", resource="configmaps", code=200, count=1)


def test_a_storm_of_slow_requests_is_no_storm_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "SLOW_LINES_BURST", 3.0)
    server = Server()
    server.committer.automatic = False
    streams = [server.mutate(config_map(f"c-{n}")) for n in range(20)]
    server.runtime.advance(1.0)
    server.committer.finish()
    server.runtime.advance(0.0)
    with caplog.at_level(logging.WARNING, "ursa.requests"):
        for stream in streams:
            stream.take()
        server.committer.finish()
        for stream in streams:
            stream.take()
    assert len(caplog.records) == 3
    assert len(server.requests().slow) == 20
    assert len(server.requests(slow_max=5).slow) == 5


def test_the_table_answers_which_client_this_is() -> None:
    server = Server()
    for n in range(5):
        server.mutate(config_map(f"a-{n}"), config_map(f"b-{n}")).take()
    reply = server.requests()
    row = next(row for row in reply.rows if row.verb == "create")
    assert (reply.name, row.user, row.agent, row.resource) == ("p-1", "alice", ALICE.agent, "configmaps")
    assert (row.requests, row.operations, row.errors) == (5, 10, 0)
    assert row.bytes_in > 0


def test_the_table_forgets_clients_that_have_gone() -> None:
    server = Server()
    server.mutate(config_map("a")).take()
    server.runtime.advance(request_table.WINDOW_SECONDS + 1)
    assert any(row.user == "alice" for row in server.requests().rows)
    server.runtime.advance(2 * request_table.WINDOW_SECONDS)
    assert not any(row.user == "alice" for row in server.requests().rows)


def test_the_table_is_bounded_whatever_clients_call_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_table, "ROWS_MAX", 10)
    table = RequestTable(0.0)
    for number in range(50):
        table.add(1.0, f"user-{number}", "", "", Counter({("get", "pods", 200): 1}), 0.1, (0.0,) * len(Phase), 1, 1)
    _, rows = table.rows(1.0)
    assert len(rows) == 11
    assert next(row.requests for row in rows if row.agent == OTHERS[1]) == 40


def test_quantiles_are_as_near_as_the_buckets() -> None:
    buckets = [0] * (len(request_table.BUCKETS) + 1)
    assert quantile(buckets, 0.5) == 0
    buckets[request_table.BUCKETS.index(0.01)] = 99
    buckets[-1] = 1
    assert 0.005 < quantile(buckets, 0.5) <= 0.01
    assert quantile(buckets, 1.0) == request_table.BUCKETS[-1]


# ------------------------------------------------------------------------------------------------------- the file


def answered(number: int, **fields: Any) -> Answered:
    line = Answered(
        1_700_000_000_123, f"t-{number}", "alice", "kubectl", "workload-low", "mutate",
        (("create", "pods", 200, 3), ("delete", "pods", 404, 1)), 0.5, (0.1, 0.1, 0.1, 0.1, 0.1), 10, 20,
    )  # fmt: skip
    return line._replace(**fields)


def test_the_file_has_a_line_of_json_for_each_request(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with AuditFile(path, "tp-1") as file:
        file.put(answered(1))
        file.put(answered(2, counts=(("get", "pods", 200, 1),)))
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["time"] == "2023-11-14T22:13:20.123Z"
    assert (first["partition"], first["user"], first["trace"], first["code"]) == ("tp-1", "alice", "t-1", 404)
    assert first["operations"][1] == {"verb": "delete", "resource": "pods", "code": 404, "count": 1}
    assert first["seconds"]["total"] == 0.5
    assert set(first["seconds"]) == {"total", "queue", "admission", "encode", "store", "write"}
    assert first["bytes"] == {"in": 10, "out": 20}
    assert (second["verb"], second["resource"], second["count"]) == ("get", "pods", 1)


def test_a_line_stays_a_line_whatever_clients_call_themselves(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with AuditFile(path, "tp-1") as file:
        file.put(answered(1, agent='a"\n{"user":"root"}', user="\u2028é"))
    [line] = path.read_text().split("\n")[:-1]
    assert json.loads(line)["user"] == "\u2028é"


def test_a_file_that_has_grown_is_put_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for number in range(6):
        with AuditFile(path, "tp-1", file_bytes_max=100, files_max=3) as file:
            file.put(answered(number))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["audit.log", "audit.log.1", "audit.log.2"]
    assert [json.loads((tmp_path / name).read_text())["trace"] for name in ("audit.log", "audit.log.2")] == [
        "t-5",
        "t-3",
    ]


def test_a_disk_that_is_too_slow_costs_lines_and_not_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_file, "LINES_WAITING_MAX", 5)
    monkeypatch.setattr(audit_file, "GATHER_SECONDS", 60.0)
    registry = CollectorRegistry()
    with AuditFile(tmp_path / "audit.log", "tp-1", registry) as file:
        for number in range(8):
            file.put(answered(number))
    assert registry.get_sample_value("apiserver_audit_dropped_total") == 3
    assert registry.get_sample_value("apiserver_audit_event_total") == 5
    assert len((tmp_path / "audit.log").read_text().splitlines()) == 5


def test_a_file_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        AuditFile(tmp_path / "missing" / "audit.log", "tp-1")
