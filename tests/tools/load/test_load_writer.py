"""Writes on a schedule, against a real apiserver in memory."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import pytest
import trio
from ursa.clients.operations import create_operation, delete_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import NotFound
from ursa.tools.load.writer import PacedWriter, lateness_figures

from ...clients.worlds import World, key, pod, run


class Item(NamedTuple):
    due_seconds: float
    name: str
    deletes: bool = False


def operation(item: Item) -> pb.Operation:
    if item.deletes:
        return delete_operation("pods", key(item.name))
    return create_operation(pod(item.name))


def writer(world: World, items: list[Item], written: list[str] | None = None) -> PacedWriter[Item]:
    log = written if written is not None else []
    return PacedWriter(
        world.client, items, lambda item: item.due_seconds, operation, lambda item, _: log.append(item.name)
    )


def test_each_write_is_sent_when_it_is_due_and_on_an_idle_partition_none_is_late() -> None:
    async def main() -> None:
        async with World().open() as world:
            items = [Item(number / 10, f"p{number}") for number in range(30)]
            paced = writer(world, items)
            start = trio.current_time()
            await paced.run(start)
            assert trio.current_time() - start == pytest.approx(2.9, abs=0.05)
            created = (await world.client.list("pods")).items
            assert sorted(item.name for item in created) == sorted(item.name for item in items)
            moments = {item.name: item.creation_ms for item in created}
            for item in items:
                assert moments[item.name] - moments["p0"] == pytest.approx(item.due_seconds * 1000, abs=50)
            assert len(paced.late_ms) == 30
            assert max(paced.late_ms) < 50

    run(main)


def test_creates_and_deletes_happen_in_order() -> None:
    async def main() -> None:
        async with World().open() as world:
            items = [Item(0, "a"), Item(0, "b"), Item(0, "a", deletes=True), Item(1, "c"), Item(1, "c", deletes=True)]
            await writer(world, items).run(trio.current_time())
            assert [item.name for item in (await world.client.list("pods")).items] == ["b"]

    run(main)


def test_a_crash_in_the_middle_loses_no_write_and_shows_as_lateness() -> None:
    async def main() -> None:
        async with World().open(latency_seconds=(0.01, 0.02)) as world, trio.open_nursery() as nursery:
            items = [Item(number / 10, f"p{number}") for number in range(30)]
            written: list[str] = []
            paced = writer(world, items, written)
            nursery.start_soon(partial(paced.run, trio.current_time()))
            await trio.sleep(1.005)
            world.transport.cut()
            await trio.sleep(3)
            await world.restart()
            await trio.sleep(10)
            names = [item.name for item in (await world.client.list("pods")).items]
            assert sorted(names) == sorted(item.name for item in items)
            assert set(written) <= set(names)
            assert max(paced.late_ms) > 1000

    run(main)


def test_a_write_that_is_refused_for_good_ends_the_run_with_the_partitions_word() -> None:
    async def main() -> None:
        async with World().open() as world:
            refused = PacedWriter(
                world.client,
                [Item(0, "a")],
                lambda item: item.due_seconds,
                lambda item: create_operation(pod(item.name, namespace="missing")),
                lambda *_: None,
            )
            with pytest.raises(NotFound, match="missing"):
                await refused.run(trio.current_time())

    run(main)


def test_the_figures_of_lateness() -> None:
    assert lateness_figures([0.1, 5.0, 0.2]) == {"p50": 0.2, "p99": 5.0, "max": 5.0}
    assert lateness_figures([]) == {"p50": 0, "p99": 0, "max": 0}
