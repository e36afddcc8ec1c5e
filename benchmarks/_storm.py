"""A storm of lists, in a process of its own: `_storm.py ADDRESS USER LISTS`; blows between a line `go` and one `stop`.

Each line is answered, once it holds, with a line that says how many lists have been read to their end so far.
"""

from __future__ import annotations

import asyncio
import sys

import grpc
from ursa.proto import ursa_pb2 as pb

_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
_PAUSE_SECONDS = 0.02


class Storm:
    def __init__(self, channel: grpc.aio.Channel, user: str, lists: int) -> None:
        self._list = channel.unary_stream("/ursa.v1.Partition/List")
        self._metadata = (("ursa-user", user),)
        self._lists = lists
        self._tasks: list[asyncio.Task[None]] = []
        self.read = 0
        self.refused = 0

    def go(self) -> None:
        self._tasks = [asyncio.create_task(self._blow()) for _ in range(self._lists)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _blow(self) -> None:
        request = pb.ListRequest(selection=pb.Selection(resource="pods")).SerializeToString()
        while True:
            try:
                async for _ in self._list(request, metadata=self._metadata):
                    pass
                self.read += 1
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                self.refused += 1
                await asyncio.sleep(_PAUSE_SECONDS)


async def main(address: str, user: str, lists: int) -> None:
    async with grpc.aio.insecure_channel(address, _OPTIONS) as channel:
        storm = Storm(channel, user, lists)
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line.strip() == "go":
                storm.go()
            else:
                await storm.stop()
            print(storm.read, storm.refused, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
