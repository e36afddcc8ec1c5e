"""What the apiserver and the controllers call the same of Jobs and CronJobs: labels, annotations, a finalizer."""

from __future__ import annotations

# A pod of a Job has it until the Job's status has taken note of its end.
TRACKING_FINALIZER = "batch.kubernetes.io/job-tracking"

CONTROLLER_UID_LABEL = "batch.kubernetes.io/controller-uid"
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
# The names before Kubernetes 1.27, which it still writes beside them.
OLD_CONTROLLER_UID_LABEL = "controller-uid"
OLD_JOB_NAME_LABEL = "job-name"

INDEXED, NON_INDEXED = "Indexed", "NonIndexed"
# A label and an annotation of the pods of an Indexed Job, and the variable of their containers.
INDEX_KEY = "batch.kubernetes.io/job-completion-index"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"

# Of the Jobs of a CronJob: the time that they are for.
SCHEDULED_ANNOTATION = "batch.kubernetes.io/cronjob-scheduled-timestamp"


def job_labels(name: str, uid: str) -> dict[str, str]:
    """By which the pods of a Job are known to those who list them."""
    return {
        CONTROLLER_UID_LABEL: uid,
        OLD_CONTROLLER_UID_LABEL: uid,
        JOB_NAME_LABEL: name,
        OLD_JOB_NAME_LABEL: name,
    }
