"""Who leads, by the Lease (S19: two leaders): one at a time, in terms that rise, and never long nobody."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.clients.leader_election_core import JITTER, ElectionOptions
from ursa.clients.operations import update_operation
from ursa.proto.leases import holding

from .candidates import Candidate, Partition, run

OPTIONS = ElectionOptions()
# A standby looks after a pause of at most this.
LOOK_SECONDS_MAX = OPTIONS.retry_period_seconds * (1 + JITTER)


@pytest.fixture
def partition() -> Partition:
    return Partition()


def spec_of(partition: Partition) -> dict[str, Any]:
    lease = partition.lease()
    assert lease is not None
    return lease.spec


def test_the_first_that_comes_leads_in_the_first_term(partition: Partition) -> None:
    one = Candidate(partition, "one", offset=1000.0)
    one.run(0.5)
    assert one.leads
    spec = spec_of(partition)
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("one", 1, 15)
    assert spec["acquireTime"] == spec["renewTime"]
    one.run(5)
    later = spec_of(partition)
    assert later["renewTime"] > spec["renewTime"]
    assert (later["acquireTime"], later["leaseTransitions"]) == (spec["acquireTime"], 1)


def test_a_standby_takes_over_when_the_leader_is_silent_for_the_leases_duration(partition: Partition) -> None:
    one, two = Candidate(partition, "one"), Candidate(partition, "two", offset=-500.0)
    run([one, two], 20)
    assert (one.leads, two.leads) == (True, False)
    silent_since = partition.now
    while not two.leads and partition.now < silent_since + 100:
        run([two], 0.25)
    assert OPTIONS.lease_duration_seconds - OPTIONS.retry_period_seconds <= partition.now - silent_since
    assert partition.now - silent_since <= OPTIONS.lease_duration_seconds + LOOK_SECONDS_MAX + 1
    assert spec_of(partition)["leaseTransitions"] == 2
    assert not one.leads


def test_the_duration_is_that_which_the_holder_has_promised(partition: Partition) -> None:
    one = Candidate(partition, "one", options=ElectionOptions(lease_duration_seconds=60, renew_deadline_seconds=40))
    two = Candidate(partition, "two")
    run([one, two], 5)
    run([two], 55)
    assert one.core.holder == "one"
    assert not two.leads
    run([two], 12)
    assert two.leads


def test_a_lease_that_is_given_back_is_taken_at_once(partition: Partition) -> None:
    one, two = Candidate(partition, "one"), Candidate(partition, "two")
    run([one, two], 5)
    released = one.core.release(one.clock, 0)
    assert released is not None
    assert not one.leads
    partition.write(released)
    run([two], LOOK_SECONDS_MAX + 0.5)
    assert two.leads
    assert spec_of(partition)["leaseTransitions"] == 2


def test_who_no_longer_leads_gives_nothing_back(partition: Partition) -> None:
    one = Candidate(partition, "one")
    one.run(3)
    partition.advance(OPTIONS.renew_deadline_seconds)
    assert one.core.release(one.clock, 0) is None


def test_a_leader_ends_at_its_deadline_counted_from_before_it_asked(partition: Partition) -> None:
    one = Candidate(partition, "one")
    one.ask()
    one.carry()
    partition.advance(4)  # The answer takes long.
    one.carry()
    one.turn()
    assert one.leads
    one.message = None  # Whatever it asks now is lost.
    partition.advance(OPTIONS.renew_deadline_seconds - 0.1)
    assert one.leads
    partition.advance(0.2)
    assert not one.leads


def test_an_answer_that_comes_after_the_deadline_makes_no_leader(partition: Partition) -> None:
    one = Candidate(partition, "one")
    one.turn()
    one.ask()
    one.carry()
    partition.advance(OPTIONS.renew_deadline_seconds + 1)
    one.carry()
    assert not one.leads
    assert one.core.term is None


def test_who_was_not_told_that_he_leads_takes_the_next_term(partition: Partition) -> None:
    one, two = Candidate(partition, "one"), Candidate(partition, "two")
    one.turn()
    one.ask()
    one.carry()
    one.lose()
    assert partition.held() is not None
    run([one, two], LOOK_SECONDS_MAX + 0.5)
    assert one.leads
    assert spec_of(partition)["leaseTransitions"] == 2


def test_a_renewal_whose_answer_was_lost_costs_nothing(partition: Partition) -> None:
    one = Candidate(partition, "one")
    one.run(3)
    while one.message is None:
        partition.advance(0.25)
        one.ask()
    one.carry()
    one.lose()
    one.run(4)
    assert one.leads
    assert spec_of(partition)["leaseTransitions"] == 1


def test_a_leader_that_sees_another_ends_at_once(partition: Partition) -> None:
    one = Candidate(partition, "one")
    one.run(3)
    partition.delete_lease()
    two = Candidate(partition, "two")
    run([two], 0.25)
    assert two.leads
    assert one.leads  # It does not know.
    one.core.doubt(one.clock)
    for _ in range(5):
        partition.advance(0.25)
        one.turn()
    assert not one.leads


@pytest.mark.parametrize("was_held", [False, True])
def test_of_two_that_find_it_free_at_once_one_leads(partition: Partition, was_held: bool) -> None:
    if was_held:
        Candidate(partition, "gone").run(1)
    candidates = [Candidate(partition, name) for name in ("one", "two")]
    if was_held:
        run(candidates, 1)
        partition.advance(OPTIONS.lease_duration_seconds + LOOK_SECONDS_MAX)
    for _ in range(3):
        for step in (Candidate.ask, Candidate.carry, Candidate.carry):
            for candidate in candidates:
                step(candidate)
    assert [candidate.leads for candidate in candidates] == [True, False]


def test_a_doubt_is_looked_into_soon_and_not_over_and_over(partition: Partition) -> None:
    one = Candidate(partition, "one")
    one.run(3)
    asked = 0
    for _ in range(100):
        one.core.doubt(one.clock)
        one.ask()
        asked += one.message is not None
        one.carry()
        one.carry()
        partition.advance(0.01)
    assert 1 <= asked <= 4


def test_the_term_is_raised_above_one_that_was_seen_elsewhere(partition: Partition) -> None:
    one = Candidate(partition, "one")
    one.run(1)
    one.core.raise_above(6, one.clock)
    one.turn()
    assert one.core.term == partition.held()
    assert one.core.term is not None
    assert one.core.term.number == 7


def test_other_fields_of_the_lease_are_kept(partition: Partition) -> None:
    one, two = Candidate(partition, "one"), Candidate(partition, "two")
    one.run(1)
    lease = partition.lease()
    assert lease is not None
    marked = lease.with_metadata(labels={"team": "a"}).with_spec({**lease.spec, "preferredHolder": "three"})
    assert not partition.write(update_operation(marked)).HasField("error")
    one.run(5)
    assert one.leads
    run([two], 30)
    assert two.leads
    lease = partition.lease()
    assert lease is not None
    assert (lease.labels["team"], lease.spec["preferredHolder"]) == ("a", "three")


@pytest.mark.parametrize("spec", [None, [], {"holderIdentity": 7}, {"leaseTransitions": "x"}, {"leaseTransitions": -3}])
def test_nonsense_in_a_lease_stops_nobody(partition: Partition, spec: Any) -> None:
    one = Candidate(partition, "one")
    one.run(1)
    lease = partition.lease()
    assert lease is not None
    partition.write(update_operation(lease.with_spec(spec)))
    two = Candidate(partition, "two")
    run([one, two], 25)
    assert one.leads != two.leads


@pytest.mark.parametrize("durations", [(15, 15, 2), (15, 10, 9), (15, 10, 0)])
def test_durations_that_promise_nothing_are_refused(durations: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="must be below"):
        ElectionOptions(*durations)


def test_holding_takes_nothing_for_granted() -> None:
    assert holding({"holderIdentity": "a", "leaseTransitions": 3, "leaseDurationSeconds": 15}) == ("a", 3, 15)
    assert holding({"leaseDurationSeconds": True, "leaseTransitions": True}) == ("", 0, 0)
