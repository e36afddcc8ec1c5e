"""The replay of a trace: pods come and go when they did in a real cluster, at a multiple of its speed.

A pod that fits must be Running at its time. Its time is up when the trace deletes it (or the trace ends): then a watch
must have shown it Running. Whoever is not is one of three:

- **it never fits**: no node has room for it, even empty; found by arithmetic, and reported with the reason;
- **it waited for room**: the scheduler said in an Event that no node had room at the time; it is counted, with how long
  it waited;
- **it was late**: anything else, and that is a failure of the run.

Pods that came and went are in no list at the end, so for them "created", "bound" and "running" count what the
partitions' watches showed. The end is listed all the same: what should be gone must be gone, and its placements too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import trio

from ...clients.nurseries import open_background, run_all
from ...clients.operations import create_operation, delete_operation
from ...proto import ursa_pb2 as pb
from ...proto.objects import Object, ObjectKey
from .follow import Follower
from .progress import Counts, Reporter
from .session import Session
from .survey import EVENTS, FAILED_SCHEDULING, PODS
from .trace_plan import NAMESPACE, Step, TracePlan, pod_object
from .writer import PacedWriter

# Partitions that cannot keep up with the trace fall behind it; the run is given this much longer than the trace.
EXTRA_SECONDS = 120.0


@dataclass
class Outcome:
    """How the pods of a trace fared, by their place in the plan."""

    uids: dict[int, str] = field(default_factory=dict)
    created_ms: dict[int, int] = field(default_factory=dict)  # when the create was acknowledged
    not_running: dict[int, int] = field(default_factory=dict)  # its time was up, and it had not run; when
    no_room: dict[str, str] = field(default_factory=dict)  # by uid: what the scheduler said
    acknowledged: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """Pods that were not Running at their time, by why."""

    late: list[str]
    waited_seconds: dict[str, float]
    never: list[dict[str, str]]


def judge(plan: TracePlan, outcome: Outcome) -> Judgement:
    """Sort the pods that were not Running at their time."""
    late: list[str] = []
    waited: dict[str, float] = {}
    for index, at_ms in outcome.not_running.items():
        pod = plan.pods[index]
        if pod.name in plan.never_fit:
            continue
        seconds = (at_ms - outcome.created_ms.get(index, at_ms)) / 1000
        if outcome.uids.get(index) in outcome.no_room:
            waited[pod.name] = round(seconds, 3)
        else:
            late.append(f"pod {pod.name} fits, and was not Running at its time, {seconds:.1f} s after its creation")
    places = {pod.name: index for index, pod in enumerate(plan.pods)}
    never = []
    for name, reason in plan.never_fit.items():
        said = outcome.no_room.get(outcome.uids.get(places[name], ""), "")
        never.append({"pod": name, "reason": reason, "scheduler": said})
    return Judgement(late, waited, never)


def _due_seconds(step: Step) -> float:
    return step.due_seconds


class Replay:
    """The load phase of a replay."""

    def __init__(self, session: Session, plan: TracePlan) -> None:
        self.outcome = Outcome()
        self.start_ms = self.end_ms = 0
        self.complete = False
        self.writers = [
            PacedWriter(tenant_client, plan.steps[partition], _due_seconds, self._operation, self._written)
            for partition, tenant_client in session.clients.tenant_clients.items()
        ]
        self._session = session
        self._plan = plan
        self._keys = [ObjectKey(pod.tenant, NAMESPACE, pod.name) for pod in plan.pods]

    async def run(self, reporter: Reporter) -> None:
        """From the first creation to the last deletion."""
        session, observer = self._session, self._session.observer
        self.start_ms = session.sample().at_ms

        def counts() -> Counts:
            return Counts(*observer.ever, observer.waiting, len(self._plan.pods))

        start = trio.current_time()
        with trio.move_on_after(self._plan.duration_seconds + EXTRA_SECONDS):
            async with open_background() as nursery:
                nursery.start_soon(reporter.show, counts)
                for tenant_client in session.clients.tenant_clients.values():
                    events = Follower(tenant_client, EVENTS, self._on_events, field_selector=FAILED_SCHEDULING)
                    nursery.start_soon(events.run)
                await run_all([partial(writer.run, start) for writer in self.writers])
                self._judge_survivors()
                self.complete = True
        self.end_ms = session.sample().at_ms

    def _operation(self, step: Step) -> pb.Operation:
        if not step.deletes:
            return create_operation(pod_object(self._plan.pods[step.pod]))
        self._judge(step.pod)
        return delete_operation(PODS, self._keys[step.pod])

    def _written(self, step: Step, result: pb.Result) -> None:
        uid = result.uid
        if step.deletes:
            self.outcome.acknowledged.pop(self.outcome.uids.get(step.pod, ""), None)
            return
        self.outcome.uids[step.pod] = uid
        self.outcome.created_ms[step.pod] = self._session.now_ms()
        self.outcome.acknowledged[uid] = None

    def _judge(self, index: int) -> None:
        """Its time is up. A delete that is repeated after a lost link does not change the first judgement."""
        uid = self.outcome.uids.get(index, "")
        if not self._session.observer.running_ms(uid):
            self.outcome.not_running.setdefault(index, self._session.now_ms())

    def _judge_survivors(self) -> None:
        for index, pod in enumerate(self._plan.pods):
            if pod.deletion_seconds is None:
                self._judge(index)

    def _on_events(self, events: Sequence[pb.WatchEvent]) -> None:
        for event in events:
            if event.type != pb.WatchEvent.DELETED:
                rest = Object(event.object).rest
                self.outcome.no_room[rest["involvedObject"].get("uid", "")] = rest.get("message", "")
