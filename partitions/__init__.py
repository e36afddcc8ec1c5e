"""The apiserver of a partition: registry, watch cache, admission, front ends."""

from __future__ import annotations

from .apiserver import ApiServer

__all__ = ["ApiServer"]
