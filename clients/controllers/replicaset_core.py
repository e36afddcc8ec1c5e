"""The decisions of the ReplicaSet controller, without I/O.

**What was asked for counts until the partition's own word ends it.** A controller that looks only at its informer's
cache creates too many pods, because the cache lags behind its own writes. Kubernetes keeps a count of expected
creations that expires after five minutes, and creates too many when the lag is longer than that. Here each write is
remembered by name, and never expires by time:

- A create is *expected* under a name drawn here. That ends when the informer shows the pod, when the partition refuses
  the create, or when the informer's view is complete beyond the revision of the create and has no such pod (it came
  and went between two views).
- A pod whose deletion was asked for is *doomed*: it counts no more. That ends when the informer shows it terminating or
  gone, or when the partition refuses.
- A write whose answer was lost is *unresolved*: it is sent again as it was. The same name, or the same uid, makes
  that harmless; `AlreadyExists` or `NotFound` then say that the first try had succeeded. Where the write is not
  wanted any more it is sent as a dry run, which only asks.

So `active + expected` never exceeds `spec.replicas` by an act of this controller, whatever is delayed, lost or
repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.objects import Object, ObjectKey, decode, decode_shared, format_time
from ..informer import Event, EventType
from ..operations import PODS, delete_operation
from .pods import controller_of
from .replicaset_members import BURST_REPLICAS, DOOMED, FINISHED, INACTIVE, KIND, READY, Members, status_operation

# The pause after a refusal, and after pods that failed where none became ready: it doubles up to the maximum. What
# causes them (quota, a namespace going away, a broken image) is rarely cured within seconds, and without a pause a
# template that fails at once would make pods as fast as the partition can write them.
PAUSE_SECONDS_MIN = 0.1
PAUSE_SECONDS_MAX = 60.0
# Status is written this long after a change, so that changes that come together are written once. A set that goes on
# changing, as one that fills up does with each of its pods, is written ever less often, down to once per maximum:
# nobody follows a status pod by pod, and rollouts wait no longer for it than pods take to start.
STATUS_DELAY_SECONDS = 0.1
STATUS_DELAY_SECONDS_MAX = 0.8
# A status that was refused, as by a partition that is full, is written again after this: nothing else may ask for it.
STATUS_RETRY_SECONDS = 5.0

# Without vowels and look-alikes, so that no name spells a word. As Kubernetes does.
NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
NAME_SUFFIX_LENGTH = 5
NAME_LENGTH_MAX = 63

# A repeated create that is refused so was refused the first time too; any other refusal (overload, quota) does not say.
DEFINITE_REASONS = ("BadRequest", "Invalid", "NotFound")

_PHASE_RANK = {"Pending": 0, "Unknown": 1}


@dataclass(slots=True)
class Plan:
    """What one look at a ReplicaSet asks for. The operations are creates, deletes, then at most one status."""

    key: ObjectKey
    uid: str
    operations: list[pb.Operation] = field(default_factory=list)
    creates: list[ObjectKey] = field(default_factory=list)
    deletes: list[ObjectKey] = field(default_factory=list)
    status: dict[str, Any] | None = None
    # Dry runs: a create that succeeds says that there is no such pod, a delete that there still is.
    dry_creates: bool = False
    dry_deletes: bool = False
    # Look again after this long even if nothing happens.
    again_seconds: float | None = None

    def look_again(self, seconds: float) -> None:
        self.again_seconds = seconds if self.again_seconds is None else min(seconds, self.again_seconds)


class ReplicaSetCore:
    """Events in, plans out. `pods` is the informer's cache."""

    def __init__(self, random: Random, pods: Mapping[ObjectKey, Object]) -> None:
        self._random = random
        self._pods = pods
        self._members: dict[str, Members] = {}
        self._uids: dict[ObjectKey, str] = {}
        self._due: dict[ObjectKey, None] = {}
        self._status_due: dict[ObjectKey, None] = {}
        self._view_revision = 0
        self._view_incarnation = ""

    # ------------------------------------------------------------------------------------------------------- events

    def replicaset_event(self, event: Event) -> None:
        """A ReplicaSet has come, changed or gone."""
        replicaset, key = event.object, event.object.key
        known_uid = self._uids.get(key)
        if known_uid is not None and (event.type is EventType.DELETED or known_uid != replicaset.uid):
            del self._uids[key]
            self._members[known_uid].replicaset = None
            self._drop_if_empty(known_uid)
        if event.type is EventType.DELETED:
            return
        members = self._members_of(replicaset.uid)
        known = members.replicaset
        members.replicaset = replicaset
        if known is None:
            self._uids[key] = replicaset.uid
            members.status = dict(decode_shared(replicaset.message.status))
        # The generation alone does not tell: a restored partition counts on from an older one, and may give it again.
        if known is None or known.message.spec != replicaset.message.spec or known.generation != replicaset.generation:
            members.read_spec(replicaset, self._pods)
            self._due[key] = None

    def pod_event(self, event: Event) -> None:
        """A pod has come, changed or gone. The hot path: once for every change of every pod."""
        pod, old = event.object, event.old
        owner = controller_of(pod.message, KIND)
        uid = owner.uid if owner is not None else ""
        if old is not None and event.type is EventType.MODIFIED:
            members = self._members.get(uid)
            if members is None or pod.key not in members.flags:
                self._leave_old_owner(old, uid)
        if uid:
            self._observe(uid, pod, event.type, old)

    def _leave_old_owner(self, old: Object, uid: str) -> None:
        """The pod may have changed hands, which its owner does not know yet."""
        owner = controller_of(old.message, KIND)
        if owner is not None and owner.uid != uid:
            self._observe(owner.uid, old, EventType.DELETED, None)

    def _observe(self, uid: str, pod: Object, kind: EventType, old: Object | None) -> None:
        members = self._members_of(uid)
        members.observe(pod, kind, old)
        replicaset = members.replicaset
        if replicaset is None:
            self._drop_if_empty(uid)
        elif members.wants_more_writes:
            self._due[replicaset.key] = None
        elif not members.status_due:
            members.status_due = True
            self._status_due[replicaset.key] = None

    def take_due(self) -> list[ObjectKey]:
        """The ReplicaSets to look at now."""
        due = list(self._due)
        self._due.clear()
        return due

    def take_status_due(self) -> list[ObjectKey]:
        """The ReplicaSets to look at after `STATUS_DELAY_SECONDS`: no more than their status has changed."""
        due = list(self._status_due)
        self._status_due.clear()
        return due

    def resync(self, view_revision: int, incarnation: str) -> None:
        """End the expectations that the pod informer, complete up to `view_revision`, has overtaken.

        Where the partition has begun another history, or gone back in its own, what it was asked for is gone.
        """
        known = self._view_incarnation
        fell = view_revision < self._view_revision or (bool(known) and incarnation != known)
        self._view_revision, self._view_incarnation = view_revision, incarnation
        for members in self._members.values():
            if fell:
                members.forget_unresolved()
            if members.expected:
                members.expected = {
                    key: revision
                    for key, revision in members.expected.items()
                    if revision == 0 or (revision > view_revision and not fell)
                }
            if fell:
                for key in list(members.flags):
                    members.spare(key)
                self._write_status_anew(members)
            if members.replicaset is not None and (members.wants_more_writes or members.unresolved):
                self._due[members.replicaset.key] = None

    def _write_status_anew(self, members: Members) -> None:
        """The status that was written last is gone, too."""
        members.status = None
        if members.replicaset is not None:
            members.status_due = True
            self._status_due[members.replicaset.key] = None

    def has_unfinished_pods(self, uid: str) -> bool:
        """Whether pods of this ReplicaSet run, may run, or are on their way."""
        members = self._members.get(uid)
        if members is None:
            return False
        return bool(members.expected) or any(not flags & FINISHED for flags in members.flags.values())

    def _members_of(self, uid: str) -> Members:
        members = self._members.get(uid)
        if members is None:
            members = self._members[uid] = Members()
        return members

    def _drop_if_empty(self, uid: str) -> None:
        members = self._members[uid]
        if members.replicaset is None and not members.flags:
            del self._members[uid]

    # --------------------------------------------------------------------------------------------------------- plan

    def plan(self, key: ObjectKey, now_ms: int) -> Plan:
        """What to write for this ReplicaSet now.

        A plan with operations is followed by exactly one of `settle`, `not_sent` and `outcome_unknown`.
        """
        uid = self._uids.get(key, "")
        plan = Plan(key, uid)
        members = self._members.get(uid)
        if members is None or members.replicaset is None:
            return plan
        if members.unresolved and now_ms < members.writes_from_ms:
            plan.look_again((members.writes_from_ms - now_ms) / 1000)
        elif members.unresolved:
            self._repeat_unresolved(members, plan)
        elif not members.replicaset.deletion_ms and members.missing:
            self._plan_replicas(members, now_ms, plan)
        self._plan_status(members, members.replicaset, now_ms, plan)
        return plan

    def _repeat_unresolved(self, members: Members, plan: Plan) -> None:
        assert members.replicaset is not None
        plan.dry_creates = members.missing < 0 or bool(members.replicaset.deletion_ms)
        plan.dry_deletes = members.missing > 0
        for key, operation in members.unresolved.items():
            if operation.HasField("create"):
                operation.dry_run = plan.dry_creates
                plan.creates.append(key)
            else:
                operation.dry_run = plan.dry_deletes
                plan.deletes.append(key)
        plan.operations.extend(members.unresolved[key] for key in (*plan.creates, *plan.deletes))

    def _plan_replicas(self, members: Members, now_ms: int, plan: Plan) -> None:
        if members.failed:
            members.failed = False
            members.failed_pause_seconds = _longer(members.failed_pause_seconds)
            members.creates_from_ms = now_ms + round(members.failed_pause_seconds * 1000)
        creates = members.missing > 0
        from_ms = max(members.writes_from_ms, members.creates_from_ms) if creates else members.writes_from_ms
        if now_ms < from_ms:
            plan.look_again((from_ms - now_ms) / 1000)
        elif creates:
            self._plan_creates(members, plan)
        else:
            self._plan_deletes(members, plan)

    def _plan_creates(self, members: Members, plan: Plan) -> None:
        for _ in range(min(members.missing, members.burst - len(members.expected))):
            key = self._new_key(members, plan.key)
            operation = pb.Operation.FromString(members.template)
            operation.create.object.metadata.name = key.name
            members.expected[key] = 0
            plan.creates.append(key)
            plan.operations.append(operation)

    def _new_key(self, members: Members, owner: ObjectKey) -> ObjectKey:
        prefix = owner.name[: NAME_LENGTH_MAX - NAME_SUFFIX_LENGTH - 1]
        while True:
            suffix = "".join(self._random.choices(NAME_ALPHABET, k=NAME_SUFFIX_LENGTH))
            key = ObjectKey(owner.tenant, owner.namespace, f"{prefix}-{suffix}")
            if key not in members.expected and key not in self._pods:
                return key

    def _plan_deletes(self, members: Members, plan: Plan) -> None:
        for pod in self._in_order_of_deletion(members)[: min(-members.missing, members.burst)]:
            members.doom(pod.key)
            plan.deletes.append(pod.key)
            plan.operations.append(delete_operation(PODS, pod.key, uid=pod.uid))

    def _in_order_of_deletion(self, members: Members) -> list[Object]:
        """The active pods: unbound, not running, not ready, crowded and young ones first."""
        pods = [self._pods[key] for key, flags in members.flags.items() if not flags & INACTIVE]
        nodes = {pod.key: decode(pod.message.spec).get("nodeName", "") for pod in pods}
        crowd = Counter(nodes.values())

        def rank(pod: Object) -> tuple[bool, int, bool, int, int, str]:
            node = nodes[pod.key]
            phase = decode_shared(pod.message.status).get("phase", "Pending")
            ready = bool(members.flags[pod.key] & READY)
            return bool(node), _PHASE_RANK.get(phase, 2), ready, -crowd[node], -pod.creation_ms, pod.name

        return sorted(pods, key=rank)

    def _plan_status(self, members: Members, replicaset: Object, now_ms: int, plan: Plan) -> None:
        """A status that was written just now, or that this very plan is about to change, can wait a little."""
        status = self._status(members, replicaset, now_ms, plan)
        members.status_due = False
        if status == members.status:
            return
        delay_ms = round(STATUS_DELAY_SECONDS * 1000)
        wait_ms = delay_ms if plan.operations else members.status_from_ms - now_ms
        if wait_ms > 0:
            members.status_due = True
            plan.look_again(wait_ms / 1000)
            return
        if now_ms - members.status_from_ms <= delay_ms:
            delay_ms = min(2 * members.status_delay_ms, round(STATUS_DELAY_SECONDS_MAX * 1000))
        members.status_delay_ms = delay_ms
        members.status_from_ms = now_ms + delay_ms
        members.status = plan.status = status
        plan.operations.append(status_operation(replicaset, status))

    def _status(self, members: Members, replicaset: Object, now_ms: int, plan: Plan) -> dict[str, Any]:
        status: dict[str, Any] = {
            "replicas": members.active,
            "fullyLabeledReplicas": members.labeled,
            "readyReplicas": members.ready,
            "availableReplicas": self._available(members, now_ms, plan) if members.min_ready_ms else members.ready,
            "observedGeneration": replicaset.generation,
        }
        if members.failure is not None:
            status["conditions"] = [members.failure]
        return status

    def _available(self, members: Members, now_ms: int, plan: Plan) -> int:
        available = 0
        for key, from_ms in members.available_from_ms.items():
            if members.flags[key] & INACTIVE:
                continue
            if from_ms <= now_ms:
                available += 1
            else:
                plan.look_again((from_ms - now_ms) / 1000)
        return available

    # ------------------------------------------------------------------------------------------------------ answers

    def settle(self, plan: Plan, results: Sequence[pb.Result], now_ms: int) -> None:
        """The partition has answered: one result for each operation of the plan."""
        members = self._members.get(plan.uid)
        if members is None:
            return
        refusals: list[pb.Status] = []
        for key, result in zip(plan.creates, results, strict=False):
            self._settle_create(members, key, result, refusals, plan.dry_creates)
        for key, result in zip(plan.deletes, results[len(plan.creates) :], strict=False):
            self._settle_delete(members, key, result, refusals, plan.dry_deletes)
        if plan.status is not None and results[-1].HasField("error"):
            self._status_lost(members, plan)
            plan.look_again(STATUS_RETRY_SECONDS)
        if refusals:
            self._refused(members, refusals[-1], now_ms, plan)
        elif plan.creates or plan.deletes:
            members.burst = min(members.burst * 2, BURST_REPLICAS)
            members.refused_pause_seconds = 0.0
            members.failure = None
            if members.wants_more_writes:
                plan.look_again(0)

    def _settle_create(
        self, members: Members, key: ObjectKey, result: pb.Result, refusals: list[pb.Status], dry: bool
    ) -> None:
        repeated = members.unresolved.pop(key, None)
        if key not in members.expected:
            return  # Its event was faster than this answer.
        if not result.HasField("error"):
            if dry:
                del members.expected[key]
            else:
                members.expected[key] = result.resource_version
            return
        error = result.error
        if error.reason == "AlreadyExists" and repeated is not None and key not in self._pods:
            # The first try had succeeded, and the informer has yet to show it.
            members.expected[key] = error.resource_version
            if not error.resource_version:
                members.unresolved[key] = repeated
        elif error.reason == "AlreadyExists":
            del members.expected[key]  # The name is taken: the next one is another.
        else:
            refusals.append(error)
            if repeated is not None and error.reason not in DEFINITE_REASONS:
                members.unresolved[key] = repeated
            else:
                del members.expected[key]

    def _settle_delete(
        self, members: Members, key: ObjectKey, result: pb.Result, refusals: list[pb.Status], dry: bool
    ) -> None:
        members.unresolved.pop(key, None)
        if not result.HasField("error"):
            if dry:
                members.spare(key)
        # NotFound, or Conflict on the uid: this pod is gone, and the informer is about to say so.
        elif result.error.reason not in ("NotFound", "Conflict"):
            members.spare(key)
            refusals.append(result.error)

    def _refused(self, members: Members, error: pb.Status, now_ms: int, plan: Plan) -> None:
        """Start again slowly: with one operation, then twice as many after each success."""
        members.burst = 1
        members.refused_pause_seconds = _longer(members.refused_pause_seconds)
        members.writes_from_ms = now_ms + round(members.refused_pause_seconds * 1000)
        plan.look_again(members.refused_pause_seconds)
        reason = "FailedCreate" if plan.creates else "FailedDelete"
        known = members.failure
        if known is None or known["reason"] != reason or known["message"] != error.message:
            members.failure = {
                "type": "ReplicaFailure",
                "status": "True",
                "reason": reason,
                "message": error.message,
                "lastTransitionTime": format_time(now_ms),
            }

    def not_sent(self, plan: Plan) -> None:
        """Nothing of the plan went out."""
        members = self._members.get(plan.uid)
        if members is None:
            return
        for key in plan.creates:
            if key not in members.unresolved:
                members.expected.pop(key, None)
        for key in plan.deletes:
            if key not in members.unresolved:
                members.spare(key)
        self._status_lost(members, plan)

    def outcome_unknown(self, plan: Plan) -> None:
        """The plan went out and its answer was lost: it will be sent again, as it was."""
        members = self._members.get(plan.uid)
        if members is None:
            return
        for key, operation in zip(plan.creates, plan.operations, strict=False):
            if key in members.expected:
                members.unresolved[key] = operation
        for key, operation in zip(plan.deletes, plan.operations[len(plan.creates) :], strict=False):
            if members.flags.get(key, 0) & DOOMED:
                members.unresolved[key] = operation
        self._status_lost(members, plan)

    def _status_lost(self, members: Members, plan: Plan) -> None:
        if plan.status is not None:
            members.status = None


def _longer(pause_seconds: float) -> float:
    return min(max(pause_seconds * 2, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)
