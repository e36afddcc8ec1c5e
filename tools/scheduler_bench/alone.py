"""A scheduler whose partitions answer at once, and say yes.

It decides, claims, binds and evicts as it does in a cluster, and sees what comes of it: the placements, its pods
leaving the queue, bound pods where somebody needs to know them. A pod that is evicted is gone at once, and so is its
placement. Only the network and the partitions are missing. Counted is the CPU that its own code takes, messages built
included; what stands for the partitions is not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final, TypeVar

from ...clients.revisions import Revision
from ...clients.scheduler.actions import Action, Claim, Evict, Release
from ...clients.scheduler.core import SchedulingCore
from ...clients.scheduler.decisions import Decisions
from ...clients.scheduler.options import SchedulerOptions
from ...clients.scheduler.pending import PendingPod
from ...proto import ursa_pb2 as pb
from ...proto.errors import InputError
from ...proto.objects import Object, decode, encode, new_uid
from .workloads import HOST_LABEL, NODE_CPUS, PODS_A_NODE, ZONE_LABEL, Pods

HOME: Final = "tp-1"
PARTITIONS: Final = ("rp-1", "rp-2")
TENANT: Final = "bench"
# From one step to the next, in the scheduler's own time.
STEP_SECONDS: Final = 0.01
# So many steps in a row in which nothing happened: nothing more will.
IDLE_STEPS_MAX: Final = 50

_T = TypeVar("_T")


class Alone:
    """`cpu_seconds`: of the scheduler so far. `bound`: the pods on nodes, by uid."""

    def __init__(self, options: SchedulerOptions | None = None, seed: int = 1) -> None:
        self._random = Random(seed)
        self.core = SchedulingCore(HOME, [HOME], PARTITIONS, Random(seed), options or SchedulerOptions(events=False))
        self.now = 0.0
        self.cpu_seconds = 0.0
        self.bound: dict[str, Object] = {}
        self.evicted = 0
        self._revision = 1
        self._nodes = 0
        self._names = 0
        self._knows_bound_pods = False

    # ----------------------------------------------------------------------------------------------------- nodes

    def add_nodes(self, count: int, zones: Sequence[str] = ()) -> None:
        """Of scheduler_perf's kind, and all partitions have been seen."""
        for _ in range(count):
            self.add_node(zones)
        for partition in PARTITIONS:
            self.core.partition_synced(partition)
        self.core.pods_synced()

    def add_node(self, zones: Sequence[str] = ()) -> tuple[str, str]:
        """Its partition and its name."""
        number, self._nodes = self._nodes, self._nodes + 1
        partition, node = PARTITIONS[number % len(PARTITIONS)], self._node(number, zones)
        self._timed(self.core.node_seen, partition, node)
        return partition, node.name

    def remove_node(self, partition: str, name: str) -> None:
        self._timed(self.core.node_gone, partition, name)

    def _node(self, number: int, zones: Sequence[str]) -> Object:
        name = f"node-{number:06d}"
        labels = {HOST_LABEL: name, **({ZONE_LABEL: zones[number % len(zones)]} if zones else {})}
        return Object.from_dict(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "uid": new_uid(self._random), "labels": labels},
                "status": {
                    "allocatable": {"cpu": str(NODE_CPUS), "memory": "32Gi", "pods": PODS_A_NODE},
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }
        )

    # ------------------------------------------------------------------------------------------------------ pods

    def make(self, pods: Pods) -> Iterator[Object]:
        """Pods as they come from their partition: parsed, and not yet looked at."""
        spec = encode(pods.spec)
        for _ in range(pods.count):
            self._names += 1
            message = pb.Object(api_version="v1", kind="Pod", spec=spec)
            metadata = message.metadata
            metadata.name, metadata.uid = f"pod-{self._names:07d}", new_uid(self._random)
            metadata.tenant, metadata.namespace = TENANT, pods.namespace
            metadata.labels.update(pods.labels)
            yield Object.from_bytes(message.SerializeToString(), HOME)

    def offer(self, pods: Sequence[Object]) -> None:
        """They are seen unbound."""
        self._timed(self._see, pods)

    def _see(self, pods: Sequence[Object]) -> None:
        for pod in pods:
            self.core.pod_seen(pod, self.now)

    def settle(self) -> None:
        """Go on until nothing happens any more: every pod is bound, or fits nowhere."""
        idle = 0
        while idle < IDLE_STEPS_MAX:
            self.now += STEP_SECONDS
            idle = 0 if self.step() else idle + 1
            if idle and not self.core.has_more:
                due = self.core.next_deadline()
                if due == math.inf or not self.core.queue.active + self.core.queue.backing_off:
                    return
                self.now = max(self.now, due)

    def step(self) -> bool:
        """Decide on a batch, and carry out what was decided. False: nothing was.

        Raises:
            InputError: a plugin does I/O.
        """
        decisions = self._timed(self.core.step, self.now)
        if decisions.cycles:
            name = decisions.cycles[0].pod.template.scheduler_name
            raise InputError(f"profile {name} has plugins that do I/O to bind a pod, and there is nobody to ask here")
        self._tell_bound_pods()
        self._carry_out(decisions)
        return bool(decisions.pods or decisions.actions or decisions.binds or decisions.evictions)

    # ------------------------------------------------------------------------------------- the partitions' part

    def _carry_out(self, decisions: Decisions) -> None:
        for partition, actions in decisions.actions.items():
            operations = self._timed(_operations, actions)
            results = [self._answer(action) for action in actions]
            self._timed(self.core.answered, partition, actions, results, self.now)
            for operation, result in zip(operations, results, strict=True):
                operation.create.object.metadata.uid = result.uid
            self._timed(self._see_placements, partition, actions, operations)
        if decisions.binds:
            binds = decisions.binds
            self._timed(_operations, binds)
            results = [self._answer(bind) for bind in binds]
            pods = [bind.pod for bind in binds]
            self._timed(self.core.answered, HOME, binds, results, self.now)
            self._timed(self._see_gone, pods)
            self._see_bound([self._bind(pod) for pod in pods])
        if decisions.evictions:
            asked = decisions.evictions
            self._timed(_operations, asked)
            self._timed(self.core.answered, HOME, asked, [self._answer(action) for action in asked], self.now)
            victims = [self.bound.pop(action.uid) for action in asked if isinstance(action, Evict)]
            self.evicted += len(victims)
            self._timed(self._see_end, victims)

    def _answer(self, action: Action) -> pb.Result:
        self._revision += 1
        uid = new_uid(self._random) if isinstance(action, Claim) else ""
        return pb.Result(resource_version=self._revision, uid=uid)

    def _see_placements(self, partition: str, actions: Sequence[Action], operations: Sequence[pb.Operation]) -> None:
        for action, operation in zip(actions, operations, strict=True):
            if isinstance(action, Claim):
                self.core.placement_seen(partition, operation.create.object)
            elif isinstance(action, Release):
                self.core.placement_gone(partition, action.pod_uid)
        self.core.placements_seen_up_to(Revision(partition, self._revision))

    def _see_gone(self, pods: Sequence[PendingPod]) -> None:
        for pod in pods:
            self.core.pod_gone(pod.uid)

    def _see_end(self, pods: Sequence[Object]) -> None:
        for pod in pods:
            self.core.bound_pod_gone(pod.uid)
            self.core.placement_gone(decode(pod.message.spec)["resourcePartition"], pod.uid)

    def _bind(self, pod: PendingPod) -> Object:
        spec = {**decode(pod.object.message.spec), "nodeName": pod.node, "resourcePartition": pod.partition}
        bound = self.bound[pod.uid] = pod.object.with_spec(spec)
        return bound

    def _tell_bound_pods(self) -> None:
        """From the moment that somebody needs them."""
        if self.core.needs_bound_pods and not self._knows_bound_pods:
            self._knows_bound_pods = True
            self._see_bound(list(self.bound.values()))

    def _see_bound(self, pods: Sequence[Object]) -> None:
        if self._knows_bound_pods:
            self._timed(self._see_all_bound, pods)

    def _see_all_bound(self, pods: Sequence[Object]) -> None:
        for pod in pods:
            self.core.bound_pod_seen(pod)
        self.core.bound_pods_seen_up_to(Revision(HOME, self._revision))

    def _timed(self, call: Callable[..., _T], *arguments: Any) -> _T:
        began = time.process_time()
        result = call(*arguments)
        self.cpu_seconds += time.process_time() - began
        return result


def _operations(actions: Sequence[Action]) -> list[pb.Operation]:
    return [action.operation() for action in actions]
