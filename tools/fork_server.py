"""A process that has imported what Ursa's components need, and turns into one: `python -m ursa.tools.fork_server`.

Nearly all that the start of a component costs is imports: half a second of a core and more, while all others wait. A
copy of a process that has imported them begins in some milliseconds, and shares their memory. The idea is the zygote of
Android and Chromium, and the fork server of Python's multiprocessing; the latter would run the user's own script again.

Only imports are done before the fork: gRPC and LMDB must not be in use in a process that forks, and nothing that runs
in threads may be. Children are children of this process, so it waits for them on its supervisor's word.

Its standard input is a socket of its supervisor (`children.py`). A request is a length (4 bytes, the highest first) and
JSON:

    {"arguments": [...], "environment": {...}}   with its standard streams and its directory as descriptors: run `ursa`
                                                 with these arguments; the answer is {"pid": N} or {"error": "..."}
    {"reap": N}                                  wait for this child; the answer is {"status": N}, as `Popen` has it
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shlex
import socket
import sys
from collections.abc import Sequence
from typing import Any

from setproctitle import setproctitle

from .time_slices import ask_for_long_slices

MODULES = (
    "ursa.tools.cli.components",
    "ursa.tools.apiserver",
    "ursa.tools.components",
    "ursa.tools.nodes",
    "ursa.tools.scheduler_config",
    "ursa.tools.static_pods",
    "ursa.clients.controllers",
    "ursa.clients.kubelet",
    "ursa.clients.scheduler",
    "ursa.partitions.process",
)
LENGTH_BYTES = 4
STANDARD_STREAMS = 3


def serve(channel: socket.socket) -> list[str] | None:
    """Answer until the supervisor is gone, then None. Returns in each child too: the arguments that it is to run."""
    while received := _receive(channel):
        request, descriptors = received
        if "reap" in request:
            _, status = os.waitpid(request["reap"], 0)
            answer: dict[str, Any] = {"status": os.waitstatus_to_exitcode(status)}
        else:
            try:
                pid = os.fork()
            except OSError as error:
                answer = {"error": f"it cannot be forked: {error.strerror}"}
            else:
                if pid == 0:
                    channel.detach()  # it is standard input, and about to be another
                    _become(request, descriptors)
                    return list(request["arguments"])
                answer = {"pid": pid}
        for descriptor in descriptors:
            os.close(descriptor)
        data = json.dumps(answer).encode()
        channel.sendall(len(data).to_bytes(LENGTH_BYTES) + data)
    return None


def _receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    header, descriptors, _, _ = socket.recv_fds(channel, LENGTH_BYTES, STANDARD_STREAMS + 1)
    if len(header) < LENGTH_BYTES:
        return None
    length = int.from_bytes(header)
    data = channel.recv(length, socket.MSG_WAITALL)
    return (json.loads(data), list(descriptors)) if len(data) == length else None


def _become(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    *streams, directory = descriptors
    os.setpgid(0, 0)
    os.fchdir(directory)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["ursa", *request["arguments"]]
    setproctitle(shlex.join(sys.argv))


def run() -> None:
    setproctitle("ursa fork server")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # as the command has it, which comes after the import here
    # It would start threads as it is imported; and they are of no use to columns of a few thousand numbers.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for module in MODULES:
        importlib.import_module(module)
    from .cli import main

    ask_for_long_slices()
    # What the collector has seen once it would write to in every child, and so copy.
    gc.collect()
    gc.freeze()
    arguments = serve(socket.socket(fileno=sys.stdin.fileno()))
    if arguments is not None:
        main(arguments, prog_name="ursa")


if __name__ == "__main__":
    run()
