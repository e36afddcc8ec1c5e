"""Jobs and CronJobs.

What Kubernetes has and the controller here does not carry out is refused, each in a sentence of its own: a policy that
is accepted and ignored would be worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.batch import CONTROLLER_UID_LABEL, INDEXED, NON_INDEXED, job_labels
from ...proto.objects import decode, decode_shared, encode
from ...proto.schedules import schedule_of, zone_of
from .pods import check_pod_spec, default_pod_spec
from .strategy import Strategy
from .validation import LABEL_LENGTH_MAX, Causes, check_choice, check_count, is_label, mapping, sequence
from .workloads import check_template_labels

RESTART_POLICIES = ("Never", "OnFailure")
REPLACEMENT_POLICIES = ("TerminatingOrFailed", "Failed")
CONCURRENCY_POLICIES = ("Allow", "Forbid", "Replace")
BACKOFF_LIMIT = 6
# As Kubernetes: the completed indexes are a text in the status, which grows with them.
INDEXED_PARALLELISM_MAX = 100_000
INDEXED_COMPLETIONS_MAX = 1_000_000
# The name of a CronJob's Job is its own, a dash, and up to ten digits; and that is the value of a label.
CRON_JOB_NAME_LENGTH_MAX = 52

_COUNTS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
_NOT_SERVED = {
    "podFailurePolicy": "is not served: pods that fail count against backoffLimit, whatever they fail of",
    "successPolicy": "is not served: a Job succeeds when as many pods have as completions says",
    "backoffLimitPerIndex": "is not served: the pods of all indexes count against backoffLimit",
    "maxFailedIndexes": "is not served: the pods of all indexes count against backoffLimit",
    "managedBy": "is not served: every Job is looked after by the Job controller",
}
_IMMUTABLE = ("selector", "template", "completionMode", "podReplacementPolicy", "manualSelector")
_HISTORY_LIMITS = ("successfulJobsHistoryLimit", "failedJobsHistoryLimit")


class JobStrategy(Strategy):
    """Its pods end. The selector is made here, of the Job's uid; so no two Jobs select the same pods."""

    def default_spec(self, spec: dict[str, Any]) -> None:
        if spec.get("completions") is None and spec.get("parallelism") is None:
            spec["completions"] = 1
        if spec.get("parallelism") is None:
            spec["parallelism"] = 1
        for field, value in (
            ("backoffLimit", BACKOFF_LIMIT),
            ("completionMode", NON_INDEXED),
            ("suspend", False),
            ("podReplacementPolicy", REPLACEMENT_POLICIES[0]),
        ):
            if spec.get(field) is None:
                spec[field] = value
        default_pod_spec(spec["template"]["spec"])

    def check_spec(self, spec: Any, causes: Causes) -> None:
        check_job_spec(spec, "spec", causes)

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        """The controller counts on from its status."""
        status = mapping(decode_shared(message.status), "status", causes) if message.status else {}
        for name in ("succeeded", "failed"):
            check_count(status.get(name), f"status.{name}", causes)
        uncounted = mapping(status.get("uncountedTerminatedPods"), "status.uncountedTerminatedPods", causes)
        for name in ("succeeded", "failed"):
            field = f"status.uncountedTerminatedPods.{name}"
            if not all(isinstance(uid, str) for uid in sequence(uncounted.get(name), field, causes)):
                causes.add(field, "must be a list of uids")
        if not isinstance(status.get("completedIndexes"), str | None):
            causes.add("status.completedIndexes", "must be a string, like 0,2-5")
        _check_conditions(status, causes)

    def check_create(self, message: pb.Object, causes: Causes) -> None:
        name, spec = message.metadata.name, decode_shared(message.spec)
        if len(name) > LABEL_LENGTH_MAX:
            causes.add("metadata.name", f"must have at most {LABEL_LENGTH_MAX} characters: its pods have it as a label")
        elif spec["completionMode"] == INDEXED:
            _check_indexed_name(name, spec["completions"], "metadata.name", causes)
        if spec.get("selector") is not None:
            causes.add("spec.selector", "is made by the server, of the Job's uid: leave it out")
        labels = (spec["template"].get("metadata") or {}).get("labels") or {}
        for label in job_labels("", ""):
            if label in labels:
                causes.add(f"spec.template.metadata.labels[{label}]", "is set by the server: leave it out")

    def know_uid(self, message: pb.Object) -> None:
        metadata, spec = message.metadata, decode(message.spec)
        template = spec["template"]
        of_template = template.get("metadata") or {}
        labels = {**(of_template.get("labels") or {}), **job_labels(metadata.name, metadata.uid)}
        spec["template"] = {**template, "metadata": {**of_template, "labels": labels}}
        spec["selector"] = {"matchLabels": {CONTROLLER_UID_LABEL: metadata.uid}}
        message.spec = encode(spec)

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        if new.spec == old.spec:
            return
        after, before = decode_shared(new.spec), decode_shared(old.spec)
        for field in _IMMUTABLE:
            if after.get(field) != before.get(field):
                causes.add(f"spec.{field}", "is immutable; delete the Job and create another")
        completions = after.get("completions")
        if completions != before.get("completions"):
            if before["completionMode"] != INDEXED or completions != after.get("parallelism"):
                told = "is immutable but in an Indexed Job, together with parallelism and to the same number"
                causes.add("spec.completions", told)
            else:
                _check_indexed_name(new.metadata.name, completions, "spec.completions", causes)


class CronJobStrategy(Strategy):
    """Makes Jobs at the times of its schedule."""

    def default_spec(self, spec: dict[str, Any]) -> None:
        for field, value in (
            ("concurrencyPolicy", CONCURRENCY_POLICIES[0]),
            ("suspend", False),
            ("successfulJobsHistoryLimit", 3),
            ("failedJobsHistoryLimit", 1),
        ):
            if spec.get(field) is None:
                spec[field] = value

    def check_spec(self, spec: Any, causes: Causes) -> None:
        _check_schedule(spec, causes)
        check_count(spec.get("startingDeadlineSeconds"), "spec.startingDeadlineSeconds", causes)
        check_choice(spec, "concurrencyPolicy", CONCURRENCY_POLICIES, "spec", causes)
        _check_switch(spec, "suspend", "spec", causes)
        for field in _HISTORY_LIMITS:
            check_count(spec.get(field), f"spec.{field}", causes)
        if spec.get("jobTemplate") is None:
            causes.require("spec.jobTemplate")
            return
        template = mapping(spec["jobTemplate"], "spec.jobTemplate", causes)
        check_template_labels(template, "spec.jobTemplate", causes)
        job = mapping(template.get("spec"), "spec.jobTemplate.spec", causes)
        check_job_spec(job, "spec.jobTemplate.spec", causes)
        if job.get("selector") is not None:
            causes.add("spec.jobTemplate.spec.selector", "is made by the server, of each Job's uid: leave it out")

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        status = mapping(decode_shared(message.status), "status", causes) if message.status else {}
        for name in ("lastScheduleTime", "lastSuccessfulTime"):
            if not isinstance(status.get(name), str | None):
                causes.add(f"status.{name}", "must be a time, as a string")

    def check_create(self, message: pb.Object, causes: Causes) -> None:
        if len(message.metadata.name) > CRON_JOB_NAME_LENGTH_MAX:
            told = f"must have at most {CRON_JOB_NAME_LENGTH_MAX} characters: its Jobs are called by it and a number"
            causes.add("metadata.name", told)


def _check_conditions(status: Mapping[str, Any], causes: Causes) -> None:
    conditions = sequence(status.get("conditions"), "status.conditions", causes)
    parts = ("type", "status", "reason", "message", "lastTransitionTime")
    for each in conditions:
        if not isinstance(each, Mapping) or not all(isinstance(each.get(part), str | None) for part in parts):
            causes.add("status.conditions", f"each must be a map of {', '.join(parts)}, which are strings")
            return


def check_job_spec(spec: Mapping[str, Any], field: str, causes: Causes) -> None:
    for count in _COUNTS:
        check_count(spec.get(count), f"{field}.{count}", causes)
    _check_switch(spec, "suspend", field, causes)
    _check_switch(spec, "manualSelector", field, causes)
    check_choice(spec, "completionMode", (NON_INDEXED, INDEXED), field, causes)
    check_choice(spec, "podReplacementPolicy", REPLACEMENT_POLICIES, field, causes)
    if spec.get("completionMode") == INDEXED:
        _check_indexed(spec, field, causes)
    if spec.get("manualSelector") is True:
        causes.forbid(f"{field}.manualSelector", "is not served: the selector is made by the server")
    for name, told in _NOT_SERVED.items():
        if spec.get(name) is not None:
            causes.forbid(f"{field}.{name}", told)
    if spec.get("template") is None:
        causes.require(f"{field}.template")
        return
    template = mapping(spec["template"], f"{field}.template", causes)
    check_template_labels(template, f"{field}.template", causes)
    pod_spec = mapping(template.get("spec"), f"{field}.template.spec", causes)
    check_pod_spec(pod_spec, f"{field}.template.spec", causes)
    if pod_spec.get("restartPolicy") not in RESTART_POLICIES:
        told = f"must be {' or '.join(RESTART_POLICIES)}: what always runs does not end"
        causes.add(f"{field}.template.spec.restartPolicy", told)


def _check_indexed(spec: Mapping[str, Any], field: str, causes: Causes) -> None:
    if spec.get("completions") is None:
        causes.require(f"{field}.completions")
    for count, most in (("completions", INDEXED_COMPLETIONS_MAX), ("parallelism", INDEXED_PARALLELISM_MAX)):
        value = spec.get(count)
        if isinstance(value, int) and value > most:
            causes.add(f"{field}.{count}", f"must not be more than {most} in an Indexed Job, but is {value}")


def _check_indexed_name(name: str, completions: int, field: str, causes: Causes) -> None:
    longest = f"{name}-{max(completions - 1, 0)}"
    if not is_label(longest):
        causes.add(field, f"must leave room for indexes: {longest!r} is no DNS label, of at most {LABEL_LENGTH_MAX}")


def _check_schedule(spec: Mapping[str, Any], causes: Causes) -> None:
    schedule, zone = spec.get("schedule"), spec.get("timeZone")
    if not schedule:
        causes.require("spec.schedule")
    else:
        _check_text(schedule, "spec.schedule", partial(schedule_of, time_zone=""), causes)
    if zone in ("", "Local"):
        causes.add("spec.timeZone", "must name a time zone, like Europe/Berlin; where there is none, it is UTC")
    elif zone is not None:
        _check_text(zone, "spec.timeZone", zone_of, causes)


def _check_text(value: Any, field: str, read: Any, causes: Causes) -> None:
    if not isinstance(value, str):
        causes.add(field, f"must be a string, not {value!r}")
        return
    try:
        read(value)
    except ValueError as error:
        causes.add(field, str(error))


def _check_switch(spec: Mapping[str, Any], name: str, field: str, causes: Causes) -> None:
    if not isinstance(spec.get(name), bool | None):
        causes.add(f"{field}.{name}", f"must be true or false, not {spec[name]!r}")
