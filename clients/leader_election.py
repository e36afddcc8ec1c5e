"""Of the replicas of a component one works, the others stand by: who leads is decided by a Lease.

`leader_election_core.py` has the rules; this asks the partition and keeps the time. The Lease is written past the line
of the component's other writes, so that a leader with much to write does not lose its lease for that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from ..proto.errors import ApiError, LinkError, NotFound
from ..proto.leases import LEASES, leader_lease
from ..proto.objects import Object
from .actor import Actor
from .leader_election_core import ElectionCore, ElectionOptions, Question, Term, lease_for
from .metrics import counter, gauge
from .nurseries import open_background
from .partition_client import PartitionClient

# A question that has no answer by then is asked again: of a renewal there is time for two.
ANSWER_PART_OF_DEADLINE = 0.5
# Giving the lease back takes no longer, whatever the partition does: then the others wait for its end.
RELEASE_SECONDS_MAX = 2.0


class LeaderElection:
    """One replica's part in the election of the leader of `name`, by the Lease of that name in the client's partition.

    Nothing is done until `run`.
    """

    def __init__(
        self,
        client: PartitionClient,
        name: str,
        actor: Actor,
        options: ElectionOptions = ElectionOptions(),  # noqa: B008  # immutable
    ) -> None:
        self.name = name
        self.key = leader_lease(name)
        # As client-go's: whose it is, for people, and something that no other life of it has.
        self.identity = f"{actor.name}_{actor.uid()}"
        self._client = client
        self._actor = actor
        self._options = options
        self._core = ElectionCore(self.key, self.identity, options, actor.random)
        self._scope: trio.CancelScope | None = None  # Of the work, while this replica leads.
        self._wake = trio.Event()
        self._term_changed = trio.Event()
        self._leads = gauge(
            actor.registry,
            "leader_election_master_status",
            "Whether this process leads (1) or stands by (0).",
            ["name"],
        ).labels(name)
        self._leads.set(0)
        self._terms = counter(
            actor.registry, "leader_election_terms_total", "Terms in which this process has led.", ["name"]
        ).labels(name)

    @property
    def term(self) -> Term | None:
        """That in which this replica leads at this moment; None: it does not."""
        return self._core.term if self._core.leads(trio.current_time()) else None

    @property
    def holder(self) -> str:
        """Who leads, as far as this replica has seen. Empty: nobody."""
        return self._core.holder

    @property
    def seen(self) -> bool:
        """This replica has been told of a leader, which may be itself; whether there is one now or not."""
        return self._core.leader_seen

    def lease_in(self, term: Term, before: Object | None) -> Object:
        """The Lease by which another partition knows this term."""
        duration, now_ms = self._options.lease_duration_seconds, self._actor.clock.now_ms()
        return lease_for(self.key, before, term, duration, now_ms)

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled, or until `lead` has ended by itself: stand by, and lead whenever it is our turn.

        `lead` is called in each term, and cancelled before another replica can have the next.
        """
        while True:
            while self._core.term is None:
                await self._ask()
            if await self._lead(lead):
                return

    def doubt(self) -> None:
        """Something was refused because another replica leads: see whether that is so."""
        self._core.doubt(trio.current_time())
        self._wake.set()

    async def raise_above(self, number: int) -> None:
        """Lead in a term beyond `number`, which was seen in another partition; returns when that is so.

        Its caller is of those who are cancelled when this replica no longer leads.
        """
        self._core.raise_above(number, trio.current_time())
        self._wake.set()
        while self._core.term is None or self._core.term.number <= number:
            await self._term_changed.wait()

    # --------------------------------------------------------------------------------------------------------- leading

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> bool:
        """Lead for one term, or until all is done: then the answer is True."""
        ended = False
        term = self._core.term
        assert term is not None, "this replica leads"
        self._actor.log.info("leads as %s in term %d of %s", self.identity, term.number, self.name)
        self._leads.set(1)
        self._terms.inc()
        try:
            with trio.CancelScope(deadline=self._core.leads_until) as self._scope:
                async with open_background() as nursery:
                    nursery.start_soon(self._renew, self._scope)
                    await lead()
                    ended = True
        finally:
            self._scope = None
            self._leads.set(0)
            await self._release()
        if not ended:
            self._actor.log.warning("leads no more, term %d of %s is over", term.number, self.name)
        return ended

    async def _renew(self, scope: trio.CancelScope) -> None:
        while self._core.term is not None:
            await self._ask()
            scope.deadline = self._core.leads_until
        scope.cancel()

    async def _release(self) -> None:
        operation = self._core.release(trio.current_time(), self._actor.clock.now_ms())
        if operation is None:
            return
        with trio.CancelScope(shield=True):
            try:
                await self._client.write_apart(operation, timeout_seconds=RELEASE_SECONDS_MAX)
            except (ApiError, LinkError) as error:
                self._actor.log.info("the lease %s could not be given back: %s", self.name, error)

    # ---------------------------------------------------------------------------------------------------------- asking

    async def _ask(self) -> None:
        """Ask when it is time to, and take in the answer."""
        question = self._core.next_question(trio.current_time(), self._actor.clock.now_ms())
        if question is None:
            with trio.move_on_at(self._core.next_at):
                await self._wake.wait()
            self._wake = trio.Event()
            return
        before = self._core.term
        await self._put(question)
        if self._core.term != before:
            self._term_changed.set()
            self._term_changed = trio.Event()

    async def _put(self, question: Question) -> None:
        seconds = self._options.renew_deadline_seconds * ANSWER_PART_OF_DEADLINE
        answered = False
        try:
            if question.operation is not None:
                result = await self._client.write_apart(question.operation, timeout_seconds=seconds)
                self._core.was_written(question, result, trio.current_time())
                answered = True
            else:
                with trio.move_on_after(seconds):
                    self._core.was_read(await self._read(), trio.current_time())
                    answered = True
        except (ApiError, LinkError) as error:
            self._actor.log.debug("no answer about the lease %s: %s", self.name, error)
        finally:
            if not answered:  # Also where the work ends, and this with it.
                self._core.unanswered(trio.current_time())

    async def _read(self) -> Object | None:
        try:
            return await self._client.get(LEASES, self.key)
        except NotFound:
            return None
