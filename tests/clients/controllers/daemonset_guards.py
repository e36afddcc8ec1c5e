"""What keeps a DaemonSet to one pod a node, and its room accounted for, taken out: for each, a test must fail.

    .venv/bin/python -m tests.clients.controllers.daemonset_guards            all of them, some minutes
    .venv/bin/python -m tests.clients.controllers.daemonset_guards room       those with one of the words

How they are taken out is tests/seeding.py's. Not part of `make test`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ...seeding import Bug as Guard
from ...seeding import main

HERE = "tests/clients/controllers"
COPIED_TESTS = ("tests/partitions/conftest.py", "tests/partitions/test_node_pods.py", HERE)
RUN_SECONDS_MAX = 300

TESTS = f"{HERE}/test_daemonset_core.py"
SHELL = f"{HERE}/test_daemonset.py"
ROOM = "tests/partitions/test_node_pods.py"
CORE = "clients/controllers/daemonset_core.py"
NODES = "clients/controllers/daemonset_nodes.py"
SERVER = "partitions/writes/node_pods.py"

GUARDS = (
    Guard(
        TESTS,
        "clients/controllers/job_core.py",
        "return job.resource_version <= pods_revision <= jobs_revision",
        "return job.resource_version <= pods_revision",
        "the view of nodes may be behind that of pods",
    ),
    Guard(
        TESTS,
        CORE,
        "        if wish.wanted and not self._pods.get(node):\n",
        "        if wish.wanted and not alive:\n",
        "a pod is made beside one that is still going",
    ),
    Guard(
        TESTS,
        CORE,
        "        if not wish.may_stay:\n",
        "        if False:\n",
        "a node that drives its pods out keeps them",
    ),
    Guard(
        TESTS,
        CORE,
        "candidates[: max(self._unavailable_max - unavailable, 0)]",
        "candidates[: self._unavailable_max]",
        "an update does not count who is unavailable already",
    ),
    Guard(
        TESTS,
        CORE,
        "unavailable = len(self._wanted) - len(settled)",
        "unavailable = 0",
        "an update does not count nodes without a pod",
    ),
    Guard(
        TESTS,
        CORE,
        "candidates[: max(self._surge_max - surging, 0)]",
        "candidates[: self._surge_max]",
        "an update that surges does not count who surges already",
    ),
    Guard(
        TESTS,
        CORE,
        "                if self._is_available(new):\n                    self._delete(old)\n",
        "                if True:\n                    self._delete(old)\n",
        "an update that surges does not wait for the new pod",
    ),
    Guard(
        TESTS,
        CORE,
        "        if self._rolls:\n            (self",
        "        if True:\n            (self",
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
        TESTS,
        CORE,
        "        if self._set.deletion_ms:\n            return\n",
        "",
        "a set that is being deleted makes pods",
    ),
    Guard(
        TESTS,
        NODES,
        'each for each in taints if each.effect == "NoExecute"',
        "each for each in taints",
        "a taint that keeps new pods away drives out those that are there",
    ),
    Guard(
        SHELL,
        "clients/controllers/plan_writer.py",
        "_OF_ONE = (_NO_ROOM, AlreadyExists.reason)",
        "_OF_ONE = (AlreadyExists.reason,)",
        "room: one node without it holds up all",
    ),
    Guard(
        SHELL,
        "clients/controllers/daemonset.py",
        '            for uid in self._crowded.clear(decode(event.object.message.spec)["node"]):\n'
        "                self._later(self._keys[uid])\n",
        "            pass\n",
        "room that has become free is not noticed",
    ),
    Guard(
        ROOM,
        SERVER,
        "        self._ledger.admit(message)\n",
        "",
        "room is not asked for",
    ),
    Guard(
        ROOM,
        SERVER,
        "            elif ended and placement is not None:",
        "            elif write.deleted and placement is not None:",
        "room of a pod that has ended is kept",
    ),
    Guard(
        ROOM,
        SERVER,
        "            self._check_release(write.message)\n",
        "            pass\n",
        "room is taken from a pod that lives",
    ),
    Guard(
        ROOM,
        SERVER,
        '            spec["bound"] = True\n',
        "            pass\n",
        "room: the mirror of what runs anyway is refused",
    ),
)


def arguments(folder: Path, tests: str) -> Sequence[str]:
    return [str(folder / tests)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], GUARDS, COPIED_TESTS, arguments, RUN_SECONDS_MAX))
