"""The statuses a kubelet writes, as msgpack bytes.

Running is the hot one: it is joined from ready-made pieces. What depends on the times and the containers alone is made
once for all pods that start in the same millisecond, so a pod costs one join and its own address.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ...proto.objects import encode, format_time

PENDING = encode({"phase": "Pending"})
FINAL_PHASES = ("Succeeded", "Failed")

Containers = tuple[tuple[str, str], ...]

_RUNNING_HEAD = b"\x86" + encode("phase") + encode("Running")  # a map of six: phase and those below
_POD_IP = encode("podIP")


def host_ip(address: str) -> bytes:
    """The piece of `running` that is constant on a node."""
    return encode("hostIP") + encode(address)


def running(
    containers: Containers, host: bytes, pod_ip: str, start_ms: int, running_ms: int, restarts: int = 0
) -> bytes:
    """`start_ms`: when the kubelet took the pod on; `running_ms`: when its containers ran."""
    tail = _running_tail(containers, start_ms, running_ms, restarts)
    return b"".join((_RUNNING_HEAD, host, _POD_IP, encode(pod_ip), tail))


@lru_cache(maxsize=1024)
def _running_tail(containers: Containers, start_ms: int, running_ms: int, restarts: int) -> bytes:
    fields = {
        "startTime": format_time(start_ms),
        "conditions": _conditions(start_ms, running_ms, "True"),
        "containerStatuses": [
            _container(container, True, {"running": {"startedAt": format_time(running_ms)}}, restarts)
            for container in containers
        ],
    }
    return b"".join(encode(part) for item in fields.items() for part in item)


def ended(
    containers: Containers, address: str, pod_ip: str, times_ms: tuple[int, int, int], exit_code: int, restarts: int
) -> bytes:
    """`times_ms`: when the pod was taken on, when its containers ran last, and when they ended."""
    start_ms, running_ms, finished_ms = times_ms
    terminated = {
        "exitCode": exit_code,
        "reason": "Error" if exit_code else "Completed",
        "startedAt": format_time(running_ms),
        "finishedAt": format_time(finished_ms),
    }
    status = {
        "phase": "Failed" if exit_code else "Succeeded",
        "hostIP": address,
        "podIP": pod_ip,
        "startTime": format_time(start_ms),
        "conditions": _conditions(start_ms, finished_ms, "False", "PodFailed" if exit_code else "PodCompleted"),
        "containerStatuses": [
            _container(container, False, {"terminated": terminated}, restarts) for container in containers
        ],
    }
    return encode(status)


def refused(reason: str, message: str, now_ms: int) -> bytes:
    return encode({"phase": "Failed", "reason": reason, "message": message, "startTime": format_time(now_ms)})


def _conditions(start_ms: int, ready_ms: int, ready: str, reason: str = "") -> list[dict[str, Any]]:
    because = {"reason": reason} if reason else {}
    return [
        {"type": "Initialized", "status": "True", "lastTransitionTime": format_time(start_ms)},
        {"type": "Ready", "status": ready, "lastTransitionTime": format_time(ready_ms), **because},
        {"type": "ContainersReady", "status": ready, "lastTransitionTime": format_time(ready_ms), **because},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": format_time(start_ms)},
    ]


def restarts_of(status: Mapping[str, Any]) -> int:
    """Of its first container: those of a hollow pod restart together."""
    for each in status.get("containerStatuses") or ():
        return int(each.get("restartCount") or 0)
    return 0


def _container(container: tuple[str, str], ready: bool, state: dict[str, Any], restarts: int) -> dict[str, Any]:
    name, image = container
    return {
        "name": name,
        "image": image,
        "imageID": image,
        "ready": ready,
        "started": ready,
        "restartCount": restarts,
        "state": state,
    }
