"""Writes over links that are cut, to partitions that are killed: each happens once, and its caller is told (S20)."""

from __future__ import annotations

from random import Random

import trio
from hypothesis import given, settings
from ursa.clients.operations import create_operation
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

            async def write(writer: int) -> None:
                for _ in range(CALLS):
                    operations = [create_operation(unnamed(writer)) for _ in range(OPERATIONS_PER_CALL)]
                    names.extend(result.name for result in await world.client.mutate(operations))

            async def disturb() -> None:
                while True:
                    await trio.sleep(random.uniform(0.0, 1.0))
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
            assert len(names) == 2 * CALLS * OPERATIONS_PER_CALL
            assert sorted(names) == world.stored("configmaps")

    run(main)
