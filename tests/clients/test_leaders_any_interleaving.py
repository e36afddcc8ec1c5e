"""Replicas that want to lead, in any order of events (S19): one leads at a time, in terms that rise, never long nobody.

And what they write: whatever comes late, a partition takes it only in the term in which it was decided on.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from ursa.clients.leader_election_core import JITTER, ElectionOptions, Term
from ursa.clients.operations import create_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import was_fenced_off
from ursa.proto.objects import Object

from .candidates import KEY, Candidate, Partition, run

OPTIONS = ElectionOptions()
# A standby looks after a pause of at most this.
LOOK_SECONDS_MAX = OPTIONS.retry_period_seconds * (1 + JITTER)


@dataclass
class Sent:
    """A write that was decided on in a term. `revision`: at which it was carried out."""

    term: Term
    operation: pb.Operation
    revision: int = 0


def fenced_write(number: int) -> pb.Operation:
    metadata = {"name": f"a-{number}", "namespace": "default", "tenant": "system"}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    operation = create_operation(Object.from_dict(manifest))
    operation.request_id = b"id-%d" % number
    return operation


class Election(RuleBasedStateMachine):
    """Two or three replicas with clocks of their own, pauses, and messages that come late or never."""

    @initialize(
        rates=st.lists(st.floats(0.85, 1.2), min_size=2, max_size=3),
        offsets=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
    )
    def begin(self, rates: list[float], offsets: list[float]) -> None:
        self.partition = Partition()
        self.candidates = [
            Candidate(self.partition, f"replica-{number}", rate, offset)
            for number, (rate, offset) in enumerate(zip(rates, offsets, strict=False))
        ]
        self.granted: dict[tuple[str, int], str] = {}
        self.newest: Term | None = None
        self.was_deleted = False
        self.writes: list[Sent] = []

    def candidate(self, number: int) -> Candidate:
        return self.candidates[number % len(self.candidates)]

    @rule(number=st.integers(0, 2))
    def ask(self, number: int) -> None:
        self.candidate(number).ask()

    @rule(number=st.integers(0, 2))
    def carry(self, number: int) -> None:
        self.candidate(number).carry()

    @rule(number=st.integers(0, 2))
    def lose(self, number: int) -> None:
        self.candidate(number).lose()

    @rule(number=st.integers(0, 2))
    def pause(self, number: int) -> None:
        self.candidate(number).paused = True

    @rule(number=st.integers(0, 2))
    def resume(self, number: int) -> None:
        self.candidate(number).paused = False

    @rule(seconds=st.floats(0.01, 20))
    def wait(self, seconds: float) -> None:
        self.partition.advance(seconds)

    @rule(seconds=st.floats(1, 30))
    def calm(self, seconds: float) -> None:
        run(self.candidates, seconds, 0.5)

    @rule(number=st.integers(0, 2))
    def decide_on_a_write(self, number: int) -> None:
        """It goes out when it goes out: the process may sleep before, the message may take its time."""
        candidate = self.candidate(number)
        if candidate.leads and not candidate.paused:
            assert candidate.core.term is not None
            self.writes.append(Sent(candidate.core.term, fenced_write(len(self.writes))))

    @rule(number=st.integers(0, 1000))
    def bring_a_write(self, number: int) -> None:
        """Also one that has been there, as its answer was lost."""
        if not self.writes:
            return
        sent = self.writes[number % len(self.writes)]
        term, held = sent.term, self.partition.held()
        fence = pb.Fence(
            tenant=KEY.tenant,
            namespace=KEY.namespace,
            name=KEY.name,
            uid=term.uid,
            term=term.number,
            holder=term.holder,
        )
        result = self.partition.write(sent.operation, fence=fence)
        if sent.revision:
            assert result.resource_version == sent.revision, "it happened, whoever leads by now"
        elif held == term:
            assert not result.HasField("error")
            sent.revision = result.resource_version
        else:
            assert was_fenced_off(result.error)

    @invariant()
    def writes_of_a_term_are_of_one_replica_and_before_those_of_the_next(self) -> None:
        done = sorted((sent for sent in self.writes if sent.revision), key=lambda sent: sent.revision)
        ages = {uid: number for number, uid in enumerate(dict.fromkeys(sent.term.uid for sent in done))}
        order = [(ages[sent.term.uid], sent.term.number) for sent in done]
        assert order == sorted(order)
        assert len({sent.term for sent in done}) == len(dict.fromkeys(order))

    @rule()
    def delete(self) -> None:
        self.partition.delete_lease()
        self.newest, self.was_deleted = None, True

    @invariant()
    def never_two_lead_at_once(self) -> None:
        """Not even with pauses: whether one leads is asked of his clock. Who deletes the lease asks for two leaders."""
        if not self.was_deleted:
            assert sum(candidate.leads for candidate in self.candidates) <= 1

    @invariant()
    def a_term_has_one_holder_and_terms_rise(self) -> None:
        held = self.partition.held()
        if held is None:
            return
        assert self.granted.setdefault((held.uid, held.number), held.holder) == held.holder
        if self.newest is not None and self.newest.uid == held.uid:
            assert held.number >= self.newest.number
        self.newest = held

    @invariant()
    def who_leads_has_been_granted_that_term(self) -> None:
        for candidate in self.candidates:
            if candidate.leads:
                term = candidate.core.term
                assert term is not None
                assert self.granted.get((term.uid, term.number), term.holder) == candidate.identity

    def teardown(self) -> None:
        """Once all is well somebody leads within the duration, as slow clocks have it, and a look; and goes on."""
        if not hasattr(self, "candidates"):
            return
        for candidate in self.candidates:
            candidate.paused = False
        run(self.candidates, (OPTIONS.lease_duration_seconds + 2 * LOOK_SECONDS_MAX) / 0.85 + 1, 0.25)
        leaders = [candidate for candidate in self.candidates if candidate.leads]
        assert len(leaders) == 1
        run(self.candidates, 30, 0.25)
        assert [candidate for candidate in self.candidates if candidate.leads] == leaders


Election.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestElection = Election.TestCase
