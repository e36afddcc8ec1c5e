"""A relay between real sockets, on a clock that goes on while it is asked."""

from __future__ import annotations

import asyncio

from ursa.clients.transport._relay import Relay
from ursa.clients.transport.conditions import Conditions, Way

STEP_SECONDS = 0.004
DELAY_SECONDS = 2.5 * STEP_SECONDS


class WalkingClockLoop(asyncio.SelectorEventLoop):
    """Its time goes on by a step each time it is asked."""

    asked = 0

    def time(self) -> float:
        self.asked += 1
        return super().time() + self.asked * STEP_SECONDS


def test_what_falls_due_while_a_relay_looks_at_its_lanes_is_delivered() -> None:
    """Nothing else happens on the link that would bring it to look again: uvloop's time can go on within a callback."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        await reader.read()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        conditions = Conditions(Way(delay_seconds=DELAY_SECONDS), Way(delay_seconds=DELAY_SECONDS))
        relay = Relay("127.0.0.1", server.sockets[0].getsockname()[1], conditions)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(relay.address.rpartition(":")[2]))
        writer.write(b"ping")
        assert await asyncio.wait_for(reader.readexactly(4), 20) == b"ping"
        writer.close()
        await relay.close()
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=WalkingClockLoop) as runner:
        runner.run(main())
