from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ursa.tools.report.observations import Observations, PlacementCounts, PodCounts, Threshold, Timeline
from ursa.tools.report.schema import REPORT_SCHEMA
from ursa.tools.report.summarise import perf_data, summarise

TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}


def broken_rules(schema: dict[str, Any], value: Any, path: str = "report") -> list[str]:
    """What of the schema the value breaks: the few keywords the schema uses."""
    broken = []
    if "const" in schema and value != schema["const"]:
        broken.append(f"{path} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        broken.append(f"{path} is none of {schema['enum']}")
    if "type" in schema and (not isinstance(value, TYPES[schema["type"]]) or isinstance(value, bool)):
        return [*broken, f"{path} is no {schema['type']}: {value!r}"]
    if "minimum" in schema and value < schema["minimum"]:
        broken.append(f"{path} is below {schema['minimum']}")
    for name in schema.get("required", ()):
        if name not in value:
            broken.append(f"{path}.{name} is missing")
    if isinstance(value, dict):
        for name, item in value.items():
            rule = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            broken += broken_rules(rule, item, f"{path}.{name}") if rule else []
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            broken += broken_rules(schema["items"], item, f"{path}[{index}]")
    return broken


def test_every_figure_of_a_run_worked_out_by_hand(observations: Observations):
    document = summarise(observations).document
    assert document["verdict"] == "pass"
    assert document["failures"] == []
    assert document["seconds"] == {"total": 6.0, "load": 2.0}
    assert document["podStartupMilliseconds"] == {"count": 4, "p50": 200, "p90": 900, "p99": 900, "max": 900}
    # Running at 100, 300, 1300 and 2000 ms: two in each second.
    assert document["throughputPodsPerSecond"] == {"mean": 2.0, "p50": 2, "p90": 2, "p99": 2, "max": 2}
    assert document["resources"] == {
        "cpuSeconds": {"tp-1": 0.04, "rp-1": 0.02},
        "residentBytesMax": {"tp-1": 3000, "rp-1": 20},
        "cpuMillisecondsPerPod": 15.0,
    }
    assert document["placements"] == {"attempted": 5, "accepted": 4, "rejected": 1, "overcommittedNodes": 0}
    assert document["pods"]["running"] == 4
    assert document["startedAt"] == "2023-11-14T22:13:17Z"


def test_a_report_obeys_its_schema_and_survives_json(observations: Observations):
    document = summarise(observations).document
    assert broken_rules(REPORT_SCHEMA, json.loads(json.dumps(document, allow_nan=False))) == []


def test_the_report_of_a_run_that_saw_nothing_obeys_the_schema_too(observations: Observations):
    empty = replace(observations, timeline=Timeline.empty(), usage=(), load_end_ms=observations.load_start_ms)
    assert broken_rules(REPORT_SCHEMA, json.loads(json.dumps(summarise(empty).document, allow_nan=False))) == []


def test_the_schema_can_be_broken(observations: Observations):
    document = dict(summarise(observations).document)
    document["pods"] = {**document["pods"], "running": -1}
    del document["seconds"]
    document["verdict"] = "fine"
    assert len(broken_rules(REPORT_SCHEMA, document)) == 3


def test_the_schema_names_every_field_of_a_report(observations: Observations):
    assert list(REPORT_SCHEMA["properties"]) == list(summarise(observations).document)


def test_fields_of_a_command_of_its_own_are_kept(observations: Observations):
    document = summarise(replace(observations, details={"trace": {"neverFit": []}})).document
    assert document["trace"] == {"neverFit": []}


@pytest.mark.parametrize(
    ("change", "verdict", "status", "said"),
    [
        ({}, "pass", 0, ""),
        ({"timed_out": "3 pods were not Running after 600 s"}, "timeout", 2, "3 pods were not Running"),
        ({"placements": PlacementCounts(overcommitted_nodes=1)}, "fail", 4, "1 nodes are over-committed"),
        ({"problems": ["pod x was lost"]}, "fail", 4, "pod x was lost"),
        ({"thresholds": [Threshold("podStartupMilliseconds.p99", at_most=500)]}, "fail", 4, "was missed: 900"),
        ({"thresholds": [Threshold("podStartupMilliseconds.p99", at_most=900)]}, "pass", 0, ""),
        ({"thresholds": [Threshold("throughputPodsPerSecond.mean", at_least=2.5)]}, "fail", 4, "at least 2.5"),
        ({"timed_out": "late", "problems": ["pod x was lost"]}, "timeout", 2, "pod x was lost"),
    ],
)
def test_the_verdict_and_the_exit_status_say_what_failed(observations, change, verdict, status, said):
    report = summarise(replace(observations, **change))
    assert (report.verdict, report.exit_status) == (verdict, status)
    assert said in " | ".join(report.failures)
    assert bool(report.failures) == (verdict != "pass")


def test_perf_data_has_the_form_of_clusterloader2(observations: Observations):
    assert perf_data(summarise(observations)) == {
        "version": "1.0",
        "dataItems": [
            {
                "data": {"Perc50": 200, "Perc90": 900, "Perc99": 900},
                "unit": "ms",
                "labels": {"Metric": "pod_startup"},
            }
        ],
    }


def test_cpu_a_pod_counts_the_pods_that_ran(observations: Observations):
    timeline = observations.timeline
    half = Timeline.of(timeline.created_ms, timeline.bound_ms, [*timeline.running_ms[:2], 0, 0])
    report = summarise(replace(observations, timeline=half, pods=PodCounts(requested=4)))
    assert report.document["resources"]["cpuMillisecondsPerPod"] == 30.0
