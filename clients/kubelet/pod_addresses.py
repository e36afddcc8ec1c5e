"""The addresses of the pods of one node: unique in the cluster as far as names of nodes go, and never given twice."""

from __future__ import annotations

import zlib


class PodAddresses:
    """IPv6, unique local: the node's name makes the first half."""

    def __init__(self, node: str) -> None:
        checksum = zlib.crc32(node.encode())
        self._prefix = f"fd00:{checksum >> 16:x}:{checksum & 0xFFFF:x}::"
        self._last = 0

    def next(self) -> str:
        self._last += 1
        return f"{self._prefix}{self._last:x}"

    def keep(self, address: str) -> None:
        """An adopted pod keeps its address: later ones count on from it."""
        if address.startswith(self._prefix):
            self._last = max(self._last, int(address.removeprefix(self._prefix), 16))
