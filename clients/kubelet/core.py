"""The kubelet of one node, without any input or output: events in, wanted writes and timers out.

It is told what its tenant partitions say of the pods bound to its node, when a timer fires and how a write was
answered, and it leaves in the outbox what is to be done. The shell (`hollow.py`) carries that out.

Everything is kept by (tenant partition, pod uid): two partitions may hold pods of the same tenant, namespace and name,
and a partition may hold, one after the other, pods of the same name. A write goes to the partition its pod came from.

Absence is concluded only from a complete view. While a partition's view is being taken, its pods are put aside; when
it is complete, pods that are not in it are gone, and new ones are taken on: those that run already first (an earlier
kubelet started them: they are adopted, not restarted), then the others, oldest first. A pod of a partition that says
nothing goes on as it is.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.objects import Object, ObjectKey, decode, parse_time
from ...proto.quantities import resource_list
from . import statuses
from .options import HollowNodesOptions, draw
from .pod import Outbox, Pod, Sent, State, Timer
from .pod_spec import pod_spec

RUN_SECONDS_ANNOTATION = "ursa.dev/run-seconds"

# A refused write (not a lost link) is repeated after this, doubled each time: a partition that is overloaded or
# read-only comes back in seconds, and a write that can never succeed costs one operation a minute.
RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 60.0
RETRY_JITTER = 0.5

_RETRY = -1  # The token of timers that repeat a write; all others are positive.


class _Source:
    """The pods of one tenant partition on this node."""

    __slots__ = ("names", "pods", "view")

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}  # by uid
        self.names: dict[ObjectKey, str] = {}  # the uid that bears a name now
        self.view: dict[str, pb.Object] | None = None  # by uid, while a view is being taken


class Kubelet:
    """The pods of one node.

    Args:
        node: its labels and its `status.allocatable` decide what is admitted.
        home: the resource partition of the node; a pod is bound to (node, home).
        partitions: the tenant partitions whose pods it may be told of.
    """

    def __init__(
        self,
        node: Object,
        home: str,
        partitions: Iterable[str],
        outbox: Outbox,
        random: Random,
        options: HollowNodesOptions,
    ) -> None:
        status = node.status
        self.name = node.name
        self.home = home
        self.allocatable = resource_list(status.get("allocatable") or status.get("capacity"))
        self.used: dict[str, int] = dict.fromkeys(self.allocatable, 0)
        self.instances = 0
        self._labels = dict(node.labels)
        self._address = _internal_ip(status)
        self._host_ip = statuses.host_ip(self._address)
        checksum = zlib.crc32(self.name.encode())
        self._ip_prefix = f"fd00:{checksum >> 16:x}:{checksum & 0xFFFF:x}::"
        self._last_ip = 0
        self._last_timer = 0
        self._outbox = outbox
        self._random = random
        self._options = options
        self._sources = {partition: _Source() for partition in partitions}

    def pods(self) -> list[Pod]:
        return [pod for source in self._sources.values() for pod in source.pods.values()]

    # ------------------------------------------------------------------------------- events: what a partition says

    def view_started(self, partition: str) -> None:
        """A full view of the partition follows; one that was under way is forgotten."""
        self._sources[partition].view = {}

    def view_complete(self, partition: str, now: float) -> None:
        source = self._sources[partition]
        view, source.view = source.view, None
        if view is None:
            return
        for pod in list(source.pods.values()):
            if pod.uid not in view:
                self._forget(source, pod)
        for pod in source.pods.values():
            self._look_again(pod, view.pop(pod.uid), now)
        for message in sorted(view.values(), key=_order_of_adoption):
            self._take_on(source, partition, message, now)

    def pod_changed(self, partition: str, message: pb.Object, now: float) -> None:
        """A pod was added or modified. `message` is read, not kept (but while a view is being taken)."""
        source = self._sources[partition]
        uid = message.metadata.uid
        if source.view is not None:
            source.view[uid] = message
            return
        pod = source.pods.get(uid)
        if pod is None:
            self._take_on(source, partition, message, now)
        else:
            self._observe(pod, message, now)

    def pod_deleted(self, partition: str, uid: str) -> None:
        source = self._sources[partition]
        if source.view is not None:
            source.view.pop(uid, None)
            return
        pod = source.pods.get(uid)
        if pod is not None:
            self._forget(source, pod)

    def close(self) -> None:
        """The node is switched off: nothing runs, nothing is written any more."""
        for source in self._sources.values():
            for pod in list(source.pods.values()):
                self._forget(source, pod)

    # ------------------------------------------------------------------------------- events: timers and answers

    def timer_fired(self, timer: Timer, now: float) -> None:
        pod = timer.pod
        if timer.token == _RETRY:
            if pod.pending:
                self._outbox.writes[pod.partition][pod] = None
        elif timer.token != pod.timer:
            pass  # The pod has moved on since it was set.
        elif pod.state is State.STARTING:
            self._start(pod, now)
        elif pod.state is State.RUNNING:
            self._succeed(pod, now)
        elif pod.state is State.STOPPING:
            self._stopped(pod)

    def write_answered(self, sent: Sent, result: pb.Result, now: float) -> None:
        """The partition's answer to a write. Lost links are the shell's: it sends what is still wanted again."""
        pod = sent.pod
        if pod.state is State.GONE:
            return
        if result.HasField("error"):
            self._write_refused(sent, result.error, now)
            return
        if sent.operation.HasField("update"):
            pod.acknowledged_revision = max(pod.acknowledged_revision, result.resource_version)
        outdated = sent.version != pod.version
        if not outdated:
            pod.pending = False
            pod.failures = 0
        if pod.pending:
            return
        if pod.state is State.RUNNING and pod.observed_seconds is not None:
            self._outbox.start_seconds.append(now - pod.observed_seconds)
            pod.observed_seconds = None
        shows_another = outdated or pod.foreign_revision > pod.acknowledged_revision
        if shows_another and pod.state in (State.RUNNING, State.FINISHED):
            self._want(pod)

    def _write_refused(self, sent: Sent, error: pb.Status, now: float) -> None:
        pod = sent.pod
        if sent.version != pod.version or not pod.pending:
            return
        if error.reason in ("NotFound", "Conflict"):
            # The pod is gone, or its name belongs to another by now: its partition's watch tells.
            pod.pending = False
            return
        wait = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2**pod.failures)
        wait = max(wait, error.retry_after_ms / 1000) * (1 + self._random.random() * RETRY_JITTER)
        pod.failures += 1
        self._outbox.timers.append(Timer(now + wait, pod, _RETRY))

    # ------------------------------------------------------------------------------- taking on

    def _take_on(self, source: _Source, partition: str, message: pb.Object, now: float) -> None:
        spec = pod_spec(message.spec)
        if spec.node != self.name or spec.resource_partition != self.home:
            return  # Another kubelet's pod: to touch it would be the greater harm.
        metadata = message.metadata
        key = ObjectKey(metadata.tenant, metadata.namespace, metadata.name)
        predecessor = source.names.get(key)
        if predecessor is not None:
            self._forget(source, source.pods[predecessor])
        pod = Pod(self, partition, key, metadata.uid, spec)
        source.pods[pod.uid] = pod
        source.names[key] = pod.uid
        phase = _phase(message.status)
        if phase in statuses.FINAL_PHASES:
            pod.state = State.FINISHED
            self._accept_status(pod, message)
        elif phase == "Running":
            self._adopt(pod, message, now)
        elif metadata.deletion_ms:
            pod.state = State.FINISHED  # It never ran here.
        else:
            self._admit(pod, message, now)
        if metadata.deletion_ms:
            self._stop(pod, metadata.deletion_grace_seconds, now)

    def _admit(self, pod: Pod, message: pb.Object, now: float) -> None:
        pod.observed_seconds = now
        pod.start_ms = round(now * 1000)
        refusal = self._refusal(pod)
        if refusal is not None:
            self._refuse(pod, *refusal)
            return
        self._reserve(pod)
        if pod.spec.runs_to_completion:
            pod.run_seconds = _run_seconds(message)
        delay = draw(self._options.start_delay_seconds, self._random)
        if delay > 0:
            self._set_timer(pod, now + delay)
        else:
            self._start(pod, now)

    def _adopt(self, pod: Pod, message: pb.Object, now: float) -> None:
        pod.start_ms = pod.running_ms = round(now * 1000)
        refusal = self._lack_of_room(pod)
        if refusal is not None:
            self._refuse(pod, *refusal)
            return
        self._reserve(pod)
        self._accept_status(pod, message)
        pod.state = State.RUNNING
        self.instances += 1
        status = decode(message.status)
        pod.ip = str(status.get("podIP") or "")
        self._keep_ip(pod.ip)
        pod.start_ms = pod.running_ms = _time_or(status.get("startTime"), pod.start_ms)
        if pod.spec.runs_to_completion:
            pod.run_seconds = _run_seconds(message)
            if pod.run_seconds is not None:
                self._set_timer(pod, max(now, pod.running_ms / 1000 + pod.run_seconds))

    # ------------------------------------------------------------------------------- admission

    def _refusal(self, pod: Pod) -> tuple[str, str] | None:
        """Reason and message, in Kubernetes' words; None: admitted."""
        if pod.spec.error:
            return "UnexpectedAdmissionError", f"the pod's requests cannot be read: {pod.spec.error}"
        labels = self._labels
        for name, value in pod.spec.node_selector.items():
            if labels.get(name) != value:
                return "NodeAffinity", f"node {self.name} does not match the pod's node selector {name}={value}"
        return self._lack_of_room(pod)

    def _lack_of_room(self, pod: Pod) -> tuple[str, str] | None:
        used, allocatable = self.used, self.allocatable
        for name, units in pod.spec.requests.items():
            if units and used.get(name, 0) + units > allocatable.get(name, 0):
                return f"OutOf{name}", (
                    f"node {self.name} has not enough {name}, requested: {units}, used: {used.get(name, 0)},"
                    f" capacity: {allocatable.get(name, 0)}"
                )
        return None

    def _refuse(self, pod: Pod, reason: str, message: str) -> None:
        self._outbox.rejections[reason] = self._outbox.rejections.get(reason, 0) + 1
        pod.state = State.FINISHED
        pod.status = statuses.refused(reason, message, pod.start_ms)
        self._want(pod)

    def _reserve(self, pod: Pod) -> None:
        used = self.used
        for name, units in pod.spec.requests.items():
            used[name] = used.get(name, 0) + units

    def _release(self, pod: Pod) -> None:
        """The pod's resources are free again; call it before the state changes."""
        if pod.holds_resources:
            used = self.used
            for name, units in pod.spec.requests.items():
                used[name] -= units
        if pod.is_instance:
            self.instances -= 1

    # ------------------------------------------------------------------------------- life

    def _start(self, pod: Pod, now: float) -> None:
        pod.state = State.RUNNING
        self.instances += 1
        self._last_ip += 1
        pod.ip = f"{self._ip_prefix}{self._last_ip:x}"
        pod.running_ms = round(now * 1000)
        pod.status = statuses.running(pod.spec.containers, self._host_ip, pod.ip, pod.start_ms, pod.running_ms)
        self._want(pod)
        if pod.run_seconds is not None:
            self._set_timer(pod, now + pod.run_seconds)

    def _succeed(self, pod: Pod, now: float) -> None:
        self._finish(pod)
        pod.status = statuses.succeeded(
            pod.spec.containers, self._address, pod.ip, pod.start_ms, pod.running_ms, round(now * 1000)
        )
        self._want(pod)

    def _finish(self, pod: Pod) -> None:
        self._release(pod)
        pod.state = State.FINISHED
        pod.timer = 0

    def _stop(self, pod: Pod, grace_seconds: int, now: float) -> None:
        """Deletion was asked for: stop what runs, then delete the pod for good."""
        if pod.state is State.RUNNING:
            delay = min(draw(self._options.stop_delay_seconds, self._random), grace_seconds)
            if delay > 0:
                pod.state = State.STOPPING
                pod.pending = False
                self._set_timer(pod, now + delay)
                return
        if pod.state is not State.STOPPED and (pod.state is not State.STOPPING or not grace_seconds):
            self._stopped(pod)

    def _stopped(self, pod: Pod) -> None:
        self._release(pod)
        pod.state = State.STOPPED
        pod.timer = 0
        self._want(pod)

    def _forget(self, source: _Source, pod: Pod) -> None:
        """The partition says that the pod is no more: whatever of it runs is killed at once."""
        self._release(pod)
        pod.state = State.GONE
        pod.pending = False
        pod.timer = 0
        del source.pods[pod.uid]
        if source.names.get(pod.key) == pod.uid:
            del source.names[pod.key]

    # ------------------------------------------------------------------------------- observing

    def _observe(self, pod: Pod, message: pb.Object, now: float) -> None:
        metadata = message.metadata
        if metadata.deletion_ms:
            self._stop(pod, metadata.deletion_grace_seconds, now)
        elif message.status != pod.status:
            self._observe_status(pod, message)

    def _observe_status(self, pod: Pod, message: pb.Object) -> None:
        """A status that is not what we want the API to show: another's, or an older one of ours."""
        revision = message.metadata.resource_version
        if revision <= pod.acknowledged_revision or pod.state in (State.STOPPING, State.STOPPED):
            return
        if _phase(message.status) in statuses.FINAL_PHASES and pod.state is not State.FINISHED:
            self._finish(pod)  # Final is final, whoever said so.
            pod.version += 1
            pod.pending = False
            self._accept_status(pod, message)
        elif pod.pending:
            pod.foreign_revision = revision
        elif pod.state is not State.STARTING:
            self._want(pod)

    def _look_again(self, pod: Pod, message: pb.Object, now: float) -> None:
        """A pod we knew is in a new view. Its partition may have lost our last writes (another incarnation)."""
        pod.acknowledged_revision = pod.foreign_revision = 0
        self._observe(pod, message, now)
        if pod.state is State.STOPPED and not pod.pending:
            self._want(pod)

    def _accept_status(self, pod: Pod, message: pb.Object) -> None:
        pod.status = message.status
        pod.acknowledged_revision = message.metadata.resource_version

    # ------------------------------------------------------------------------------- outbox

    def _want(self, pod: Pod) -> None:
        pod.version += 1
        pod.pending = True
        self._outbox.writes[pod.partition][pod] = None

    def _set_timer(self, pod: Pod, when: float) -> None:
        self._last_timer += 1
        pod.timer = self._last_timer
        self._outbox.timers.append(Timer(when, pod, pod.timer))

    def _keep_ip(self, address: str) -> None:
        """An adopted pod keeps its address: later ones count on from it."""
        if address.startswith(self._ip_prefix):
            self._last_ip = max(self._last_ip, int(address.removeprefix(self._ip_prefix), 16))


def _phase(status: bytes) -> str:
    if status == statuses.PENDING or not status:
        return "Pending"
    return str(decode(status).get("phase") or "Pending")


def _order_of_adoption(message: pb.Object) -> tuple[bool, int]:
    return _phase(message.status) == "Pending", message.metadata.creation_ms


def _run_seconds(message: pb.Object) -> float | None:
    """The hollow pod's run time. One that is no number counts as none: the pod runs on."""
    text = message.metadata.annotations.get(RUN_SECONDS_ANNOTATION)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _time_or(text: Any, default_ms: int) -> int:
    try:
        return parse_time(str(text))
    except ValueError:
        return default_ms


def _internal_ip(status: Mapping[str, Any]) -> str:
    for address in status.get("addresses") or ():
        if address.get("type") == "InternalIP":
            return str(address.get("address") or "")
    return ""
