"""Prints the trace of some clients over links with latency, simulated from a seed: `python trace_scenario.py SEED`."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import trio
from trio.testing import MockClock
from ursa.clients.transport.memory import MemoryTransport
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Unreachable

sys.path.insert(0, str(Path(__file__).parent))
from echo import EchoService


async def client(transport: MemoryTransport, random: Random) -> None:
    for _ in range(4):
        try:
            async with transport.stream("Mutate") as stream:
                for number in range(10):
                    resources = [f"x{random.random()}" for _ in range(random.randrange(4))]
                    operations = [pb.Operation(resource=each) for each in resources]
                    await stream.send(pb.MutateRequest(batch=number, operations=operations))
                    if random.random() < 0.5:
                        await stream.receive()
                await transport.unary("Get", pb.GetRequest(name="a"))
        except Unreachable:
            await trio.sleep(random.random())


async def main(seed: int) -> None:
    root = Random(seed)
    service = EchoService()
    links = [
        MemoryTransport(
            "tp-1",
            service,
            random=Random(root.random()),
            latency_seconds=(0.001, 0.1),
            user=f"user-{number}",
            trace=print,
        )
        for number in range(10)
    ]
    async with trio.open_nursery() as nursery:
        for link in links:
            nursery.start_soon(client, link, Random(root.random()))
        await trio.sleep(0.3)
        links[0].cut()
        await trio.sleep(0.3)
        links[0].heal()


if __name__ == "__main__":
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True
    trio._core._run._r.seed(int(sys.argv[1]))
    trio.run(main, int(sys.argv[1]), clock=MockClock(autojump_threshold=0))
