"""Plans for Hypothesis: they shrink to the few faults and operations that matter.

    @given(plans())
    def test_my_scheduler_keeps_every_promise(plan):
        outcome = simulate(plan, components={"scheduler-tp-1": make_my_scheduler})
        assert outcome.passed, outcome.violations

Needs Hypothesis, which Ursa itself does not.
"""

from __future__ import annotations

from hypothesis import strategies as st

from .drawing import Swarm, draw_plan
from .plan import Plan


def plans(swarm: Swarm | None = None) -> st.SearchStrategy[Plan]:
    """Plans within a swarm's bounds: a seed's own, or any part of it. What shrinks is the part."""
    return _parts(swarm or Swarm())


@st.composite
def _parts(draw: st.DrawFn, swarm: Swarm) -> Plan:
    whole = draw_plan(draw(st.integers(0, 2**32)), swarm)
    faults = [fault for fault in whole.faults if draw(st.booleans())]
    operations = [operation for operation in whole.operations if draw(st.booleans())]
    return whole.with_(faults=tuple(faults), operations=tuple(operations))
