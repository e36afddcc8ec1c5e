"""Pods that ask for GPUs, from the queue to the ledger: against real apiservers, message by message."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from ursa.clients.controllers.lost_placements_core import LostPlacementsCore
from ursa.clients.informer import Event, EventType
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.template import Templates
from ursa.proto import ursa_pb2 as pb
from ursa.proto.devices import DEVICES_ANNOTATION
from ursa.proto.objects import decode, encode
from ursa.proto.restores import TOLD_ANNOTATION

from .objects import node, placement, pod, pod_spec
from .rig import HOME, Rig

GPU = "ursa.dev/gpu-milli"


def rig_with(devices: int, *, profile: dict[str, object] | None = None) -> Rig:
    rig = Rig(SchedulerOptions(profiles=(profile,) if profile else ()), batch_max=256)
    rig.add_node("rp-1", node("n", cpu="64", gpu_milli=devices * 1000))
    rig.deliver_all()
    return rig


def run(rig: Rig) -> None:
    """Decide, claim and bind what can be."""
    rig.deliver_all()
    rig.step()
    for partition in ("rp-1", HOME):
        rig.send(partition)
        rig.carry_out(partition)
        rig.answer(partition)
        rig.step()


def held(rig: Rig) -> dict[str, list[int]]:
    specs = [decode(each.message.spec) for each in rig.partitions["rp-1"].objects("placements.ursa.dev")]
    return {spec["pod"]["name"]: spec["devices"] for spec in specs}


def test_shares_fill_devices_and_whole_ones_take_what_is_whole() -> None:
    rig = rig_with(4)
    for name, milli in (("half", 500), ("other-half", 500), ("two", 2000), ("third", 300)):
        rig.add_pod(pod(name, {GPU: milli}))
        run(rig)
    assert held(rig) == {"half": [0], "other-half": [0], "two": [1, 2], "third": [3]}


def test_a_pod_waits_where_all_devices_together_have_its_room_and_none_alone() -> None:
    for profile in (None, without_gpu_share()):
        rig = rig_with(2, profile=profile)
        for name in ("a", "b"):
            rig.add_pod(pod(name, {GPU: 600}))
        run(rig)
        waiting = rig.add_pod(pod("c", {GPU: 700}))
        run(rig)
        assert len(rig.bound) == 2
        assert waiting not in rig.bound
        assert rig.core.counts.rejected == 0, "the ledger was not asked for what cannot be"


def without_gpu_share() -> dict[str, object]:
    return {"plugins": {"multiPoint": {"disabled": [{"name": "GpuShare"}]}}}


def test_devices_that_others_hold_are_seen_and_come_back() -> None:
    rig = rig_with(2)
    others = placement("other", "n", {GPU: 800, "pods": 1})
    others.message.spec = encode({**decode(others.message.spec), "devices": [0]})
    assert rig.place_for_other("rp-1", others)
    rig.add_pod(pod("mine", {GPU: 300}))
    run(rig)
    free = rig.core.nodes.devices.free
    assert free[0].tolist() == [200.0, 700.0]
    rig.remove_placement("rp-1", "other")
    rig.deliver_all()
    assert free[0].tolist() == [1000.0, 700.0]


def test_a_request_for_parts_of_several_gpus_is_told_what_to_ask_for() -> None:
    """The partition lets no such pod in; one that is there all the same harms nobody else."""
    template = Templates().of(encode(pod_spec({GPU: 1500})))
    assert "ask for up to 1000, or for a multiple of 1000" in template.error
    rig = rig_with(4)
    rig.deliver_all()
    rig.core.pod_seen(pod("odd", {GPU: 1500}), rig.now)
    rig.add_pod(pod("even", {GPU: 1000}))
    run(rig)
    assert held(rig) == {"even": [0]}
    assert any("ask for up to 1000, or for a multiple of 1000" in told for told in rig.reports)


def recorded(rig: Rig) -> dict[str, str]:
    """What bound pods say of their devices."""
    found = {each.name: each.message.metadata.annotations for each in rig.pods().values() if each.spec.get("nodeName")}
    return {name: annotations.get(DEVICES_ANNOTATION, "") for name, annotations in found.items()}


def test_a_pod_that_is_bound_records_the_devices_that_its_placement_holds() -> None:
    rig = rig_with(4)
    for name, milli in (("half", 500), ("two", 2000), ("none", 0)):
        rig.add_pod(pod(name, {GPU: milli} if milli else {"cpu": 1}))
        run(rig)
    assert recorded(rig) == {"half": "0", "two": "1-2", "none": ""}


def test_a_pod_that_an_earlier_process_has_claimed_records_them_too() -> None:
    rig = rig_with(2)
    rig.add_pod(pod("first", {GPU: 700}))
    run(rig)
    rig.add_pod(pod("second", {GPU: 700}))
    rig.deliver_all()
    rig.step()
    assert rig.send("rp-1")
    rig.carry_out("rp-1")
    rig.restart_scheduler()
    rig.settle(20)
    assert held(rig) == {"first": [0], "second": [1]}
    assert recorded(rig) == {"first": "0", "second": "1"}


def tell(rig: Rig) -> None:
    """Placements that pods lack are made again, by what the pods say; and the nodes are marked."""
    partition = rig.partitions["rp-1"]
    nodes = {each.key: each for each in partition.objects("nodes")}
    placed = {each.key: each for each in partition.objects("placements.ursa.dev")}
    core = LostPlacementsCore("rp-1", placed, nodes, 0.0)
    for each in rig.pods().values():
        core.pod_event(HOME, Event(EventType.ADDED, each, None), 0.0)
    for suspect in core.suspects(1.0, [HOME], 1000):
        operation = core.answer(suspect, rig.pods()[suspect.uid], None)
        assert operation is not None
        assert not partition.apply(operation).HasField("error")
    for each in nodes.values():
        each.message.metadata.annotations[TOLD_ANNOTATION] = "second"
        update = pb.Operation(resource="nodes", update=pb.Update(object=each.message))
        assert not partition.apply(update).HasField("error")


def devices_held(rig: Rig) -> dict[int, int]:
    """Milli of each device of the one node, summed over what bound pods say; each says what its placement says."""
    held_now, sums = held(rig), dict[int, int]()
    for each in rig.pods().values():
        if each.spec.get("nodeName"):
            numbers = [int(part) for part in each.message.metadata.annotations[DEVICES_ANNOTATION].split("-")]
            assert held_now[each.name] == numbers
            [container] = each.spec["containers"]
            milli = int(container["resources"]["requests"][GPU])
            for number in numbers:
                sums[number] = sums.get(number, 0) + min(milli, 1000)
    return sums


requests = st.lists(st.sampled_from([200, 300, 500, 700, 1000, 2000]), min_size=1, max_size=5)


@settings(max_examples=15, deadline=None)
@example(before=[700], lost=[700, 300], after=[700], ended=1)
@given(before=requests, lost=requests, after=requests, ended=st.integers(0, 3))
def test_no_device_is_over_committed_after_the_ledger_was_set_back(
    before: list[int], lost: list[int], after: list[int], ended: int
) -> None:
    rig = rig_with(4)
    for number, milli in enumerate(before):
        rig.add_pod(pod(f"before-{number}", {GPU: milli}))
        run(rig)
    snapshot = dict(rig.partitions["rp-1"].store._records)
    for number in range(min(ended, len(before))):  # Their room goes to others, in what is lost.
        rig.delete_pod(f"before-{number}")
        rig.settle(2)
    for number, milli in enumerate(lost):
        rig.add_pod(pod(f"lost-{number}", {GPU: milli}))
        run(rig)
    bound = recorded(rig)
    rig.partitions["rp-1"].set_back(snapshot, "second")
    rig.restart_scheduler()
    tell(rig)
    rig.collect_garbage()
    for number, milli in enumerate(after):
        rig.add_pod(pod(f"after-{number}", {GPU: milli}))
    rig.settle(10)
    assert all(milli <= 1000 for milli in devices_held(rig).values())
    assert bound.items() <= recorded(rig).items()
    free = 4000 - sum(devices_held(rig).values())
    waiting = [each for each in rig.pods().values() if not each.spec.get("nodeName")]
    if free >= 1000 and 4 - len(devices_held(rig)):
        assert all(each.spec["containers"][0]["resources"]["requests"][GPU] > 1000 for each in waiting), "room is given"
