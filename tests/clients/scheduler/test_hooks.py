"""Reserve, Permit, PreBind and PostBind are asked in their turn, and what they refuse is taken back."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.clients.scheduler.framework.interface import (
    Allow,
    Deny,
    PermitPlugin,
    PostBindPlugin,
    PreBindPlugin,
    ReservePlugin,
    Wait,
)
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.pending import PendingPod

from .objects import node, pod
from .rig import Rig

PROFILE = {
    "schedulerName": "default-scheduler",
    "plugins": {"multiPoint": {"enabled": [{"name": "Witness"}]}},
}
CALLS: list[str] = []
ANSWERS: dict[str, Any] = {}


class Witness(ReservePlugin, PermitPlugin, PreBindPlugin, PostBindPlugin):
    name = "Witness"

    def reserve(self, pod: PendingPod, slot: int) -> str:
        return self._told("reserve", "")

    def unreserve(self, pod: PendingPod, slot: int) -> None:
        self._told("unreserve", None)

    def permit(self, pod: PendingPod, slot: int) -> Allow | Wait | Deny:
        return self._told("permit", Allow())

    def pre_bind(self, pod: PendingPod, slot: int) -> str:
        return self._told("pre_bind", "")

    def post_bind(self, pod: PendingPod, slot: int) -> None:
        self._told("post_bind", None)

    def _told(self, point: str, usual: Any) -> Any:
        CALLS.append(point)
        answer = ANSWERS.pop(point, usual)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def rig() -> Rig:
    CALLS.clear()
    ANSWERS.clear()
    rig = Rig(SchedulerOptions(profiles=(PROFILE,), plugins=(Witness,)))
    rig.add_node("rp-1", node("a", cpu="1"))
    rig.add_pod(pod("p", {"cpu": "1"}))
    return rig


def test_each_is_asked_once_and_in_order(rig: Rig) -> None:
    rig.settle(10)
    assert CALLS == ["reserve", "permit", "pre_bind", "post_bind"]
    assert len(rig.bound) == 1


@pytest.mark.parametrize(
    ("point", "answer"),
    [
        ("reserve", "not there"),
        ("reserve", RuntimeError("broken")),
        ("permit", Deny("no")),
        ("permit", RuntimeError("broken")),
        ("pre_bind", "not ready"),
        ("pre_bind", RuntimeError("broken")),
    ],
)
def test_what_is_refused_is_taken_back_and_tried_again(rig: Rig, point: str, answer: Any) -> None:
    ANSWERS[point] = answer
    rig.settle(4)
    until = CALLS.index(point)
    assert CALLS[until + 1] == "unreserve"
    rig.settle(20)
    assert CALLS[-1] == "post_bind"
    assert len(rig.bound) == 1


def test_a_pod_waits_no_longer_than_permit_says(rig: Rig) -> None:
    ANSWERS["permit"] = Wait(3.0)
    rig.settle(20)
    assert CALLS[:3] == ["reserve", "permit", "unreserve"]
    assert len(rig.bound) == 1
