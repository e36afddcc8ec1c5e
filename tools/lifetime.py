"""The life of a component's process: its log, its ready line, and its end."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import NoReturn

# Everything a component holds is durable elsewhere: a stop only has to say goodbye.
STOP_SECONDS = 5

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True)
class ReadyLine:
    """What a component prints once it serves; the addresses are empty where it listens on none."""

    component: str
    name: str
    pid: int
    address: str = ""
    metrics: str = ""

    def dump(self) -> str:
        return json.dumps(self.__dict__)

    @classmethod
    def parse(cls, line: bytes) -> ReadyLine:
        """Raises ValueError if the line is none."""
        values = json.loads(line)
        if not isinstance(values, dict) or not {"component", "name", "pid"} <= values.keys():
            raise ValueError(f"no ready line: {line!r}")
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})


def start_logging(level: str) -> None:
    """The log goes to standard error; standard output belongs to the ready line."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=LOG_FORMAT)


def announce(line: ReadyLine) -> None:
    """Tell whoever started this process that it serves."""
    print(line.dump(), flush=True)


def bound_stop() -> None:
    """From here on the process ends within STOP_SECONDS, or at once on another signal."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.alarm(STOP_SECONDS)


def end_with_parent() -> None:
    """Stop this process, as SIGTERM does, when its standard input ends: when whoever holds the other end is gone."""
    threading.Thread(target=_wait_for_end_of_input, name="ursa-parent-pipe", daemon=True).start()


def _wait_for_end_of_input() -> NoReturn:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS + 1)
    os._exit(1)


def end_process() -> NoReturn:
    """End this process well."""
    # Everything has been closed. What the interpreter would tidy up now, object by object, takes it 0.3 s and more,
    # and the system no time at all.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)
