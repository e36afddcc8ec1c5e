"""Flow control: seats are never over the limit, nobody starves, and every request has its turn or is told why not."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from ursa.partitions.flow import (
    UNLIMITED,
    FlowControl,
    FlowOptions,
    Level,
    Schema,
    Ticket,
    seats_of_objects,
    seats_of_operations,
)
from ursa.partitions.flow import control as flow_control
from ursa.partitions.flow.fair_queues import HORIZON_SECONDS, RUNNING, WAITING
from ursa.partitions.flow.levels import SCHEMAS
from ursa.partitions.metrics import ApiMetrics
from ursa.partitions.requests.request import Request
from ursa.proto.errors import ApiError, InternalError, NotFound, ServiceUnavailable, TooManyRequests
from ursa.proto.sessions import Caller

from .conftest import HandRuntime

ONE_LEVEL = FlowOptions((Level("only", 8, queue_length=4),), ())


@dataclass
class Asked:
    """One request of a test, and what became of it."""

    user: str
    ticket: Ticket = field(init=False)
    started: int = 0
    refusals: list[ApiError] = field(default_factory=list)
    cancelled: bool = False


class World:
    def __init__(self, options: FlowOptions = ONE_LEVEL) -> None:
        self.runtime = HandRuntime()
        self.flow = FlowControl(self.runtime, options)
        self.asked: list[Asked] = []

    def ask(
        self, user: str, seats: int = 1, verb: str = "mutate", resource: str = "pods", start: Callable[[], None] = int
    ) -> Asked:
        asked = Asked(user)

        def started(ticket: Ticket) -> None:
            asked.ticket = ticket
            asked.started += 1
            start()

        request = Request(Caller(user), verb, self.runtime.monotonic)
        asked.ticket = self.flow.submit(request, seats, started, asked.refusals.append, resource=resource)
        self.asked.append(asked)
        return asked

    def settle(self) -> None:
        self.runtime.advance(0.0)

    def metrics(self) -> str:
        registry = CollectorRegistry()
        ApiMetrics(registry).add_gauges(self.flow.metrics)
        return generate_latest(registry).decode()


# ------------------------------------------------------------------------------------------------------- one by one


def test_a_request_that_fits_runs_in_the_call_that_brought_it() -> None:
    world = World()
    asked = world.ask("alice", 4)
    assert asked.started == 1
    assert not world.runtime.timers


def test_a_request_that_does_not_fit_runs_when_seats_are_given_back() -> None:
    world = World()
    first, second = world.ask("alice", 4), world.ask("alice", 1)
    assert (first.started, second.started) == (1, 0)
    first.ticket.release()
    assert second.started == 0, "not in the middle of the request that ended"
    world.settle()
    assert second.started == 1


def test_one_flow_leaves_half_of_the_seats_to_the_others() -> None:
    world = World()
    storm = [world.ask("alice", 4) for _ in range(3)]
    assert [asked.started for asked in storm] == [1, 0, 0]
    writes = [world.ask("bob") for _ in range(4)]
    assert [asked.started for asked in writes] == [1, 1, 1, 1]


def test_a_request_larger_than_its_share_takes_all_of_its_share() -> None:
    world = World()
    assert world.ask("alice", 100).ticket.seats == 4


def test_a_large_request_is_not_overtaken_for_ever_by_small_ones() -> None:
    world = World(FlowOptions((Level("only", 8, queue_length=99),), ()))
    for user in "abcdefgh":
        world.ask(user)
    large = world.ask("large", 4)
    small = [world.ask(user) for user in "ijkl"]
    for asked in world.asked[:3]:
        asked.ticket.release()
        world.settle()
    assert not any(asked.started for asked in small), "its seats are being gathered"
    world.asked[3].ticket.release()
    world.settle()
    assert large.started == 1


def test_a_queue_that_is_full_refuses_with_a_hint_when_to_ask_again() -> None:
    world = World()
    asked = [world.ask("alice", 4) for _ in range(6)]
    assert [one.started for one in asked] == [1, 0, 0, 0, 0, 0]
    [refusal] = asked[-1].refusals
    assert isinstance(refusal, TooManyRequests)
    assert refusal.retry_after_ms == 1000
    assert [cause.reason for cause in refusal.causes] == ["queue-full"]
    assert world.ask("bob").started == 1, "the queue is alice's"


def test_a_level_without_queues_refuses_what_does_not_fit() -> None:
    world = World(FlowOptions((Level("only", 2, queue_length=0),), ()))
    assert world.ask("alice").started == 1
    [refusal] = world.ask("alice").refusals
    assert [cause.reason for cause in refusal.causes] == ["concurrency-limit"]


def test_who_has_waited_long_enough_is_refused_and_not_later_started() -> None:
    world = World()
    first, second = world.ask("alice", 4), world.ask("alice", 4)
    world.runtime.advance(5.0)
    third = world.ask("alice", 4)
    world.runtime.advance(2.4)
    assert not second.refusals
    world.runtime.advance(0.2)
    assert [cause.reason for cause in second.refusals[0].causes] == ["time-out"]
    assert not third.refusals, "its own time is not up"
    first.ticket.release()
    world.settle()
    assert (second.started, third.started) == (0, 1)


def test_who_leaves_while_he_waits_never_runs_and_makes_room_for_others() -> None:
    world = World()
    world.ask("alice", 4)
    waiting = [world.ask("alice", 4) for _ in range(4)]
    waiting[0].ticket.release()
    waiting[0].ticket.release()
    assert not world.ask("alice").refusals
    world.asked[0].ticket.release()
    world.settle()
    assert (waiting[0].started, waiting[1].started) == (0, 1)


def test_seats_given_back_twice_are_given_back_once() -> None:
    world = World()
    asked = world.ask("alice", 4)
    asked.ticket.release()
    asked.ticket.release()
    assert [world.ask("alice", 4).started, world.ask("bob", 4).started, world.ask("carol", 1).started] == [1, 1, 0]


def test_a_request_that_fails_as_it_starts_holds_no_seats() -> None:
    def fail() -> None:
        raise NotFound("no such thing")

    world = World()
    with pytest.raises(NotFound):
        world.ask("alice", 4, start=fail)
    first, later, broken = (
        world.ask("alice", 4),
        world.ask("alice", 4, start=fail),
        world.ask("alice", 4, start=no_such),
    )
    first.ticket.release()
    world.settle()
    world.settle()
    assert [type(error) for error in (*later.refusals, *broken.refusals)] == [NotFound, InternalError]
    assert world.ask("alice", 4).started == 1


def no_such() -> None:
    raise ValueError("a bug")


def test_a_partition_that_stops_refuses_all_who_wait_and_all_who_come() -> None:
    world = World()
    world.ask("alice", 4)
    waiting = world.ask("alice", 4)
    world.flow.stop(ServiceUnavailable("stopping"))
    assert [type(error) for error in (*waiting.refusals, *world.ask("alice", 4).refusals)] == [ServiceUnavailable] * 2


def test_seats_that_a_client_does_not_give_back_are_taken_back() -> None:
    world = World()
    overdue: list[str] = []
    asked = world.ask("alice", 4)
    asked.ticket.expect_back(lambda: overdue.append("alice"))
    world.ask("bob").ticket.expect_back(lambda: overdue.append("bob"))
    world.asked[1].ticket.release()
    world.runtime.advance(flow_control.HELD_SECONDS_MAX + 0.1)
    assert overdue == ["alice"]
    assert world.ask("alice", 4).started == 1


def test_a_chain_of_requests_that_end_as_they_begin_does_not_grow_the_stack() -> None:
    world = World(FlowOptions((Level("only", 2, queue_length=5000),), (), wait_seconds_max=60.0))
    first = world.ask("alice")
    waiting: deque[Asked] = deque()
    waiting.extend(world.ask("alice", start=lambda: waiting.popleft().ticket.release()) for _ in range(4000))
    first.ticket.release()
    for _ in range(4000):
        world.settle()
    assert not waiting


# ---------------------------------------------------------------------------------------------------- levels, costs


@pytest.mark.parametrize(
    ("user", "verb", "resource", "level"),
    [
        ("hollow-nodes-rp-1", "mutate", "leases.coordination.k8s.io", "node-high"),
        ("hollow-nodes-rp-1", "mutate", "nodes", "node-high"),
        ("hollow-nodes-rp-1", "watch", "pods", "system"),
        ("scheduler-tp-1", "mutate", "leases.coordination.k8s.io", "leader-election"),
        ("controller-manager-rp-2", "list", "pods", "workload-high"),
        ("system:serviceaccount:default:agent", "list", "pods", "workload-low"),
        ("ursa-cli", "list", "pods", "global-default"),
        ("system:masters", "list", "pods", "exempt"),
        ("", "list", "pods", "catch-all"),
    ],
)
def test_requests_belong_to_kubernetes_levels(user: str, verb: str, resource: str, level: str) -> None:
    assert FlowOptions().schema_of(user, verb, resource).level == level


def test_a_schema_of_a_level_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no level 'gone'; known: only"):
        FlowOptions((Level("only", 1),), (Schema("s", "gone"),))


def test_levels_do_not_share_seats() -> None:
    world = World(FlowOptions())
    for _ in range(200):
        world.ask("user", 16, "list")
        world.ask("another", 16, "list")
    assert world.ask("scheduler-tp-1", 16).started == 1


def test_exempt_requests_never_wait() -> None:
    world = World(FlowOptions())
    assert all(world.ask("system:masters", 16).started for _ in range(1000))


def test_the_cost_of_a_request_grows_with_what_it_touches_and_has_an_end() -> None:
    assert [seats_of_operations(count) for count in (0, 1, 16, 17, 256, 9999)] == [1, 1, 1, 2, 16, 16]
    assert [seats_of_objects(count) for count in (0, 499, 500, 100_000)] == [1, 1, 2, 24]


def test_users_that_come_and_go_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_control, "FLOWS_MAX", 50)
    world = World()
    held = world.ask("stays", 4)
    for number in range(500):
        world.ask(f"user-{number}").ticket.release()
    assert len(world.flow._flows) <= 51
    assert world.ask("stays").started == 0, "its seats are still counted"
    held.ticket.release()


def test_what_happens_is_counted_under_kubernetes_names() -> None:
    world = World(FlowOptions((Level("high", 8, queue_length=1),), (Schema("people", "high", ("?*",)),)))
    first = world.ask("alice", 4)
    world.ask("alice", 2)
    world.ask("alice", 1)
    world.runtime.advance(0.3)
    first.ticket.release()
    world.settle()
    labels = '{flow_schema="people",priority_level="high"'
    lines = world.metrics().splitlines()
    for line in (
        f"apiserver_flowcontrol_dispatched_requests_total{labels}}} 2.0",
        f'apiserver_flowcontrol_rejected_requests_total{labels},reason="queue-full"}} 1.0',
        f"apiserver_flowcontrol_current_executing_requests{labels}}} 1.0",
        f"apiserver_flowcontrol_current_executing_seats{labels}}} 2.0",
        f"apiserver_flowcontrol_current_inqueue_requests{labels}}} 0.0",
        'apiserver_flowcontrol_nominal_limit_seats{priority_level="high"} 8.0',
        f"apiserver_flowcontrol_request_execution_seconds_sum{labels}}} 0.3",
    ):
        assert line in lines
    waits = [line for line in lines if "wait_duration_seconds_bucket" in line and 'execute="true"' in line]
    assert [line.split()[-1] for line in waits if 'le="0.001"' in line or 'le="0.5"' in line] == ["1.0", "2.0"]


def test_unlimited_is_everybody_at_once() -> None:
    world = World(UNLIMITED)
    assert all(world.ask(f"user-{number % 3}", 16).started for number in range(500))


def test_every_schema_has_a_name_of_its_own() -> None:
    assert len({schema.name for schema in SCHEMAS}) == len(SCHEMAS)


# --------------------------------------------------------------------------------------------------------- promises

_ACTIONS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from("abc"), st.integers(1, 10)),
    st.tuples(st.just("release"), st.integers(0, 50), st.just(0)),
    st.tuples(st.just("advance"), st.sampled_from([0.0, 0.1, 3.0, 8.0]), st.just(0)),
)


@given(st.lists(_ACTIONS, max_size=80))
def test_every_request_is_started_or_refused_once_and_seats_are_never_over_the_limit(
    actions: list[tuple[str, object, int]],
) -> None:
    world = World()

    def check() -> None:
        held: dict[str, int] = defaultdict(int)
        for asked in world.asked:
            assert asked.started + len(asked.refusals) <= 1
            assert not (asked.cancelled and (asked.started or asked.refusals))
            if asked.ticket.state == RUNNING:
                assert asked.started
                held[asked.user] += asked.ticket.seats
        assert sum(held.values()) == world.flow._queues["only"].in_use <= 8
        assert all(seats <= 4 for seats in held.values())

    for action, value, seats in actions:
        if action == "ask":
            world.ask(str(value), seats)
        elif action == "advance":
            assert isinstance(value, float)
            world.runtime.advance(value)
        elif world.asked:
            assert isinstance(value, int)
            asked = world.asked[value % len(world.asked)]
            asked.cancelled |= asked.ticket.state == WAITING
            asked.ticket.release()
        check()
    # Whoever runs ends, and then nobody is left who still waits.
    for _ in range(len(world.asked) + 1):
        world.settle()
        check()
        for asked in world.asked:
            if asked.ticket.state == RUNNING:
                asked.ticket.release()
    assert all(asked.cancelled or asked.started + len(asked.refusals) == 1 for asked in world.asked)
    queues = world.flow._queues["only"]
    assert (queues.in_use, len(queues.waiting), queues.contenders) == (0, 0, 0)
    assert all(flow.idle for flow in world.flow._flows.values())


@dataclass
class Busy:
    """A flow that always has requests waiting."""

    user: str
    seats: int
    seconds: float
    served: float = 0.0


# Requests of three seats could not fill a share of four.
_BUSY = st.lists(st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([0.01, 0.05, 0.3, 1.5])), min_size=2, max_size=5)


@settings(max_examples=40, deadline=None)
@given(_BUSY)
def test_flows_that_always_wait_are_served_alike(kinds: list[tuple[int, float]]) -> None:
    world = World(FlowOptions((Level("only", 8, queue_length=64),), (), wait_seconds_max=1e6))
    flows = [Busy(f"user-{number}", seats, seconds) for number, (seats, seconds) in enumerate(kinds)]

    def ask(busy: Busy) -> None:
        def end(asked: Asked) -> None:
            busy.served += asked.ticket.seats * busy.seconds
            asked.ticket.release()
            ask(busy)

        def started() -> None:
            world.runtime.call_later(busy.seconds, lambda: end(asked))

        asked = world.ask(busy.user, busy.seats, start=started)

    for busy in flows:
        for _ in range(12):
            ask(busy)
    world.runtime.advance(12.0)
    longest = max(busy.seconds for busy in flows)
    lead = 4 * max(longest, HORIZON_SECONDS) * 2
    for one, other in combinations(flows, 2):
        assert abs(one.served - other.served) <= lead, f"{one} {other}"
    assert all(busy.served for busy in flows)


@settings(max_examples=40, deadline=None)
@given(_BUSY)
def test_who_asks_seldom_waits_no_longer_than_for_what_runs(kinds: list[tuple[int, float]]) -> None:
    world = World(FlowOptions((Level("only", 8, queue_length=64),), (), wait_seconds_max=1e6))

    def ask(user: str, seats: int, seconds: float) -> None:
        def end() -> None:
            asked.ticket.release()
            ask(user, seats, seconds)

        asked = world.ask(user, seats, start=lambda: world.runtime.call_later(seconds, end))

    for number, (seats, seconds) in enumerate(kinds):
        for _ in range(12):
            ask(f"user-{number}", seats, seconds)
    longest = max(seconds for _, seconds in kinds)
    for _ in range(10):
        world.runtime.advance(1.0)
        seldom = world.ask("seldom")
        world.runtime.advance(2 * longest)
        assert seldom.started
        seldom.ticket.release()


def test_nobody_pays_later_for_seats_that_nobody_else_wanted() -> None:
    world = World()
    world.ask("alice", 4)
    world.runtime.advance(1000.0)
    world.asked[0].ticket.release()
    running = [world.ask("x", 4), world.ask("y", 4)]
    queued = {user: deque(world.ask(user, 4) for _ in range(4)) for user in ("bob", "carol", "alice")}
    for _ in range(6):
        world.runtime.advance(0.5)
        running.pop(0).ticket.release()
        world.settle()
        [(user, started)] = [(user, line[0]) for user, line in queued.items() if line[0].started]
        queued[user].popleft()
        running.append(started)
    assert [len(line) for line in queued.values()] == [2, 2, 2]


def test_seats_that_come_free_at_once_are_shared_at_once() -> None:
    world = World()
    held = [world.ask("x", 4), world.ask("y", 4)]
    waiting = [world.ask(user) for user in ("a", "b", "c") for _ in range(4)]
    for asked in held:
        asked.ticket.release()
    world.settle()
    assert sorted(sum(asked.started for asked in waiting if asked.user == user) for user in "abc") == [2, 3, 3]
