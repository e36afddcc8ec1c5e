"""The decisions of the disruption controller, without I/O: what each PodDisruptionBudget can spare.

A budget keeps the pods that it selects and which of them are healthy, and every event of a pod keeps that true; so a
status is worked out without going through pods, and where there is no budget an event of a pod costs nothing.

Evictions pay with the budget's status, and name the pods they took there. A pod that is named counts as gone until it
is seen to go, or until nobody has deleted it for two minutes; and nothing is worked out from a view of pods that is
behind the budget, which might not show yet that they were there. A status is written only over the very revision it was
worked out from, so what an eviction has paid meanwhile is never given back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.kinds import BY_KIND
from ...proto.objects import Object, ObjectKey, decode, encode, format_time, parse_time
from ...proto.selectors import Selector, label_selector_of, selects
from ..informer import Event, EventType
from .pods import ready_condition
from .scales import Controller, Scales, Told, Unknown, controller_of_pod, is_custom

# As in Kubernetes: an evicted pod that nobody has deleted by then is not going to be.
DELETION_TIMEOUT_MS = 120_000
# How soon to look again when the view of pods is behind.
VIEW_BEHIND_SECONDS = 0.1
# How soon controllers of custom kinds are asked again what they want.
ASK_AGAIN_SECONDS = 15.0

_BUDGET = BY_KIND["PodDisruptionBudget"]
_CONDITION = "DisruptionAllowed"

Space = tuple[str, str]  # A tenant and a namespace.


class Plan(NamedTuple):
    """`again_seconds`: when the status would change by time alone."""

    operation: pb.Operation | None = None
    again_seconds: float | None = None


class Guarded:
    """A budget, and the pods that it selects."""

    __slots__ = ("budget", "controllers", "deleting", "healthy", "pods", "selector")

    def __init__(self, budget: Object) -> None:
        self.budget = budget
        selector = budget.spec.get("selector")
        self.selector: Selector | None = None if selector is None else label_selector_of(selector)
        self.pods: dict[ObjectKey, Controller | None] = {}
        self.controllers: Counter[Controller] = Counter()
        self.healthy: dict[ObjectKey, None] = {}
        self.deleting: dict[ObjectKey, None] = {}

    def observe(self, pod: Object) -> bool:
        """Whether it matters to the status."""
        if self.selector is None or not selects(self.selector, pod.labels.get):
            return self.drop(pod.key)
        key, before = pod.key, self._known(pod.key)
        controller = controller_of_pod(pod)
        if key not in self.pods or self.pods[key] != controller:
            self.drop(key)
            self.pods[key] = controller
            if controller is not None:
                self.controllers[controller] += 1
        _put(self.deleting, key, present=bool(pod.deletion_ms))
        _put(self.healthy, key, present=not pod.deletion_ms and is_ready(pod))
        return before != self._known(key)

    def drop(self, key: ObjectKey) -> bool:
        if key not in self.pods:
            return False
        controller = self.pods.pop(key)
        if controller is not None:
            self.controllers[controller] -= 1
            if not self.controllers[controller]:
                del self.controllers[controller]
        self.healthy.pop(key, None)
        self.deleting.pop(key, None)
        return True

    def _known(self, key: ObjectKey) -> tuple[object, ...]:
        return key in self.pods, self.pods.get(key), key in self.healthy, key in self.deleting


class DisruptionCore:
    """Events in, statuses out. `pods` is the informer's cache."""

    def __init__(self, pods: Mapping[ObjectKey, Object], scales: Scales) -> None:
        self._pods = pods
        self._scales = scales
        self._spaces: dict[Space, dict[ObjectKey, Guarded]] = {}
        self._due: dict[ObjectKey, None] = {}

    # ------------------------------------------------------------------------------------------------------- events

    def budget_event(self, event: Event) -> None:
        budget = event.object
        key, space = budget.key, (budget.tenant, budget.namespace)
        guarded = self._spaces.setdefault(space, {})
        if event.type is EventType.DELETED:
            guarded.pop(key, None)
            if not guarded:
                del self._spaces[space]
            return
        known = guarded.get(key)
        if known is not None and known.budget.spec.get("selector") == budget.spec.get("selector"):
            known.budget = budget
        else:
            guarded[key] = self._gathered(budget)
        self._due[key] = None

    def _gathered(self, budget: Object) -> Guarded:
        made = Guarded(budget)
        for pod in self._pods.values():
            if (pod.namespace, pod.tenant) == (budget.namespace, budget.tenant):
                made.observe(pod)
        return made

    def pod_event(self, event: Event) -> None:
        """The hot path: once for every change of every pod."""
        if not self._spaces:
            return
        pod = event.object
        for key, guarded in self._spaces.get((pod.tenant, pod.namespace), {}).items():
            matters = guarded.drop(pod.key) if event.type is EventType.DELETED else guarded.observe(pod)
            if matters:
                self._due[key] = None

    def controller_event(self, event: Event) -> None:
        """A ReplicaSet, a Deployment or a StatefulSet, whose replicas may be another number now."""
        obj, old = event.object, event.old
        if self._spaces and (event.type is not EventType.MODIFIED or old is None or old.generation != obj.generation):
            self._due.update(dict.fromkeys(self._spaces.get((obj.tenant, obj.namespace), ())))

    def take_due(self) -> list[ObjectKey]:
        due = list(self._due)
        self._due.clear()
        return due

    # --------------------------------------------------------------------------------------------------------- plan

    def strangers(self, key: ObjectKey) -> list[Controller]:
        """The controllers that must be asked what they want before a status can be worked out."""
        guarded = self._spaces.get((key.tenant, key.namespace), {}).get(key)
        if guarded is None or not _in_shares(guarded.budget.spec):
            return []
        return [each for each in guarded.controllers if is_custom(each)]

    def plan(self, key: ObjectKey, now_ms: int, complete_up_to: int, told: Told = MappingProxyType({})) -> Plan:
        """`complete_up_to`: the view of pods contains all revisions up to here. `told`: by the strangers."""
        guarded = self._spaces.get((key.tenant, key.namespace), {}).get(key)
        if guarded is None or guarded.budget.deletion_ms:
            return Plan()
        strangers = self.strangers(key)
        if complete_up_to < guarded.budget.resource_version or any(each not in told for each in strangers):
            return Plan(None, VIEW_BEHIND_SECONDS)
        known = guarded.budget.status
        disrupted, again_seconds = _still_disrupted(guarded, known.get("disruptedPods") or {}, now_ms)
        if strangers:  # Of what they want nobody tells.
            again_seconds = min(again_seconds or ASK_AGAIN_SECONDS, ASK_AGAIN_SECONDS)
        try:
            expected, desired = self._wanted(guarded, told)
        except Unknown as why:
            # Fail safe: nothing is spared by a budget that cannot be worked out.
            condition = _condition(known, guarded.budget, "SyncFailed", str(why), now_ms)
            return _plan(guarded.budget, {**known, "disruptionsAllowed": 0, "conditions": condition}, again_seconds)
        healthy = len(guarded.healthy) - sum(ObjectKey(*key[:2], name) in guarded.healthy for name in disrupted)
        allowed = max(healthy - desired, 0) if expected else 0
        reason = "SufficientPods" if allowed else "InsufficientPods"
        status: dict[str, Any] = {
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "observedGeneration": guarded.budget.generation,
            "conditions": _condition(known, guarded.budget, reason, "", now_ms),
        }
        if disrupted:
            status["disruptedPods"] = disrupted
        return _plan(guarded.budget, status, again_seconds)

    def _wanted(self, guarded: Guarded, told: Told) -> tuple[int, int]:
        """How many pods there should be, and how many healthy ones at least. Raises Unknown."""
        spec = guarded.budget.spec
        unavailable, available = spec.get("maxUnavailable"), spec.get("minAvailable")
        if not _in_shares(spec):
            return len(guarded.pods), available
        expected = self._scales.expected(guarded.budget, guarded.controllers, told)
        if unavailable is None:
            return expected, _share(available, expected)
        return expected, max(expected - _share(unavailable, expected), 0)


def is_ready(pod: Object) -> bool:
    status = pod.message.status
    return b"Ready" in status and ready_condition(decode(status)) is not None


def _in_shares(spec: Mapping[str, Any]) -> bool:
    """Whether it matters how many pods there should be."""
    return spec.get("maxUnavailable") is not None or not isinstance(spec.get("minAvailable"), int)


def _put(among: dict[ObjectKey, None], key: ObjectKey, *, present: bool) -> None:
    if present:
        among[key] = None
    else:
        among.pop(key, None)


def _share(limit: Any, total: int) -> int:
    """Rounded up, as Kubernetes does for both limits."""
    return -(-int(limit[:-1]) * total // 100) if isinstance(limit, str) else int(limit or 0)


def _still_disrupted(guarded: Guarded, named: Mapping[str, str], now_ms: int) -> tuple[dict[str, str], float | None]:
    """The evicted pods that are not seen to go yet, and when the first of them is given up."""
    found, again_seconds = {}, None
    budget = guarded.budget
    for name, evicted_at in named.items():
        key = ObjectKey(budget.tenant, budget.namespace, name)
        left_ms = _time_ms(evicted_at) + DELETION_TIMEOUT_MS - now_ms
        if key in guarded.pods and key not in guarded.deleting and left_ms > 0:
            found[name] = evicted_at
            again_seconds = left_ms / 1000 if again_seconds is None else min(again_seconds, left_ms / 1000)
    return found, again_seconds


def _time_ms(text: str) -> int:
    try:
        return parse_time(text)
    except (TypeError, ValueError):
        return 0


def _condition(known: Mapping[str, Any], budget: Object, reason: str, message: str, now_ms: int) -> list[Any]:
    told = {
        "type": _CONDITION,
        "status": "True" if reason == "SufficientPods" else "False",
        "observedGeneration": budget.generation,
        "reason": reason,
        "message": message,
    }
    conditions = [each for each in known.get("conditions") or () if isinstance(each, Mapping)]
    before: Mapping[str, Any] = next((each for each in conditions if each.get("type") == _CONDITION), {})
    since = before.get("lastTransitionTime") if before.get("status") == told["status"] else None
    told["lastTransitionTime"] = since or format_time(now_ms)
    return [*(each for each in conditions if each.get("type") != _CONDITION), told]


def _plan(budget: Object, status: Mapping[str, Any], again_seconds: float | None) -> Plan:
    if status == budget.status:
        return Plan(None, again_seconds)
    operation = pb.Operation(resource=_BUDGET.resource)
    update, source = operation.update, budget.message.metadata
    update.subresource = "status"
    update.object.api_version, update.object.kind = _BUDGET.api_version, _BUDGET.kind
    metadata = update.object.metadata
    metadata.tenant, metadata.namespace, metadata.name = source.tenant, source.namespace, source.name
    metadata.uid, metadata.resource_version = source.uid, source.resource_version
    update.object.status = encode(status)
    return Plan(operation, again_seconds)
