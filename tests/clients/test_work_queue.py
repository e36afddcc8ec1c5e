"""The properties of client-go's work queue, each by name, and then all of them over any schedule."""

from __future__ import annotations

from random import Random

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.actor import Actor
from ursa.clients.work_queue import RETRY_SECONDS_MAX, RETRY_SECONDS_MIN, WorkQueue

from .worlds import SEEDS, actor, run


def sample(of: Actor, name: str) -> float | None:
    return of.registry.get_sample_value(name, {"name": "q"})


def test_it_is_fair_first_in_first_out() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(actor(), "q")
        for key in "cab":
            queue.add(key)
        assert [await queue.get() for _ in range(3)] == ["c", "a", "b"]

    run(main)


def test_it_is_stingy_a_key_added_many_times_is_processed_once() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(actor(), "q")
        for key in "abaab":
            queue.add(key)
        assert len(queue) == 2
        assert [await queue.get() for _ in range(2)] == ["a", "b"]
        queue.done("a")
        queue.done("b")
        assert len(queue) == 0

    run(main)


def test_no_key_is_processed_by_two_workers_at_once() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(actor(), "q")
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        with trio.move_on_after(1000):
            await queue.get()
            pytest.fail("a second worker got the key")
        queue.done("a")
        assert await queue.get() == "a"

    run(main)


def test_a_key_added_while_it_is_processed_is_processed_once_more() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(actor(), "q")
        queue.add("a")
        queue.add("b")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        queue.done("a")
        assert [await queue.get() for _ in range(2)] == ["b", "a"]
        queue.done("a")
        assert len(queue) == 0

    run(main)


def test_a_waiting_worker_is_woken_by_an_add() -> None:
    async def main() -> None:
        queue: WorkQueue[int] = WorkQueue(actor(), "q")
        got: list[int] = []

        async def worker() -> None:
            while True:
                key = await queue.get()
                got.append(key)
                queue.done(key)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(worker)
            await trio.sleep(1)
            for key in range(10):
                queue.add(key)
            await trio.sleep(1)
            assert sorted(got) == list(range(10))
            nursery.cancel_scope.cancel()

    run(main)


def test_a_delayed_key_comes_when_its_first_wait_ends() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(actor(), "q")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.run)
            began = trio.current_time()
            queue.add_after("late", 50)
            queue.add_after("a", 10)
            queue.add_after("a", 5)
            queue.add_after("a", 20)
            queue.add_after("now", 0)
            seen = []
            for _ in range(3):
                key = await queue.get()
                seen.append((key, trio.current_time() - began))
                queue.done(key)
            assert seen == [("now", 0), ("a", pytest.approx(5)), ("late", pytest.approx(50))]
            await trio.sleep(100)
            assert len(queue) == 0
            nursery.cancel_scope.cancel()

    run(main)


def test_failures_wait_twice_as_long_each_time_up_to_a_bound_until_forgotten() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(actor(), "q")
        waits = []

        async def fail() -> None:
            queue.add_rate_limited("a")
            began = trio.current_time()
            assert await queue.get() == "a"
            queue.done("a")
            waits.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.run)
            for _ in range(40):
                await fail()
            assert waits[:4] == pytest.approx([RETRY_SECONDS_MIN * 2**n for n in range(4)])
            assert waits[-1] == pytest.approx(RETRY_SECONDS_MAX)
            assert queue.failures("a") == 40
            queue.forget("a")
            await fail()
            assert waits[-1] == pytest.approx(RETRY_SECONDS_MIN)
            nursery.cancel_scope.cancel()

    run(main)


def test_it_counts_what_upstream_counts() -> None:
    async def main() -> None:
        of = actor()
        queue: WorkQueue[str] = WorkQueue(of, "q")
        WorkQueue(of, "q")  # A second one of the same name shares the metrics.
        for key in "aab":
            queue.add(key)
        assert sample(of, "workqueue_depth") == 2
        assert sample(of, "workqueue_adds_total") == 2
        await trio.sleep(3)
        await queue.get()
        await trio.sleep(4)
        queue.done("a")
        queue.add_rate_limited("a")
        assert sample(of, "workqueue_depth") == 1
        assert sample(of, "workqueue_retries_total") == 1
        assert sample(of, "workqueue_queue_duration_seconds_sum") == pytest.approx(3)
        assert sample(of, "workqueue_work_duration_seconds_sum") == pytest.approx(4)

    run(main)


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.integers(1, 4))
def test_over_any_schedule_the_last_change_of_every_key_is_processed(seed: int, workers: int) -> None:
    random = Random(seed)

    async def main() -> None:
        queue: WorkQueue[int] = WorkQueue(actor(), "q")
        changes = dict.fromkeys(range(5), 0)
        seen = dict.fromkeys(range(5), 0)
        busy: dict[int, None] = {}

        async def work() -> None:
            while True:
                key = await queue.get()
                assert key not in busy
                busy[key] = None
                seen[key] = changes[key]
                await trio.sleep(random.choice((0, 0.1, 3)))
                del busy[key]
                if random.random() < 0.2:
                    queue.add_rate_limited(key)
                else:
                    queue.forget(key)
                queue.done(key)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.run)
            for _ in range(workers):
                nursery.start_soon(work)
            for _ in range(60):
                key = random.randrange(5)
                changes[key] += 1
                if random.random() < 0.3:
                    queue.add_after(key, random.choice((0.05, 1, 10)))
                else:
                    queue.add(key)
                await trio.sleep(random.choice((0, 0.05, 0.5)))
            await trio.sleep(10_000)
            assert seen == changes
            assert not len(queue)
            nursery.cancel_scope.cancel()

    run(main)
