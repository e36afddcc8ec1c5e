"""Writes over links that are cut, to partitions that are killed: each happens once, and its caller is told (S20)."""

from __future__ import annotations

from random import Random

import trio
from hypothesis import given, settings
from ursa.clients.operations import create_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import OutcomeUnknown
from ursa.proto.objects import Object

from .worlds import SEEDS, World, run

CALLS = 15
OPERATIONS_PER_CALL = 3


def unnamed(writer: int) -> Object:
    """Repeated, its create would make one more."""
    metadata = {"generateName": f"w-{writer}-", "namespace": "default", "tenant": "system"}
    return Object.from_dict({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_any_cut_at_any_moment_is_exactly_once(seed: int) -> None:
    async def main() -> None:
        random = Random(seed)
        async with World().open(latency_seconds=(0.0, 0.2)) as world:
            names: list[str] = []
            uncertain: list[pb.Operation] = []

            async def write(writer: int) -> None:
                for _ in range(CALLS):
                    operations = [create_operation(unnamed(writer)) for _ in range(OPERATIONS_PER_CALL)]
                    try:
                        names.extend(result.name for result in await world.client.mutate(operations))
                    except OutcomeUnknown:  # The link was not up for long enough in all its patience.
                        uncertain.extend(operations)

            async def disturb() -> None:
                while True:
                    await trio.sleep(random.uniform(0.0, 4.0))
                    if random.random() < 0.3:
                        await world.restart()
                    else:
                        world.transport.cut()
                        await trio.sleep(random.uniform(0.0, 0.5))
                        world.transport.heal()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(disturb)
                async with trio.open_nursery() as writers:
                    for writer in range(2):
                        writers.start_soon(write, writer)
                nursery.cancel_scope.cancel()
            assert len(names) + len(uncertain) == 2 * CALLS * OPERATIONS_PER_CALL
            stored = dict.fromkeys(world.stored("configmaps"))
            assert not [name for name in names if name not in stored]
            assert len(names) == len(dict.fromkeys(names))
            assert len(stored) - len(names) <= len(uncertain)

    run(main)
