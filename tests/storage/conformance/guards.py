"""Bugs in the watch cache, in reads, watches and the client, each of which this suite must catch over its subject.

    .venv/bin/python -m tests.storage.conformance.guards                 all of them, a few minutes
    .venv/bin/python -m tests.storage.conformance.guards cache client    those with one of the words

Those in the store itself are tests/storage/mutant_list.py's. How they are seeded is tests/seeding.py's. Not part of
`make test`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ...seeding import Bug, main

HERE = "tests/storage/conformance"
COPIED_TESTS = (
    HERE,
    "tests/storage/watch_promises.py",
    "tests/storage/conftest.py",
    "tests/partitions/contract",
    "tests/partitions/conftest.py",
)
RUN_SECONDS_MAX = 120

# The subject that must notice, by the names of its tests.
CACHE, MEMORY, GRPC = "watch-cache", "client-memory", "client-grpc"

GUARDS = (
    # --- the watch cache ---
    Bug(
        CACHE,
        "partitions/cache/collection.py",
        "            del self.entries[old.key]\n",
        "            self.entries[old.key] = old\n",
        "a deleted object stays in the cache",
    ),
    Bug(
        CACHE,
        "partitions/cache/collection.py",
        "self._order.between(max(prefix, start), ",
        "self._order.between(prefix, ",
        "the next page begins where the first did",
    ),
    Bug(
        CACHE,
        "partitions/cache/key_order.py",
        "                keys.insert(place, key)\n",
        "                keys.append(key)\n",
        "a new key comes last",
    ),
    Bug(CACHE, "partitions/cache/key_order.py", "        merged.sort()\n", "", "many new keys come last"),
    Bug(
        CACHE,
        "partitions/cache/window.py",
        "for at in range(bisect_right(bucket, revision, key=_revision_of), ",
        "for at in range(bisect_right(bucket, revision - 1, key=_revision_of), ",
        "the window begins with a change that was told",
    ),
    Bug(
        CACHE,
        "partitions/cache/window.py",
        "        self._indexed = len(changes)\n",
        "",
        "the window tells a change twice",
    ),
    Bug(
        CACHE,
        "partitions/history.py",
        "            self.cache.publish(change)\n",
        "            self.cache.publish(change) if change.revision % 4 else self.cache.pass_over(change.revision)\n",
        "a change is passed over",
    ),
    # --- reads ---
    Bug(
        CACHE,
        "partitions/reads/listing.py",
        "trailer = _trailer(query, revision, entries[limit].key, remaining)",
        "trailer = _trailer(query, revision, entries[limit - 1].key, remaining)",
        "a page begins with the last item of the one before",
    ),
    Bug(
        CACHE,
        "partitions/reads/listing.py",
        "                    yield _trailer(query, revision, record.key, remaining)\n",
        "                    yield _trailer(query, revision)\n",
        "pages of an older revision end with the first",
    ),
    Bug(
        CACHE,
        "partitions/reads/listing.py",
        "        revision = token.revision or None\n",
        "        revision = None\n",
        "the next page is of the newest revision",
    ),
    Bug(
        CACHE,
        "partitions/reads/listing.py",
        "query.history.store.range(_prefix(query), revision=query.revision, start=query.start)",
        "query.history.store.range(_prefix(query), start=query.start)",
        "an older revision is the newest one's",
    ),
    Bug(
        CACHE,
        "partitions/reads/listing.py",
        "    if not isinstance(error, Compacted):\n",
        "    if True:\n",
        "what is compacted is said to be unavailable",
    ),
    Bug(
        CACHE,
        "partitions/reads/freshness.py",
        "        self.end(too_large(self.revision, self._freshness.reached))\n",
        "        self.end(None)\n",
        "the future is answered with the present",
    ),
    # --- watches ---
    Bug(
        CACHE,
        "partitions/watches/lane.py",
        "        if start.resource_version > cache.head:\n",
        "        if False:\n",
        "a watch waits for the future",
    ),
    Bug(
        CACHE,
        "partitions/watches/lane.py",
        "                resource_version=floor,\n",
        "",
        "a watch that is refused is not told the floor",
    ),
    Bug(
        CACHE,
        "partitions/watches/sharing.py",
        "            last = self._change.final or old\n",
        "            last = old\n",
        "a deletion has the revision of the change before it",
    ),
    Bug(
        CACHE,
        "partitions/watches/sharing.py",
        "frames.MODIFIED if was else frames.ADDED, new",
        "frames.MODIFIED, new",
        "what is created is said to be modified",
    ),
    # --- writes ---
    Bug(
        CACHE,
        "partitions/writes/mutations.py",
        "            if history.cache.head < revision:\n",
        "            if False:\n",
        "a write is answered before it is committed",
    ),
    Bug(
        CACHE,
        "partitions/writes/plans.py",
        "    if resource_version and resource_version != entry.revision:\n",
        "    if resource_version and resource_version > entry.revision:\n",
        "a stale write is taken",
    ),
    # --- administration ---
    Bug(
        CACHE,
        "partitions/administration.py",
        "    store.compact(request.resource_version or store.head)\n",
        "    store.compact(store.head)\n",
        "more is forgotten than was asked for",
    ),
    Bug(
        CACHE,
        "partitions/administration.py",
        "store.digest_steps(request.resource_version or None)",
        "store.digest_steps(None)",
        "the digest is always the newest one",
    ),
    # --- the client ---
    Bug(
        MEMORY,
        "clients/partition_client.py",
        "            exact=exact,\n",
        "",
        "an older state is asked for as any state since",
    ),
    Bug(
        MEMORY,
        "clients/partition_client.py",
        "            limit=limit,\n",
        "            limit=0,\n",
        "a client has no pages",
    ),
    Bug(
        MEMORY,
        "clients/operations.py",
        "preconditions=pb.Preconditions(uid=uid, resource_version=resource_version),\n            grace_seconds",
        "preconditions=pb.Preconditions(uid=uid),\n            grace_seconds",
        "a client deletes whatever there is",
    ),
    Bug(
        MEMORY,
        "clients/watches.py",
        "                lane.resource_version = resource_version\n",
        "                lane.resource_version = resource_version + 1\n",
        "a client's bookmark is ahead of what it was told",
    ),
    Bug(
        MEMORY,
        "clients/watches.py",
        "            request.start.append(watch.start)\n",
        "            watch.start.resource_version = 0\n            request.start.append(watch.start)\n",
        "a client watches from now on",
    ),
    Bug(
        MEMORY,
        "clients/reads.py",
        "        return ObjectList(items, last.resource_version,",
        "        return ObjectList(items[::-1], last.resource_version,",
        "a client turns lists round",
    ),
    # --- the links ---
    Bug(
        GRPC,
        "clients/reads.py",
        "                for chunk in chunks:\n",
        "                for chunk in chunks[:-1]:\n",
        "a client drops the last part of a list",
    ),
    Bug(
        GRPC,
        "proto/errors.py",
        "        resource_version=status.resource_version,\n",
        "",
        "what comes over a link does not tell its revision",
    ),
)


def arguments(_folder: Path, tests: str) -> Sequence[str]:
    return ["-k", tests, HERE]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], GUARDS, COPIED_TESTS, arguments, RUN_SECONDS_MAX))
