"""Clients of partitions: what components import. The parts live in modules of their own."""

from __future__ import annotations

from .client_set import ClientSet, open_clients
from .partition_client import PartitionClient, open_client
from .reads import ObjectList
from .throttling import RateLimit
from .watches import Watch, WatchSink

__all__ = [
    "ClientSet",
    "ObjectList",
    "PartitionClient",
    "RateLimit",
    "Watch",
    "WatchSink",
    "open_client",
    "open_clients",
]
