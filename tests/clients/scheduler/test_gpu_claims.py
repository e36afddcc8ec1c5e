"""Pods that ask for GPUs, from the queue to the ledger: against real apiservers, message by message."""

from __future__ import annotations

from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.template import Templates
from ursa.proto.objects import decode, encode

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
    template = Templates().of(encode(pod_spec({GPU: 1500})))
    assert "ask for up to 1000, or for a multiple of 1000" in template.error
    rig = rig_with(4)
    rig.add_pod(pod("odd", {GPU: 1500}))
    run(rig)
    assert not rig.bound
    assert any("ask for up to 1000, or for a multiple of 1000" in told for told in rig.reports)
