"""Opens a store in a process that does nothing else, and prints what that took: `_store_open.py DIRECTORY`.

Memory is what the process has of its own (RssAnon): the pages of LMDB's map are the kernel's and are not counted.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time
from pathlib import Path
from random import Random

from ursa.storage import InlineCommitter, LmdbStore


def own_bytes() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon")


def main() -> None:
    before = own_bytes()
    cpu, wall = time.process_time(), time.perf_counter()
    store = LmdbStore.open(sys.argv[1], InlineCommitter(), incarnation_random=Random(1), bytes_max=64 << 30)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    after = own_bytes()
    status = store.status()
    key_bytes = sum(len(record.key) for record in store.range(""))
    store.close()
    figures = {
        "cpu_seconds": cpu,
        "seconds": wall,
        "revisions": status.head,
        "keys": status.keys,
        "index_bytes_per_key": (after - before - key_bytes) / status.keys,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
