"""Whatever is lost, late or restarted: the scheduler's promises hold at every moment, and in the end all is well."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from ursa.clients.scheduler.binding_cycles import Binding
from ursa.clients.scheduler.framework.interface import SKIP, BindPlugin, Skip
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.pending import PendingPod, PodState
from ursa.proto.quantities import resource_list

from .objects import node, placement, pod
from .rig import HOME, RESOURCE_PARTITIONS, Rig

SIZES = ["500m", "1", "1500m"]
MESSAGES = ["send", "carry_out", "answer", "lose_answer", "refuse_link", "stall"]
PARTITIONS = [HOME, *RESOURCE_PARTITIONS]

numbers = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("pod"), st.sampled_from(SIZES), st.integers(0, 1)),
    st.tuples(st.just("pod"), st.sampled_from(SIZES), st.integers(0, 1)),
    st.tuples(st.just("delete pod"), numbers),
    st.tuples(st.just("node"), numbers, st.sampled_from(["1", "2", "4"])),
    st.tuples(st.just("remove node"), numbers),
    st.tuples(st.just("other"), numbers, st.sampled_from([500, 1000])),
    st.tuples(st.just("other leaves"), numbers),
    st.tuples(st.just("deliver"), st.integers(0, 4), st.integers(1, 6)),
    st.tuples(st.just("deliver"), st.integers(0, 4), st.integers(1, 6)),
    st.tuples(st.just("message"), st.sampled_from(MESSAGES), st.integers(0, 4)),
    st.tuples(st.just("message"), st.sampled_from(MESSAGES), st.integers(0, 4)),
    st.tuples(st.just("message"), st.sampled_from(["send", "carry_out", "answer"]), st.integers(0, 4)),
    st.tuples(st.just("step")),
    st.tuples(st.just("step")),
    st.tuples(st.just("work")),
    st.tuples(st.just("work")),
    st.tuples(st.just("round")),
    st.tuples(st.just("time"), st.sampled_from([0.1, 1.0, 10.0])),
    st.tuples(st.just("lost arrives")),
    st.tuples(st.just("restart"), st.integers(0, 4)),
    st.tuples(st.just("garbage")),
    st.tuples(st.just("remove partition"), st.integers(0, 4)),
)
cycle_ends = st.tuples(
    st.just("cycle ends"), st.integers(0, 3), st.sampled_from(["succeeds", "fails", "binds", "asked to bind"])
)


class Story:
    """Carries out drawn steps."""

    def __init__(self, options: SchedulerOptions | None = None) -> None:
        self.rig = Rig(options)
        self.made = 0
        for number in range(3):
            self.do_node(number, "2")

    def run(self, step: tuple[Any, ...]) -> None:
        getattr(self, "do_" + step[0].replace(" ", "_"))(*step[1:])

    def do_pod(self, cpu: str, priority: int) -> None:
        self.made += 1
        self.rig.add_pod(pod(f"p{self.made}", {"cpu": cpu}, priority=priority))

    def do_delete_pod(self, number: int) -> None:
        unbound = [p for uid, p in self.rig.pods().items() if uid not in self.rig.bound]
        if unbound:
            self.rig.delete_pod(unbound[number % len(unbound)].name)

    def do_node(self, number: int, cpu: str) -> None:
        partition = RESOURCE_PARTITIONS[number % 2]
        if not any(found.name == f"n{number}" for found in self.rig.partitions[partition].objects("nodes")):
            self.rig.add_node(partition, node(f"n{number}", cpu=cpu))

    def do_remove_node(self, number: int) -> None:
        self.rig.remove_node(RESOURCE_PARTITIONS[number % 2], f"n{number}")

    def do_other(self, number: int, cpu: int) -> None:
        self.made += 1
        requests = {"cpu": cpu, "memory": 0, "pods": 1}
        claim = placement(f"other-{self.made}", f"n{number}", requests)
        self.rig.place_for_other(RESOURCE_PARTITIONS[number % 2], claim)

    def do_other_leaves(self, number: int) -> None:
        for partition in RESOURCE_PARTITIONS:
            held = [
                p.name
                for p in self.rig.partitions[partition].objects("placements.ursa.dev")
                if p.spec["tenantPartition"] != HOME
            ]
            if held:
                self.rig.remove_placement(partition, held[number % len(held)])

    def do_deliver(self, feed: int, count: int) -> None:
        names = list(self.rig.feeds)
        for _ in range(count):
            self.rig.deliver(*names[feed % len(names)])

    def do_message(self, what: str, partition: int) -> None:
        """At one partition, or at all that have something on its way."""
        for name in PARTITIONS[partition : partition + 1] or PARTITIONS:
            getattr(self.rig, what)(name)

    def do_work(self) -> None:
        self.rig.deliver_all()
        self.rig.step()
        for name in PARTITIONS:
            self.rig.send(name)

    def do_step(self) -> None:
        self.rig.step()

    def do_round(self) -> None:
        """A while without faults."""
        self.rig.deliver_all()
        for _ in range(2):
            self.rig.step()
            for name in self.rig.outbox:
                self.rig.send(name)
                self.rig.carry_out(name)
                self.rig.answer(name)

    def do_time(self, seconds: float) -> None:
        self.rig.now += seconds

    def do_lost_arrives(self) -> None:
        self.rig.carry_out_lost()

    def do_restart(self, dice: int) -> None:
        # Not too often: a new process has had no time to go wrong.
        if dice == 0:
            self.rig.restart_scheduler()

    def do_remove_partition(self, dice: int) -> None:
        if dice == 0:
            self.rig.remove_partition(RESOURCE_PARTITIONS[1])

    def do_cycle_ends(self, number: int, how: str) -> None:
        self.rig.end_cycle(number, how)

    def do_garbage(self) -> None:
        self.rig.collect_garbage()

    # ------------------------------------------------------------------------------------------------------ the end

    def check_all_is_well(self) -> None:
        rig = self.rig
        alive = rig.pods()
        for uid, where in rig.bound.items():
            if uid in alive and where[0] in rig.resource_partitions:
                assert rig.claims(uid) == [where], "a bound pod holds exactly one claim: that of its node"
        for uid, unbound in alive.items():
            if uid not in rig.bound:
                assert not rig.claims(uid), "a pod that waits holds nothing"
                assert rig.core.pods[uid].state is PodState.UNSCHEDULABLE
                wants = resource_list(unbound.spec["containers"][0]["resources"]["requests"])["cpu"]
                for partition in rig.resource_partitions:
                    for name, left in rig.free(partition).items():
                        assert left["cpu"] < wants, f"{unbound.name} would fit on {partition}/{name}"
        assert set(rig.core.pods) == {uid for uid in alive if uid not in rig.bound}
        self.check_view()

    def check_view(self) -> None:
        """What the scheduler thinks is free is what is free."""
        nodes = self.rig.core.nodes
        assert list(self.rig.core.views) == self.rig.resource_partitions
        gone = [name for name in nodes.partitions if name not in self.rig.resource_partitions]
        # A slot stays while a pod is bound there, as the home partition says: whoever might preempt asks for these.
        kept = [slot for (name, _), slot in nodes._slots.items() if name in gone]
        assert all(list(nodes.pods.on(slot)) for slot in kept), "a slot is kept for nobody"
        for partition in self.rig.resource_partitions:
            view = self.rig.core.views[partition]
            assert not view.ledger.assumed
            assert not view.outstanding
            assert view.gate.is_open
            free = self.rig.free(partition)
            for name, left in free.items():
                slot = nodes.find(partition, name)
                assert slot is not None
                for resource, units in left.items():
                    assert nodes.free[nodes.resource_columns[resource], slot] == units
            known = [name for name, facts in zip(nodes.names, nodes.facts, strict=True) if facts is not None]
            assert set(free) <= set(known)


# A dead process's claim arrives while its successor claims the pod elsewhere, and is refused there: the pod is bound to
# what the dead one claimed, and does not wait for ever with room in its hands.
CLAIMED_TWICE: list[tuple[Any, ...]] = [
    *[("pod", "500m", 0)] * 8,
    ("delete pod", 0),
    ("round",),
    ("step",),
    *[("pod", "500m", 0)] * 2,
    ("delete pod", 0),
    *[("pod", "500m", 0)] * 6,
    ("node", 4, "1"),
    *[("step",)] * 2,
    ("round",),
    ("delete pod", 0),
    *[("pod", "500m", 0)] * 2,
    ("delete pod", 0),
    *[("pod", "500m", 0)] * 2,
    *[("delete pod", 0)] * 3,
    *[("step",)] * 2,
    ("pod", "500m", 0),
    ("round",),
    *[("pod", "500m", 0)] * 3,
    ("delete pod", 0),
    *[("pod", "500m", 0)] * 4,
    ("delete pod", 0),
    ("work",),
    ("restart", 0),
    ("pod", "500m", 1),
    ("work",),
]


@example(CLAIMED_TWICE)
@settings(max_examples=60, deadline=None)
@given(st.lists(steps, min_size=50, max_size=120))
def test_no_fault_over_commits_a_node_loses_a_pod_or_leaks_a_claim(story_steps: list[tuple[Any, ...]]) -> None:
    story = Story()
    for step in story_steps:
        story.run(step)
    story.rig.settle()
    story.check_all_is_well()


class Own(BindPlugin):
    """A story says what it does."""

    name = "Own"

    async def bind(self, pod: PendingPod, binding: Binding) -> str | Skip:
        return SKIP


OWN_BINDER = {"plugins": {"bind": {"disabled": [{"name": "*"}], "enabled": [{"name": "Own"}]}}}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(steps, cycle_ends, cycle_ends), min_size=50, max_size=120))
def test_nor_does_anything_that_a_bind_plugin_does(story_steps: list[tuple[Any, ...]]) -> None:
    story = Story(SchedulerOptions(profiles=(OWN_BINDER,), plugins=(Own,)))
    for step in story_steps:
        story.run(step)
    story.rig.settle()
    story.check_all_is_well()
