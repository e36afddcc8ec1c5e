"""The GPU plugins against loops over single nodes, written from their definitions; and what is held of devices."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.devices import NO_DEVICE
from ursa.clients.scheduler.framework.column import INFEASIBLE
from ursa.clients.scheduler.framework.config import make_profiles
from ursa.clients.scheduler.framework.interface import ScorePlugin
from ursa.clients.scheduler.framework.picker import Picker
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.node_facts import read_node
from ursa.clients.scheduler.plugins.gpu_fragmentation import GpuFragmentation
from ursa.clients.scheduler.plugins.gpu_packing import DotProduct, GpuBestFit, GpuClustering, GpuPacking
from ursa.clients.scheduler.plugins.gpu_share import DeviceChoice, GpuShare
from ursa.clients.scheduler.plugins.gpu_stranding import LEFT_WEIGHT, SLACK_WEIGHT, GpuStranding
from ursa.clients.scheduler.plugins.gpu_typical import typical_args, typical_pods
from ursa.clients.scheduler.plugins.registry import BUILT_IN, DEFAULT_WEIGHTS
from ursa.clients.scheduler.template import Template
from ursa.proto.devices import HeldDevices, device_request
from ursa.proto.quantities import CPU, GPU_MILLI, MEMORY, PODS

from .objects import node
from .plugins.cases import CASES

TYPICAL = [
    (0, 4000, 13),
    (300, 2000, 10),
    (470, 8000, 20),
    (1000, 8000, 40),
    (1000, 0, 2),
    (2000, 16000, 4),
    (4000, 9, 1),
]
ARGS = {"typicalPods": [{"gpuMilli": gpu, "cpu": f"{cpu}m", "weight": weight} for gpu, cpu, weight in TYPICAL]}
SCORES: list[ScorePlugin] = [
    GpuFragmentation(ARGS),
    GpuStranding(ARGS),
    GpuBestFit(),
    DotProduct(),
    GpuPacking(),
    GpuClustering(),
]

NO_GPU = -1

seeds = st.integers(0, 2**48)
# With URSA_SOAK a hundred thousand cases of each plugin. Here an example asks so many pods of the same nodes,
ASKED = 8
SCORED = CASES // ASKED
# here it places some twenty pods, one after the other,
STORIES = CASES // 20
# and here it picks for some fifteen, of each plugin.
PICKED = CASES // 15


def draw_cluster(random: Random) -> list[tuple[int, int]]:
    """(GPUs, cores) of each node."""
    return [(random.randint(0, 8), random.choice([4, 8, 16, 32, 96])) for _ in range(random.randint(1, 6))]


def draw_shape(random: Random) -> tuple[int, int]:
    """(milli of GPUs, milli of cores) of a pod."""
    gpu = random.choice([0, 100, 300, 470, 500, 810, 1000, 2000, 4000])
    return gpu, random.choice([0, 500, 2000, 4000, 8000, 16000])


def shape(gpu: int, cpu: int, number: int = 0) -> Shape:
    requests = {CPU: cpu, MEMORY: 0, PODS: 1, **({GPU_MILLI: gpu} if gpu else {})}
    return Shape(number, Template(number, requests), "acme", "default", {})


class Model:
    """What is on the nodes, in plain Python, beside the columns."""

    def __init__(self, cluster: list[tuple[int, int]]) -> None:
        self.nodes = NodeColumns(7)
        self.free = [[1000] * count for count, _ in cluster]
        self.cpu = [cores * 1000 for _, cores in cluster]
        self.kinds: list[list[int]] = [[] for _ in cluster]
        self.held: list[tuple[int, Shape, HeldDevices | None]] = []
        for number, (count, cores) in enumerate(cluster):
            extended = {"gpu_milli": count * 1000} if count else {}
            self.nodes.set_node("rp-1", f"n{number}", read_node(node(f"n{number}", cpu=str(cores), **extended)))
        self.nodes.set_open("rp-1", is_open=True)

    def fits(self, pod: Shape, slot: int) -> bool:
        wanted = pod.template.devices
        enough = sum(milli >= wanted.milli for milli in self.free[slot]) >= wanted.amount
        return enough and self.cpu[slot] >= pod.template.requests[CPU] and len(self.kinds[slot]) < 110

    def place(self, pod: Shape, slot: int, numbers: tuple[int, ...]) -> None:
        wanted = pod.template.devices
        devices = HeldDevices(numbers, wanted) if wanted.amount else None
        self.nodes.hold(slot, self.nodes.charges(pod.template.requests), (), devices)
        self._change(pod, slot, numbers, -1)
        self.held.append((slot, pod, devices))

    def release(self, index: int) -> None:
        slot, pod, devices = self.held.pop(index)
        self.nodes.unhold(slot, self.nodes.charges(pod.template.requests), (), devices)
        self._change(pod, slot, () if devices is None else devices.numbers, 1)

    def _change(self, pod: Shape, slot: int, numbers: tuple[int, ...], sign: int) -> None:
        wanted = pod.template.devices
        self.cpu[slot] += sign * pod.template.requests[CPU]
        for number in numbers:
            self.free[slot][number] += sign * wanted.milli
        kind = 0 if wanted.is_share else wanted.amount or NO_GPU
        (self.kinds[slot].append if sign < 0 else self.kinds[slot].remove)(kind)


# ------------------------------------------------------------------------------------- naive: one node, plain numbers


def naive_fragmentation(cpu: float, free: list[int]) -> float:
    total, weights = 0.0, sum(weight for *_, weight in TYPICAL)
    for gpu, wanted_cpu, weight in TYPICAL:
        want = device_request({GPU_MILLI: gpu})
        fits = want.amount and cpu >= wanted_cpu and sum(milli >= want.milli for milli in free) >= want.amount
        total += weight / weights * (sum(milli for milli in free if milli < want.milli) if fits else sum(free))
    return total


def naive_stranding(cpu: float, gpu: float) -> float:
    asked = [(wanted_cpu / milli, weight * milli) for milli, wanted_cpu, weight in TYPICAL if milli]
    total = sum(weight for _, weight in asked)
    return sum(weight / total * max(0.0, gpu - cpu / ratio) for ratio, weight in asked if ratio)


def sigmoid(gain: float) -> int:
    return math.floor(100 / (1 + math.exp(-round(gain, 6) / 1000)))


def naive_score(plugin: ScorePlugin, model: Model, pod: Shape, slot: int) -> int:
    free, cpu, want = model.free[slot], model.cpu[slot], pod.template.devices
    wanted_cpu, milli = pod.template.requests[CPU], want.amount * want.milli
    left = sum(free)
    if isinstance(plugin, GpuFragmentation):
        before = naive_fragmentation(cpu, free)
        return max(sigmoid(before - naive_fragmentation(cpu - wanted_cpu, after)) for after in outcomes(free, want))
    if isinstance(plugin, GpuStranding):
        gain = naive_stranding(cpu, left) - naive_stranding(cpu - wanted_cpu, left - milli)
        if want.is_share:
            gain -= SLACK_WEIGHT * (min(each for each in free if each >= milli) - milli)
        return sigmoid(gain - LEFT_WEIGHT * left)
    if isinstance(plugin, GpuBestFit):
        return math.floor(100 * (1 - ((cpu - wanted_cpu) / 128000 + (left - milli) / 8000) / 2))
    if isinstance(plugin, DotProduct):
        return math.floor(100 * (1 - (cpu * wanted_cpu / 128000**2 + left * milli / 8000**2) / 2))
    if not want.amount:
        return 0
    if isinstance(plugin, GpuClustering):
        kinds = dict.fromkeys(kind for kind in model.kinds[slot] if kind != NO_GPU)
        own = 0 if want.is_share else want.amount
        group = (75 if len(kinds) == 1 else 50) if own in kinds else (0 if kinds else 25)
        return group + 25 * (8000 - left) // 8000
    assert isinstance(plugin, GpuPacking)
    whole = sum(each == 1000 for each in free)
    if whole == len(free):
        return max(33 - whole, whole)
    taken = sorted(each for each in free if each >= want.milli)[: want.amount]
    fresh = sum(each == 1000 for each in taken)
    return max(50 - fresh, 33) if fresh else max(100 - sum(each // 10 for each in taken) // 10, 50)


def outcomes(free: list[int], want: Any) -> list[list[int]]:
    """The devices after the pod: by device for a share, the first whole ones otherwise."""
    if want.is_share:
        return [
            [each - want.milli * (number == chosen) for number, each in enumerate(free)]
            for chosen, milli in enumerate(free)
            if milli >= want.milli
        ]
    whole = [number for number, each in enumerate(free) if each >= 1000][: want.amount]
    return [[each - want.milli * (number in whole) for number, each in enumerate(free)]]


# ------------------------------------------------------------------------------------------------------------- tests


@settings(max_examples=SCORED)
@given(seeds)
def test_scores_and_filter_are_those_of_a_loop_over_nodes(seed: int) -> None:
    random = Random(seed)
    model = filled(random, random.randint(0, 25))
    for number in range(ASKED):
        same_as_of_single_nodes(model, shape(*draw_shape(random), 99 + number))


def same_as_of_single_nodes(model: Model, pod: Shape) -> None:
    nodes = model.nodes
    everywhere = np.arange(nodes.high)
    fits = GpuShare().filter(None, pod, nodes, everywhere)
    for slot in range(nodes.high):
        want = pod.template.devices
        assert fits[slot] == (sum(each >= want.milli for each in model.free[slot]) >= want.amount)
    for plugin in SCORES:
        scores = plugin.score(None, pod, nodes, slice(0, nodes.high))
        assert scores.dtype.kind == "i"
        assert ((scores >= 0) & (scores <= 100)).all()
        for slot in range(nodes.high):
            if model.fits(pod, slot):
                assert scores[slot] == naive_score(plugin, model, pod, slot), (plugin.name, model.free[slot])
    for slot in range(nodes.high):
        check_devices(model, pod, slot)


def check_devices(model: Model, pod: Shape, slot: int) -> None:
    """A share goes to the device with the least room that has enough, or to that where it fragments least."""
    want, free = pod.template.devices, model.free[slot]
    fitting = [number for number, milli in enumerate(free) if want.amount and milli >= want.milli]
    tightest = GpuShare().choose_devices(pod, model.nodes, slot)
    least = GpuFragmentation(ARGS).choose_devices(pod, model.nodes, slot)
    if len(fitting) < want.amount or not want.amount:
        assert tightest == least == ()
    elif not want.is_share:
        assert tightest == least == tuple(fitting[: want.amount])
    else:
        assert tightest == (min(fitting, key=lambda number: free[number]),)
        cpu = model.cpu[slot] - pod.template.requests[CPU]
        after = dict(zip(fitting, outcomes(free, want), strict=True))
        gains = {number: -naive_fragmentation(cpu, left) for number, left in after.items()}
        before = naive_fragmentation(model.cpu[slot], free)
        assert sigmoid(before + gains[least[0]]) == sigmoid(before + max(gains.values()))


def filled(random: Random, pods: int) -> Model:
    """Some pods placed at random, and some of those released."""
    cluster = draw_cluster(random)
    model = Model(cluster)
    choices: list[DeviceChoice] = [GpuShare(), GpuShare({"deviceSelection": "Random"}), GpuFragmentation(ARGS)]
    for number in range(pods):
        pod = shape(*draw_shape(random), number)
        slots = [slot for slot in range(len(cluster)) if model.fits(pod, slot)]
        if slots:
            slot = random.choice(slots)
            numbers = random.choice(choices).choose_devices(pod, model.nodes, slot)
            want = pod.template.devices
            assert len(numbers) == want.amount
            assert all(model.free[slot][each] >= want.milli for each in numbers)
            model.place(pod, slot, numbers)
        if model.held and random.random() < 0.3:
            model.release(random.randrange(len(model.held)))
    return model


@settings(max_examples=STORIES)
@given(seeds)
def test_device_columns_are_what_is_held_and_no_device_ever_holds_too_much(seed: int) -> None:
    random = Random(seed)
    model = filled(random, random.randint(0, 40))
    devices = model.nodes.devices
    for slot, free in enumerate(model.free):
        assert all(each >= 0 for each in free)
        width = devices.width
        assert devices.free[slot].tolist() == [*map(float, free), *[NO_DEVICE] * (width - len(free))]
        assert [int(count) for count in devices.kinds[slot]] == [model.kinds[slot].count(kind) for kind in range(10)]


@pytest.mark.parametrize("name", [plugin.name for plugin in SCORES])
@example(seed=22755)  # Nothing is gained, and a sum over one node is not that over several.
@settings(max_examples=PICKED)
@given(seeds)
def test_what_is_kept_of_a_shape_is_what_a_new_picker_says_after_any_placements(name: str, seed: int) -> None:
    random = Random(seed)
    cluster = draw_cluster(random)
    model = Model(cluster)
    kept = picker(model.nodes, name)
    known = [shape(*draw_shape(random), number) for number in range(random.randint(1, 4))]
    for _ in range(random.randint(1, 30)):
        pod = random.choice(known)
        assert kept.keys(pod).tolist() == picker(model.nodes, name).keys(pod).tolist()
        slot = kept.pick(pod)
        assert (slot == INFEASIBLE) == (not any(model.fits(pod, each) for each in range(len(cluster))))
        if slot != INFEASIBLE:
            model.place(pod, slot, GpuShare().choose_devices(pod, model.nodes, slot))
        if model.held and random.random() < 0.3:
            model.release(random.randrange(len(model.held)))


def picker(nodes: NodeColumns, score: str) -> Picker:
    args = [{"name": score, "args": ARGS}] if "typicalPods" in needs(score) else []
    written = {
        "plugins": {"score": {"disabled": [{"name": "*"}], "enabled": [{"name": score}]}},
        "pluginConfig": args,
    }
    (profile,) = make_profiles([written], BUILT_IN, DEFAULT_WEIGHTS, {})
    return Picker(nodes, Random(1), 64, profile)


def needs(score: str) -> str:
    return "typicalPods" if score in (GpuFragmentation.name, GpuStranding.name) else ""


def test_fragmentation_sends_a_share_to_the_device_where_it_fragments_least() -> None:
    model = Model([(2, 96)])
    model.place(shape(530, 0), 0, (1,))
    # 470 are left of device 1: just what many ask for. 1000 of device 0: whole ones ask for that.
    assert GpuFragmentation(ARGS).choose_devices(shape(470, 0), model.nodes, 0) == (1,)


def test_a_random_node_is_one_of_those_that_fit_and_each_of_them_in_turn() -> None:
    written = {
        "plugins": {
            point: {"disabled": [{"name": "*"}], "enabled": [{"name": "RandomNode"}]} for point in ("preScore", "score")
        }
    }
    (profile,) = make_profiles([written], BUILT_IN, DEFAULT_WEIGHTS, {})
    model = Model([(1, 96)] * 5 + [(0, 96)])
    random_node = Picker(model.nodes, Random(1), 8, profile)
    pod, picked = shape(1, 0), [0] * 6
    for _ in range(300):
        slot = random_node.pick(pod)
        picked[slot] += 1
        model.place(pod, slot, (0,))
    assert picked[5] == 0
    assert min(picked[:5]) > 30


@pytest.mark.parametrize(
    ("plugin", "args", "problem"),
    [
        (GpuFragmentation, None, "needs typicalPods, a list"),
        (GpuFragmentation, {"typicalPods": ARGS["typicalPods"], "more": 1}, "takes no arguments but typicalPods"),
        (GpuFragmentation, {"typicalPods": [{"gpu": 1}]}, r"typicalPods\[0\] must have cpu, gpuMilli and weight"),
        (GpuFragmentation, {"typicalPods": [{"gpuMilli": 1500}]}, "not whole ones"),
        (GpuFragmentation, {"typicalPods": [{"weight": -1}]}, "weight must be a number from 0 on"),
        (GpuFragmentation, {"typicalPods": [{"weight": float("nan")}]}, "weight must be a number from 0 on"),
        (GpuFragmentation, {"typicalPods": [{"cpu": "many"}]}, "is no quantity"),
        (GpuFragmentation, {"typicalPods": [{"weight": 0}]}, "must add up to more than 0"),
        (GpuStranding, {"typicalPods": [{"cpu": 1}]}, "none of typicalPods asks for GPUs"),
        (GpuShare, {"deviceSelection": "Worst"}, "must be Tightest or Random"),
        (GpuBestFit, {"maxCPU": 0}, "maxCPU must be a whole number"),
        (GpuPacking, {"any": 1}, "takes no arguments"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_in_one_line(plugin: Any, args: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refused:
        plugin(args)
    assert "\n" not in str(refused.value)


def test_typical_pods_are_the_most_frequent_and_the_rarest_are_left_out() -> None:
    requests = [{CPU: 1000, GPU_MILLI: 500}] * 60 + [{CPU: 2000}] * 38 + [{CPU: 3000}] * 2
    found = typical_pods(requests)
    assert [(pod.cpu, pod.devices.milli) for pod in found] == [(1000, 500), (2000, 0)]
    assert sum(pod.weight for pod in found) == pytest.approx(1)
    assert typical_args(found)[0] == {"cpu": "1000m", "gpuMilli": 500, "weight": pytest.approx(60 / 98)}


@pytest.mark.parametrize(("units", "amount", "milli"), [(0, 0, 0), (1, 1, 1), (1000, 1, 1000), (8000, 8, 1000)])
def test_a_request_is_a_share_of_one_device_or_whole_ones(units: int, amount: int, milli: int) -> None:
    assert device_request({GPU_MILLI: units}) == (amount, milli)


@pytest.mark.parametrize("units", [1001, 1500, 2999])
def test_a_request_for_parts_of_several_devices_is_refused(units: int) -> None:
    with pytest.raises(ValueError, match="ask for up to 1000, or for a multiple of 1000"):
        device_request({GPU_MILLI: units})
