"""One run of a plan, from the first start to the verdict."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import trio
import trio.lowlevel

from ...clients.actor import Actor
from ...clients.client import ClientSet
from ...clients.informer import Informer
from ...clients.nurseries import run_all
from ...proto.errors import AlreadyExists, ApiError, LinkError
from ..bootstrap import register_partitions, tenant_object
from ..checking.check import JUDGES, check
from ..checking.violations import Violation
from ..components import Component
from ..determinism import seeded_run
from ..makers import Make
from ..recording.recorder import Recorder
from ..recording.records import Get, Listed, Watched, Write
from .disk import temporary_folder
from .drawing import draw_plan
from .faults import carry_out
from .outcome import Note, Outcome
from .plan import Operation, Plan
from .registry_faults import declare_removed, undrain
from .scheduling import read_scheduling
from .settling import State, unseen, unsettled, untold
from .trace import Trace
from .values import values_are_put_once
from .workload import User, home_of, tenant_names
from .world import World

# A cluster without faults is ready within seconds.
READY_SECONDS = 120.0
# How often a run that should come to rest is looked at.
LOOK_SECONDS = 2.0
EXAMPLES_MAX = 5
# A collection takes a tenth of a second, and a run leaves some ten megabytes behind.
RUNS_PER_COLLECTION = 10

_RUNS = count(1)


def simulate(
    plan: Plan | int,
    *,
    components: Mapping[str, Make] | None = None,
    scheduler_config: str | os.PathLike[str] | None = None,
    scheduler_plugins: Sequence[str] = (),
    keep_trace: bool = False,
) -> Outcome:
    """Run a plan, or the one that a seed draws, and judge it.

    Args:
        components: parts to run beside the cluster's own, by name; one that is called like one of its own
            (`scheduler-tp-1`) takes that one's place. Each is made of clients of all partitions and an actor, whose
            clock and randomness it must use.
        scheduler_config: a KubeSchedulerConfiguration, with the profiles of the schedulers. It becomes part of the
            plan, in the place of what that says of them.
        scheduler_plugins: plugins of one's own that the profiles may name, as `module:Class`. They too must take their
            randomness from nowhere but what they are given.
        keep_trace: keep the lines of the trace, to look for a difference between two runs.

    Raises:
        InputError: the scheduler's configuration cannot be read, or makes no sense.
    """
    plan = draw_plan(plan) if isinstance(plan, int) else plan
    if scheduler_config is not None or scheduler_plugins:
        plan = plan.with_(scheduling=read_scheduling(scheduler_config, scheduler_plugins))
    began = time.process_time()
    with temporary_folder() as folder, _without_collector():
        run = _Run(plan, Path(folder), components or {}, Trace(keep=keep_trace))
        seeded_run(plan.seed, run.main)
        run.judge(keep_records=keep_trace)
    run.outcome.cpu_seconds = time.process_time() - began
    return run.outcome


@contextmanager
def _without_collector() -> Iterator[None]:
    """What the collector does depends on what ran before; it runs between the runs."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
        if next(_RUNS) % RUNS_PER_COLLECTION == 0:
            gc.collect()


class _Run:
    def __init__(self, plan: Plan, folder: Path, components: Mapping[str, Make], trace: Trace) -> None:
        self.plan = plan
        self.outcome = Outcome(plan)
        self._trace = trace
        self.recorder = Recorder()
        self._observers: list[Observer] = []
        self._world = World(plan, folder, trace, {**self._users(), **components}, self.recorder)

    async def main(self) -> None:
        world, plan = self._world, self.plan
        async with trio.open_nursery() as nursery:
            for partition in world.partitions.values():
                nursery.start_soon(partition.run)
            for part in world.parts.values():
                nursery.start_soon(part.run)
            await self._begin()
            faults = trio.CancelScope()
            nursery.start_soon(self._carry_out_faults, faults)
            await trio.sleep_until(world.began + plan.seconds)
            world.happened("heal", "")
            await self._heal(faults)
            await self._settle()
            for observer in self._observers[-1:]:
                observer.tell(self.recorder)
            self._end()
            nursery.cancel_scope.cancel()
        # The stores are closed, and have said up to where their logs are complete.
        self.recorder.finish(healed=not self.outcome.violations)

    def judge(self, *, keep_records: bool) -> None:
        outcome, records = self.outcome, self.recorder.records
        outcome.violations += check(records, (*JUDGES, partial(values_are_put_once, self.plan)))
        outcome.operations = sum(isinstance(record, Write | Get | Listed | Watched) for record in records)
        if keep_records or outcome.violations:
            outcome.records = records

    # ------------------------------------------------------------------------------------------------------- phases

    async def _begin(self) -> None:
        """Until the cluster is ready, has its tenants, and the plan's time begins."""
        world = self._world
        with trio.move_on_after(READY_SECONDS):
            while problem := self._not_ready():  # noqa: ASYNC110 - conditions are asked for, nobody announces them
                await trio.sleep(0.1)
        if problem:
            self._broken("Starts", f"the cluster was not ready after {READY_SECONDS:g} s: {problem}")
        world.begin()

    def _not_ready(self) -> str:
        for name, part in self._world.parts.items():
            if part.component is None:
                return f"{name} has not started"
            failing = [condition for condition, holds in part.component.ready().items() if not holds]
            if failing:
                return f"{name}: {', '.join(failing)}"
        return ""

    async def _carry_out_faults(self, scope: trio.CancelScope) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                for number, fault in enumerate(self.plan.faults, 1):
                    self.outcome.faults[fault.kind] = self.outcome.faults.get(fault.kind, 0) + 1
                    nursery.start_soon(carry_out, self._world, fault, number)
                await trio.sleep_forever()

    async def _heal(self, faults: trio.CancelScope) -> None:
        """End what still goes wrong, as its own end would have."""
        faults.cancel()
        await trio.lowlevel.checkpoint()
        self._world.heal()
        for name in list(self._world.drained):
            await undrain(self._world, name)
        for name, declared in list(self._world.lost.items()):
            if not declared:
                await declare_removed(self._world, name, f"remove {name}")

    async def _settle(self) -> None:
        began = trio.current_time()
        problems: list[str] = ["not looked at"]
        while trio.current_time() - began < self.plan.converge_seconds:
            await trio.sleep(LOOK_SECONDS)
            problems = self._unsettled()
            if not problems:
                break
        self.outcome.converged_seconds = trio.current_time() - began
        shown = problems[:EXAMPLES_MAX]
        if len(problems) > EXAMPLES_MAX:
            shown.append(f"and {len(problems) - EXAMPLES_MAX} more")
        for each in shown:
            self._broken("Converges", each)

    def _unsettled(self) -> list[str]:
        stores = {}
        for name, partition in self._world.partitions.items():
            if name in self._world.lost:
                continue
            if partition.stores is None:
                return [f"partition {name} is down"]
            stores[name] = partition.stores.main
        informers = [
            informer
            for observer in self._observers[-1:]
            for informer in observer.informers
            if informer.partition in stores
        ]
        state = State(stores)
        running = self._world.running()
        kubelets = untold(state["pods"], running) if running is not None else ()
        return [*unsettled(state), *unseen(informers, stores), *kubelets]

    def _end(self) -> None:
        outcome, world = self.outcome, self._world
        outcome.seconds = trio.current_time() - world.began
        outcome.messages = self._trace.count
        for name, error in world.failures:
            self._broken("Runs", f"{name} failed by itself: {error}")
        outcome.notes = [Note(*note) for note in world.notes]
        outcome.digest = self._trace.digest
        outcome.trace = self._trace.lines

    def _broken(self, promise: str, text: str) -> None:
        self.outcome.violations.append(Violation(promise, text, time=trio.current_time()))

    # ------------------------------------------------------------------------------------------------------ details

    def _users(self) -> dict[str, Make]:
        """The operations of each user are his own life's; and there is somebody who sets the cluster up."""
        by_user: dict[str, list[Operation]] = {}
        for operation in self.plan.operations:
            by_user.setdefault(operation.user, []).append(operation)
        makers: dict[str, Make] = {"admin": self._make_admin, "observer": self._make_observer}
        for user, operations in by_user.items():
            makers[user] = partial(self._make_user, sorted(operations, key=lambda each: each.at))
        return makers

    def _make_user(self, operations: list[Operation], clients: ClientSet, actor: Actor) -> Component:
        moves = any(operation.verb == "move" for operation in self.plan.operations)
        return User(clients, operations, self._world.wait_begun, tenants_move=moves)

    def _make_admin(self, clients: ClientSet, actor: Actor) -> Component:
        return Admin(clients, self.plan)

    def _make_observer(self, clients: ClientSet, actor: Actor) -> Component:
        observer = Observer(clients, actor.name)
        self._observers.append(observer)
        return observer


class Observer:
    """Holds informers of what matters most, so that what they hold can be compared with what is stored."""

    def __init__(self, clients: ClientSet, name: str) -> None:
        self._name = name
        self.informers = [
            Informer(client, resource)
            for each, resources in (
                (clients.tenant_clients, ("pods", "replicasets.apps", "configmaps")),
                (clients.resource_clients, ("nodes", "placements.ursa.dev")),
            )
            for client in each.values()
            for resource in resources
        ]

    def ready(self) -> dict[str, bool]:
        return {f"{each.resource} of {each.partition} seen": each.synced for each in self.informers}

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for informer in self.informers:
                nursery.start_soon(informer.run)

    def tell(self, recorder: Recorder) -> None:
        for informer in self.informers:
            recorder.view(self._name, informer)


class Admin:
    """Registers the partitions and creates the tenants, then rests."""

    def __init__(self, clients: ClientSet, plan: Plan) -> None:
        self._clients = clients
        self._plan = plan
        self._done = False

    def ready(self) -> dict[str, bool]:
        return {"tenants created": self._done}

    async def run(self) -> None:
        while not self._done:
            try:
                await self._set_up()
                self._done = True
            except (ApiError, LinkError):
                await trio.sleep(0.5)
        await trio.sleep_forever()

    async def _set_up(self) -> None:
        topology = self._plan.topology
        names = topology.tenant_names, topology.resource_names
        tenant, resource = ({name: f"memory:{name}" for name in each} for each in names)
        await register_partitions(self._clients, tenant, resource)
        first = [{"tenant": tenant} for tenant in tenant_names(topology)]
        spoken_of = [operation.arguments for operation in self._plan.operations]
        tenants = dict.fromkeys((home_of(each), each["tenant"]) for each in (*first, *spoken_of))
        await run_all([partial(self._create, *each) for each in tenants if each[0] in topology.tenant_names])

    async def _create(self, home: str, tenant: str) -> None:
        try:
            await self._clients.tenant_clients[home].create(tenant_object(tenant))
        except AlreadyExists:
            return
