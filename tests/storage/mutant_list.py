"""The bugs that mutants.py seeds: what is replaced by what, and what that breaks."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    file: str  # In storage/.
    old: str  # Occurs exactly once.
    new: str
    why: str


MUTANTS = (
    # --- staging ---
    Mutant("log_store.py", "expected != newest[0]:", "expected > newest[0]:", "a stale revision is accepted"),
    Mutant("log_store.py", "if deleted and not newest[0]:", "if False:", "what does not exist is deleted"),
    Mutant(
        "log_store.py",
        "of_batch.get(key) or self._index.newest(key)",
        "self._index.newest(key)",
        "a change does not find the one before it in its batch",
    ),
    Mutant(
        "log_store.py",
        "of_batch[key] = (0, 0) if deleted else (revision, newest[1] or revision)",
        "of_batch[key] = (revision, newest[1] or revision)",
        "a deletion is overlooked within its batch",
    ),
    Mutant("log_store.py", "created or revision, previous", "revision, previous", "each change begins a life"),
    Mutant(
        "log_store.py",
        "        self._staged_head = revision\n        self._staged_keys",
        "        self._staged_keys",
        "revisions are given out twice",
    ),
    # --- staging one plain change, with one look into the index ---
    Mutant(
        "log_store.py",
        "        self._staged_head = revision\n        self._bytes",
        "        self._bytes",
        "plain: revisions are given out twice",
    ),
    Mutant(
        "log_store.py", "        self._bytes += size\n        if deleted", "        if deleted", "plain: not counted"
    ),
    Mutant(
        "log_store.py", "if lease or leases is None or", "if leases is None or", "plain: a lease asked for is forgotten"
    ),
    Mutant("log_store.py", "key in leases.attached or ", "", "plain: a key that had a lease keeps it"),
    Mutant(
        "log_store.py", "leases.attached or key < _RESERVED_END:", "leases.attached:", "plain: the store's own keys"
    ),
    Mutant("log_store.py", "if self._bytes >= self._bytes_max or self", "if self", "plain: the quota does not hold"),
    Mutant(
        "log_store.py",
        "_bytes_max or self._failure is not None:",
        "_bytes_max:",
        "plain: goes on behind a failed commit",
    ),
    Mutant(
        "log_store.py",
        "if (expected is not None and expected != newest) or (deleted and not newest):",
        "if False:",
        "plain: a value is made before its preconditions are checked",
    ),
    Mutant("log_store.py", "        elif not previous:", "        else:", "plain: every put counts as a key"),
    Mutant(
        "log_store.py",
        "            self._staged_keys -= 1\n",
        "            pass\n",
        "plain: a deleted key still counts",
    ),
    Mutant(
        "index.py",
        "            if deleted or expected:\n                return None\n            self._entries",
        "            self._entries",
        "plain: what does not exist is deleted",
    ),
    Mutant(
        "index.py",
        "            if deleted or expected:\n                return None\n            entry[0]",
        "            entry[0]",
        "plain: what was deleted is deleted again",
    ),
    Mutant(
        "index.py",
        "            entry[0] = revision\n            entry.append(revision * 2)",
        "            entry.append(revision * 2)",
        "plain: a new life begins with the old one",
    ),
    Mutant(
        "index.py",
        "expected != previous:\n                return None",
        "False:\n                return None",
        "plain: stale, second change",
    ),
    Mutant(
        "index.py",
        "expected != previous:\n            return None",
        "False:\n            return None",
        "plain: stale, later change",
    ),
    Mutant("index.py", "return previous, entry[0]", "return previous, previous", "plain: each change begins a life"),
    # --- quota ---
    Mutant(
        "log_store.py", "if self._bytes >= self._bytes_max:", "if self._bytes > self._bytes_max:", "quota off by one"
    ),
    Mutant("log_store.py", "not (change.deleted or change.reserve)", "not change.deleted", "no reserve"),
    Mutant("log_store.py", "any(not (change", "all(not (change", "a deletion takes puts along into a full store"),
    Mutant(
        "log_store.py", "        self._bytes += size\n        self._staged +=", "        self._staged +=", "not counted"
    ),
    Mutant("log_store.py", "self._bytes -= freed[0]", "pass", "what is erased is still counted"),
    Mutant("log_store.py", "            self._nospace = True\n", "", "no alarm"),
    Mutant("log_store.py", "if self._bytes < self._bytes_max:", "if False:", "the alarm stays"),
    Mutant("log_store.py", "if self._bytes < self._bytes_max:", "if True:", "the alarm clears without room"),
    # --- committing ---
    Mutant(
        "log_store.py",
        "        self._committing = True\n",
        "        self._committing = True\n        self._head = self._staged_head\n",
        "published before it is durable",
    ),
    Mutant("log_store.py", "self._staged, self._staged_keys = [], 0", "self._staged_keys = 0", "committed twice"),
    Mutant("log_store.py", "self._staged, self._staged_keys = [], 0", "self._staged = []", "keys counted twice"),
    Mutant(
        "log_store.py",
        "            self._durable_floor = floor\n            if batch:",
        "            done(batch)\n            self._durable_floor = floor\n            if batch:",
        "acknowledged before it can be read",
    ),
    Mutant(
        "log_store.py",
        'self._fail("writing the commit", error)\n                return',
        'self._fail("writing the commit", error)',
        "a commit that failed is acknowledged",
    ),
    Mutant("log_store.py", "keys += (not previous) - deleted", "keys += 1 - deleted", "every put counts as a key"),
    # --- reading ---
    Mutant("log_store.py", "if revision > self._head:", "if revision > self._staged_head:", "staged can be read"),
    Mutant("log_store.py", "if revision < self._floor:", "if revision <= self._floor:", "the floor is refused"),
    Mutant(
        "log_store.py",
        "            self._check_readable(revision)  # Time",
        "            # Time",
        "a range overtaken by compaction has gaps",
    ),
    Mutant("log_store.py", "            left -= len(records)\n", "", "a range exceeds its limit"),
    Mutant("log_store.py", "after + limit) if limit", "after + limit + 1) if limit", "a log exceeds its limit"),
    Mutant("index.py", "bound = revision * 2 + 1", "bound = revision * 2", "a deletion is not seen at its revision"),
    Mutant("index.py", "if key in self._entries]", "]", "keys that are gone stay in the order"),
    Mutant("digest.py", "len(key), len(record.value)", "0, 0", "a digest does not tell where a key ends"),
    Mutant(
        "digest.py",
        "record.create_revision, record.revision",
        "record.revision, record.revision",
        "a digest overlooks another life",
    ),
    # --- compaction ---
    Mutant(
        "index.py", "if end > 1 and not entry[end - 1] & 1 else", "if end > 1 else", "a deletion at the floor leaks"
    ),
    Mutant("index.py", "kept_from = end - 1 if end > 1", "kept_from = end if end > 1", "what holds at the floor goes"),
    Mutant(
        "index.py", "bisect_right(entry, floor * 2 + 1, 1)", "bisect_right(entry, floor * 2, 1)", "tombstone at floor"
    ),
    Mutant(
        "sweep.py",
        "self._garbage = merge(*self._runs)",
        "self._garbage = iter([one for run in self._runs for one in run])",
        "garbage is not erased oldest first",
    ),
    Mutant(
        "log_store.py",
        "        floor = self._floor\n        freed",
        "        floor = self._durable_floor\n        freed",
        "records are erased above the floor on disk",
    ),
    Mutant("log_store.py", "self._swept_floor = sweep.floor", "self._swept_floor = self._floor", "a sweep overtaken"),
    Mutant("memory.py", "self._records.pop(revision)", "self._records[revision]", "nothing is erased from memory"),
    Mutant("compaction.py", "[0][0] >= self._keep_seconds", "[0][0] > self._keep_seconds", "history kept too long"),
    Mutant(
        "compaction.py", "if revision <= self._compacted:", "if revision < self._compacted:", "compacted for nothing"
    ),
    Mutant("compaction.py", "max(revision, head - self._keep_changes)", "head", "no history is kept"),
    # --- opening and the disk ---
    Mutant("log_store.py", "if record.revision != self._head:", "if False:", "a gap in the log is not found"),
    Mutant(
        "records.py",
        "if end < _HEADER_BYTES or _unpack_checksum",
        "if end < _HEADER_BYTES and _unpack_checksum",
        "no checksum",
    ),
    Mutant("records.py", "crc32(data[:end], crc32(key))", "crc32(data[:end])", "a checksum without its revision"),
    Mutant("lmdb_store.py", "create=False,", "create=False, sync=False,", "no sync"),
    Mutant("lmdb_store.py", "create=False,", "create=False, metasync=False,", "half a sync"),
    # --- watch ---
    Mutant("watch.py", "record.key.startswith(self._prefix)", "self._prefix in record.key", "watch: wrong keys"),
    Mutant(
        "watch.py",
        "        return taken\n",
        "        self._revision = self._store.head\n        return taken\n",
        "watch: the bookmark runs ahead of what was taken",
    ),
    Mutant("watch.py", "if len(taken) == limit or", "if len(taken) > limit or", "watch: more than the limit"),
    Mutant("watch.py", "size >= TAKE_BYTES", "False", "watch: no bound on what is held"),
    Mutant("watch.py", "limit=LOOK_RECORDS", "limit=0", "watch: no bound on what is looked at"),
    Mutant("watch.py", "self._revision = record.revision", "self._revision += len(taken) or 1", "watch: position lost"),
    Mutant(
        "log_store.py",
        "            if batch:\n                self._wake_watches()",
        "            self._wake_watches()",
        "watch: woken for nothing",
    ),
    Mutant("log_store.py", "if watch in self._watches:", "if True:", "watch: woken after it was closed"),
    Mutant(
        "log_store.py",
        "            done(batch)\n            if batch:\n                self._wake_watches()\n",
        "            if batch:\n                self._wake_watches()\n            done(batch)\n",
        "watch: woken before the writer has its answer",
    ),
    # --- leases ---
    Mutant("leases.py", "self._ends[0][0] <= now", "self._ends[0][0] < now", "leases: a moment too late"),
    Mutant("leases.py", "elif found.ends_at > not_before:", "elif False:", "leases: ended although renewed"),
    Mutant("leases.py", "max(found.ends_at, ends_at)", "ends_at", "leases: a clock that jumps back shortens them"),
    Mutant(
        "leases.py", "if lease != attached:", "if lease and lease != attached:", "leases: a put without one keeps it"
    ),
    Mutant("leases.py", "                if attached:\n", "                if False:\n", "leases: a key has two"),
    Mutant("leases.py", "            self._untimed[lease] = None\n", "", "leases: not restarted at opening"),
    Mutant(
        "leases.py", "if ended and changes > EXPIRE_CHANGES", "if changes > EXPIRE_CHANGES", "leases: large ones stay"
    ),
    Mutant(
        "leases.py", "            self._untimed.pop(lease, None)\n", "", "leases: revoked before their time was known"
    ),
    Mutant("leases.py", "            self._clear_outdated()\n", "", "leases: the queue of ends leaks"),
    Mutant("leases.py", 'b"", reserve=True)', 'b"")', "leases: no attachment in the reserve"),
    Mutant("log_store.py", "key in attached or", "", "leases: a deletion does not detach"),
    Mutant(
        "log_store.py",
        "key in attached or key < _RESERVED_END:",
        "key in attached:",
        "leases: anybody writes the store's own keys",
    ),
    Mutant(
        "log_store.py", "if of_a_lease else b", "if False else b", "leases: the time to live is not read at opening"
    ),
    # --- what is refused ---
    Mutant("log_store.py", "revision is not None and revision != newest:", "False:", "guards: any revision will do"),
    Mutant("log_store.py", "create_revision is not None and create_revision != created:", "False:", "guards: any life"),
    Mutant("log_store.py", "revision is create_revision is None and not newest:", "False:", "guards: on nothing"),
    Mutant("log_store.py", "create_revision != created:", "create_revision != newest:", "guards: a life is a revision"),
    Mutant("log_store.py", "            self._check_guards(guards)\n", "", "guards: not looked at"),
    Mutant("records.py", "if not 0 < key_bytes <=", "if not 0 <= key_bytes <=", "an empty key is taken"),
    Mutant("records.py", "key_bytes <= KEY_BYTES_MAX:", "len(key) <= KEY_BYTES_MAX:", "a key too long in bytes"),
    Mutant("records.py", "if len(value) > VALUE_BYTES_MAX:", "if len(value) >= VALUE_BYTES_MAX:", "a limit off by one"),
    Mutant("records.py", "if len(value) > VALUE_BYTES_MAX:", "if False:", "a value of any size is taken"),
    # --- the checkpoint of the index ---
    Mutant("checkpoint.py", "crc32(memoryview(data)[:end]) != name.checksum", "False", "a flipped byte is believed"),
    Mutant("checkpoint.py", "or of != incarnation.encode() ", "", "a checkpoint of another store is believed"),
    Mutant("checkpoint.py", "numbers[end - 1] & 1 for", "0 for", "checkpoint: deleted keys count as living"),
    Mutant("checkpoint.py", "if count > 1)", "if count > 2)", "checkpoint: the beginning of a life counts as a change"),
    Mutant("checkpoint.py", "if path.name != kept:", "if False:", "checkpoints pile up"),
    Mutant("checkpoint.py", "if path.name != kept:", "if True:", "checkpoint: removed as soon as it is there"),
    Mutant("checkpoint.py", "self.captured = len(keys) < CAPTURE_KEYS", "self.captured = True", "half a checkpoint"),
    Mutant("checkpoint.py", "return self._written == len(self._data)", "return True", "a checkpoint cut short"),
    Mutant("checkpoint.py", '"<HQQQQQQH"', '">HQQQQQQH"', "checkpoint: another format"),
    Mutant(
        "lmdb_store.py",
        "elif not draft.writing and draft.revision <= self._head:",
        "elif not draft.writing:",
        "checkpoint: named before what it knows is committed",
    ),
    Mutant(
        "lmdb_store.py",
        "description._replace(checkpoint=None) if revisions else description",
        "description",
        "checkpoint: not withdrawn when something is erased",
    ),
    Mutant(
        "lmdb_store.py",
        "            self._draft = None  # Changes leave the index.\n",
        "",
        "checkpoint: written into a sweep",
    ),
    Mutant("lmdb_store.py", "if record.revision > captured:", "if True:", "checkpoint: bytes counted twice"),
    Mutant("lmdb_store.py", "if self._index.last(record.key) >= record.revision:", "if False:", "checkpoint: twice"),
    Mutant(
        "lmdb_store.py",
        ' and changes == self._environment.stat()["entries"] - 1',
        "",
        "checkpoint: a record that was lost is not missed",
    ),
    Mutant("lmdb_store.py", "if sweeping or self", "if self", "checkpoint: at closing, in the middle of a sweep"),
    Mutant(
        "lmdb_store.py", " or self._staged_head != self._head or not", " or not", "checkpoint: at closing, of staged"
    ),
    Mutant("lmdb_store.py", "and self._head >= self._draft_not_below", "", "checkpoint: tried again at once"),
    Mutant(
        "lmdb_store.py",
        "        checkpoint.remove_others(self._path, ",
        "        (lambda *_: None)(self._path, ",
        "checkpoint: the one before it stays",
    ),
    # --- snapshot, restore, defragment ---
    Mutant("snapshot.py", "if last is not None and revision > last:", "if False:", "a snapshot of two moments"),
    Mutant("snapshot.py", "decode(key, data).revision", "int.from_bytes(key)", "damage is copied"),
    Mutant("snapshot.py", "path.with_name(path.name + PARTIAL_SUFFIX)", "path", "a snapshot has its name too early"),
    Mutant("snapshot.py", "checker.head + REVISIONS_FORWARD", "checker.head", "restored: no revision of its own"),
    Mutant(
        "snapshot.py",
        'Description(head, f"{incarnation_random.getrandbits(128):032x}")',
        "Description(head, description.incarnation)",
        "restored: taken for the old one",
    ),
    Mutant("snapshot.py", "Description(head, f", "Description(checker.head, f", "restored: a floor with a gap above"),
    Mutant(
        "snapshot.py", "if any(name != directory.LOCK_FILE", "if False and any(name", "restored over something else"
    ),
    Mutant(
        "snapshot.py", "checker.index.newest, keys) if revision", "checker.index.newest, keys)", "restored: deleted"
    ),
    Mutant(
        "snapshot.py",
        """        with environment.begin(write=True) as transaction:
            transaction.put(DESCRIPTION_KEY, encode_description(description))
        failpoint("defragment-before-swap")
""",
        """        failpoint("defragment-before-swap")
""",
        "defragment: the floor moves back",
    ),
    Mutant(
        "log_store.py", "        if self._copying:  # A copy", "        if False:  # A copy", "a sweep goes into a copy"
    ),
    Mutant(
        "snapshot.py", "                    break\n", "                    pass\n", "a step of a copy without bound"
    ),
    # --- verify ---
    Mutant("verify.py", "if previous != before:", "if False:", "verify: a change may follow anything"),
    Mutant("verify.py", "if created != (life or revision):", "if False:", "verify: a life may begin anywhere"),
    Mutant("verify.py", "if revision != self.head:", "if False:", "verify: a missing revision"),
    Mutant("verify.py", "if deleted and not previous:", "if False:", "verify: a deletion of nothing"),
    Mutant("verify.py", "if entries - 1 != checker.records:", "if False:", "verify: the log's own count"),
    Mutant("verify.py", "        _check_leases(checker.index)\n", "", "verify: leases"),
    Mutant(
        "verify.py", "for needed in (lease_key(lease), attached):", "for needed in (attached,):", "verify: no lease"
    ),
    Mutant("verify.py", "if ours != theirs or", "if", "verify: a checkpoint that contradicts the log"),
    Mutant("verify.py", " or size != checker.bytes:", ":", "verify: a checkpoint that counts wrong"),
    Mutant("verify.py", "(created == revision) != (previous == 0)", "False", "verify: a life without a beginning"),
    # --- the directory ---
    Mutant("directory.py", "_flock(descriptor, fcntl.LOCK_EX)", "_flock(descriptor, fcntl.LOCK_SH)", "two openers"),
    Mutant("directory.py", "if DATA_FILE not in names and any(", "if False and any(", "directory: not ours"),
    Mutant("directory.py", "if there + _UNWRITTEN_BYTES_MAX < needed:", "if False:", "directory: cut short"),
    Mutant("directory.py", "if DATA_FILE in names and 0 <", "if False and 0 <", "directory: cut shorter"),
    Mutant(
        "directory.py", "        sync_directory(place.parent)\n", "        pass\n", "directory: made, but not durably"
    ),
    # --- more of leases ---
    Mutant("leases.py", "ends_at = now + found.ttl_seconds", "ends_at = now", "leases: no time to live"),
    Mutant(
        "leases.py", "wanted[change.key] = change.lease", "wanted.setdefault(change.key, change.lease)", "leases: first"
    ),
    Mutant(
        "leases.py",
        "heapq.heapreplace(self._ends, (found.ends_at, lease))",
        "heapq.heappop(self._ends)",
        "leases: for ever",
    ),
    Mutant("leases.py", "        while lease in self._leases:\n            lease += 1\n", "", "leases: a number twice"),
    Mutant("leases.py", "                self._find(change.lease)\n", "", "leases: of an unknown one"),
    Mutant(
        "log_store.py", "        leases.keep_alive(lease, now)\n        return", "        return", "leases: not timed"
    ),
    # --- steps, threads ---
    Mutant("steps.py", "if error is not None or not more:", "if not more:", "steps: go on behind a failure"),
    Mutant(
        "committer.py", "        while self._outcomes:\n            self._report()\n", "", "closing reports nothing"
    ),
    Mutant("digest.py", "return None if left == 0 else", "return", "a digest of the first step"),
)
