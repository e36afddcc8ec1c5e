"""What keeps static pods and their mirrors as they should be, taken out bit by bit: for each, a test must fail.

    .venv/bin/python -m tests.clients.kubelet.static_guards

How they are taken out is tests/seeding.py's. Not part of `make test`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ...seeding import Bug as Guard
from ...seeding import main

HERE = "tests/clients/kubelet"
COPIED_TESTS = (HERE,)
RUN_SECONDS_MAX = 300

TESTS = f"{HERE}/test_static_pods.py"
STATIC = "clients/kubelet/static_pods.py"
CORE = "clients/kubelet/core.py"
SHELL = "clients/kubelet/hollow.py"

GUARDS = (
    Guard(
        TESTS,
        SHELL,
        "                nursery.start_soon(self._span, self._resource_client)\n",
        "",
        "daemons are not watched",
    ),
    Guard(
        TESTS,
        CORE,
        "        if partition == self.home and is_mirror(message):\n",
        "        if False:\n",
        "a mirror is run as if it was a pod",
    ),
    Guard(
        TESTS,
        CORE,
        "            self.static.view_complete(view)\n",
        "            pass\n",
        "a mirror in a view is run as if it was a pod",
    ),
    Guard(
        TESTS,
        CORE,
        "            self.static.deleted(uid)\n",
        "            pass\n",
        "a mirror that is gone is not made again",
    ),
    Guard(
        TESTS,
        STATIC,
        "if mirror.going or mirror.hash",
        "if mirror.hash",
        "a mirror that is being deleted stays so",
    ),
    Guard(
        TESTS,
        STATIC,
        "mirror.hash != pod.hash or ",
        "",
        "the mirror of another manifest stays",
    ),
    Guard(
        TESTS,
        STATIC,
        " or (self._node_uid and mirror.node_uid != self._node_uid)",
        "",
        "the mirror names a Node that is no more",
    ),
    Guard(
        TESTS,
        STATIC,
        "            self._end_stranger(message)\n",
        "            pass\n",
        "the mirror of a manifest that is gone stays",
    ),
    Guard(
        TESTS,
        STATIC,
        "        if metadata.resource_version > pod.acknowledged_revision:",
        "        if True:",
        "a mirror that is older than what was written is written again",
    ),
    Guard(
        TESTS,
        STATIC,
        "            pod.mirror, pod.acknowledged_revision = None, 0  # Another history may begin here.\n",
        "            pass\n",
        "a mirror that its partition has forgotten is not made again",
    ),
)


def arguments(folder: Path, tests: str) -> Sequence[str]:
    return [str(folder / tests)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], GUARDS, COPIED_TESTS, arguments, RUN_SECONDS_MAX))
