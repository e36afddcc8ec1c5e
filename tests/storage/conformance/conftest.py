"""The process behind gRPC is the one that the contract's own tests use."""

from __future__ import annotations

from ...partitions.contract.conftest import process_ends_with_the_run

__all__ = ["process_ends_with_the_run"]
