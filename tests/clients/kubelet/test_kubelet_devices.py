"""A kubelet takes no pod on a GPU that others hold, whatever its partitions have bound to it."""

from __future__ import annotations

from ursa.clients.kubelet import HollowNodesOptions, hollow_node
from ursa.clients.kubelet.pod import State
from ursa.proto import ursa_pb2 as pb
from ursa.proto.devices import DEVICES_ANNOTATION
from ursa.proto.objects import Object

from .core_bench import NODE, Bench, pod_message

GPU = "ursa.dev/gpu-milli"


def node(gpus: int) -> Object:
    return hollow_node(NODE, extended={GPU: 1000 * gpus})


def on(devices: str, name: str, milli: int, **more: int) -> pb.Object:
    container = {"name": "main", "image": "app", "resources": {"requests": {GPU: milli}}}
    annotations = {DEVICES_ANNOTATION: devices} if devices else {}
    return pod_message(name, name, annotations=annotations, containers=[container], **more)


def outcomes(bench: Bench, partition: str = "tp-1") -> dict[str, str]:
    return {uid: status.get("reason", status["phase"]) for uid, status in bench.taken(partition) if status is not None}


def test_a_gpu_that_is_held_is_not_shared_out_again_though_the_node_has_room() -> None:
    bench = Bench(node=node(4))
    bench.changed("tp-1", on("0", "first", 600))
    bench.changed("tp-1", on("0", "beside", 400))
    bench.changed("tp-1", on("0", "too-much", 100))
    bench.changed("tp-1", on("1-2", "whole", 2000))
    bench.changed("tp-2", on("2", "on-a-whole-one", 1))
    bench.changed("tp-2", on("3", "free", 1))
    assert outcomes(bench) == {
        "first": "Running",
        "beside": "Running",
        "too-much": f"OutOf{GPU}",
        "whole": "Running",
    }
    told = {uid: status for uid, status in bench.taken("tp-2") if status is not None}
    assert told["free"]["phase"] == "Running"
    assert told["on-a-whole-one"]["message"] == (
        f"node {NODE} has not enough {GPU} of device 2, requested: 1, used: 1000, capacity: 1000"
    )


def test_a_gpu_is_free_again_once_its_pod_has_stopped() -> None:
    bench = Bench(HollowNodesOptions(stop_delay_seconds=5.0), node=node(2))
    bench.changed("tp-1", on("1", "first", 700))
    bench.acknowledge("tp-1")
    bench.changed("tp-1", on("1", "first", 700, deletion_ms=1, revision=11))
    bench.pass_time(4.9)
    bench.changed("tp-1", on("1", "early", 700))
    bench.pass_time(0.1)
    bench.changed("tp-1", on("1", "late", 700))
    assert outcomes(bench) == {"early": f"OutOf{GPU}", "late": "Running"}


def test_a_pod_that_does_not_say_which_it_holds_is_judged_by_the_node_alone() -> None:
    bench = Bench(node=node(2))
    bench.changed("tp-1", on("0", "first", 700))
    bench.changed("tp-1", on("", "somewhere", 700))
    bench.changed("tp-1", on("", "nowhere", 700))
    assert outcomes(bench) == {"first": "Running", "somewhere": "Running", "nowhere": f"OutOf{GPU}"}


def test_a_pod_that_is_bound_to_another_gpu_by_now_holds_that_one() -> None:
    bench = Bench(node=node(2))
    bench.changed("tp-1", on("0", "first", 700))
    bench.changed("tp-1", on("1", "first", 700, revision=12))
    bench.changed("tp-1", on("1", "late", 700))
    bench.changed("tp-1", on("0", "other", 700))
    assert outcomes(bench) == {"first": "Running", "late": f"OutOf{GPU}", "other": "Running"}
    bench.deleted("tp-1", "first")
    bench.changed("tp-1", on("1", "last", 1000))
    assert bench.states()["tp-1", "last"] is State.RUNNING
