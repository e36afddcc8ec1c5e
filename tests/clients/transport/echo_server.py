"""The echo service behind the real gRPC front end: `python echo_server.py PORT`, until its input ends."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ursa.partitions.frontends.grpc import serve

sys.path.insert(0, str(Path(__file__).parent))
from echo import EchoService


async def main(port: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    await serve(EchoService(), f"127.0.0.1:{port}", stop=stop, ready=lambda address: print(address, flush=True))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
