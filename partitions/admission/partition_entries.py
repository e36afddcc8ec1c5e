"""What may be said of a partition in a registry: nonsense would be believed everywhere, and nowhere taken back."""

from __future__ import annotations

from typing import Any

from .strategy import Strategy
from .validation import Causes

STATES = ("Active", "Draining", "Removed")


class PartitionEntryStrategy(Strategy):
    """Of a TenantPartition or a ResourcePartition. Each field may be missing; see `clients/registry_core.py`."""

    def check_spec(self, spec: Any, causes: Causes) -> None:
        address, state, epoch = spec.get("address", ""), spec.get("state", STATES[0]), spec.get("epoch", 0)
        if not isinstance(address, str) or any(character.isspace() for character in address):
            causes.add("spec.address", f"must be where the partition listens, like 127.0.0.1:7001, not {address!r}")
        if state not in STATES:
            causes.add("spec.state", f"must be one of {', '.join(STATES)}, not {state!r}")
        if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
            causes.add(
                "spec.epoch", f"must be a whole number, one more than that of the entry it takes over: {epoch!r}"
            )
