"""Which of several replicas leads, as one of them sees it. Plain state, no I/O; after client-go's leaderelection.

They agree by one Lease object. Who holds it says so again every `retry_period_seconds`; who does not hold it looks as
often, and takes it when it is free. Every write of the Lease names the revision that it rests on, so of several that
take it at once one does.

    holder's clock    write ──────────── renew_deadline ───────▷ leads no more
                        │ takes effect                                         gap
    standby's clock     └──▷ seen ────────────────── lease_duration ────────────────▷ may take it

No clock is compared with another: what a Lease says of times is for people. A standby waits for the Lease's duration
from when it has *seen* it change; that is after the change took effect, and the holder counts its deadline from before
it asked for it. So while clocks run at rates that differ by less than lease duration to renew deadline (1.5), two never
lead at the same time. They may all the same *write* at the same time: what was on its way, or stands in a process that
slept, arrives when it arrives. That is what fences are for (fencing.py).

A **term** is one time of leading of one replica: its number is `leaseTransitions`, and whoever takes the Lease, also if
it was his before, adds one. (In client-go who takes it back goes on in the old term.) Identities are not used twice, a
restarted process has another, so a term has one holder. Terms belong to the Lease with their uid: one that was deleted
and made again counts anew, and what is of the old one is of no term of the new.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from ..proto import ursa_pb2 as pb
from ..proto.errors import AlreadyExists, Conflict, NotFound
from ..proto.kinds import BY_KIND
from ..proto.leases import Holding, holding
from ..proto.objects import Object, ObjectKey, encode, format_time
from .operations import create_operation, update_operation

# As client-go: standbys look at times that are spread over more than a period, or all would come at once.
JITTER = 1.2
# Told that somebody else leads, a leader looks at once, but no more often than this part of a period.
DOUBT_PERIODS_MIN = 0.25

_LEASE = BY_KIND["Lease"]
_STALE = (Conflict.reason, AlreadyExists.reason, NotFound.reason)


@dataclass(frozen=True)
class ElectionOptions:
    """Kubernetes' own. Raises ValueError unless a leader ends before the others begin, and tries more than once."""

    lease_duration_seconds: int = 15
    renew_deadline_seconds: float = 10.0
    retry_period_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry_period_seconds * JITTER < self.renew_deadline_seconds < self.lease_duration_seconds:
            raise ValueError(
                f"{self}: the retry period, times {JITTER:g}, must be below the renew deadline, "
                "and that below the lease's duration"
            )


class Term(NamedTuple):
    """`number` of the Lease `uid`, which nobody but `holder` has."""

    uid: str
    number: int
    holder: str


class Question(NamedTuple):
    """What to ask the partition: to carry out the operation; None: what the Lease is."""

    operation: pb.Operation | None
    asked_at: float


class ElectionCore:
    """Ask `next_question` at `next_at`, and tell one of `was_read`, `was_written`, `unanswered` what came of it.

    All times are of one monotonic clock, the replica's own.
    """

    def __init__(self, key: ObjectKey, identity: str, options: ElectionOptions, random: Random) -> None:
        self._key = key
        self._identity = identity
        self._options = options
        self._random = random
        self._lease: Object | None = None  # As it was last seen; None: it is not there.
        self._holding = Holding("", 0, 0)
        self._seen_at = -math.inf  # Since when it has been as it is.
        self._known = False  # Nothing has happened since, that we know of, and it is for us to write it.
        self._term_min = 0
        self._read_at = -math.inf
        self.term: Term | None = None
        self.leads_until = -math.inf
        self.next_at = -math.inf  # Infinity: an answer is awaited.
        self.holder = ""  # Who leads, as far as is known.
        self.leader_seen = False  # At any time.

    def leads(self, now: float) -> bool:
        return self.term is not None and now < self.leads_until

    # ---------------------------------------------------------------------------------------------------------- asking

    def next_question(self, now: float, now_ms: int) -> Question | None:
        """None: not yet. `now_ms` is for people."""
        if now < self.next_at:
            return None
        self._notice_end(now)
        self.next_at = math.inf
        return Question(self._write(now_ms) if self._known else None, now)

    def release(self, now: float, now_ms: int) -> pb.Operation | None:
        """What lets the others take over at once. To be called when nothing is done any more as the leader."""
        self._notice_end(now)
        term, lease = self.term, self._lease
        self._lose()
        if term is None or lease is None:
            return None
        return update_operation(lease_for(self._key, lease, term._replace(holder=""), 1, now_ms))

    def raise_above(self, number: int, now: float) -> None:
        """Lead in a term beyond this one, which was seen elsewhere."""
        if number >= self._term_min:
            self._term_min = number + 1
            self._at_once(now)

    def doubt(self, now: float) -> None:
        """A write was refused because somebody else leads: look whether that is so, unless that has just been done."""
        if self.next_at < math.inf and now >= self._read_at + self._options.retry_period_seconds * DOUBT_PERIODS_MIN:
            self._known = False
            self._at_once(now)

    # --------------------------------------------------------------------------------------------------------- answers

    def was_read(self, lease: Object | None, now: float) -> None:
        self._read_at = now
        self._saw(lease, now)
        if self.term is not None and not self._is_ours():
            self._lose()
        self._known = self.term is not None or self._is_free(now)
        self.next_at = now if self._known else now + self._pause()

    def was_written(self, question: Question, result: pb.Result, now: float) -> None:
        if not result.HasField("error"):
            self._saw(Object(result.object), now)
            self.term = Term(result.uid, self._holding.term, self._identity)
            self.leads_until = question.asked_at + self._options.renew_deadline_seconds
            self._known = True
            self.next_at = max(now, question.asked_at + self._options.retry_period_seconds)
            if self.term.number < self._term_min:
                self.next_at = now
            self._notice_end(now)  # The answer may have come too late.
            return
        self._known = False
        # A leader looks at once what has changed; of the others, one has just taken it.
        stale = result.error.reason in _STALE and self.term is not None
        self.next_at = now if stale else now + self._pause()

    def unanswered(self, now: float) -> None:
        """Nobody knows whether it was done."""
        self._known = False
        self.next_at = now + self._pause()

    # --------------------------------------------------------------------------------------------------------- details

    def _write(self, now_ms: int) -> pb.Operation:
        """Take the lease, or keep it."""
        number = self._holding.term + 1 if self.term is None else self.term.number
        term = Term("", max(number, self._term_min), self._identity)
        lease = lease_for(self._key, self._lease, term, self._options.lease_duration_seconds, now_ms)
        make = create_operation if self._lease is None else update_operation
        return make(lease, return_object=True)

    def _saw(self, lease: Object | None, now: float) -> None:
        if _version(lease) != _version(self._lease):
            self._seen_at = now
        self._lease = lease
        self._holding = Holding("", 0, 0) if lease is None else holding(lease.spec)
        self.holder = self._holding.holder
        self.leader_seen = self.leader_seen or bool(self.holder)

    def _is_ours(self) -> bool:
        lease, held = self._lease, self._holding
        return lease is not None and Term(lease.uid, held.term, held.holder) == self.term

    def _is_free(self, now: float) -> bool:
        if self._holding.holder in ("", self._identity):  # Ours: we have taken it, and were not told.
            return True
        duration = self._holding.duration_seconds or self._options.lease_duration_seconds
        return now >= self._seen_at + duration

    def _notice_end(self, now: float) -> None:
        if self.term is not None and now >= self.leads_until:
            self._lose()

    def _lose(self) -> None:
        self.term, self._known = None, False
        self.leads_until = -math.inf

    def _at_once(self, at: float) -> None:
        if self.next_at < math.inf:  # Else there is an answer to come first.
            self.next_at = min(self.next_at, at)

    def _pause(self) -> float:
        period = self._options.retry_period_seconds
        return period if self.term is not None else period * (1 + JITTER * self._random.random())


def lease_for(key: ObjectKey, before: Object | None, term: Term, duration_seconds: int, now_ms: int) -> Object:
    """The Lease that grants this term. It bears the revision of the one `before`, on which it rests."""
    message = pb.Object(api_version=_LEASE.api_version, kind=_LEASE.kind)
    metadata = message.metadata
    metadata.tenant, metadata.namespace, metadata.name = key
    kept: dict[str, Any] = {}
    if before is not None:
        message.CopyFrom(before.message)
        kept = before.spec if isinstance(before.spec, dict) else {}
    time = format_time(now_ms)
    message.spec = encode(
        kept
        | {
            "holderIdentity": term.holder,
            "leaseDurationSeconds": duration_seconds,
            "acquireTime": kept.get("acquireTime", time) if kept.get("leaseTransitions") == term.number else time,
            "renewTime": time,
            "leaseTransitions": term.number,
        }
    )
    return Object(message)


def _version(lease: Object | None) -> tuple[str, int]:
    return ("", 0) if lease is None else (lease.uid, lease.resource_version)
