"""What a load test sees of its pods, through watches of its own.

Three moments are kept of each pod: its creation (stamped by the server), when a watch first showed it bound, and when
a watch first showed it Running. A load test sees every event of the cluster, three or four a pod, so an event is not
decoded: a status that is Running contains the msgpack of `phase: Running`, a spec that is bound the key `nodeName`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from ...proto import ursa_pb2 as pb
from ...proto.objects import encode
from ..report.observations import Timeline

# A map of one entry, less the byte that says so. A string cannot contain it: its first byte is no UTF-8 there.
RUNNING_STATUS = encode({"phase": "Running"})[1:]
BOUND_SPEC = encode("nodeName")

_DELETED = pb.WatchEvent.DELETED


class PodObserver:
    """Pods of any number of partitions, by uid. `now_ms` is the wall clock in milliseconds.

    `created`, `bound` and `running` count what is there now; `timeline` and `ever` keep the deleted ones too.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.created = self.bound = self.running = 0
        self.gaps = 0
        self._now_ms = now_ms
        self._rows: dict[str, int] = {}
        self._deleted: dict[str, None] = {}
        self._deleted_bound = 0
        self._ended: dict[int, None] = {}
        self._created_ms: list[int] = []
        self._bound_ms: list[int] = []
        self._running_ms: list[int] = []
        self._milestones: dict[trio.Event, int] = {}

    @property
    def waiting(self) -> int:
        """Created, not yet bound."""
        return self.created - self.bound

    @property
    def ever(self) -> tuple[int, int, int]:
        """How many pods have been created, bound and seen Running so far."""
        return len(self._rows), self.bound + self._deleted_bound, self.running + len(self._ended)

    @property
    def timeline(self) -> Timeline:
        return Timeline.of(self._created_ms, self._bound_ms, self._running_ms)

    @property
    def present(self) -> list[str]:
        """The uids of the pods that have been seen and whose deletion has not."""
        return [uid for uid in self._rows if uid not in self._deleted]

    def running_ms(self, uid: str) -> int:
        """When the pod was first seen Running; 0: not yet."""
        row = self._rows.get(uid)
        return 0 if row is None else self._running_ms[row]

    async def wait_running(self, count: int) -> None:
        """Until so many pods run at once."""
        if self.running < count:
            reached = trio.Event()
            self._milestones[reached] = count
            try:
                await reached.wait()
            finally:
                del self._milestones[reached]

    def restart(self) -> None:
        """A watch starts over: deletions may have been missed. What is present comes again and is known already."""
        self.gaps += 1

    def on_events(self, events: Sequence[pb.WatchEvent]) -> None:
        now_ms = self._now_ms()
        rows, bound_ms, running_ms = self._rows, self._bound_ms, self._running_ms
        for event in events:
            message = event.object
            metadata = message.metadata
            uid = metadata.uid
            if event.type == _DELETED:
                self._forget(uid)
                continue
            row = rows.get(uid)
            if row is None:
                row = rows[uid] = self._add(metadata.creation_ms)
            if not bound_ms[row] and BOUND_SPEC in message.spec:
                bound_ms[row] = now_ms
                self.bound += 1
            if RUNNING_STATUS in message.status:
                if not running_ms[row]:
                    running_ms[row] = now_ms
                    self.running += 1
            elif running_ms[row]:
                self._end(row)
        for reached, count in self._milestones.items():
            if self.running >= count:
                reached.set()

    def _add(self, creation_ms: int) -> int:
        self._created_ms.append(creation_ms)
        self._bound_ms.append(0)
        self._running_ms.append(0)
        self.created += 1
        return len(self._created_ms) - 1

    def _end(self, row: int) -> None:
        """It ran, and does no more."""
        if row not in self._ended:
            self._ended[row] = None
            self.running -= 1

    def _forget(self, uid: str) -> None:
        row = self._rows.get(uid)
        if row is None or uid in self._deleted:
            return
        self._deleted[uid] = None
        self.created -= 1
        if self._bound_ms[row]:
            self.bound -= 1
            self._deleted_bound += 1
        if self._running_ms[row]:
            self._end(row)
