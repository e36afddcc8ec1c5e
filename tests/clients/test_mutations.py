"""How writes share messages, and what becomes of them when the link is lost."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.backoff import BACKOFF_SECONDS_MIN
from ursa.clients.mutations import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, WRITE_SECONDS_MAX, Mutations
from ursa.clients.operations import create_operation, delete_operation
from ursa.clients.partition_client import open_client
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Forbidden, OutcomeUnknown, Unreachable, UrsaError
from ursa.storage import MemoryStore

from .scripted import LOST, ScriptedTransport, accept
from .worlds import SEEDS, World, actor, key, pod, run


def deletes(names: Sequence[str]) -> list[pb.Operation]:
    return [delete_operation("pods", key(name)) for name in names]


def names_of(results: Sequence[pb.Result]) -> list[str]:
    return [result.name for result in results]


def test_writes_of_many_tasks_share_messages() -> None:
    async def main() -> None:
        transport = ScriptedTransport(accept)
        async with open_client(transport, actor()) as client, trio.open_nursery() as nursery:

            async def write(number: int) -> None:
                assert names_of(await client.mutate(deletes([f"pod-{number}"]))) == [f"pod-{number}"]

            for number in range(200):
                nursery.start_soon(write, number)
        assert [len(batch.operations) for batch in transport.batches] == [200]

    run(main)


def test_one_batch_is_in_flight_and_what_comes_meanwhile_is_the_next() -> None:
    async def main() -> None:
        waiting: list[pb.MutateRequest] = []
        transport = ScriptedTransport(
            lambda request: waiting.append(request) if request.operations else accept(request)
        )
        async with trio.open_nursery() as nursery:
            mutations = Mutations(transport, actor())
            nursery.start_soon(mutations.run)
            nursery.start_soon(mutations.mutate, deletes(["first"]))
            await trio.sleep(1)
            for number in range(10):
                nursery.start_soon(mutations.mutate, deletes([f"pod-{number}"]))
                await trio.sleep(1)
            assert [len(batch.operations) for batch in transport.batches] == [1]
            assert not mutations._next_message()
            mutations._receive(accept(waiting[0]))
            await trio.sleep(1)
            assert [len(batch.operations) for batch in transport.batches] == [1, 10]
            nursery.cancel_scope.cancel()

    run(main)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=8))
def test_any_calls_are_cut_into_batches_in_order_and_their_results_joined(sizes: list[int]) -> None:
    async def main() -> None:
        transport = ScriptedTransport(accept)
        results: dict[int, list[str]] = {}
        async with open_client(transport, actor()) as client, trio.open_nursery() as nursery:

            async def write(number: int, names: list[str]) -> None:
                results[number] = names_of(await client.mutate(deletes(names)))

            for number, size in enumerate(sizes):
                nursery.start_soon(write, number, [f"{number}-{position}" for position in range(size)])
        assert results == {
            number: [f"{number}-{position}" for position in range(size)] for number, size in enumerate(sizes)
        }
        counts = [len(batch.operations) for batch in transport.batches]
        assert sum(counts) == sum(sizes)
        assert all(0 < count <= BATCH_OPERATIONS_MAX for count in counts)
        assert len(counts) <= sum(sizes) // BATCH_OPERATIONS_MAX + 2
        sent = [operation.delete.target.name for batch in transport.batches for operation in batch.operations]
        for number, size in enumerate(sizes):
            assert [name for name in sent if name.startswith(f"{number}-")] == [f"{number}-{i}" for i in range(size)]

    run(main)


def test_large_objects_make_smaller_batches() -> None:
    async def main() -> None:
        transport = ScriptedTransport(accept)
        large = pod("large", text="x" * (BATCH_BYTES_MAX // 3))
        huge = pod("huge", text="x" * (BATCH_BYTES_MAX * 2))
        async with open_client(transport, actor()) as client:
            await client.mutate([create_operation(obj) for obj in (large, large, large, huge, large)])
        assert [len(batch.operations) for batch in transport.batches] == [2, 1, 1, 1]

    run(main)


def test_a_batch_whose_link_is_lost_goes_out_again_and_then_what_waited() -> None:
    async def main() -> None:
        async with World().open(latency_seconds=(1.0, 1.0)) as world:
            await world.client.create(pod("first"))
            outcomes: dict[str, str] = {}

            async def create(name: str) -> None:
                try:
                    await world.client.create(pod(name))
                    outcomes[name] = "created"
                except OutcomeUnknown:
                    outcomes[name] = "unknown"

            async with trio.open_nursery() as nursery:
                nursery.start_soon(create, "in-flight")
                await trio.sleep(0.5)
                nursery.start_soon(create, "waiting")
                await trio.sleep(0.1)
                world.transport.cut()
                await trio.sleep(5)
                assert outcomes == {}
                world.transport.heal()
            assert outcomes == {"in-flight": "created", "waiting": "created"}
            assert world.stored("pods") == ["first", "in-flight", "waiting"]

    run(main)


def test_a_write_whose_answer_was_lost_for_too_long_may_have_happened() -> None:
    async def main() -> None:
        async with World().open(latency_seconds=(1.0, 1.0)) as world:
            await world.client.create(pod("first"))
            async with trio.open_nursery() as nursery:

                async def cut_before_the_answer() -> None:
                    await trio.sleep(1.5)
                    world.transport.cut()

                nursery.start_soon(cut_before_the_answer)
                with pytest.raises(OutcomeUnknown):
                    await world.client.create(pod("a"))
            assert world.stored("pods") == ["a", "first"]

    run(main)


def test_nothing_is_uncertain_while_a_partition_is_down_although_its_streams_open() -> None:
    """gRPC opens a stream, and takes a message, before it has a connection."""

    async def main() -> None:
        transport = ScriptedTransport(lambda _: LOST)
        async with open_client(transport, actor()) as client:
            began = trio.current_time()
            with pytest.raises(Unreachable, match="the link is cut"):
                await client.mutate(deletes(["a"]))
            assert trio.current_time() - began == pytest.approx(WRITE_SECONDS_MAX, abs=0.1)
        assert transport.batches == []
        assert 5 < transport.streams < 20

    run(main)


def test_a_partition_that_comes_back_in_time_gets_the_writes() -> None:
    async def main() -> None:
        back_at = trio.current_time() + 20
        transport = ScriptedTransport(lambda request: accept(request) if trio.current_time() > back_at else LOST)
        async with open_client(transport, actor()) as client:
            assert names_of(await client.mutate(deletes(["a"]))) == ["a"]
        assert len(transport.batches) == 1

    run(main)


def test_a_partition_that_never_answers_a_batch_leaves_it_uncertain_in_bounded_time() -> None:
    async def main() -> None:
        transport = ScriptedTransport(lambda request: None if request.operations else accept(request))
        async with open_client(transport, actor()) as client:
            began = trio.current_time()
            with pytest.raises(OutcomeUnknown):
                await client.mutate(deletes(["a"]))
            assert trio.current_time() - began == pytest.approx(WRITE_SECONDS_MAX)

    run(main)


def test_a_refused_stream_is_tried_again_and_its_reason_told() -> None:
    async def main() -> None:
        async with open_client(ScriptedTransport(lambda _: Forbidden("no writes for you")), actor()) as client:
            with pytest.raises(Unreachable, match="no writes for you"):
                await client.mutate(deletes(["a"]))

    run(main)


@pytest.mark.parametrize("wrong", [{"batch": 99}, {"results": []}, {"results": [pb.Result(), pb.Result()]}])
def test_an_answer_that_does_not_fit_its_batch_is_not_believed(wrong: dict[str, Any]) -> None:
    def answer(request: pb.MutateRequest) -> pb.MutateReply:
        reply = accept(request)
        if request.operations:
            reply = pb.MutateReply(batch=wrong.get("batch", reply.batch), results=wrong.get("results", reply.results))
        return reply

    async def main() -> None:
        async with open_client(ScriptedTransport(answer), actor()) as client:
            with pytest.raises(OutcomeUnknown, match="different versions"):
                await client.mutate(deletes(["a"]))

    run(main)


def test_a_call_cut_into_batches_is_uncertain_as_a_whole_once_a_part_went_out() -> None:
    async def main() -> None:
        lost = False

        def answer(request: pb.MutateRequest) -> pb.MutateReply | UrsaError:
            nonlocal lost
            if len(transport.batches) == 2 and not lost:
                lost = True
                return LOST
            return accept(request)

        transport = ScriptedTransport(answer)
        async with open_client(transport, actor()) as client:
            with pytest.raises(OutcomeUnknown):
                await client.mutate(deletes([str(number) for number in range(600)]))
            await client.mutate(deletes(["next"]))
        assert [len(batch.operations) for batch in transport.batches] == [256, 256, 1]

    run(main)


@pytest.mark.parametrize("back", [True, False])
def test_the_rest_of_a_call_whose_link_was_lost_between_batches_waits_for_the_next(back: bool) -> None:
    async def main() -> None:
        mutations = Mutations(ScriptedTransport(accept), actor())
        outcome: list[str] = []

        async def write() -> None:
            try:
                outcome.append(str(len(await mutations.mutate(deletes([str(number) for number in range(300)])))))
            except OutcomeUnknown as error:
                outcome.append(str(error))

        def exchange() -> None:
            request = mutations._next_message()
            assert request is not None
            mutations._receive(accept(request))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.sleep(1)
            exchange()  # The empty batch.
            exchange()
            mutations._lost(LOST)
            await trio.sleep_until(mutations._give_up_at() - 1)
            if back:
                exchange()
                exchange()
            await trio.sleep(1)
            mutations._give_up(LOST)
        assert outcome[0] == "300" if back else "only 256 of 300 writes went out" in outcome[0]

    run(main)


def test_after_a_success_the_next_failure_waits_shortly_again() -> None:
    async def main() -> None:
        async with World().open() as world:
            world.transport.cut()
            with trio.move_on_after(25):
                await world.client.create(pod("given-up"))
            world.transport.heal()
            await world.client.create(pod("a"))
            world.transport.cut()
            world.transport.heal()
            await trio.sleep(0.001)  # The loss has been noticed.
            began = trio.current_time()
            await world.client.create(pod("b"))
            assert trio.current_time() - began < 2 * BACKOFF_SECONDS_MIN

    run(main)


def test_what_a_cancelled_caller_had_not_sent_is_never_sent() -> None:
    async def main() -> None:
        async with World().open() as world:
            world.transport.cut()
            with trio.move_on_after(1):
                await world.client.create(pod("given-up"))
            world.transport.heal()
            await world.client.create(pod("later"))
            await trio.sleep(10)
            assert world.stored("pods") == ["later"]

    run(main)


def test_closing_a_client_fails_who_waits_and_who_comes_later() -> None:
    async def main() -> None:
        outcomes: list[str] = []
        transport = ScriptedTransport(lambda request: None if request.operations else accept(request))
        async with trio.open_nursery() as nursery, open_client(transport, actor()) as client:

            async def write(name: str) -> None:
                with pytest.raises(Unreachable) if name == "waiting" else pytest.raises(OutcomeUnknown):
                    await client.mutate(deletes([name]))
                outcomes.append(name)

            nursery.start_soon(write, "in-flight")
            await trio.sleep(1)
            nursery.start_soon(write, "waiting")
            await trio.sleep(1)
        assert sorted(outcomes) == ["in-flight", "waiting"]
        with pytest.raises(Unreachable):
            await client.mutate(deletes(["late"]))

    run(main)


def test_no_operations_need_no_partition() -> None:
    async def main() -> None:
        async with open_client(ScriptedTransport(lambda _: LOST), actor()) as client:
            assert await client.mutate([]) == []

    run(main)


@settings(deadline=None, max_examples=25)
@given(SEEDS)
def test_every_write_is_told_its_truth_over_any_losses(seed: int) -> None:
    """What was said to be written is there, what was said not to be sent is not, and nothing is written twice."""

    random = Random(seed)

    async def main() -> None:
        async with World().open(latency_seconds=(0.01, 0.2)) as world:
            said: dict[str, str] = {}

            async def create(name: str) -> None:
                await trio.sleep(random.uniform(0, 20))
                try:
                    await world.client.create(pod(name))
                    said[name] = "created"
                except OutcomeUnknown:
                    said[name] = "unknown"
                except Unreachable:
                    said[name] = "unsent"

            async def break_the_link() -> None:
                for _ in range(random.randint(1, 6)):
                    await trio.sleep(random.uniform(0, 5))
                    world.transport.cut()
                    await trio.sleep(random.choice([0, 1, 5, 40]))
                    if random.random() < 0.5:
                        await world.restart()
                    else:
                        world.transport.heal()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(break_the_link)
                for number in range(30):
                    nursery.start_soon(create, f"pod-{number}")
            stored = world.stored("pods")
            for name, outcome in said.items():
                if outcome != "unknown":
                    assert (name in stored) == (outcome == "created"), (name, outcome)
            # A create that was sent twice would have been answered AlreadyExists, which nobody expects above.

    run(main)


def test_a_write_that_was_decided_on_another_history_is_not_sent() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            first = world.store.incarnation
            await world.writer.create(pod("a"))
            assert not (await world.client.mutate(deletes(["a"]), history=first))[0].HasField("error")
            world.transport.cut()
            await trio.testing.wait_all_tasks_blocked()  # What is said now finds the link down, and waits in the line.
            outcomes: dict[str, str] = {}

            async def write(name: str, history: str) -> None:
                try:
                    await world.client.mutate([create_operation(pod(name))], history=history)
                    outcomes[name] = "answered"
                except Unreachable as error:
                    outcomes[name] = str(error)

            for name, history in (("of-the-first", first), ("of-any", ""), ("of-the-second", "second")):
                nursery.start_soon(write, name, history)
            await trio.sleep(1)
            await world.restart(MemoryStore(incarnation="second"))
            await trio.sleep(10)
            assert "another history" in outcomes.pop("of-the-first")
            assert outcomes == {"of-any": "answered", "of-the-second": "answered"}
            with pytest.raises(Unreachable, match="another history"):
                await world.client.mutate(deletes(["a"]), history=first)
            nursery.cancel_scope.cancel()

    run(main)


def test_a_batch_is_of_one_term_and_stays_so_when_it_is_sent_again() -> None:
    async def main() -> None:
        lost = [True]

        def answer(request: pb.MutateRequest) -> pb.MutateReply | UrsaError:
            if request.operations and lost:
                return lost.pop() and LOST
            return pb.MutateReply(batch=request.batch, results=accept(request).results, position="p:1", writer=b"w")

        transport = ScriptedTransport(answer)
        first, second = pb.Fence(term=1), pb.Fence(term=2)
        async with trio.open_nursery() as nursery:
            mutations = Mutations(transport, actor())
            for name, fence in (("a", first), ("b", first), ("c", second), ("d", None), ("e", None), ("f", second)):
                nursery.start_soon(lambda name=name, fence=fence: mutations.mutate(deletes([name]), fence=fence))
                await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(mutations.run)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        sent = [
            ("".join(each.delete.target.name for each in batch.operations), batch.fence.term)
            for batch in transport.batches
        ]
        assert sent == [("ab", 1), ("ab", 1), ("c", 2), ("de", 0), ("f", 2)]
        assert [batch.HasField("fence") for batch in transport.batches] == [True, True, True, False, True]

    run(main)
