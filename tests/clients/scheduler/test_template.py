"""What is read of a pod, once for all that share it."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.clients.scheduler.taints import Taint, Toleration, read_taints, read_tolerations, untolerated
from ursa.clients.scheduler.template import SPECS_MAX, Templates
from ursa.proto.objects import encode

from .objects import GI, pod_spec


def test_pods_with_the_same_bytes_share_a_template() -> None:
    templates = Templates()
    spec = encode(pod_spec({"cpu": "1"}))
    assert templates.of(spec) is templates.of(bytes(bytearray(spec)))


def test_what_does_not_concern_scheduling_makes_no_template() -> None:
    templates = Templates()
    first = templates.of(encode(pod_spec({"cpu": "1"}, restartPolicy="Always")))
    assert first is templates.of(encode(pod_spec({"cpu": "1000m"}, terminationGracePeriodSeconds=5)))
    others = [
        pod_spec({"cpu": "2"}),
        pod_spec({"cpu": "1"}, nodeSelector={"zone": "a"}),
        pod_spec({"cpu": "1"}, tolerations=[{"operator": "Exists"}]),
        pod_spec({"cpu": "1"}, priority=3),
        pod_spec({"cpu": "1"}, schedulerName="another"),
    ]
    assert len({templates.of(encode(spec)).id for spec in others} | {first.id}) == 6


def test_requests_always_name_cpu_memory_and_a_pod() -> None:
    templates = Templates()
    assert templates.of(encode(pod_spec())).requests == {"cpu": 0, "memory": 0, "pods": 1}
    spec = pod_spec({"memory": "1Gi", "ursa.dev/gpu-milli": 500, "example.com/none": 0})
    assert templates.of(encode(spec)).requests == {"cpu": 0, "memory": GI, "pods": 1, "ursa.dev/gpu-milli": 500}


def test_a_quantity_that_makes_no_sense_is_the_error_of_its_pods_alone() -> None:
    template = Templates().of(encode(pod_spec({"cpu": "much"})))
    assert "much" in template.error


def test_many_different_specs_are_not_all_kept() -> None:
    templates = Templates()
    first = encode(pod_spec({"cpu": "1m"}))
    kept = templates.of(first)
    for number in range(SPECS_MAX):
        templates.of(encode(pod_spec({"cpu": f"{number + 2}m"})))
    assert templates.of(first) is not kept


DEDICATED = Taint("dedicated", "gpu", "NoSchedule")


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "dedicated", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}, True),
        ({"key": "dedicated", "value": "gpu"}, True),
        ({"key": "dedicated", "value": "cpu"}, False),
        ({"key": "dedicated", "operator": "Exists"}, True),
        ({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({"value": "gpu"}, False),
    ],
)
def test_tolerations_mean_what_they_mean_in_kubernetes(toleration: dict[str, Any], tolerated: bool) -> None:
    read = read_tolerations([toleration])
    assert (untolerated([DEDICATED], read) is None) == tolerated


def test_every_taint_needs_a_toleration() -> None:
    other = Taint("other", "", "NoExecute")
    tolerations = [Toleration("dedicated", "Exists", "", "")]
    assert untolerated([DEDICATED, other], tolerations) == other


def test_taints_that_only_prefer_keep_nobody_away() -> None:
    assert read_taints([{"key": "a", "value": "b", "effect": "PreferNoSchedule"}]) == ()
