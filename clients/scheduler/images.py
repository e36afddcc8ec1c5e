"""Which nodes have which container images, and how large they are there."""

from __future__ import annotations

from collections.abc import Mapping


class ImageIndex:
    def __init__(self) -> None:
        self._sizes: dict[str, dict[int, int]] = {}

    def add(self, slot: int, images: Mapping[str, int]) -> None:
        for name, size in images.items():
            self._sizes.setdefault(name, {})[slot] = size

    def remove(self, slot: int, images: Mapping[str, int]) -> None:
        for name in images:
            nodes = self._sizes[name]
            del nodes[slot]
            if not nodes:
                del self._sizes[name]

    def sizes(self, name: str) -> Mapping[int, int]:
        """Bytes, by the slot of each node that has the image."""
        return self._sizes.get(name, {})
