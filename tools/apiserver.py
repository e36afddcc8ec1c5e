"""A partition's apiserver as a process: what the command adds to it. (It has no trio, and does not import it.)"""

from __future__ import annotations

import asyncio
import os
from typing import NoReturn

from ..partitions.process import ApiServerOptions, run_apiserver
from .lifetime import ReadyLine, announce, end_process
from .observability import Conditions, LoopProbe, ObservabilityServer, Probe


def run_apiserver_component(options: ApiServerOptions, metrics_address: str) -> NoReturn:
    """Run a partition's apiserver until a signal ends it, and with it the process.

    Raises:
        UrsaError: it cannot start.
    """
    # Before it has a loop it serves nothing.
    probes: list[Probe] = [lambda: {"serving": False}]

    def probe() -> Conditions:
        return probes[-1]()

    with ObservabilityServer(metrics_address, options.registry, probe) as observability:

        def ready(address: str) -> None:
            probes.append(LoopProbe(lambda: {"serving": True}, asyncio.get_running_loop().call_soon_threadsafe))
            announce(ReadyLine("apiserver", options.name, os.getpid(), address, observability.address))

        run_apiserver(options, ready=ready)
    end_process()
