"""Where the tests are played: over each of the five subjects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ...partitions.contract import subjects
from ...partitions.contract.subjects import Stage
from .partition_subjects import open_partition
from .store_subjects import BACKENDS, open_store

# Which of the contract's subjects it is that reads, writes and watches.
PARTITIONS = {"watch-cache": "core", "client-memory": "memory", "client-grpc": "grpc"}
SUBJECTS = (*BACKENDS, *PARTITIONS)


@contextmanager
def stage(name: str) -> Iterator[Stage]:
    if name in BACKENDS:
        yield Stage(name, partial(open_store, name), real_time=False)
        return
    with subjects.stage(PARTITIONS[name]) as behind:
        yield Stage(name, partial(open_partition, behind.open_subject), real_time=behind.real_time)


over_every_subject = subjects.over(SUBJECTS, stage)
