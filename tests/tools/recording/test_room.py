"""Whether a pod waits for good reason: room on nodes, and on their devices."""

from __future__ import annotations

import pytest
from ursa.clients.kubelet.node import hollow_node
from ursa.proto.objects import Object
from ursa.tools.checking.room import Room

GPU = "ursa.dev/gpu-milli"


def placement(milli: int, *devices: int) -> Object:
    spec = {"node": "n1", "requests": {"pods": 1, GPU: milli}, **({"devices": list(devices)} if devices else {})}
    return Object.from_dict({"apiVersion": "ursa.dev/v1", "kind": "Placement", "spec": spec}, "rp-1")


def pod(milli: int) -> Object:
    containers = [{"name": "c", "resources": {"requests": {GPU: milli} if milli else {}}}]
    return Object.from_dict({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers}}, "tp-1")


@pytest.mark.parametrize(
    ("held", "wanted", "fits"),
    [
        ([(600, 0), (600, 1), (600, 2)], 400, True),
        ([(600, 0), (600, 1), (600, 2)], 500, False),
        ([(1, 0)], 2000, True),
        ([(1, 0), (1, 1)], 2000, False),
        ([(2000, 0, 1)], 1000, True),
        ([(2000, 0, 1), (1, 2)], 1000, False),
        ([(600,)], 100, False),
        ([(600,)], 0, True),
        ([], 1500, False),
    ],
)
def test_a_gpu_with_enough_room_is_asked_for_and_not_their_sum(
    held: list[tuple[int, ...]], wanted: int, fits: bool
) -> None:
    node = Object(hollow_node("n1", extended={GPU: 3000}).message, "rp-1")
    room = Room([node], [placement(milli, *devices) for milli, *devices in held])
    assert room.node_for(pod(wanted)) == ("rp-1/n1" if fits else "")
