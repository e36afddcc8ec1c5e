"""JSON Schema (draft 2020-12) of report.json, for whoever reads reports with a program.

Fields may be added within a schemaVersion; none is renamed, removed or changes its unit.
"""

from __future__ import annotations

from typing import Any

_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number", "minimum": 0}
_TEXT = {"type": "string"}
_BY_PROCESS = {"type": "object", "additionalProperties": _NUMBER}
_NUMBERS = {"type": "array", "items": {"type": "number"}}
_SERIES_BY_PROCESS = {"type": "object", "additionalProperties": _NUMBERS}


def _record(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


REPORT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "The report of one run of Ursa",
    **_record(
        {
            "schemaVersion": {"const": 1},
            "command": _TEXT,
            "verdict": {"enum": ["pass", "fail", "timeout"]},
            "failures": {"type": "array", "items": _TEXT},
            "runId": _TEXT,
            "startedAt": _TEXT,
            "topology": _record({"tenantPartitions": _COUNT, "resourcePartitions": _COUNT, "nodes": _COUNT}),
            "parameters": {"type": "object"},
            "pods": _record(
                dict.fromkeys(("requested", "created", "bound", "running", "failed", "unschedulable"), _COUNT)
            ),
            "seconds": _record({"total": _NUMBER, "load": _NUMBER}),
            "throughputPodsPerSecond": _record(dict.fromkeys(("mean", "p50", "p90", "p99", "max"), _NUMBER)),
            "podStartupMilliseconds": _record(
                {"count": _COUNT, **dict.fromkeys(("p50", "p90", "p99", "max"), _NUMBER)}
            ),
            "placements": _record(dict.fromkeys(("attempted", "accepted", "rejected", "overcommittedNodes"), _COUNT)),
            "resources": _record(
                {"cpuSeconds": _BY_PROCESS, "residentBytesMax": _BY_PROCESS, "cpuMillisecondsPerPod": _NUMBER}
            ),
            "machine": _record(
                {
                    "system": _TEXT,
                    "processor": _TEXT,
                    "cpus": _COUNT,
                    "memoryBytes": _COUNT,
                    "stealSeconds": _NUMBER,
                }
            ),
            "versions": {"type": "object", "additionalProperties": _TEXT},
            "series": _record(
                {
                    "pods": _record(dict.fromkeys(("seconds", "created", "bound", "running"), _NUMBERS)),
                    "podStartupQuantiles": {"type": "array", "items": _NUMBERS},
                    "podsPerSecond": _NUMBERS,
                    "usage": _record(
                        {"seconds": _NUMBERS, "cpuCores": _SERIES_BY_PROCESS, "residentBytes": _SERIES_BY_PROCESS}
                    ),
                }
            ),
        }
    ),
}
