"""The promises of a kubelet under any interleaving of what partitions say, timers, answers, losses and restarts.

Two partitions hold the truth: pods that change, and a log of changes that the kubelet is told in order but late. Every
write the kubelet wants is carried out, refused or lost at some later time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.kubelet import HollowNodesOptions
from ursa.clients.kubelet.pod import Pod, Sent, State
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import decode, encode

from .core_bench import PARTITIONS, Bench, pod_message

NAMES = ("a", "b", "c")
CPUS = ("100m", "400m", "700m")
DELAYS = HollowNodesOptions(start_delay_seconds=(0.0, 2.0), stop_delay_seconds=(0.0, 2.0))


class Partition:
    """What one tenant partition says. Two of them hold pods of the same names."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.revision = 0
        self.pods: dict[str, pb.Object] = {}  # by name
        self.untold: deque[tuple[str, Any]] = deque()
        self.unanswered: deque[tuple[Sent, pb.Result]] = deque()
        self.uids: dict[str, None] = {}  # ever given

    def create(self, name: str, cpu: str, run_seconds: int | None) -> None:
        if name in self.pods:
            return
        uid = f"{self.name}-{name}-{self.revision}"
        self.uids[uid] = None
        job: dict[str, Any] = {}
        if run_seconds is not None:
            job = {"restartPolicy": "Never", "annotations": {"ursa.dev/run-seconds": str(run_seconds)}}
        self.pods[name] = pod_message(name, uid, cpu=cpu, created_ms=self.revision, **job)
        self._changed(name)

    def delete(self, name: str) -> None:
        pod = self.pods.get(name)
        if pod is not None and decode(pod.status)["phase"] in ("Succeeded", "Failed"):
            self._vanish(name)
        elif pod is not None and not pod.metadata.deletion_ms:
            pod.metadata.deletion_ms = 1
            pod.metadata.deletion_grace_seconds = 30
            self._changed(name)

    def force_delete(self, name: str) -> None:
        if name in self.pods:
            self._vanish(name)

    def write_status(self, name: str, phase: str) -> None:
        pod = self.pods.get(name)
        if pod is not None and decode(pod.status)["phase"] not in ("Succeeded", "Failed"):
            pod.status = encode({"phase": phase, "message": f"somebody was here at {self.revision}"})
            self._changed(name)

    def apply(self, operation: pb.Operation) -> pb.Result:
        """Carry out a write of the kubelet. It only ever writes about pods of this partition."""
        if operation.HasField("delete"):
            name, uid = operation.delete.target.name, operation.delete.preconditions.uid
        else:
            name, uid = operation.update.object.metadata.name, operation.update.object.metadata.uid
        assert uid in self.uids, "a write went to the wrong partition"
        pod = self.pods.get(name)
        result = pb.Result()
        if pod is None:
            result.error.reason = "NotFound"
        elif pod.metadata.uid != uid:
            result.error.reason = "Conflict"
        elif operation.HasField("delete"):
            assert pod.metadata.deletion_ms, "a pod was deleted that nobody had asked to delete"
            self._vanish(name)
            result.resource_version = self.revision
        else:
            if pod.status != operation.update.object.status:
                pod.status = operation.update.object.status
                self._changed(name)
            result.resource_version = pod.metadata.resource_version
        return result

    def tell_a_view(self) -> None:
        """The link was lost and too much has happened since: all that is there now."""
        self.untold.clear()
        self.untold.append(("view started", None))
        self.untold.extend(("changed", pod.SerializeToString()) for pod in self.pods.values())
        self.untold.append(("view complete", None))

    def tell_what_was_missed(self) -> bool:
        """The link was lost, and is back: all that has not been told yet was missed, unless a view must come first."""
        if any(what not in ("changed", "deleted") for what, _ in self.untold):
            return False
        self.untold.appendleft(("resumed", None))
        self.untold.append(("caught up", None))
        return True

    def by_uid(self, uid: str) -> pb.Object | None:
        return next((pod for pod in self.pods.values() if pod.metadata.uid == uid), None)

    def _changed(self, name: str) -> None:
        self.revision += 1
        self.pods[name].metadata.resource_version = self.revision
        self.untold.append(("changed", self.pods[name].SerializeToString()))

    def _vanish(self, name: str) -> None:
        self.revision += 1
        self.untold.append(("deleted", self.pods.pop(name).metadata.uid))


class World:
    """The node, its partitions, and what may happen. Every step ends with a look at the promises."""

    def __init__(self) -> None:
        self.bench = Bench(DELAYS, synced=False)
        self.partitions = {name: Partition(name) for name in PARTITIONS}
        self.ended: dict[tuple[str, str], None] = {}  # instances of this kubelet that run no more
        self.missed: dict[tuple[str, str], None] = {}  # pods that came and went while there was no link
        for partition in self.partitions.values():
            partition.tell_a_view()
            self.tell(partition, 2)

    def tell(self, partition: Partition, count: int) -> None:
        bench = self.bench
        for _ in range(min(count, len(partition.untold))):
            what, data = partition.untold.popleft()
            if what == "changed":
                bench.changed(partition.name, pb.Object.FromString(data))
            elif what == "deleted":
                bench.deleted(partition.name, data)
            elif what == "view started":
                bench.kubelet.view_started(partition.name)
            elif what == "resumed":
                bench.kubelet.resumed(partition.name)
            elif what == "caught up":
                bench.kubelet.caught_up(partition.name, bench.now)
            else:
                bench.kubelet.view_complete(partition.name, bench.now)
            self.check()

    def lose_link(self, partition: Partition) -> None:
        if partition.tell_what_was_missed():
            present = [pod.metadata.uid for pod in partition.pods.values()]
            gone = [(partition.name, uid) for uid in partition.uids if uid not in present]
            known = self.bench.pods()
            self.missed.update((identity, None) for identity in gone if identity not in known)

    def write(self, partition: Partition, fate: str) -> None:
        """The next batch goes out, unless the one before is not answered yet."""
        if partition.unanswered:
            return
        batch = self.bench.outbox.take(partition.name, 3)
        if fate == "refused":
            refusal = pb.Result()
            refusal.error.reason = "TooManyRequests"
            partition.unanswered.extend((sent, refusal) for sent in batch)
            return
        if fate != "never sent":
            results = [partition.apply(sent.operation) for sent in batch]
        if fate == "answered":
            partition.unanswered.extend(zip(batch, results, strict=True))
        else:
            self.bench.outbox.put_back(batch)

    def answer(self, partition: Partition) -> None:
        while partition.unanswered:
            sent, result = partition.unanswered.popleft()
            sent.pod.kubelet.write_answered(sent, result, self.bench.now)
            self.check()
        questions, self.bench.outbox.questions = self.bench.outbox.questions, []
        for question in questions:
            found = self.partitions[question.partition].by_uid(question.pod.uid)
            self.bench.kubelet.pod_found(question.pod, question.partition, found, self.bench.now)
            self.check()

    def pass_time(self, seconds: float) -> None:
        self.bench.pass_time(seconds)
        self.check()

    def restart(self) -> None:
        """The kubelet is killed and another takes its place; what was on its way is lost."""
        now = self.bench.now
        self.bench = Bench(DELAYS, synced=False)
        self.bench.now = now
        self.ended.clear()
        for partition in self.partitions.values():
            partition.unanswered.clear()
            partition.tell_a_view()

    def settle(self) -> None:
        """Nothing fails any more: within bounds, nothing is left to do."""
        for _ in range(100):
            for partition in self.partitions.values():
                self.tell(partition, len(partition.untold))
                self.write(partition, "answered")
                self.answer(partition)
            self.pass_time(5.0)
            outbox = self.bench.outbox
            if not outbox.timers and not any(
                each.untold or outbox.writes[each.name] for each in self.partitions.values()
            ):
                return
        raise AssertionError("it does not come to rest")

    # ------------------------------------------------------------------------------------------------ promises

    def check(self) -> None:
        kubelet = self.bench.kubelet
        pods = kubelet.pods()
        holders = [pod for pod in pods if pod.holds_resources]
        for resource, allocatable in kubelet.room.allocatable.items():
            used = sum(pod.spec.requests.get(resource, 0) for pod in holders)
            assert kubelet.room.used[resource] == used <= allocatable
        instances = [pod for pod in pods if pod.is_instance]
        assert kubelet.instances == len(instances)
        names = [(pod.partition, pod.key) for pod in instances]
        assert len(names) == len(dict.fromkeys(names)), "two instances of one pod"
        self._check_lives(pods)

    def _check_lives(self, pods: list[Pod]) -> None:
        """What has stopped does not run again."""
        for pod in pods:
            identity = (pod.partition, pod.uid)
            if pod.is_instance:
                assert identity not in self.ended, "a pod came back to life"
                assert identity not in self.missed, "a pod was started that was gone before the link came back"
            elif pod.state in (State.FINISHED, State.STOPPED):
                self.ended[identity] = None

    def check_settled(self) -> None:
        running = 0
        pods = self.bench.pods()
        for partition in self.partitions.values():
            assert not self.bench.outbox.writes[partition.name]
            for pod in partition.pods.values():
                assert not pod.metadata.deletion_ms, "a deleted pod is still there"
                phase = decode(pod.status)["phase"]
                assert phase in ("Running", "Succeeded", "Failed")
                running += phase == "Running"
                assert pod.status == pods[partition.name, pod.metadata.uid].status, "the API shows something else"
        assert self.bench.kubelet.instances == running
        known = [(pod.partition, pod.uid) for pod in self.bench.kubelet.pods()]
        there = [(name, pod.metadata.uid) for name, each in self.partitions.items() for pod in each.pods.values()]
        assert sorted(known) == sorted(there)


@st.composite
def steps(draw: st.DrawFn) -> tuple[Callable[[World], None], str]:
    """One thing that happens, and how it reads in a failing example."""
    where = draw(st.sampled_from(PARTITIONS))
    name = draw(st.sampled_from(NAMES))

    def at(act: Callable[[Partition], None]) -> Callable[[World], None]:
        return lambda world: act(world.partitions[where])

    kind = draw(
        st.sampled_from(
            ["create"] * 5
            + ["delete"] * 2
            + ["force delete", "foreign status", "view", "lost link", "restart"]
            + ["tell"] * 6
            + ["write"] * 6
            + ["answer"] * 3
            + ["time"] * 3
        )
    )
    if kind == "create":
        cpu, run_seconds = draw(st.sampled_from(CPUS)), draw(st.sampled_from([None, None, 3]))
        return at(lambda partition: partition.create(name, cpu, run_seconds)), f"{where} create {name} {cpu}"
    if kind == "delete":
        return at(lambda partition: partition.delete(name)), f"{where} delete {name}"
    if kind == "force delete":
        return at(lambda partition: partition.force_delete(name)), f"{where} force delete {name}"
    if kind == "foreign status":
        phase = draw(st.sampled_from(["Pending", "Running", "Failed"]))
        return at(lambda partition: partition.write_status(name, phase)), f"{where} status {name} {phase}"
    if kind == "view":
        return at(Partition.tell_a_view), f"{where} view"
    if kind == "lost link":
        return (lambda world: world.lose_link(world.partitions[where])), f"{where} lost link"
    if kind == "tell":
        count = draw(st.integers(2, 9))
        return (lambda world: world.tell(world.partitions[where], count)), f"{where} tell {count}"
    if kind == "write":
        fate = draw(st.sampled_from(["answered", "answered", "refused", "unknown", "never sent"]))
        return (lambda world: world.write(world.partitions[where], fate)), f"{where} write {fate}"
    if kind == "answer":
        return (lambda world: world.answer(world.partitions[where])), f"{where} answer"
    if kind == "time":
        seconds = draw(st.sampled_from([0.1, 1.0, 3.0]))
        return (lambda world: world.pass_time(seconds)), f"time {seconds}"
    return World.restart, "restart"


@settings(max_examples=150, deadline=None)
@given(st.lists(steps(), min_size=40, max_size=100))
def test_a_kubelet_keeps_its_promises_and_converges(plan: list[tuple[Callable[[World], None], str]]) -> None:
    world = World()
    for step, _ in plan:
        step(world)
        world.check()
    world.settle()
    world.check_settled()
