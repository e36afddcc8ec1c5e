from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from ursa.proto.objects import Object
from ursa.proto.quantities import GPU_MILLI, MEMORY
from ursa.tools.load.checks import allocatable_of, requests_of
from ursa.tools.load.trace import TraceNode, TracePod
from ursa.tools.load.trace_plan import MODEL_LABEL, never_fit, node_object, plan_trace, pod_object, spread_tenants

NODES = [
    TraceNode("big-cpu", 64000, 1000, 0),
    TraceNode("big-gpu", 8000, 2000, 8000, "G2"),
]


def pod(name="p", tenant="ls", cpu=1000, memory=100, gpu=0, created=0.0, deleted=None, models=()):
    return TracePod(name, tenant, cpu, memory, gpu, created, deleted, models)


def test_a_pod_is_created_and_deleted_at_its_times_over_the_speed():
    plan = plan_trace(NODES, [pod(created=1000, deleted=900_000)], ["tp-1"], speed=1000, least_life_seconds=5)
    assert [(step.due_seconds, step.deletes) for step in plan.steps["tp-1"]] == [(1, False), (900, True)]
    assert plan.lengthened == 0
    assert plan.duration_seconds == 900


def test_a_life_too_short_to_start_in_is_lengthened_and_counted():
    plan = plan_trace(NODES, [pod(created=1000, deleted=1001)], ["tp-1"], speed=1000, least_life_seconds=5)
    assert [step.due_seconds for step in plan.steps["tp-1"]] == [1, 6]
    assert plan.lengthened == 1


def test_a_pod_that_was_never_deleted_is_not_deleted():
    plan = plan_trace(NODES, [pod()], ["tp-1"], speed=1, least_life_seconds=5)
    assert [step.deletes for step in plan.steps["tp-1"]] == [False]


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.none() | st.integers(0, 1000), st.sampled_from("abc")), min_size=1),
    st.floats(0, 10),
)
def test_every_pod_is_created_once_before_it_is_deleted_and_in_order(rows, least):
    pods = [
        pod(f"p{i}", tenant, created=created, deleted=None if life is None else created + life)
        for i, (created, life, tenant) in enumerate(rows)
    ]
    plan = plan_trace(NODES, pods, ["tp-1", "tp-2"], speed=10, least_life_seconds=least)
    created, deleted = {}, {}
    for partition, steps in plan.steps.items():
        assert steps == sorted(steps)
        for place, step in enumerate(steps):
            assert plan.partitions[pods[step.pod].tenant] == partition
            (deleted if step.deletes else created)[step.pod] = place
    assert len(created) == len(pods)
    assert len(deleted) == sum(p.deletion_seconds is not None for p in pods)
    assert all(created[index] < place for index, place in deleted.items())


def test_tenants_are_spread_by_size():
    pods = [pod(tenant="ls")] * 5 + [pod(tenant="be")] * 4 + [pod(tenant="small")] * 2 + [pod(tenant="tiny")]
    assert spread_tenants(pods, ["tp-1", "tp-2"]) == {"ls": "tp-1", "be": "tp-2", "small": "tp-1", "tiny": "tp-2"} or (
        spread_tenants(pods, ["tp-1", "tp-2"]) == {"ls": "tp-1", "be": "tp-2", "small": "tp-2", "tiny": "tp-1"}
    )


def test_a_pod_larger_than_every_node_never_fits_and_the_reason_has_the_figures():
    found = never_fit(NODES, [pod("fits"), pod("gpu", gpu=9000), pod("both", cpu=65000, memory=2001)])
    assert list(found) == ["gpu", "both"]
    assert found["gpu"] == "it wants 9000 thousandths of GPU where the largest node has 8000 thousandths"
    assert "65000m of CPU where the largest node has 64000m" in found["both"]
    assert "2001Mi of memory" in found["both"]


def test_a_pod_that_fits_no_single_node_never_fits_even_if_each_part_fits_some():
    assert "at once" in never_fit(NODES, [pod(cpu=9000, gpu=1)])["p"]


def test_a_model_narrows_the_nodes():
    assert never_fit(NODES, [pod(gpu=1, models=("G2",))]) == {}
    assert never_fit(NODES, [pod(gpu=1, models=("T4",))]) == {"p": "it wants GPUs of model T4, and there are none"}
    assert never_fit(NODES, [pod(cpu=9000, models=("G2",))])["p"].startswith("it wants 9000m of CPU")


def test_of_several_models_one_is_enough():
    assert never_fit(NODES, [pod(gpu=1, models=("T4", "G2"))]) == {}
    assert never_fit(NODES, [pod(gpu=1, models=("T4", "P100"))]) == {
        "p": "it wants GPUs of model T4 or P100, and there are none"
    }
    assert models_of(pod_object(pod(gpu=1, models=("T4", "G2")))) == ["T4", "G2"]


def models_of(wants: Object) -> list[str]:
    """What a pod's spec says of the models of its node's GPUs."""
    affinity = wants.spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    [[expression]] = [term["matchExpressions"] for term in affinity["nodeSelectorTerms"]]
    assert (expression["key"], expression["operator"]) == (MODEL_LABEL, "In")
    return expression["values"]


def test_objects_ask_for_and_have_what_the_trace_says():
    node = node_object(NODES[1])
    assert allocatable_of(node) == {"cpu": 8000, MEMORY: 2000 * 2**20, "pods": 110, GPU_MILLI: 8000}
    assert node.labels[MODEL_LABEL] == "G2"
    wants = pod_object(pod(cpu=500, memory=3, gpu=460, models=("G2",)))
    assert requests_of(wants) == {"pods": 1, "cpu": 500, MEMORY: 3 * 2**20, GPU_MILLI: 460}
    assert models_of(wants) == ["G2"]
    assert GPU_MILLI not in requests_of(pod_object(pod()))
    assert "affinity" not in pod_object(pod()).spec
