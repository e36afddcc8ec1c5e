"""What keeps the pods of StatefulSets in order, taken out piece by piece: for each, a test must fail.

    .venv/bin/python -m tests.clients.controllers.statefulset_guards            all of them, some minutes
    .venv/bin/python -m tests.clients.controllers.statefulset_guards update     those with one of the words

How they are taken out is tests/seeding.py's. Not part of `make test`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ...seeding import Bug as Guard
from ...seeding import main

HERE = "tests/clients/controllers"
COPIED_TESTS = ("tests/partitions/conftest.py", HERE)
RUN_SECONDS_MAX = 300

TESTS = "test_statefulset_core.py"
UPDATES = "test_statefulset_updates.py"
SHELL = "test_statefulset.py"
CORE = "clients/controllers/statefulset_core.py"
PODS = "clients/controllers/statefulset_pods.py"
REVISIONS = "clients/controllers/controller_revisions.py"
WRITER = "clients/controllers/plan_writer.py"

GUARDS = (
    Guard(
        TESTS,
        "clients/controllers/job_core.py",
        "return job.resource_version <= pods_revision <= jobs_revision",
        "return job.resource_version <= pods_revision",
        "the view of sets may be behind the pods: what is new is taken for old",
    ),
    Guard(
        TESTS,
        "clients/controllers/job_core.py",
        "return job.resource_version <= pods_revision <= jobs_revision",
        "return pods_revision <= jobs_revision",
        "the view of pods may be behind the set",
    ),
    Guard(
        TESTS,
        CORE,
        "        if told and not self._set.deletion_ms:",
        "        if not self._set.deletion_ms:",
        "pods are made before the status says of which revisions",
    ),
    Guard(
        TESTS,
        CORE,
        "        if told and not self._set.deletion_ms:",
        "        if told:",
        "a set that is being deleted makes pods",
    ),
    Guard(
        TESTS,
        CORE,
        "            if not self._make_ready(ordinal) and self._ordered:",
        "            if not self._make_ready(ordinal) and False:",
        "an ordered set does not wait for the pod before",
    ),
    Guard(
        TESTS,
        CORE,
        "        return self._is_available(replica)\n\n    def _revision_for",
        "        return True\n\n    def _revision_for",
        "a pod that is there passes for ready",
    ),
    Guard(
        TESTS,
        CORE,
        "        if replica.terminating:\n            return False\n",
        "        if replica.terminating:\n            return True\n",
        "an ordered set goes on while a pod of it is going",
    ),
    Guard(
        TESTS,
        CORE,
        "for replica in reversed(self._condemned):",
        "for replica in self._condemned:",
        "scaling down begins at the lowest ordinal",
    ),
    Guard(
        TESTS,
        CORE,
        "                self._delete(replica)\n            if self._ordered:",
        "                self._delete(replica)\n            if False:",
        "scaling down waits for nothing",
    ),
    Guard(
        UPDATES,
        CORE,
        "self._current if self._rolls and ordinal < self._partition else self._update",
        "self._update",
        "a pod below the partition that is made again is updated",
    ),
    Guard(
        UPDATES,
        CORE,
        "range(self._start + self._wanted - 1, self._partition - 1, -1)",
        "range(self._start + self._wanted - 1, self._start - 1, -1)",
        "an update does not stop at the partition",
    ),
    Guard(
        UPDATES,
        CORE,
        "                if not room:\n                    continue\n",
        "",
        "an update takes all at once",
    ),
    Guard(
        UPDATES,
        CORE,
        "room = max(self._max_unavailable() - unavailable, 0)",
        "room = self._max_unavailable()",
        "an update does not count who is unavailable already",
    ),
    Guard(
        UPDATES,
        CORE,
        "if self._fill() and self._shrink() and self._rolls:",
        "if self._fill() and self._shrink():",
        "OnDelete updates",
    ),
    Guard(
        TESTS,
        CORE,
        "            self.made.look_again(left_ms)\n            return\n        self.made.replaced",
        "            self.made.look_again(left_ms)\n        self.made.replaced",
        "who fails is replaced at once, each time",
    ),
    Guard(
        UPDATES,
        CORE,
        "        if self._is_updated(status):\n            self._current = self._update\n",
        "",
        "an update is never over",
    ),
    Guard(
        UPDATES,
        REVISIONS,
        "        if self.update is not self._revisions[-1]:",
        "        if False:",
        "a template that is taken up again keeps its old number",
    ),
    Guard(
        UPDATES,
        REVISIONS,
        "if each is not self.update and not in_use(each)]",
        "if each is not self.update]",
        "a revision that pods are made of is forgotten",
    ),
    Guard(
        UPDATES,
        REVISIONS,
        '**self._template, "$patch": "replace"',
        "**self._template",
        "a revision that is applied leaves what it does not have",
    ),
    Guard(
        TESTS,
        PODS,
        "and text.isdecimal() and str(int(text)) == text:",
        "and text.isdecimal():",
        "db-01 passes for an ordinal",
    ),
    Guard(
        SHELL,
        WRITER,
        "return controller is not None and controller.uid == obj.uid",
        "return True",
        "somebody else's pod passes for the set's",
    ),
    Guard(
        SHELL,
        "clients/controllers/adoption.py",
        '    if not selects(label_selector_of(owner.spec.get("selector") or {}), found.labels.get):\n',
        "    if False:\n",
        "a pod that the set does not select is adopted",
    ),
    Guard(
        SHELL,
        WRITER,
        "        if controller is None and may_adopt(obj, found, wanted):\n",
        "        if False:\n",
        "orphans are not adopted",
    ),
    Guard(
        SHELL,
        WRITER,
        "            self._bursts[obj.key] = 1\n",
        "",
        "after a refusal as many are tried again",
    ),
)


def arguments(folder: Path, tests: str) -> Sequence[str]:
    return [str(folder / HERE / tests)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], GUARDS, COPIED_TESTS, arguments, RUN_SECONDS_MAX))
