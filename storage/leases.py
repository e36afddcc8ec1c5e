"""Leases: keys that go when nobody says any more that they are needed.

A lease lies in the store as ordinary keys with ordinary revisions, under a prefix that is the store's own. So commits,
snapshots, compaction, checkpoints and digests handle leases without knowing of them, and a key and its attachment are
durable in the same commit.

    grant lease 10 for 30 s         put  \\0ursa/leases/000000000000000a        value "30.0"
    put /a with lease 10            put  /a,  put  \\0ursa/leases/000000000000000a//a        value ""
    put /a with no lease            put  /a,  delete  \\0ursa/leases/000000000000000a//a
    the end of lease 10             delete  all its keys, their attachments, and the lease itself, in one batch

When a lease ends is not stored: a renewal writes nothing. Who opens a store does not know how long it was closed, nor
what had been renewed, so each lease begins with its whole time to live, counted from the first moment it is told.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from .store import RESERVED_PREFIX, Change, InvalidKey, LeaseExists, LeaseNotFound

LEASE_PREFIX = f"{RESERVED_PREFIX}leases/"
_ID_DIGITS = 16
LEASE_ID_MAX = (1 << 63) - 1
# As in etcd: longer than anything runs, and still exact as a float.
TTL_SECONDS_MAX = 9_000_000_000
# One call of `expire` ends no more leases than fit into so many changes, but for the first: a few milliseconds.
EXPIRE_CHANGES = 1024
# Outdated entries of the queue of ends are cleared away when they outnumber the leases, and are more than these.
OUTDATED_MAX = 64


def lease_key(lease: int) -> str:
    """The key under which a lease lies; its value is the time to live in seconds, as text."""
    return f"{LEASE_PREFIX}{lease:0{_ID_DIGITS}x}"


def attachment_key(lease: int, key: str) -> str:
    """The key that says that `key` goes with the lease; its value is empty."""
    return f"{lease_key(lease)}/{key}"


def parse_key(own_key: str) -> tuple[int, str | None]:
    """What a key under LEASE_PREFIX is about: a lease, and the key attached to it (None: the lease itself)."""
    end = len(LEASE_PREFIX) + _ID_DIGITS
    return int(own_key[len(LEASE_PREFIX) : end], 16), own_key[end + 1 :] if len(own_key) > end else None


class _Lease:
    __slots__ = ("ends_at", "keys", "ttl_seconds")

    def __init__(self, ttl_seconds: float) -> None:
        self.ttl_seconds = ttl_seconds
        self.ends_at: float | None = None  # Not known until somebody has told the time.
        self.keys: dict[str, None] = {}


class Leases:
    """The leases of a store as of its newest staged change, and when each ends. Stages nothing itself."""

    def __init__(self) -> None:
        # Every attached key and its lease. To be read only.
        self.attached: dict[str, int] = {}
        self._leases: dict[int, _Lease] = {}
        self._untimed: dict[int, None] = {}
        # (not before, lease): a renewal leaves its entry where it is, and is found out when that comes up.
        self._ends: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._leases)

    def __bool__(self) -> bool:
        return True

    # --- what is stored ----------------------------------------------------------------------------------------------

    def learn(self, own_key: str, value: bytes, deleted: bool) -> None:
        """Take note of a change under LEASE_PREFIX that was staged, or is found when a store is opened."""
        lease, key = parse_key(own_key)
        if key is not None:
            if deleted:
                del self._leases[lease].keys[key]
                del self.attached[key]
            else:
                self._leases[lease].keys[key] = None
                self.attached[key] = lease
        elif deleted:
            assert not self._leases[lease].keys, "a lease ends with its keys"
            del self._leases[lease]
            self._untimed.pop(lease, None)
            self._clear_outdated()
        else:
            self._leases[lease] = _Lease(float(value))
            self._untimed[lease] = None

    def check_new(self, lease: int, ttl_seconds: float) -> None:
        """Raises ValueError, LeaseExists."""
        if not 0 < lease <= LEASE_ID_MAX:
            raise ValueError(f"a lease has a number from 1 to {LEASE_ID_MAX}, not {lease}")
        if not 0 < ttl_seconds <= TTL_SECONDS_MAX:
            raise ValueError(f"a lease lives up to {TTL_SECONDS_MAX} seconds, not {ttl_seconds}")
        if lease in self._leases:
            raise LeaseExists(lease)

    def unused(self, lease: int) -> int:
        """This number, or the next one that no lease has."""
        while lease in self._leases:
            lease += 1
        return lease

    def attachments(self, changes: Sequence[Change]) -> list[Change]:
        """What must be staged with these changes, so that each key goes with the lease it was last given.

        Raises LeaseNotFound, and InvalidKey or ValueError for a change that only the store itself may make, or nobody.
        """
        wanted: dict[str, int] = {}
        for change in changes:
            if change.key.startswith(RESERVED_PREFIX):
                raise InvalidKey(change.key, f"what begins with {RESERVED_PREFIX!r} is the store's own")
            if change.lease:
                if change.deleted:
                    raise ValueError(f"{change.key}: a deletion takes no lease")
                self._find(change.lease)
            wanted[change.key] = change.lease
        own: list[Change] = []
        for key, lease in wanted.items():
            attached = self.attached.get(key, 0)
            if lease != attached:
                if attached:
                    own.append(Change(attachment_key(attached, key), b"", deleted=True))
                if lease:
                    # Whether there is room is decided by the change itself.
                    own.append(Change(attachment_key(lease, key), b"", reserve=True))
        return own

    def end_of(self, leases: Sequence[int]) -> tuple[list[Change], list[Change]]:
        """The deletions that end these leases: of their keys, and of the leases themselves. Raises LeaseNotFound."""
        keys = [key for lease in leases for key in self._find(lease).keys]
        own = [Change(lease_key(lease), b"", deleted=True) for lease in leases]
        return [Change(key, b"", deleted=True) for key in keys], own

    # --- time --------------------------------------------------------------------------------------------------------

    def keep_alive(self, lease: int, now: float) -> float:
        """Renew: the time before which it does not end. Never earlier than it was. Raises LeaseNotFound."""
        found = self._find(lease)
        ends_at = now + found.ttl_seconds
        if found.ends_at is None:
            del self._untimed[lease]
            heapq.heappush(self._ends, (ends_at, lease))
            found.ends_at = ends_at
        else:
            found.ends_at = max(found.ends_at, ends_at)
        return found.ends_at

    def ended(self, now: float) -> list[int]:
        """Leases whose time is over, the longest over first; as many as fit into one batch. Asked again, others."""
        for lease in list(self._untimed):
            self.keep_alive(lease, now)
        ended: dict[int, None] = {}
        changes = 0
        while self._ends and self._ends[0][0] <= now:
            not_before, lease = self._ends[0]
            found = self._leases.get(lease)
            if found is None or found.ends_at is None:
                heapq.heappop(self._ends)
            elif found.ends_at > not_before:
                heapq.heapreplace(self._ends, (found.ends_at, lease))
            else:
                changes += 1 + 2 * len(found.keys)
                if ended and changes > EXPIRE_CHANGES:
                    break
                heapq.heappop(self._ends)
                ended[lease] = None
        return list(ended)

    def _find(self, lease: int) -> _Lease:
        found = self._leases.get(lease)
        if found is None:
            raise LeaseNotFound(lease)
        return found

    def _clear_outdated(self) -> None:
        if len(self._ends) > 2 * len(self._leases) + OUTDATED_MAX:
            self._ends = [(found.ends_at, lease) for lease, found in self._leases.items() if found.ends_at is not None]
            heapq.heapify(self._ends)
