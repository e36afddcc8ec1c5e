"""A `Host` behind gRPC in a process of its own: python -m tests.partitions.contract.serve, in the repository's root.

Its first line of output is the address it serves at. Then it obeys calls on standard input, one pickle each:
(name of a method of Host, arguments); `("reset", (role,))` makes another Host. To each it answers with a pickle: the
result, or the exception.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Callable
from typing import Any

from ursa.partitions.frontends.grpc import serve
from ursa.proto.errors import ApiError
from ursa.proto.kinds import Role
from ursa.proto.sessions import Caller, ServerStream

from .host import Host


class Switch:
    """A `sessions.Service` that is the present host's."""

    def __init__(self) -> None:
        self._host = Host(Role.TENANT)

    def call(self, method: str, request: bytes, caller: Caller, reply: Callable[[bytes | ApiError], None]) -> None:
        self._host.call(method, request, caller, reply)

    def open(self, method: str, caller: Caller, wake: Callable[[], None]) -> ServerStream:
        return self._host.open(method, caller, wake)

    def obey(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name == "reset":
            self._host.close()
            self._host = Host(*arguments)
            return None
        return getattr(self._host, name)(*arguments)


async def main() -> None:
    switch = Switch()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_input() -> None:
        try:
            name, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            loop.remove_reader(sys.stdin)
            stop.set()
            return
        try:
            answer = (switch.obey(name, arguments), None)
        except Exception as error:  # noqa: BLE001 - it is the test's
            answer = (None, error)
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()

    loop.add_reader(sys.stdin, on_input)
    await serve(switch, "127.0.0.1:0", stop=stop, ready=lambda address: print(address, flush=True))


if __name__ == "__main__":
    asyncio.run(main())
