"""The writes of a leader bear its term, in its home and elsewhere; those of a deposed one are refused (S19, S25)."""

from __future__ import annotations

import pytest
import trio
from ursa.clients.leader_election_core import JITTER, ElectionOptions, Term
from ursa.clients.operations import delete_operation, update_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Unreachable, was_fenced_off
from ursa.proto.leases import LEASES, holding
from ursa.proto.objects import Object, ObjectKey

from .electorate import HOME, OTHER, Fenced, open_two_fenced
from .worlds import World, run

OPTIONS = ElectionOptions()
TAKEOVER_SECONDS_MAX = OPTIONS.lease_duration_seconds + OPTIONS.retry_period_seconds * (1 + JITTER) + 0.5


def granted(world: World, fenced: Fenced) -> Term | None:
    """What the Lease in a partition says, read behind everybody's back."""
    key = fenced.replica.election.key
    record = world.store.get(f"/registry/{LEASES}/{key.tenant}/{key.namespace}/{key.name}")
    if record is None:
        return None
    lease = Object.from_bytes(record.value)
    held = holding(lease.spec)
    return Term(lease.uid, held.term, held.holder)


async def delete_lease(fenced: Fenced, partition: str) -> None:
    operation = delete_operation(LEASES, fenced.replica.election.key)
    await fenced.bare.for_partition(partition).mutate([operation])


def refused(result: pb.Result) -> bool:
    return was_fenced_off(result.error)


def ok(result: pb.Result) -> bool:
    return not result.HasField("error")


def test_a_leader_writes_and_a_standby_does_not() -> None:
    async def main() -> None:
        async with open_two_fenced() as (_, _other, one, two):
            for partition in (HOME, OTHER):
                assert ok(await one.write(partition, "a"))
                with pytest.raises(Unreachable, match="does not lead"):
                    await two.write(partition, "b")
                assert len(await _names(one, partition)) == 1

    run(main)


def test_a_client_that_is_not_fenced_is_not_concerned() -> None:
    async def main() -> None:
        async with open_two_fenced() as (_, _other, one, two):
            one.clients = two.clients = two.bare
            assert ok(await two.write(HOME, "a"))

    run(main)


def test_the_term_is_written_elsewhere_before_the_first_write_and_once() -> None:
    async def main() -> None:
        async with open_two_fenced() as (_, other, one, _two):
            assert granted(other, one) is None
            for number in range(5):
                assert ok(await one.write(OTHER, f"a-{number}"))
            term = granted(other, one)
            assert term is not None
            assert (term.number, term.holder) == (1, one.replica.election.identity)
            [lease] = list(other.store.range(f"/registry/{LEASES}/"))
            assert lease.previous_revision == 0, "it was written once"

    run(main)


@pytest.mark.parametrize("partition", [HOME, OTHER])
def test_a_write_that_comes_after_the_successors_term_is_refused(partition: str) -> None:
    """It was sent in time, and held up on its way: the very thing that no clock of a client can prevent."""

    async def main() -> None:
        async with open_two_fenced() as (_, _other, one, two):
            assert ok(await one.write(partition, "a"))
            transport = one.replica.transport if partition == HOME else one.other_transport
            transport.silence()
            if partition == OTHER:
                one.replica.transport.cut()
            results: list[pb.Result] = []

            async def late() -> None:
                results.append(await one.write(partition, "late"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(late)
                await trio.sleep(TAKEOVER_SECONDS_MAX)
                assert two.replica.working
                assert ok(await two.write(partition, "b"))
                transport.silence(requests=False, replies=False)
            assert [refused(result) for result in results] == [True]
            assert await _names(two, partition) == ["a", "b"]

    run(main)


def test_a_refused_leader_looks_at_once_whether_it_still_leads() -> None:
    async def main() -> None:
        async with open_two_fenced() as (_, _other, one, two):
            await trio.sleep(1.3)  # Between two renewals.
            lease = await two.replica.client.get(LEASES, one.replica.election.key)
            taken = lease.with_spec({**lease.spec, "holderIdentity": "somebody", "leaseTransitions": 9})
            assert ok((await two.replica.client.mutate([update_operation(taken)]))[0])
            assert refused(await one.write(HOME, "a"))
            await trio.sleep(0.1)
            assert not one.replica.working

    run(main)


def test_a_lease_elsewhere_that_was_deleted_is_made_again() -> None:
    async def main() -> None:
        async with open_two_fenced() as (_, other, one, _two):
            assert ok(await one.write(OTHER, "a"))
            before = granted(other, one)
            await delete_lease(one, OTHER)
            assert refused(await one.write(OTHER, "b"))
            assert ok(await one.write(OTHER, "b"))
            after = granted(other, one)
            assert before is not None
            assert after is not None
            assert (after.number, after.uid != before.uid) == (before.number, True)
            await trio.sleep(30)
            assert len(one.replica.terms) == 1

    run(main)


def test_terms_go_on_where_the_lease_at_home_was_deleted() -> None:
    """The new one counts from 1, and elsewhere a higher term is known: the leader raises its own above it."""

    async def main() -> None:
        async with open_two_fenced() as (home, other, one, two):
            one.replica.scope.cancel()
            await trio.sleep(TAKEOVER_SECONDS_MAX)
            assert ok(await two.write(OTHER, "a"))
            assert granted(other, one) == two.replica.terms[0]._replace(uid=granted(other, one).uid)
            await delete_lease(one, HOME)
            await trio.sleep(TAKEOVER_SECONDS_MAX)
            assert two.replica.working
            assert ok(await two.write(OTHER, "b"))
            there, here = granted(other, one), granted(home, one)
            assert there is not None
            assert here is not None
            assert there.number == here.number == 3
            assert ok(await two.write(HOME, "c"))

    run(main)


def test_a_term_of_the_same_number_that_is_of_an_older_lease_at_home_is_not_taken_for_ours() -> None:
    """The same replica leads again, in the first term of another Lease: what it sent before is of no term of now."""

    async def main() -> None:
        async with open_two_fenced() as (home, other, one, two):
            two.replica.scope.cancel()
            assert ok(await one.write(OTHER, "a"))
            fence = await one.clients.for_partition(OTHER)._fencing.fence()
            await delete_lease(one, HOME)
            await trio.sleep(10)
            assert [term.number for term in one.replica.terms] == [1, 1]
            assert ok(await one.write(OTHER, "b"))
            there, here = granted(other, one), granted(home, one)
            assert there is not None
            assert here is not None
            assert there.number == here.number == 2
            [late] = await one.bare.for_partition(OTHER)._mutate([_delete("a")], "", fence)
            assert refused(late)

    run(main)


def _delete(name: str) -> pb.Operation:
    return delete_operation("configmaps", ObjectKey("system", "default", name))


def test_a_deposed_leader_does_not_raise_its_term_above_that_of_its_successor() -> None:
    async def main() -> None:
        async with open_two_fenced() as (_, other, one, two):
            one.replica.transport.silence()
            await trio.sleep(OPTIONS.renew_deadline_seconds - 1)
            held = one.replica.election._core
            await trio.sleep(TAKEOVER_SECONDS_MAX)
            assert ok(await two.write(OTHER, "b"))
            # As if it had slept since before its deadline: it takes itself for the leader.
            old = one.replica.terms[0]
            held.term, held.leads_until = old, trio.current_time() + 5
            with trio.move_on_after(4), pytest.raises(Unreachable):
                await one.write(OTHER, "a")
            term = granted(other, one)
            assert term is not None
            assert term.holder == two.replica.election.identity
            assert await _names(two, OTHER) == ["b"]

    run(main)


def test_a_partition_that_cannot_be_reached_is_not_waited_for_without_end() -> None:
    async def main() -> None:
        async with open_two_fenced() as (_, _other, one, _two):
            one.other_transport.cut()
            began = trio.current_time()
            with pytest.raises(Unreachable):
                await one.write(OTHER, "a")
            assert trio.current_time() - began <= 31
            assert ok(await one.write(HOME, "a"))
            one.other_transport.heal()
            assert ok(await one.write(OTHER, "a"))

    run(main)


def test_many_writes_at_once_advance_the_term_once() -> None:
    async def main() -> None:
        async with open_two_fenced() as (_, _other, one, _two):
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(one.write, OTHER, f"a-{number}")
            assert len([call for call in one.calls if " Get > " in call or " Write > " in call]) == 2
            assert len(await _names(one, OTHER)) == 20

    run(main)


async def _names(fenced: Fenced, partition: str) -> list[str]:
    return [item.name for item in (await fenced.bare.for_partition(partition).list("configmaps")).items]
