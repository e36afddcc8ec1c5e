"""What the controllers of StatefulSets and of DaemonSets decide in one step."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...proto import ursa_pb2 as pb

# Pods created or deleted by one plan.
WRITES_MAX = 500


@dataclass(slots=True)
class Plan:
    """`replaced`: the places of pods that have failed and are deleted now; see `failed_pods`."""

    revisions: list[pb.Operation] = field(default_factory=list)
    pods: list[pb.Operation] = field(default_factory=list)
    status: pb.Operation | None = None
    replaced: list[str] = field(default_factory=list)
    # Look again after this long even if nothing happens.
    again_seconds: float | None = None

    @property
    def operations(self) -> list[pb.Operation]:
        own = [] if self.status is None else [self.status]
        return [*self.revisions, *self.pods, *own]

    def look_again(self, milliseconds: int) -> None:
        seconds = milliseconds / 1000
        self.again_seconds = seconds if self.again_seconds is None else min(seconds, self.again_seconds)
