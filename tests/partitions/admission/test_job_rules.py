"""What Jobs and CronJobs must be like, what the server makes of them, and what may not change."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Invalid
from ursa.proto.objects import Object

from ..conftest import Partition
from .test_rules import causes_of, plain, update


def job(name: str = "j", **spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "main"}], "restartPolicy": "Never"}}
    return plain("Job", name, spec={"template": template, **spec})


def cron_job(name: str = "c", **spec: Any) -> dict[str, Any]:
    fields = {"schedule": "*/5 * * * *", "jobTemplate": {"spec": job()["spec"]}, **spec}
    return plain("CronJob", name, spec=fields)


def told(partition: Partition, manifest: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(Invalid) as refused:
        partition.create(manifest)
    return {cause.field: cause.message for cause in refused.value.causes}


def test_what_a_job_does_not_say_is_said(tenant_partition: Partition) -> None:
    spec = tenant_partition.create(job()).spec
    assert (spec["parallelism"], spec["completions"], spec["backoffLimit"]) == (1, 1, 6)
    assert (spec["completionMode"], spec["suspend"], spec["podReplacementPolicy"]) == (
        "NonIndexed",
        False,
        "TerminatingOrFailed",
    )
    assert spec["template"]["spec"]["schedulerName"] == "default-scheduler"
    only_parallelism = tenant_partition.create(job("k", parallelism=3)).spec
    assert (only_parallelism["parallelism"], only_parallelism.get("completions")) == (3, None)
    only_completions = tenant_partition.create(job("l", completions=3)).spec
    assert (only_completions["parallelism"], only_completions["completions"]) == (1, 3)


def test_the_server_makes_the_selector_and_the_labels_of_the_uid(tenant_partition: Partition) -> None:
    manifest = job()
    manifest["spec"]["template"]["metadata"] = {"labels": {"app": "a"}}
    created = tenant_partition.create(manifest)
    assert created.spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": created.uid}}
    assert created.spec["template"]["metadata"]["labels"] == {
        "app": "a",
        "batch.kubernetes.io/controller-uid": created.uid,
        "controller-uid": created.uid,
        "batch.kubernetes.io/job-name": "j",
        "job-name": "j",
    }
    assert tenant_partition.get("jobs.batch", "j").spec == created.spec
    copied = job("copy", selector=created.spec["selector"], template=created.spec["template"])
    assert causes_of(tenant_partition, copied) == [
        "spec.selector",
        *(
            f"spec.template.metadata.labels[{label}]"
            for label in list(created.spec["template"]["metadata"]["labels"])[1:]
        ),
    ]


def test_all_that_is_wrong_with_a_job_is_told_at_once(tenant_partition: Partition) -> None:
    wrong = job(
        parallelism=-1,
        completions=1.5,
        activeDeadlineSeconds="60",
        backoffLimit=True,
        ttlSecondsAfterFinished=-5,
        suspend="yes",
        completionMode="Sorted",
        podReplacementPolicy="Never",
    )
    wrong["spec"]["template"]["spec"] = {"containers": [], "restartPolicy": "Always"}
    assert causes_of(tenant_partition, wrong) == [
        "spec.parallelism",
        "spec.completions",
        "spec.activeDeadlineSeconds",
        "spec.backoffLimit",
        "spec.ttlSecondsAfterFinished",
        "spec.suspend",
        "spec.completionMode",
        "spec.podReplacementPolicy",
        "spec.template.spec.containers",
        "spec.template.spec.restartPolicy",
    ]
    no_policy = job()
    del no_policy["spec"]["template"]["spec"]["restartPolicy"]
    assert "must be Never or OnFailure" in told(tenant_partition, no_policy)["spec.template.spec.restartPolicy"]
    assert causes_of(tenant_partition, plain("Job", "j", spec={})) == ["spec.template"]


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("podFailurePolicy", {"rules": []}, "count against backoffLimit, whatever they fail of"),
        ("successPolicy", {"rules": []}, "a Job succeeds when as many pods have as completions says"),
        ("backoffLimitPerIndex", 1, "the pods of all indexes count against backoffLimit"),
        ("maxFailedIndexes", 1, "the pods of all indexes count against backoffLimit"),
        ("managedBy", "kueue.x-k8s.io/multikueue", "looked after by the Job controller"),
        ("manualSelector", True, "the selector is made by the server"),
    ],
)
def test_what_is_not_served_is_refused_in_a_sentence(
    tenant_partition: Partition, field: str, value: Any, why: str
) -> None:
    message = told(tenant_partition, job(**{field: value}))[f"spec.{field}"]
    assert message.startswith("is not served: ")
    assert why in message


def test_an_indexed_job_has_completions_and_a_name_with_room_for_them(tenant_partition: Partition) -> None:
    assert causes_of(tenant_partition, job(completionMode="Indexed")) == ["spec.completions"]
    large = job(completionMode="Indexed", completions=2_000_000, parallelism=200_000)
    assert causes_of(tenant_partition, large) == ["spec.completions", "spec.parallelism"]
    assert causes_of(tenant_partition, job("x" * 61, completionMode="Indexed", completions=11)) == ["metadata.name"]
    tenant_partition.create(job("x" * 61, completionMode="Indexed", completions=10))
    assert causes_of(tenant_partition, job("x" * 64)) == ["metadata.name"]


def test_what_a_job_is_stays_and_how_much_of_it_runs_may_change(tenant_partition: Partition) -> None:
    created = tenant_partition.create(job(completions=3))
    changes = {
        "parallelism": 2,
        "backoffLimit": 1,
        "activeDeadlineSeconds": 9,
        "ttlSecondsAfterFinished": 0,
        "suspend": True,
    }
    created = update(tenant_partition, created.with_spec({**created.spec, **changes}))
    template = {**created.spec["template"], "metadata": {}}
    for field, value in (
        ("completions", 4),
        ("completionMode", "Indexed"),
        ("selector", {"matchLabels": {"a": "b"}}),
        ("template", template),
        ("podReplacementPolicy", "Failed"),
    ):
        with pytest.raises(Invalid, match=rf"spec\.{field}: is immutable"):
            update(tenant_partition, created.with_spec({**created.spec, field: value}))


def test_an_indexed_job_grows_and_shrinks_with_its_parallelism(tenant_partition: Partition) -> None:
    created = tenant_partition.create(job(completionMode="Indexed", completions=3, parallelism=3))
    created = update(tenant_partition, created.with_spec({**created.spec, "completions": 5, "parallelism": 5}))
    with pytest.raises(Invalid, match=r"spec\.completions: is immutable but in an Indexed Job"):
        update(tenant_partition, created.with_spec({**created.spec, "completions": 4}))


def test_a_status_that_nobody_could_count_from_is_refused(tenant_partition: Partition) -> None:
    created = tenant_partition.create(job())
    for status, field in (
        ({"succeeded": "1"}, "status.succeeded"),
        ({"failed": -1}, "status.failed"),
        ({"uncountedTerminatedPods": {"succeeded": [1]}}, "status.uncountedTerminatedPods.succeeded"),
        ({"completedIndexes": 3}, "status.completedIndexes"),
        ({"conditions": ["Complete"]}, "status.conditions"),
    ):
        operation = pb.Operation(resource="jobs.batch")
        operation.update.object.CopyFrom(created.with_status(status).message)
        operation.update.subresource = "status"
        with pytest.raises(Invalid) as refused:
            tenant_partition.do(operation)
        assert [cause.field for cause in refused.value.causes] == [field]


def test_what_a_cron_job_does_not_say_is_said(tenant_partition: Partition) -> None:
    spec = tenant_partition.create(cron_job()).spec
    assert (spec["concurrencyPolicy"], spec["suspend"]) == ("Allow", False)
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 1)


def test_all_that_is_wrong_with_a_cron_job_is_told_at_once(tenant_partition: Partition) -> None:
    wrong = cron_job(
        schedule="every day",
        timeZone="Mars/Olympus",
        startingDeadlineSeconds=-1,
        concurrencyPolicy="Maybe",
        suspend=1,
        successfulJobsHistoryLimit=-1,
        failedJobsHistoryLimit="1",
        jobTemplate={"metadata": {"labels": {"a b": "c"}}, "spec": job(selector={}, podFailurePolicy={})["spec"]},
    )
    assert causes_of(tenant_partition, wrong) == [
        "spec.schedule",
        "spec.timeZone",
        "spec.startingDeadlineSeconds",
        "spec.concurrencyPolicy",
        "spec.suspend",
        "spec.successfulJobsHistoryLimit",
        "spec.failedJobsHistoryLimit",
        "spec.jobTemplate.metadata.labels",
        "spec.jobTemplate.spec.podFailurePolicy",
        "spec.jobTemplate.spec.selector",
    ]
    assert causes_of(tenant_partition, plain("CronJob", "c", spec={})) == ["spec.schedule", "spec.jobTemplate"]
    assert causes_of(tenant_partition, cron_job("x" * 53)) == ["metadata.name"]
    assert causes_of(tenant_partition, cron_job(timeZone="Local", schedule=5)) == ["spec.schedule", "spec.timeZone"]
    assert "set spec.timeZone" in told(tenant_partition, cron_job(schedule="TZ=UTC * * * * *"))["spec.schedule"]


def test_a_cron_job_may_change_altogether(tenant_partition: Partition) -> None:
    created = tenant_partition.create(cron_job())
    changed: Object = update(tenant_partition, created.with_spec(cron_job(schedule="@daily", suspend=True)["spec"]))
    assert (changed.spec["schedule"], changed.spec["suspend"]) == ("@daily", True)
