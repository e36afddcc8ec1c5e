"""How the pods of a Job may be counted."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.proto import ursa_pb2 as pb
from ursa.proto.batch import TRACKING_FINALIZER
from ursa.proto.objects import encode
from ursa.tools.checking.check import check
from ursa.tools.checking.jobs import pods_of_jobs_are_counted_once
from ursa.tools.recording.records import Complete, Finished, Logged, Record

from .spoilt_truth import logged

JOB = "/registry/jobs.batch/t/n/work"


def job(revision: int, create: int = 0, *uncounted: str, **counts: Any) -> Logged:
    metadata = pb.ObjectMeta(tenant="t", namespace="n", name="work", uid="work")
    status = {"uncountedTerminatedPods": {"succeeded": list(uncounted)}, **counts}
    message = pb.Object(metadata=metadata, spec=encode({"completionMode": "NonIndexed"}), status=encode(status))
    return logged(revision, JOB, message, create=create)


def pod(revision: int, name: str, create: int = 0, *, tracked: bool = True) -> Logged:
    metadata = pb.ObjectMeta(tenant="t", namespace="n", name=name, uid=name)
    if tracked:
        metadata.finalizers.append(TRACKING_FINALIZER)
    return logged(revision, f"/registry/pods/t/n/{name}", pb.Object(metadata=metadata), create=create)


def judged(*records: Record) -> list[str]:
    whole = [*records, Complete("tp-1", "main", "i", 0, 99), Finished(99.0)]
    return [violation.text for violation in check(whole, [pods_of_jobs_are_counted_once])]


NOTED = [job(1), pod(2, "a"), job(3, 1, "a")]
LET_GO = [*NOTED, pod(4, "a", 2, tracked=False)]
COUNTED = [*LET_GO, job(5, 1, succeeded=1)]


def test_noted_let_go_and_counted_is_as_it_should_be() -> None:
    assert judged(*COUNTED) == []


@pytest.mark.parametrize(
    ("records", "wrong"),
    [
        ([*NOTED, job(4, 1, succeeded=1)], "kept as if it was not"),
        ([*LET_GO, job(5, 1, succeeded=2)], "2 more have succeeded, and 1 were let go"),
        ([*LET_GO, job(5, 1)], "0 more have succeeded, and 1 were let go"),
        ([*COUNTED, pod(6, "a", 2), job(7, 1, "a", succeeded=1)], "noted a second time"),
        ([job(1), pod(2, "a", tracked=False), job(3, 1, "a")], "may vanish before it is counted"),
    ],
)
def test_what_is_wrong_is_told(records: list[Record], wrong: str) -> None:
    [told] = judged(*records)
    assert wrong in told
