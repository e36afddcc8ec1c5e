"""Replicas of a component over links: who works, when work ends, and how soon another goes on (S19)."""

from __future__ import annotations

import pytest
import trio
from ursa.clients.leader_election import RELEASE_SECONDS_MAX
from ursa.clients.leader_election_core import JITTER, ElectionOptions
from ursa.clients.operations import update_operation
from ursa.proto.leases import LEASES

from .electorate import Replica, open_replica, open_two
from .worlds import World, run

OPTIONS = ElectionOptions()
LOOK_SECONDS_MAX = OPTIONS.retry_period_seconds * (1 + JITTER)


async def spec_of(replica: Replica) -> dict[str, object]:
    return (await replica.client.get(LEASES, replica.election.key)).spec


def test_one_works_and_the_other_knows_who() -> None:
    async def main() -> None:
        async with open_two() as (_, one, two):
            await trio.sleep(100)
            assert (len(one.terms), len(two.terms)) == (1, 0)
            assert one.working
            assert two.election.holder == one.election.identity
            assert one.metric("leader_election_master_status") == 1
            assert two.metric("leader_election_master_status") == 0

    run(main)


def test_a_clean_stop_gives_the_lease_back_after_the_work_has_ended() -> None:
    async def main() -> None:
        async with open_two() as (_, one, two):
            stopped_at = trio.current_time()
            one.scope.cancel()
            await trio.sleep(LOOK_SECONDS_MAX + 0.1)
            assert two.working
            assert one.ended[0] == stopped_at <= two.began[0]
            assert two.terms[0].number == one.terms[0].number + 1
            assert two.metric("leader_election_terms_total") == 1

    run(main)


def test_a_leader_that_loses_its_link_ends_its_work_in_time_and_stands_by_again() -> None:
    async def main() -> None:
        async with open_two() as (_, one, two):
            one.transport.cut()
            cut_at = trio.current_time()
            await trio.sleep(OPTIONS.lease_duration_seconds + LOOK_SECONDS_MAX + 1)
            assert not one.working
            assert one.ended[0] <= cut_at + OPTIONS.renew_deadline_seconds
            assert one.ended[0] < two.began[0] <= cut_at + OPTIONS.lease_duration_seconds + LOOK_SECONDS_MAX
            one.transport.heal()
            await trio.sleep(30)
            assert (one.working, two.working) == (False, True)
            two.scope.cancel()
            await trio.sleep(LOOK_SECONDS_MAX + 1)
            assert one.working
            assert [term.number for term in (*one.terms, *two.terms)] == [1, 3, 2]

    run(main)


def test_a_silent_link_is_asked_more_than_once_before_the_deadline() -> None:
    async def main() -> None:
        async with open_two() as (_, one, _two):
            one.transport.silence()
            await trio.sleep(OPTIONS.renew_deadline_seconds * 0.6)
            one.transport.drop()
            one.transport.silence(requests=False, replies=False)
            await trio.sleep(20)
            assert one.working
            assert len(one.terms) == 1

    run(main)


def test_a_leader_that_is_told_of_another_ends_at_once() -> None:
    async def main() -> None:
        async with open_two() as (_, one, _two):
            await trio.sleep(0.7)  # Between two renewals.
            lease = await one.client.get(LEASES, one.election.key)
            taken = lease.with_spec({**lease.spec, "holderIdentity": "somebody", "leaseTransitions": 9})
            await one.client.mutate([update_operation(taken)])
            one.election.doubt()
            await trio.sleep(0.1)
            assert not one.working

    run(main)


def test_work_that_takes_its_time_to_end_holds_back_the_release_and_the_next_term() -> None:
    async def main() -> None:
        world = World()
        async with world.open(), open_replica(world, "one") as one:

            async def lead() -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(1)
                        one.ended.append(trio.current_time())

            with trio.move_on_after(3):
                await one.election.run(lead)
            assert one.ended == [trio.current_time()]
            assert (await spec_of(one))["holderIdentity"] == ""

    run(main)


def test_a_release_that_has_no_answer_does_not_hold_up_the_stop() -> None:
    async def main() -> None:
        async with open_two() as (_, one, _two):
            one.transport.silence()
            stopped_at = trio.current_time()
            one.scope.cancel()
            await trio.sleep(RELEASE_SECONDS_MAX + 0.1)
            assert one.scope.cancelled_caught
            assert one.ended == [stopped_at]

    run(main)


def test_work_that_fails_gives_the_lease_back_and_is_heard_of() -> None:
    async def main() -> None:
        world = World()
        async with world.open(), open_replica(world, "one") as one:

            async def fail() -> None:
                raise RuntimeError("broken")

            with pytest.raises(RuntimeError, match="broken"):
                await one.election.run(fail)
            assert (await spec_of(one))["holderIdentity"] == ""

    run(main)


def test_work_that_is_done_ends_the_election() -> None:
    async def main() -> None:
        world = World()
        async with world.open(), open_replica(world, "one") as one:

            async def work() -> None:
                await trio.sleep(1)

            await one.election.run(work)
            assert one.election.term is None

    run(main)


def test_an_election_goes_on_over_a_restart_of_the_partition() -> None:
    async def main() -> None:
        async with open_two() as (world, one, two):
            for _ in range(3):
                one.transport.cut()
                two.transport.cut()
                await world.restart()
                await trio.sleep(4)
                for replica in (one, two):
                    replica.transport.heal(world.transport._link.service)
                await trio.sleep(20)
            assert one.working
            assert len(one.terms) == 1
            assert not two.terms

    run(main)


def test_the_term_is_raised_while_the_work_goes_on() -> None:
    async def main() -> None:
        async with open_two() as (_, one, _two):
            with trio.fail_after(1):
                await one.election.raise_above(4)
            assert one.working
            assert len(one.terms) == 1
            assert one.election.term is not None
            assert one.election.term.number == 5
            assert (await spec_of(one))["leaseTransitions"] == 5

    run(main)


def test_an_identity_tells_people_whose_it_is() -> None:
    async def main() -> None:
        async with open_two() as (_, one, two):
            assert one.election.identity.startswith("one_")
            assert two.election.identity.startswith("two_")
            assert len(one.election.identity) > len("one_") + 30

    run(main)
