"""Guards taken out one by one: for each, a test of the contract must fail.

    .venv/bin/python -m tests.partitions.contract.guards               all of them, a few minutes
    .venv/bin/python -m tests.partitions.contract.guards s7 watching   those with one of the words

How they are taken out is tests/seeding.py's. Not part of `make test`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ...seeding import Bug as Guard
from ...seeding import main

HERE = "tests/partitions/contract"
COPIED_TESTS = ("tests/storage/watch_promises.py", "tests/partitions/conftest.py", HERE)
RUN_SECONDS_MAX = 120

# Of the names of tests, as for pytest -k.
ANY_TEST = "core"
SCARCE = "scarce"

GUARDS = (
    # --- the scenarios ---
    Guard(
        "test_s1 and memory",
        "clients/reads.py",
        "        if request.resource_version != ANY:\n",
        "        if True:\n",
        "a client asks for any state, whatever it has seen",
    ),
    Guard(
        "test_s6 and core",
        "partitions/history.py",
        "floor = max(store.compacted, store.head - WINDOW_AT_OPEN)",
        "floor = store.compacted + 2",
        "the window of a successor lacks the first changes behind the floor",
    ),
    Guard(
        "test_s6 and core",
        "storage/index.py",
        "kept_from = end - 1 if end > 1",
        "kept_from = end if end > 1",
        "what holds at the floor is compacted",
    ),
    Guard(
        "test_s7",
        "partitions/watches/lane.py",
        "        if watch.position < cache.floor:\n            return None\n",
        "",
        "a watch that has fallen out of the window goes on behind the gap",
    ),
    Guard(
        "test_s8_no_bookmark",
        "partitions/watches/lane.py",
        "bookmark = 0 if self._ready else self._history.cache.head",
        "bookmark = self._history.cache.head",
        "a bookmark although more is to be sent",
    ),
    Guard(
        "test_s8_a_watch_of and core",
        "partitions/watches/lane.py",
        "        if start.resource_version > cache.head:\n",
        "        if False:\n",
        "a watch of a revision that is to come",
    ),
    Guard(
        "test_s8_a_watch_that and memory",
        "clients/watches.py",
        "                if watch.id in self._open:",
        "                if True:",
        "a bookmark for a watch that was refused",
    ),
    Guard(
        "test_s16_a_client and memory",
        "clients/reads.py",
        "            if not request.incarnation:\n                raise\n",
        "            raise\n",
        "a client that is told of another incarnation does not begin anew",
    ),
    Guard(
        "test_s16_an_informer and memory",
        "partitions/watches/lane.py",
        "        if start.resource_version > cache.head:\n",
        "        if False:\n",
        "an informer from the future waits for it",
    ),
    Guard(
        "test_s17_a_deletion and core",
        "partitions/state.py",
        "            if record.previous_revision and old is None:",
        "            if False:",
        "a change from the log has no state before it",
    ),
    Guard(
        "test_s17_what and core",
        "partitions/cache/collection.py",
        "            del self.entries[old.key]\n",
        "            self.entries[old.key] = old\n",
        "a deleted object stays in the cache",
    ),
    Guard(
        "test_s21 and core",
        "partitions/reads/listing.py",
        "        head = query.history.cache.head\n        if query.revision is None",
        "        head = query.history.store.staged_head\n        if query.revision is None",
        "a list says a revision that is not published",
    ),
    Guard(
        "test_s21 and core",
        "partitions/history.py",
        "            self.cache.publish(change)\n",
        "            self.cache.publish(change) if change.revision % 4 else self.cache.pass_over(change.revision)\n",
        "a change is passed over",
    ),
    # --- where everything is scarce ---
    Guard(
        SCARCE,
        "partitions/watches/sharing.py",
        "        if position < self._from:\n            return None\n",
        "",
        "events that are no longer shared are not looked for",
    ),
    Guard(
        SCARCE,
        "partitions/watches/sharing.py",
        "return None if found and found[0].first <= position else found",
        "return found",
        "a chunk is sent of which a part was sent before",
    ),
    Guard(
        SCARCE,
        "partitions/watches/sharing.py",
        "                self._from = oldest.head\n",
        "",
        "what is dropped is taken for kept",
    ),
    Guard("test_s7", "partitions/cache/window.py", "        self.floor = page.last\n", "", "the window has a hole"),
    # --- the contract at large ---
    Guard(
        "of_another_incarnation and core",
        "partitions/watches/lane.py",
        "        if start.incarnation and start.incarnation != history.store.incarnation:\n",
        "        if False:\n",
        "a watch of another incarnation goes on",
    ),
    Guard(
        ANY_TEST,
        "partitions/reads/listing.py",
        "    if selection.everything:\n        return _chunks(query, revision, candidates)\n"
        "    return _selected(query, revision, candidates)\n",
        "    def late():\n        yield from _selected(query, revision, query.history.cache.collections["
        "selection.kind.resource].candidates(selection, query.start))\n    return late()\n",
        "what a list shows is taken when it is read",
    ),
    Guard(
        ANY_TEST,
        "partitions/watches/sharing.py",
        "            return self._of(frames.MODIFIED if was else frames.ADDED, new, selection.metadata_only)",
        "            return self._of(frames.MODIFIED if old else frames.ADDED, new, selection.metadata_only)",
        "an object that enters a selection is said to be modified",
    ),
    Guard(
        ANY_TEST,
        "partitions/watches/groups.py",
        "            if place >= 0 and old is not None and (before := _field(old, place)) != value:\n",
        "            if False:\n",
        "the group that an object leaves by its field is not told",
    ),
    Guard(
        ANY_TEST,
        "partitions/watches/lane.py",
        "            self._opening[watch] = iter(",
        "            watch.position = 0\n            self._opening[watch] = iter(",
        "changes since the initial objects are told from the beginning",
    ),
    Guard(
        ANY_TEST,
        "partitions/reads/continuing.py",
        "    return sha256(selection.SerializeToString(deterministic=True)).digest()[:QUERY_BYTES]",
        '    return b"any"',
        "a token goes with any query",
    ),
    Guard(
        ANY_TEST,
        "partitions/reads/listing.py",
        "        revision = token.revision or None\n",
        "        revision = None\n",
        "the next page is of the newest revision",
    ),
    Guard(
        ANY_TEST,
        "partitions/writes/mutations.py",
        "            if history.cache.head < revision:\n",
        "            if False:\n",
        "a write is answered before it is durable",
    ),
    Guard(
        ANY_TEST,
        "partitions/writes/plans.py",
        "    if resource_version and resource_version != entry.revision:\n",
        "    if resource_version and resource_version > entry.revision:\n",
        "a stale update is taken",
    ),
    Guard(
        ANY_TEST,
        "partitions/reads/freshness.py",
        "        for waiting in [waiting for waiting in self._waiting if waiting.revision <= revision]:\n",
        "        for waiting in [waiting for waiting in self._waiting if waiting.revision < revision]:\n",
        "a read is not told that its revision has come",
    ),
    Guard(
        "goes_on_sending and grpc",
        "clients/transport/_grpc_pump.py",
        "        await call.code()  # Nothing can be sent because it has ended: how is what comes next.\n",
        "        call._cython_call.set_internal_error('gone')\n",
        "gRPC's own error in the place of the partition's",
    ),
    Guard(
        "fuzz and core",
        "partitions/requests/request.py",
        "    except DecodeError as error:\n",
        "    except ZeroDivisionError as error:\n",
        "bytes that are no message are not expected",
    ),
    Guard(
        "fuzz and core",
        "partitions/reads/continuing.py",
        "    except (ValueError, TypeError, binascii.Error, msgpack.UnpackException):\n",
        "    except (binascii.Error, msgpack.UnpackException):\n",
        "a token that is something else is not expected",
    ),
)


def arguments(_folder: Path, tests: str) -> Sequence[str]:
    return ["-k", tests, HERE]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], GUARDS, COPIED_TESTS, arguments, RUN_SECONDS_MAX))
