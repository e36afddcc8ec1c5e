"""What a node takes in a scheduler's memory."""

from __future__ import annotations

import gc

import psutil

from .alone import Alone

# Before the first count: the table's arrays, and what is only ever made once, are there.
WARM_NODES = 1000


def bytes_a_node(nodes: int) -> float:
    """With so many nodes, of which nothing is cached but what the scheduler keeps. Call it in a process of its own."""
    alone = Alone()
    alone.add_nodes(WARM_NODES, ("zone1",))
    before = _resident()
    alone.add_nodes(nodes - WARM_NODES, ("zone1",))
    return (_resident() - before) / (nodes - WARM_NODES)


def _resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)
