"""What a client did is found again at its partition: by who it is, and by the ids of its requests."""

from __future__ import annotations

import pytest
from ursa.proto.errors import NotFound

from .worlds import World, key, pod, run


def test_the_partition_knows_who_asked_for_what() -> None:
    async def main() -> None:
        async with World().open() as world:
            await world.client.create(pod("a"))
            await world.client.get("pods", key("a"))
            await world.client.list("pods")
            rows = (await world.client.requests()).rows
            asked = [(row.verb, row.resource, row.requests) for row in rows if row.user == "test"]
            assert sorted(asked) == [("create", "pods", 1), ("get", "pods", 1), ("list", "pods", 1)]

    run(main)


def test_a_refusal_quotes_the_id_of_its_request_and_no_two_have_the_same() -> None:
    async def main() -> None:
        async with World().open() as world:
            traces = []
            for _ in range(2):
                with pytest.raises(NotFound) as refused:
                    await world.client.get("pods", key("missing"))
                traces.append(refused.value.trace)
                with pytest.raises(NotFound) as refused:
                    await world.client.delete("pods", key("missing"))
                traces.append(refused.value.trace)
            assert all(traces)
            assert len(dict.fromkeys(traces)) == 4

    run(main)
