"""What makes leaders safe, taken out piece by piece: for each, a test must fail.

    .venv/bin/python -m tests.clients.leader_guards               all of them, a few minutes
    .venv/bin/python -m tests.clients.leader_guards fencing       those with one of the words

How they are taken out is tests/seeding.py's. Not part of `make test`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..seeding import Bug as Guard
from ..seeding import main

HERE = "tests/clients"
CONTRACT = "tests/partitions/contract"
COPIED_TESTS = (
    *(f"{HERE}/{name}.py" for name in ("worlds", "scripted", "candidates", "electorate", "test_mutations")),
    *(
        f"{HERE}/{name}.py"
        for name in (
            "test_leader_election_core",
            "test_leader_election",
            "test_fencing",
            "test_leaders_any_interleaving",
        )
    ),
    "tests/storage/watch_promises.py",
    "tests/partitions/conftest.py",
    CONTRACT,
)
RUN_SECONDS_MAX = 240

CORE = f"{HERE}/test_leader_election_core.py {HERE}/test_leaders_any_interleaving.py"
SHELL = f"{HERE}/test_leader_election.py"
FENCING, SERVER = f"{HERE}/test_fencing.py", f"{CONTRACT}/test_contract_fences.py"

GUARDS = (
    # --- the rules of the election ---
    Guard(
        CORE,
        "clients/leader_election_core.py",
        "self.leads_until = question.asked_at + ",
        "self.leads_until = now + ",
        "the deadline is counted from the answer",
    ),
    Guard(
        CORE,
        "clients/leader_election_core.py",
        "            self._notice_end(now)  # The answer may have come too late.\n",
        "",
        "an answer that comes after the deadline makes a leader",
    ),
    Guard(
        CORE,
        "clients/leader_election_core.py",
        "        if _version(lease) != _version(self._lease):\n            self._seen_at = now\n",
        "        self._seen_at = now\n",
        "a lease that does not change is taken for new with each look",
    ),
    Guard(
        CORE,
        "clients/leader_election_core.py",
        "            self._seen_at = now\n",
        "            self._seen_at = now - 5\n",
        "a standby does not wait for all of the duration",
    ),
    Guard(
        CORE,
        "clients/leader_election_core.py",
        "self._holding.term + 1 if self.term is None",
        "self._holding.term + (self.holder != self._identity) if self.term is None",
        "who takes back the lease goes on in his old term",
    ),
    Guard(
        CORE,
        "clients/leader_election_core.py",
        "        message.CopyFrom(before.message)\n",
        "        message.CopyFrom(before.message)\n        message.metadata.resource_version = 0\n",
        "a lease is written over whatever is there by then",
    ),
    Guard(
        CORE,
        "clients/leader_election_core.py",
        "        if self.term is not None and not self._is_ours():\n            self._lose()\n",
        "",
        "a leader that sees another goes on",
    ),
    Guard(
        SHELL,
        "clients/leader_election.py",
        "            scope.deadline = self._core.leads_until\n",
        "            scope.deadline = trio.current_time() + 60\n",
        "the work does not end at the deadline",
    ),
    Guard(
        SHELL,
        "clients/leader_election.py",
        "            await self._release()\n",
        "            await trio.lowlevel.checkpoint()\n",
        "the lease is not given back",
    ),
    Guard(
        SHELL,
        "clients/leader_election.py",
        "            if not answered:  # Also where the work ends, and this with it.\n"
        "                self._core.unanswered(trio.current_time())\n",
        "            pass\n",
        "a question that ended with the work is waited for without end",
    ),
    # --- fences ---
    Guard(
        FENCING,
        "partitions/state.py",
        "        if writer.fence is not None:\n            self._fences.check(writer.fence)\n",
        "",
        "the partition ignores fences",
    ),
    Guard(
        SERVER,
        "partitions/writes/fences.py",
        "        if entry is not self._entry:\n",
        "        if self._entry is None:\n",
        "what a lease has granted once, it grants",
    ),
    Guard(
        SERVER,
        "partitions/writes/fences.py",
        "(fence.uid, fence.term, fence.holder) == self._granted and holder",
        "(fence.term, fence.holder) == (term, holder) and holder",
        "a lease that was made again is taken for the old one",
    ),
    Guard(
        SERVER,
        "partitions/writes/fences.py",
        "== self._granted and holder:",
        "== self._granted:",
        "a lease that nobody holds lets somebody write",
    ),
    Guard(
        SERVER,
        "partitions/writes/fences.py",
        "(fence.uid, fence.term, fence.holder) == self._granted and holder",
        "fence.uid == uid and fence.term >= term and fence.holder == holder",
        "a term that was never granted here will do",
    ),
    Guard(
        SERVER,
        "partitions/state.py",
        "        if operation.request_id and self._was_done_before(kind, operation, result):\n            return\n"
        "        if writer.fence is not None:\n            self._fences.check(writer.fence)\n",
        "        if writer.fence is not None:\n            self._fences.check(writer.fence)\n"
        "        if operation.request_id and self._was_done_before(kind, operation, result):\n            return\n",
        "what was carried out is refused when it is asked again",
    ),
    Guard(
        FENCING,
        "clients/fencing.py",
        "            if lease is None or held.term < term.number:\n",
        "            if lease is None or held != term[1:]:\n",
        "a leader writes its term over a higher one",
    ),
    Guard(
        FENCING,
        "clients/fencing.py",
        "                await self._election.raise_above(held.term)\n                continue\n",
        "                pass\n",
        "a leader takes another's term for its own",
    ),
    Guard(
        FENCING,
        "clients/fencing.py",
        " or self._asked_for != term:\n",
        ":\n",
        "a term of an older lease at home is taken for one of now",
    ),
    Guard(
        FENCING,
        "clients/fencing.py",
        "            self._fence = None  # The next write looks what is there.\n",
        "            pass\n",
        "a fence that was refused is used again",
    ),
    Guard(
        FENCING,
        "clients/fencing.py",
        "        async with self._advancing:\n            fence = self._known()",
        "        async with trio.Lock():\n            fence = self._known()",
        "many writes advance a term at once",
    ),
    Guard(
        f"{HERE}/test_mutations.py",
        "clients/mutations.py",
        "            if parts and call.fence is not parts[0].call.fence:\n                break\n",
        "",
        "writes of different terms share a batch",
    ),
)


def arguments(_folder: Path, tests: str) -> Sequence[str]:
    return tests.split()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], GUARDS, COPIED_TESTS, arguments, RUN_SECONDS_MAX))
