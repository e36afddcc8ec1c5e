"""Whatever happens to links, replicas, Leases: in each partition all writes of a term come before those of the next."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import trio
from hypothesis import given, settings
from ursa.clients.leader_election_core import JITTER, ElectionOptions
from ursa.clients.operations import delete_operation
from ursa.proto.errors import ApiError, LinkError
from ursa.proto.leases import LEASES
from ursa.proto.objects import Object

from .electorate import HOME, OTHER, Fenced, open_two_fenced
from .worlds import SEEDS, WALL_OFFSET_SECONDS, World, run

OPTIONS = ElectionOptions()
TAKEOVER_SECONDS_MAX = OPTIONS.lease_duration_seconds + OPTIONS.retry_period_seconds * (1 + JITTER) + 0.5


@settings(max_examples=6)
@given(seed=SEEDS)
def test_writes_of_a_term_come_before_all_of_the_next_whatever_happens(seed: int) -> None:
    """In each partition. Links are held up, cut and mended, replicas stopped, Leases at home deleted."""
    random = Random(seed)

    async def main() -> None:
        async with open_two_fenced() as (home, other, one, two), trio.open_nursery() as nursery:
            for fenced in (one, two):
                for partition in (HOME, OTHER):
                    nursery.start_soon(_write_on_and_on, fenced, partition)
            for _ in range(12):
                await _something_happens(random, random.choice((one, two)))
            for fenced in (one, two):
                _mend(fenced)
            await trio.sleep(2 * TAKEOVER_SECONDS_MAX)
            for world in (home, other):
                written = _written(world)
                assert written[-1][2] > trio.current_time() - 5, "somebody writes again"
                ages = {uid: number for number, uid in enumerate(dict.fromkeys(uid for uid, _, _ in written))}
                terms = [(ages[uid], term) for uid, term, _ in written]
                assert terms == sorted(terms), "terms of writes, in the order of their revisions"
            assert len(ages) == 1, "only at home was a Lease deleted"
            nursery.cancel_scope.cancel()

    run(main)


async def _something_happens(random: Random, fenced: Fenced) -> None:
    transport = random.choice((fenced.replica.transport, fenced.other_transport))
    match random.choice(("hold", "hold both", "cut", "mend", "delete")):
        case "hold":
            transport.silence(requests=True, replies=random.random() < 0.5)
        case "hold both":
            fenced.replica.transport.silence()
            fenced.other_transport.silence()
        case "cut":
            transport.cut()
        case "mend":
            _mend(fenced)
        case "delete":
            with trio.move_on_after(1):
                with suppress(ApiError, LinkError):
                    operation = delete_operation(LEASES, fenced.replica.election.key)
                    await fenced.bare.for_partition(HOME).mutate([operation])
    await trio.sleep(random.uniform(0.1, 22.0))
    _mend(fenced)
    await trio.sleep(random.uniform(0.0, 10.0))


def _mend(fenced: Fenced) -> None:
    for transport in (fenced.replica.transport, fenced.other_transport):
        transport.silence(requests=False, replies=False)
        transport.heal()


async def _write_on_and_on(fenced: Fenced, partition: str) -> None:
    number = 0
    while True:
        number += 1
        with suppress(ApiError, LinkError):
            await fenced.write_with_term(partition, f"{fenced.replica.name}-{number}")
        await trio.sleep(0.7)


def _written(world: World) -> list[tuple[str, int, float]]:
    """The Lease and the term of all ConfigMaps, in the order of their revisions, and when each was made."""
    objects = [Object.from_bytes(record.value) for record in world.store.range("/registry/configmaps/")]
    objects.sort(key=lambda each: each.resource_version)
    start_ms = WALL_OFFSET_SECONDS * 1000
    written = [(each.rest["data"], (each.creation_ms - start_ms) / 1000) for each in objects]
    return [(data["uid"], int(data["term"]), time) for data, time in written]
