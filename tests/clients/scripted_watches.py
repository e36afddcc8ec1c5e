"""A client whose watches say what a test tells them to."""

from __future__ import annotations

import trio
from ursa.clients.client import Watch, WatchSink
from ursa.proto import ursa_pb2 as pb


class ScriptedWatch(Watch):
    def __init__(self, start: pb.WatchStart, sink: WatchSink) -> None:
        self.start = start
        self.sink = sink
        self.bookmark = 0
        self.covered = False
        self.stopped = False

    @property
    def resource_version(self) -> int:
        return self.bookmark

    def stop(self) -> None:
        self.stopped = True


class ScriptedClient:
    partition = "tp-1"

    def __init__(self) -> None:
        self.watches: list[ScriptedWatch] = []
        self.opened_at: list[float] = []

    def watch(self, start: pb.WatchStart, sink: WatchSink) -> Watch:
        watch = ScriptedWatch(start, sink)
        self.watches.append(watch)
        self.opened_at.append(trio.current_time())
        return watch

    @property
    def last(self) -> ScriptedWatch:
        return self.watches[-1]

    def send(
        self,
        *events: int | pb.WatchEvent,
        bookmark: int = 0,
        end: bool = False,
        error: str = "",
        incarnation: str = "one",
    ) -> None:
        """Events, or only their revisions."""
        made = [pb.WatchEvent(resource_version=event) if isinstance(event, int) else event for event in events]
        batch = pb.WatchBatch(events=made, initial_events_end=end)
        if error:
            batch.error.reason = error
        watch = self.last
        watch.sink.on_batch(batch, bookmark, incarnation)
        watch.bookmark = max(watch.bookmark, bookmark)
        if bookmark and not (watch.covered or watch.stopped or error):
            watch.covered = True
            watch.sink.on_covered()

    def asked(self) -> tuple[bool, int, str]:
        start = self.last.start
        return start.initial_events, start.resource_version, start.incarnation
