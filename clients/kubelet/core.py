"""The kubelet of one node, without any input or output: events in, wanted writes and timers out.

It is told what the partitions say of the pods bound to its node, when a timer fires and how a write was
answered, and it leaves in the outbox what is to be done. The shell (`hollow.py`) carries that out.

Tenants' pods are those of the tenant partitions; those of its own resource partition are daemons, and are kept just so.
Everything is kept by (partition, pod uid): two partitions may hold pods of the same tenant, namespace and name, and a
partition may hold, one after the other, pods of the same name. A write goes to the partition its pod belongs to. A pod
that two partitions have, uid and name, is one that moves with its tenant (`source.py`).

Absence is concluded only from a complete view. While a partition's view is being taken, its pods are put aside; when
it is complete, pods that are not in it are asked about, for they may have moved, and new ones are taken on: those that
run already first (an earlier kubelet started them: they are adopted, not restarted), then the others, oldest first. A
pod of a partition that says nothing goes on as it is.

A link that comes back tells of all that was missed, in order. A pod bound then may have been deleted since, and one of
its name may run on another node: nothing is taken on before all has been told.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from ...proto import ursa_pb2 as pb
from ...proto.objects import Object, ObjectKey, decode
from . import statuses
from .options import HollowNodesOptions, draw
from .pod import InstanceChange, Outbox, Pod, Question, Sent, State, Timer
from .pod_addresses import PodAddresses
from .pod_spec import pod_spec
from .readings import internal_ip, order_of_adoption, phase_of, time_or
from .room import Room
from .runs import Run, run_of
from .source import Source, Sources
from .static_pods import StaticPods, is_mirror

# The pause before the containers of a pod that restarts them run again, doubled each time. As Kubernetes.
RESTART_SECONDS_MIN = 10.0
RESTART_SECONDS_MAX = 300.0

# A refused write (not a lost link) is repeated after this, doubled each time: a partition that is overloaded or
# read-only comes back in seconds, and a write that can never succeed costs one operation a minute.
RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 60.0
RETRY_JITTER = 0.5

# Nobody runs what these own on another node.
_NODE_BOUND_OWNERS = ("DaemonSet", "Node")

_RETRY = -1  # The token of timers that repeat a write; all others are positive.


class Kubelet:
    """The pods of one node.

    Args:
        node: its labels and its `status.allocatable` decide what is admitted.
        home: the resource partition of the node; a pod is bound to (node, home).
        partitions: those whose pods it may be told of.
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
        self.room = Room(node)
        self.instances = 0
        self._address = internal_ip(status)
        self._host_ip = statuses.host_ip(self._address)
        self._addresses = PodAddresses(self.name)
        self._last_timer = 0
        self._outbox = outbox
        self._random = random
        self._options = options
        self._sources = Sources((partition, Source()) for partition in partitions)
        self.static = StaticPods(self)

    def pods(self) -> list[Pod]:
        return [*self._sources.pods(), *self.static.pods()]

    # ------------------------------------------------------------------------------- events: what a partition says

    def view_started(self, partition: str) -> None:
        """A full view of the partition follows; one that was under way is forgotten."""
        source = self._sources[partition]
        source.view = {}
        source.behind = False
        if partition == self.home:
            self.static.view_started()

    def view_complete(self, partition: str, now: float) -> None:
        source = self._sources[partition]
        view, source.view = source.view, None
        if view is None:
            return
        source.copies.clear()
        source.waiting.clear()
        if partition == self.home:
            self.static.view_complete(view)
        for pod in list(source.pods.values()):
            if pod.uid in view or self._goes_on_elsewhere(pod, now):
                continue
            if partition == self.home:
                self._forget(pod)  # Daemons are of no tenant that could have moved.
            else:
                self._ask_about(pod, partition)
        for pod in list(source.pods.values()):
            if (message := view.pop(pod.uid, None)) is not None:
                self._look_again(pod, message, now)
        for message in sorted(view.values(), key=order_of_adoption):
            self._take_on(source, partition, message, now)

    def resumed(self, partition: str) -> None:
        """The partition tells of what was missed, until it is `caught_up`."""
        self._sources[partition].behind = True

    def caught_up(self, partition: str, now: float) -> None:
        source = self._sources[partition]
        source.behind = False
        waiting, source.waiting = source.waiting, {}
        for message in sorted(waiting.values(), key=order_of_adoption):
            self._take_on(source, partition, message, now)

    def pod_changed(self, partition: str, message: pb.Object, now: float) -> None:
        """A pod was added or modified. `message` is read, not kept (but while a view is being taken)."""
        source = self._sources[partition]
        uid = message.metadata.uid
        if source.view is not None:
            source.view[uid] = message
            return
        pod = source.pods.get(uid)
        if partition == self.home and is_mirror(message):
            self.static.observe(message)
        elif pod is not None:
            pod.lost = False
            self._observe(pod, message, now)
        elif uid in source.copies:
            source.copies[uid] = message
        elif uid in source.waiting:
            source.waiting[uid] = message
        else:
            self._take_on(source, partition, message, now)

    def pod_deleted(self, partition: str, uid: str, now: float, *, moved_to: str = "") -> None:
        """`moved_to`: the partition to which its tenant has moved, where the pod goes on."""
        source = self._sources[partition]
        if source.view is not None:
            source.view.pop(uid, None)
            return
        source.copies.pop(uid, None)
        source.waiting.pop(uid, None)
        pod = source.pods.get(uid)
        if pod is None:
            if partition == self.home:
                self.static.deleted(uid)
            return
        if self._goes_on_elsewhere(pod, now):
            return
        if moved_to:
            self._ask_about(pod, moved_to)
        else:
            self._forget(pod)

    def pod_found(self, pod: Pod, partition: str, message: pb.Object | None, now: float) -> None:
        """The answer to a question about a pod that was lost: which partition has it, and as what; None: none has."""
        if pod.lost and pod.state is not State.GONE:  # Else it has been seen meanwhile, or its end has.
            self._learn_of(pod, partition, message, now)
        for waiting_at, waiting in self._sources.take_waiting():
            self._take_on(self._sources[waiting_at], waiting_at, waiting, now)

    def _learn_of(self, pod: Pod, partition: str, message: pb.Object | None, now: float) -> None:
        here = message is not None and partition in self._sources and message.metadata.uid == pod.uid
        if message is not None and here and self._is_ours(message):
            if partition != pod.partition:
                self._hand_over(pod, partition)
            self._look_again(pod, message, now)
        else:
            self._forget(pod)

    def partition_added(self, partition: str) -> None:
        """A partition more; or the one of this name is elsewhere now, and its pods go on."""
        self._sources.setdefault(partition, Source())

    def partition_removed(self, partition: str, now: float) -> None:
        """A tenant partition is none any more (it has not merely gone silent): its pods end, and nobody is told."""
        source = self._sources[partition]
        source.copies.clear()
        source.waiting.clear()
        for pod in list(source.pods.values()):
            if not self._goes_on_elsewhere(pod, now):
                self._forget(pod)
        del self._sources[partition]

    def fence(self, partition: str, seconds: float) -> int:
        """Nobody was heard of for so long, and the partition may let others run its pods: stop them at once, all but
        those that can be nowhere else. Returns how many were stopped; they have failed, as will be told."""
        fenced = [pod for pod in self._sources[partition].pods.values() if pod.holds_resources and not pod.node_bound]
        for pod in fenced:
            if pod.state is State.STOPPING:
                self._stopped(pod)
                continue
            self._finish(pod)
            message = f"node {self.name} heard of no partition for {seconds:g} s, and stopped the pod"
            pod.status = statuses.refused("NodeIsolated", message, pod.start_ms)
            self.want(pod)
        return len(fenced)

    def close(self) -> None:
        """The node is switched off: nothing runs, nothing is written any more."""
        self._sources.take_waiting()
        for pod in list(self._sources.pods()):
            self._forget(pod)
        self.static.close()

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
            self._end(pod, now)
        elif pod.state is State.STOPPING:
            self._stopped(pod)

    def write_answered(self, sent: Sent, result: pb.Result, now: float) -> None:
        """The partition's answer to a write. Lost links are the shell's: it sends what is still wanted again."""
        pod = sent.pod
        if pod.state is State.GONE or pod.partition != sent.partition:
            return  # To another partition all that is still wanted is told anew.
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
            self.want(pod)

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

    def _take_on(self, source: Source, partition: str, message: pb.Object, now: float) -> None:
        if not self._is_ours(message):
            return  # Another kubelet's pod: to touch it would be the greater harm.
        metadata = message.metadata
        key = ObjectKey(metadata.tenant, metadata.namespace, metadata.name)
        if self._sources.owner_of(metadata.uid, key) is not None:
            source.copies[metadata.uid] = message  # Its tenant is moving.
            return
        if source.behind:
            source.waiting[metadata.uid] = message
            return
        predecessor = source.names.get(key)
        if predecessor is not None:
            self._forget(source.pods[predecessor])
        pod = Pod(self, partition, key, metadata.uid, pod_spec(message.spec))
        pod.node_bound = any(owner.kind in _NODE_BOUND_OWNERS for owner in metadata.owner_references)
        self.room.read_devices(pod, message)
        if self.room.lack(pod) is not None and any(each.lost for each in self._sources.pods()):
            source.waiting[pod.uid] = message  # What is being asked about may be gone.
            return
        source.add(pod)
        phase = phase_of(message.status)
        if phase in statuses.FINAL_PHASES:
            pod.state = State.FINISHED
            self._accept_status(pod, message)
        elif phase == "Running":
            self._adopt(pod, message, now)
        elif metadata.deletion_ms:
            pod.state = State.FINISHED  # It never ran here.
        else:
            self.admit(pod, message, now)
        if metadata.deletion_ms:
            self._stop(pod, metadata.deletion_grace_seconds, now)

    def admit(self, pod: Pod, message: pb.Object, now: float) -> None:
        pod.observed_seconds = now
        pod.start_ms = round(now * 1000)
        refusal = self.room.refusal(pod)
        if refusal is not None:
            self._refuse(pod, *refusal)
            return
        self.room.hold(pod)
        if pod.spec.runs_to_completion:
            pod.run = run_of(message)
        delay = draw(self._options.start_delay_seconds, self._random)
        if delay > 0:
            self._set_timer(pod, now + delay)
        else:
            self._start(pod, now)

    def _adopt(self, pod: Pod, message: pb.Object, now: float) -> None:
        pod.start_ms = pod.running_ms = round(now * 1000)
        refusal = self.room.lack(pod)
        if refusal is not None:
            self._refuse(pod, *refusal)
            return
        self.room.hold(pod)
        self._accept_status(pod, message)
        self._begin_instance(pod)
        status = decode(message.status)
        pod.ip = str(status.get("podIP") or "")
        self._addresses.keep(pod.ip)
        pod.start_ms = pod.running_ms = time_or(status.get("startTime"), pod.start_ms)
        if pod.spec.runs_to_completion:
            pod.run = run_of(message)
            pod.restarts = statuses.restarts_of(status)
            if pod.run is not None:
                self._set_timer(pod, max(now, pod.running_ms / 1000 + pod.run.seconds))

    def _refuse(self, pod: Pod, reason: str, message: str) -> None:
        self._outbox.rejections[reason] = self._outbox.rejections.get(reason, 0) + 1
        pod.state = State.FINISHED
        pod.status = statuses.refused(reason, message, pod.start_ms)
        self.want(pod)

    def _release(self, pod: Pod) -> None:
        """The pod's resources are free again; call it before the state changes."""
        if pod.holds_resources:
            self.room.release(pod)
        if pod.is_instance:
            self.instances -= 1
            if self._outbox.instances is not None:
                self._outbox.instances.append(InstanceChange(pod, started=False))

    # ------------------------------------------------------------------------------- life

    def _begin_instance(self, pod: Pod) -> None:
        pod.state = State.RUNNING
        self.instances += 1
        if self._outbox.instances is not None:
            self._outbox.instances.append(InstanceChange(pod, started=True))

    def _start(self, pod: Pod, now: float) -> None:
        self._begin_instance(pod)
        pod.ip = self._addresses.next()
        pod.running_ms = round(now * 1000)
        self._show_running(pod)
        if pod.run is not None:
            self._set_timer(pod, now + pod.run.seconds)

    def _show_running(self, pod: Pod) -> None:
        pod.status = statuses.running(
            pod.spec.containers, self._host_ip, pod.ip, pod.start_ms, pod.running_ms, pod.restarts
        )
        self.want(pod)

    def _end(self, pod: Pod, now: float) -> None:
        """Its run time is over."""
        assert pod.run is not None
        if pod.run.exit_code and pod.spec.restarts_on_failure:
            self._restart(pod, pod.run, now)
            return
        self._finish(pod)
        pod.status = statuses.ended(
            pod.spec.containers,
            self._address,
            pod.ip,
            (pod.start_ms, pod.running_ms, round(now * 1000)),
            pod.run.exit_code,
            pod.restarts,
        )
        self.want(pod)

    def _restart(self, pod: Pod, run: Run, now: float) -> None:
        """It is the same instance, and does not show that its containers wait at first."""
        pause = min(RESTART_SECONDS_MIN * 2.0 ** min(pod.restarts, 10), RESTART_SECONDS_MAX)
        pod.restarts += 1
        pod.running_ms = round((now + pause) * 1000)
        self._show_running(pod)
        self._set_timer(pod, now + pause + run.seconds)

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
        self.want(pod)

    def _forget(self, pod: Pod) -> None:
        """The partition says that the pod is no more: whatever of it runs is killed at once."""
        self.kill(pod)
        self._sources[pod.partition].discard(pod)

    def kill(self, pod: Pod) -> None:
        """It is no more, and nothing is told of it."""
        self._release(pod)
        pod.state = State.GONE
        pod.pending = False
        pod.timer = 0

    def _ask_about(self, pod: Pod, partition: str) -> None:
        """Its partition does not have it any more, and did not say that it is gone. It runs on until this one, or the
        one to which its tenant has moved from there, says what has become of it."""
        pod.lost = True
        self._outbox.questions.append(Question(pod, partition))

    def _goes_on_elsewhere(self, pod: Pod, now: float) -> bool:
        for partition, message in self._sources.copies_of(pod.uid):
            self._hand_over(pod, partition)
            self._look_again(pod, message, now)
            return True
        return False

    def _hand_over(self, pod: Pod, partition: str) -> None:
        self._outbox.writes[pod.partition].pop(pod, None)
        self._sources.hand_over(pod, partition)
        self._outbox.handed_over[partition] = None
        if pod.is_instance and self._outbox.instances is not None:
            self._outbox.instances.append(InstanceChange(pod, started=True))  # Adopted, from another partition.
        if pod.pending:
            self.want(pod)

    def _is_ours(self, message: pb.Object) -> bool:
        spec = pod_spec(message.spec)
        return spec.node == self.name and spec.resource_partition == self.home

    # ------------------------------------------------------------------------------- observing

    def _observe(self, pod: Pod, message: pb.Object, now: float) -> None:
        metadata = message.metadata
        self.room.read_devices(pod, message)
        if metadata.deletion_ms:
            self._stop(pod, metadata.deletion_grace_seconds, now)
        elif message.status != pod.status:
            self._observe_status(pod, message)

    def _observe_status(self, pod: Pod, message: pb.Object) -> None:
        """A status that is not what we want the API to show: another's, or an older one of ours."""
        revision = message.metadata.resource_version
        if revision <= pod.acknowledged_revision or pod.state in (State.STOPPING, State.STOPPED):
            return
        if phase_of(message.status) in statuses.FINAL_PHASES and pod.state is not State.FINISHED:
            self._finish(pod)  # Final is final, whoever said so.
            pod.version += 1
            pod.pending = False
            self._accept_status(pod, message)
        elif pod.pending:
            pod.foreign_revision = revision
        elif pod.state is not State.STARTING:
            self.want(pod)

    def _look_again(self, pod: Pod, message: pb.Object, now: float) -> None:
        """A pod we knew is in a new view. Its partition may have lost our last writes (another incarnation)."""
        pod.lost = False
        pod.acknowledged_revision = pod.foreign_revision = 0
        self._observe(pod, message, now)
        if pod.state is State.STOPPED and not pod.pending:
            self.want(pod)

    def _accept_status(self, pod: Pod, message: pb.Object) -> None:
        pod.status = message.status
        pod.acknowledged_revision = message.metadata.resource_version

    # ------------------------------------------------------------------------------- outbox

    def want(self, pod: Pod) -> None:
        pod.version += 1
        pod.pending = True
        self._outbox.writes[pod.partition][pod] = None

    def _set_timer(self, pod: Pod, when: float) -> None:
        self._last_timer += 1
        pod.timer = self._last_timer
        self._outbox.timers.append(Timer(when, pod, pod.timer))
