"""The writer thread, and what it owes the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from ursa.storage import InlineCommitter, ThreadCommitter


def test_work_runs_on_the_thread_in_order_and_is_reported_on_the_loop():
    async def main() -> None:
        committer = ThreadCommitter(asyncio.get_running_loop().call_soon_threadsafe)
        finished = asyncio.get_running_loop().create_future()
        events: list[tuple[str, int, bool]] = []

        def note(what: str, number: int) -> None:
            events.append((what, number, threading.current_thread() is threading.main_thread()))
            if (what, number) == ("done", 2):
                finished.set_result(None)

        for number in range(3):
            committer.submit(lambda n=number: note("work", n), lambda _, n=number: note("done", n))
        await asyncio.wait_for(finished, 5)
        committer.close()
        assert [event for event in events if event[0] == "work"] == [("work", n, False) for n in range(3)]
        assert [event for event in events if event[0] == "done"] == [("done", n, True) for n in range(3)]

    asyncio.run(main())


def test_an_error_is_reported_not_raised():
    outcomes: list[BaseException | None] = []
    for committer in (InlineCommitter(), ThreadCommitter(lambda _: None)):
        committer.submit(lambda: 1 / 0, outcomes.append)
        committer.submit(lambda: None, outcomes.append)
        committer.close()
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, type(None)] * 2


def test_close_reports_what_the_loop_has_not_come_round_to_and_nothing_twice():
    calls: list[Callable[[], None]] = []
    outcomes: list[BaseException | None] = []
    committer = ThreadCommitter(calls.append)
    committer.submit(lambda: None, outcomes.append)
    committer.close()
    assert outcomes == [None]
    for call in calls:
        call()
    assert outcomes == [None]


def test_close_also_finishes_what_a_report_submits():
    outcomes: list[str] = []
    committer = ThreadCommitter(lambda _: None)

    def next_step(_: BaseException | None) -> None:
        outcomes.append("reported")
        if len(outcomes) < 3:
            committer.submit(lambda: None, next_step)

    committer.submit(lambda: None, next_step)
    committer.close()
    assert outcomes == ["reported"] * 3


def test_a_loop_that_has_ended_loses_no_report():
    loop = asyncio.new_event_loop()
    committer = ThreadCommitter(loop.call_soon_threadsafe)
    loop.close()
    outcomes: list[BaseException | None] = []
    committer.submit(lambda: None, outcomes.append)
    committer.close()
    assert outcomes == [None]


def test_no_thread_is_left():
    before = threading.active_count()
    for _ in range(20):
        ThreadCommitter(lambda _: None).close()
    assert threading.active_count() == before
