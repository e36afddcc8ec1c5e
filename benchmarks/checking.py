"""What it takes to judge a recorded run: `python benchmarks/checking.py [OPERATIONS]`.

Operations are writes, gets, lists, and what watches were given at once; a million of them are to be read and checked in
a minute of CPU. Writes build/bench/checking.json. Exit status 4: it took longer, or something was found.
"""

from __future__ import annotations

import gc
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from _bench import Figure, at_most, print_figures, save_figures
from _synthetic_recording import Synthetic
from ursa.tools.checking.check import JUDGES
from ursa.tools.checking.recorded import Recording
from ursa.tools.recording import read_recording, write_recording

OPERATIONS = 1_000_000
CPU_SECONDS_MAX = 60.0
BYTES_MAX = 2 << 30


def measure(operations: int) -> list[Figure]:
    gc.disable()  # As `ursa check` does.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording"
        write_recording(path, Synthetic(operations).records())
        size = path.stat().st_size
        began = time.process_time()
        recording = Recording(list(read_recording(path)))
        read_seconds = time.process_time() - began
    kinds = Counter(type(record).__name__ for record in recording.records)
    checked = sum(kinds[kind] for kind in ("Write", "Get", "Listed", "Watched"))
    print(", ".join(f"{count:,} {kind}" for kind, count in kinds.items()))
    seconds: dict[str, float] = {"read": read_seconds}
    violations = 0
    for judge in JUDGES:
        began = time.process_time()
        violations += sum(1 for _ in judge(recording))
        seconds[judge.__name__] = time.process_time() - began
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return [
        Figure("checking: operations in the history", checked, ""),
        Figure("checking: size of the file", size / 1e6, "MB"),
        *(Figure(f"checking: CPU of {name}", spent, "s") for name, spent in seconds.items()),
        Figure(
            "1,000,000 operations of history checked: CPU",
            sum(seconds.values()) / checked * 1e6,
            "s",
            at_most(CPU_SECONDS_MAX),
        ),
        Figure("checking: memory", resident / 2**20, "MiB", at_most(BYTES_MAX / 2**20)),
        Figure("checking: violations found in a sound history", violations, "", at_most(0)),
    ]


def main(operations: int) -> int:
    figures = measure(operations)
    print_figures("checking a recording", figures)
    save_figures("checking", figures)
    return 0 if all(figure.met is not False for figure in figures) else 4


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else OPERATIONS))
