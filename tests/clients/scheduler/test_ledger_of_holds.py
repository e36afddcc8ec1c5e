"""Nothing held is forgotten, and nothing is counted twice."""

from __future__ import annotations

from ursa.clients.revisions import Revision
from ursa.clients.scheduler.columns import CPU, NodeColumns
from ursa.clients.scheduler.ledger import Ledger
from ursa.clients.scheduler.node_facts import read_node

from .objects import node, placement

REQUESTS = {"cpu": 500, "memory": 0, "pods": 1}


class Held:
    """A ledger over node n, of 4 cpus."""

    def __init__(self) -> None:
        self.nodes = NodeColumns()
        self.nodes.set_node("rp-1", "n", read_node(node("n")))
        self.slot = self.nodes.slot("rp-1", "n")
        self.ledger = Ledger("rp-1", "tp-1", self.nodes)

    def assume(self, uid: str) -> bytes:
        claimed = placement(uid, "n", REQUESTS, tenant_partition="tp-1").message.spec
        self.ledger.assume(uid, self.slot, self.nodes.charges(REQUESTS), claimed)
        return claimed

    @property
    def used(self) -> int:
        return 4000 - int(self.nodes.free[CPU, self.slot])


def test_an_assumption_counts_until_its_placement_is_seen_and_then_once() -> None:
    held = Held()
    held.assume("a")
    assert held.used == 500
    hold = held.ledger.see(placement("a", "n", REQUESTS, tenant_partition="tp-1").message)
    assert held.used == 500
    assert (hold.home, hold.placement_uid, hold.node_uid) == (True, "p-a", "uid-n")
    assert not held.ledger.assumed
    assert held.ledger.lose("a")
    assert held.used == 0


def test_a_placement_the_partition_has_rewritten_is_known_again_all_the_same() -> None:
    held = Held()
    held.assume("a")
    held.ledger.see(placement("a", "n", {"pods": 1, "memory": 0, "cpu": 500}, tenant_partition="tp-1").message)
    assert held.used == 500
    assert not held.ledger.assumed


def test_claiming_what_is_placed_already_counts_once() -> None:
    held = Held()
    held.ledger.see(placement("a", "n", REQUESTS, tenant_partition="tp-1").message)
    held.assume("a")
    assert held.used == 500
    held.ledger.withdraw("a")
    assert held.used == 500


def test_a_refused_claim_counts_no_more() -> None:
    held = Held()
    held.assume("a")
    held.ledger.withdraw("a")
    assert held.used == 0


def test_others_placements_count_before_their_node_is_seen_and_after_it_is_gone() -> None:
    nodes = NodeColumns()
    ledger = Ledger("rp-1", "tp-1", nodes)
    hold = ledger.see(placement("x", "n", REQUESTS).message)
    assert not hold.home
    nodes.set_node("rp-1", "n", read_node(node("n")))
    assert nodes.free[CPU, nodes.slot("rp-1", "n")] == 3500
    nodes.clear_node(nodes.slot("rp-1", "n"))
    nodes.set_node("rp-1", "n", read_node(node("n", uid="another", cpu="2")))
    assert nodes.free[CPU, nodes.slot("rp-1", "n")] == 1500
    assert ledger.lose("x")
    assert nodes.free[CPU, nodes.slot("rp-1", "n")] == 2000
    assert not ledger.lose("x")


def test_a_claim_that_came_and_went_unseen_ends_with_the_view_that_is_past_it() -> None:
    held = Held()
    held.assume("a")
    held.assume("b")
    held.ledger.accept("a", Revision("rp-1", 10))
    held.ledger.accept("b", Revision("rp-1", 12))
    assert not held.ledger.seen_up_to(Revision("rp-1", 9))
    assert held.used == 1000
    assert held.ledger.seen_up_to(Revision("rp-1", 11))
    assert held.used == 500
    held.ledger.see(placement("b", "n", REQUESTS, tenant_partition="tp-1").message)
    assert not held.ledger.seen_up_to(Revision("rp-1", 12))
    assert held.used == 500


def test_an_answer_to_an_earlier_claim_does_not_end_a_later_one() -> None:
    held = Held()
    held.assume("a")
    held.ledger.accept("a", Revision("rp-1", 10))
    held.ledger.withdraw("a")
    held.assume("a")
    assert not held.ledger.seen_up_to(Revision("rp-1", 10))
    assert held.used == 500


def test_the_old_placement_of_a_pod_claimed_anew_elsewhere_counts_beside_the_claim() -> None:
    held = Held()
    held.nodes.set_node("rp-1", "m", read_node(node("m")))
    held.assume("a")
    held.ledger.see(placement("a", "m", REQUESTS, tenant_partition="tp-1").message)
    assert held.used == 500
    assert held.nodes.free[CPU, held.nodes.slot("rp-1", "m")] == 3500
    held.ledger.lose("a")
    assert held.used == 500
