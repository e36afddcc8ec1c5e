"""Objects as a person reads them."""

from __future__ import annotations

import json

import pytest
import yaml
from ursa.proto.kinds import kind_of
from ursa.proto.objects import Object
from ursa.tools.objects.columns import NAMESPACE, TENANT, age
from ursa.tools.objects.printing import formatted, outline

NOW_MS = 1_700_000_100_000


def pod(name: str, **extra: object) -> Object:
    return Object.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "tenant": "acme",
                "namespace": "default",
                "creationTimestamp": "2023-11-14T22:13:20Z",
            },
            "spec": {"containers": [{"name": "main"}], "nodeName": "n1", "resourcePartition": "rp-1"},
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.1",
                "containerStatuses": [{"ready": True, "restartCount": 2}],
            },
            **extra,
        },
        "tp-1",
    )


def lines(output: str, *objects: Object, single: bool = False, scoped: bool = False) -> list[str]:
    columns = (TENANT, NAMESPACE) if scoped else ()
    text = "\n".join(
        formatted(
            objects,
            kind_of(objects[0].api_version, objects[0].kind),
            output,
            single=single,
            scoped=columns,
            now_ms=NOW_MS,
        )
    )
    return text.splitlines()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (3600, "60m"), (5 * 3600, "5h"), (72 * 3600, "3d")],
)
def test_ages_are_written_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert age(0, seconds * 1000) == text


def test_a_table_is_as_wide_as_its_longest_value() -> None:
    assert lines("table", pod("a"), pod("much-longer-name"), scoped=True) == [
        "TENANT   NAMESPACE   NAME               READY   STATUS    RESTARTS   AGE",
        "acme     default     a                  1/1     Running   2          100s",
        "acme     default     much-longer-name   1/1     Running   2          100s",
    ]
    assert lines("wide", pod("a"))[0].endswith("IP         NODE   NODE-PARTITION   PARTITION")


def test_a_pod_with_scheduling_gates_says_so_until_it_goes() -> None:
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]
    gated = pod("a").with_status({"phase": "Pending", "conditions": conditions})
    assert lines("table", gated)[1].split()[2] == "SchedulingGated"
    unschedulable = gated.with_status(
        {"phase": "Pending", "conditions": [{**conditions[0], "reason": "Unschedulable"}]}
    )
    assert lines("table", unschedulable)[1].split()[2] == "Pending"
    gated.message.metadata.deletion_ms = 1
    assert lines("table", gated)[1].split()[2] == "Terminating"


def test_one_object_asked_for_by_name_is_itself_several_are_a_list() -> None:
    assert json.loads("\n".join(lines("json", pod("a"), single=True)))["kind"] == "Pod"
    listed = yaml.safe_load("\n".join(lines("yaml", pod("a"))))
    assert (listed["kind"], len(listed["items"])) == ("List", 1)
    assert lines(
        "name", pod("a"), Object.from_dict({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r"}})
    ) == [
        "pod/a",
        "replicaset.apps/r",
    ]


def test_an_outline_shows_nested_values() -> None:
    value = {"nodeName": "n1", "empty": {}, "on": True, "list": [{"a": 1, "b": [2]}, "x"], "app.io/x": "1"}
    assert list(outline(value)) == [
        "Node Name: n1",
        "Empty: <none>",
        "On: true",
        "List:",
        "  - A: 1",
        "    B:",
        "      - 2",
        "  - x",
        "app.io/x: 1",
    ]


def batch(kind: str, spec: dict[str, object], status: dict[str, object]) -> Object:
    metadata = {"name": "a", "tenant": "acme", "namespace": "default", "creationTimestamp": "2023-11-14T22:13:20Z"}
    return Object.from_dict(
        {"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}, "tp-1"
    )


def test_jobs_say_how_far_they_are() -> None:
    runs = {"startTime": "2023-11-14T22:14:20Z", "succeeded": 2}
    ended = {**runs, "completionTime": "2023-11-14T22:14:35Z", "conditions": [{"type": "Complete", "status": "True"}]}
    ending = {**runs, "conditions": [{"type": "FailureTarget", "status": "True"}]}
    rows = [
        lines("table", batch("Job", spec, status))
        for spec, status in (({"completions": 5}, runs), ({"parallelism": 3}, ended), ({}, ending), ({}, {}))
    ]
    assert rows[0][0].split() == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    assert [row[1].split() for row in rows] == [
        ["a", "Running", "2/5", "40s", "100s"],
        ["a", "Complete", "2/1", "of", "3", "15s", "100s"],
        ["a", "FailureTarget", "2/1", "40s", "100s"],
        ["a", "Running", "0/1", "100s"],
    ]


def test_stateful_sets_and_revisions_say_what_they_are() -> None:
    metadata = {"name": "a", "namespace": "default", "creationTimestamp": "2023-11-14T22:13:20Z"}
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "controller": True}
    fields = {"apiVersion": "apps/v1", "metadata": metadata}
    stateful = {**fields, "kind": "StatefulSet", "spec": {"replicas": 3}, "status": {"readyReplicas": 2}}
    assert lines("table", Object.from_dict(stateful)) == ["NAME   READY   AGE", "a      2/3     100s"]
    revision = {**fields, "kind": "ControllerRevision", "metadata": {**metadata, "ownerReferences": [owner]}}
    assert lines("table", Object.from_dict({**revision, "revision": 2, "data": {}})) == [
        "NAME   CONTROLLER       REVISION   AGE",
        "a      statefulset/db   2          100s",
    ]


def test_daemon_sets_say_on_how_many_nodes_they_are_and_in_which_partition() -> None:
    metadata = {"name": "a", "namespace": "default", "creationTimestamp": "2023-11-14T22:13:20Z"}
    status = {"desiredNumberScheduled": 3, "currentNumberScheduled": 2, "numberReady": 1, "updatedNumberScheduled": 2}
    spec = {"template": {"spec": {"nodeSelector": {"role": "gpu", "arch": "arm"}}}}
    fields = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec, "status": status}
    titles, row = lines("table", Object.from_dict(fields, "rp-1"))
    told = "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE PARTITION"
    assert " ".join(titles.split()) == told
    assert row.split() == ["a", "3", "2", "1", "2", "0", "arch=arm,role=gpu", "100s", "rp-1"]


def test_cron_jobs_say_when_they_last_ran() -> None:
    status = {"lastScheduleTime": "2023-11-14T22:14:55Z", "active": [{"name": "a-1"}]}
    table = lines("table", batch("CronJob", {"schedule": "@daily", "suspend": False}, status))
    assert table == [
        "NAME   SCHEDULE   TIMEZONE   SUSPEND   ACTIVE   LAST SCHEDULE   AGE",
        "a      @daily     <none>     False     1        5s              100s",
    ]
