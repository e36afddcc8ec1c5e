"""What goes with the writes of a leader, so that a partition can tell when they come too late.

A partition compares the fence of a write with a Lease of its own, in the step in which it carries the write out
(partitions/writes/fences.py). In the partition of the election this is the Lease that was won. In any other one the
leader keeps a Lease of the same name, and writes its term there before its first write of the term:

    home    lease, term 5: A ────▷ term 6: B ─────────────────────────▷ A's are refused from the grant on
    other   lease, term 5: A ─────────────────▷ term 6: B ────────────▷ A's are refused from here on
                              A may still write   B's first write behind it

So in each partition all writes of a term come before all of the next; in another one than home, a leader that does not
know that it is none may go on until its successor has come there. (Nothing less than asking home with each write could
promise more.) A Lease there goes to a higher term and never to a lower one. Home may count lower than it: the Lease at
home was deleted and made again, or that partition was set back to an older snapshot. Who then finds a term there that
is not below his own raises his own above it, at home; this he can only do while he leads, so one who does not finds
out. Who deletes such a Lease takes the fence down there, until the leader notices with its next write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from ..proto import ursa_pb2 as pb
from ..proto.errors import ApiError, NotFound, OutcomeUnknown, Unreachable, from_status
from ..proto.leases import LEASES, holding
from ..proto.objects import Object
from .client_set import ClientSet
from .leader_election_core import Term
from .operations import create_operation, update_operation

if TYPE_CHECKING:
    from .leader_election import LeaderElection
    from .partition_client import PartitionClient

# A write waits so long for its term to be known in another partition, as it would for its answer.
ADVANCE_SECONDS_MAX = 30.0
# One question of it.
ANSWER_SECONDS_MAX = 5.0


class Fencing(Protocol):
    """Where a client gets the fences of its writes from."""

    async def fence(self) -> pb.Fence:
        """For a write to go out now; the same object for all of a term. Raises Unreachable: we do not lead."""

    def refused(self, fence: pb.Fence) -> None:
        """The partition has refused a write of this fence, for it."""


def fenced_clients(clients: ClientSet, election: LeaderElection, home: str) -> ClientSet:
    """The same clients for who writes only while he leads. `home`: the partition of the election."""

    def fenced(client: PartitionClient) -> PartitionClient:
        return client.fenced((HomeFencing if client.partition == home else OtherFencing)(client, election))

    return clients.dressed(fenced)


class HomeFencing:
    """For the partition of the election."""

    def __init__(self, client: PartitionClient, election: LeaderElection) -> None:
        self._partition = client.partition
        self._election = election
        self._fence = pb.Fence()

    async def fence(self) -> pb.Fence:
        term = _term(self._election, self._partition)
        if (self._fence.uid, self._fence.term) != term[:2]:
            self._fence = _fence_of(self._election, term, term.uid)
        return self._fence

    def refused(self, fence: pb.Fence) -> None:
        if fence is self._fence:
            self._election.doubt()


class OtherFencing:
    """For another partition, with a Lease there."""

    def __init__(self, client: PartitionClient, election: LeaderElection) -> None:
        self._client = client
        self._election = election
        self._fence: pb.Fence | None = None
        self._of: Term | None = None  # The term of the fence.
        self._asked_for: Term | None = None  # The newest that we have asked to be written there.
        self._advancing = trio.Lock()

    async def fence(self) -> pb.Fence:
        fence = self._known()
        if fence is not None:
            return fence
        async with self._advancing:
            fence = self._known()  # The one before us may have seen to it.
            if fence is not None:
                return fence
            with trio.move_on_after(ADVANCE_SECONDS_MAX):
                return await self._advance()
        raise self._unreachable(f"did not take our term within {ADVANCE_SECONDS_MAX:g} s")

    def refused(self, fence: pb.Fence) -> None:
        if fence is self._fence:
            self._fence = None  # The next write looks what is there.
            self._election.doubt()

    def _known(self) -> pb.Fence | None:
        return self._fence if _term(self._election, self._client.partition) == self._of else None

    async def _advance(self) -> pb.Fence:
        """Let the Lease there be of our term."""
        while True:
            term = _term(self._election, self._client.partition)
            lease = await self._read()
            held = holding({} if lease is None else lease.spec)
            if lease is None or held.term < term.number:
                lease = await self._write(lease, term)
            elif (held.term, held.holder) != (term.number, term.holder) or self._asked_for != term:
                await self._election.raise_above(held.term)
                continue
            if lease is not None and _term(self._election, self._client.partition) == term:
                self._fence, self._of = _fence_of(self._election, term, lease.uid), term
                return self._fence

    async def _read(self) -> Object | None:
        try:
            return await self._client.get(LEASES, self._election.key)
        except NotFound:
            return None
        except ApiError as error:
            raise self._unreachable(f"does not tell whose term it is ({error})") from None

    async def _write(self, lease: Object | None, term: Term) -> Object | None:
        """None: somebody else was faster, or nobody knows: look again."""
        self._asked_for = term
        wanted = self._election.lease_in(term, lease)
        make = create_operation if lease is None else update_operation
        try:
            result = await self._client.write_apart(
                make(wanted, return_object=True), timeout_seconds=ANSWER_SECONDS_MAX
            )
        except OutcomeUnknown:
            return None
        except ApiError as error:
            raise self._unreachable(f"has no turn for our term ({error})") from None
        if not result.HasField("error"):
            return Object(result.object)
        if result.error.code in (404, 409):
            return None
        raise self._unreachable(f"does not take our term ({from_status(result.error)})")

    def _unreachable(self, why: str) -> Unreachable:
        return Unreachable(self._client.partition, why)


def _term(election: LeaderElection, partition: str) -> Term:
    term = election.term
    if term is None:
        raise Unreachable(partition, f"nothing is written, as {election.identity} does not lead")
    return term


def _fence_of(election: LeaderElection, term: Term, uid: str) -> pb.Fence:
    """By the Lease `uid` of the partition that it is for."""
    key = election.key
    return pb.Fence(
        tenant=key.tenant, namespace=key.namespace, name=key.name, uid=uid, term=term.number, holder=term.holder
    )
