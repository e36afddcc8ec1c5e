"""A run that is over takes no memory: twenty thousand seeds fit into one process."""

from __future__ import annotations

import gc

from ursa.partitions.apiserver import ApiServer
from ursa.tools.simulation import Plan, Topology, simulate


def apiservers() -> int:
    gc.collect()
    return sum(isinstance(each, ApiServer) for each in gc.get_objects())


def test_nothing_of_it_is_left_once_its_outcome_is_gone() -> None:
    before = apiservers()
    simulate(Plan(1, Topology(1, 1, 2), 5.0))
    assert apiservers() == before
