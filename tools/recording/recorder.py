"""Records a run: hand it every link, every store, and what else there is to say.

recorder = Recorder()
client = recorder.life_of("scheduler-tp-1")             # scheduler-tp-1#1, and #2 once it was restarted
transport = recorder.wrap(transport, client)
...
recorder.finish(healed=True)
write_recording(path, recorder.records)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from ...clients.transport.interface import Transport
from ...proto import ursa_pb2 as pb
from ...proto.objects import ObjectKey
from .notes import Notes
from .objects import Texts, crc_of, store_of
from .records import Finished, Happened, Instance, Item, Opened, Record, View
from .transcript import Transcript
from .transport import RecordingTransport

if TYPE_CHECKING:
    from ...clients.informer import Informer

PODS = "pods"


class Recorder:
    """See the module.

    Args:
        now: the one clock of the recording.
    """

    def __init__(self, now: Callable[[], float] = trio.current_time) -> None:
        self.notes = Notes(now)
        self._transcript = Transcript()
        self._texts = Texts()
        self._records: list[Record] = []
        self._lives: dict[str, int] = {}

    # ----------------------------------------------------------------------------------------------- what is recorded

    def life_of(self, name: str) -> str:
        """The name of a client's next life: it has just been started, and remembers nothing."""
        self._lives[name] = self._lives.get(name, 0) + 1
        return f"{name}#{self._lives[name]}"

    def wrap(self, transport: Transport, client: str) -> RecordingTransport:
        """The transport to give to a client in the place of this one. `client`: what `life_of` has said."""
        return RecordingTransport(transport, client, self.notes)

    def note(self, record: Record) -> None:
        """Whatever somebody else has to say. Its time is `notes.now()`."""
        self.notes.taken.append(record)

    def opened(self, partition: str, store: str, incarnation: str, head: int) -> None:
        self.note(Opened(partition, store, incarnation, head, self.notes.now()))

    def happened(self, what: str, partition: str = "", key: str = "") -> None:
        self.note(Happened(self.notes.now(), what, partition, key))

    def instances(self, host: str) -> InstanceLog:
        """For the kubelets of one process, in one life of it (`life_of`)."""
        return InstanceLog(self, host)

    def view(self, client: str, informer: Informer) -> None:
        """What an informer holds now. One that needs a view, or is taking one, says nothing."""
        if not informer.history:
            return
        selection = self._texts.selection(informer.selection)
        items = (self._item(selection.resource, each.message) for each in informer.objects.values())
        view = View(
            client,
            informer.partition,
            self.notes.now(),
            selection,
            store_of(selection.resource),
            informer.incarnation,
            informer.resource_version,
            tuple(sorted(items)),
        )
        self.note(view)

    def finish(self, *, healed: bool = False, note: str = "") -> None:
        """The run is over. `healed`: see `Finished`. Records of logs may still follow."""
        self._transcribe()
        self._records.extend(self._transcript.close())
        self.note(Finished(self.notes.now(), healed, note))

    # -------------------------------------------------------------------------------------------------- what comes out

    @property
    def records(self) -> list[Record]:
        """All so far. May be asked for while the run goes on, which lets the messages noted so far go."""
        self._transcribe()
        return self._records

    def _transcribe(self) -> None:
        self._records.extend(self._transcript.read(self.notes.take()))

    def _item(self, resource: str, message: pb.Object) -> Item:
        metadata = message.metadata
        key = self._texts.key(resource, metadata.tenant, metadata.namespace, metadata.name)
        return key, metadata.resource_version, crc_of(message)


class InstanceLog:
    """Told by kubelets which instances they start and stop: an `InstanceObserver`."""

    def __init__(self, recorder: Recorder, host: str) -> None:
        self._recorder = recorder
        self._host = host
        self._running: dict[str, Instance] = {}  # By the pod's uid: its partition changes when its tenant moves.

    def __call__(
        self, node_partition: str, node: str, pod_partition: str, key: ObjectKey, uid: str, *, started: bool
    ) -> None:
        name = f"/registry/{PODS}/{key.tenant}/{key.namespace}/{key.name}"
        time = self._recorder.notes.now()
        instance = Instance(self._host, time, node_partition, node, pod_partition, uid, name, started)
        if started:
            self._running[uid] = instance
        else:
            self._running.pop(uid, None)
        self._recorder.note(instance)

    @property
    def running(self) -> list[tuple[str, str]]:
        """The partition and the uid of each pod that runs now."""
        return [(instance.pod_partition, uid) for uid, instance in self._running.items()]

    def died(self) -> None:
        """The process is gone, and its hollow containers with it."""
        for instance in self._running.values():
            self._recorder.note(instance._replace(time=self._recorder.notes.now(), started=False))
        self._running.clear()
