"""The more of a zone is lost, the slower its nodes lose their pods; and where all are lost, none does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.controllers.node_lifecycle_core import NodeLifecycleCore
from ursa.clients.controllers.node_zones import (
    REGION_LABEL,
    ZONE_LABEL,
    Census,
    EvictionTurns,
    Health,
    Zone,
    evictions_per_second,
    zone_of,
)
from ursa.clients.controllers.options import ResourceControllerOptions
from ursa.clients.informer import Event, EventType

from .test_node_lifecycle_core import lease, node

OPTIONS = ResourceControllerOptions()
TICK_SECONDS = OPTIONS.node_monitor_seconds


class Zones:
    """A core, and nodes in zones, of which some renew their leases. The clock is by ticks."""

    def __init__(self, sizes: dict[str, int], options: ResourceControllerOptions = OPTIONS) -> None:
        self.core = NodeLifecycleCore(options)
        self.now = 0.0
        self.names = {zone: [f"{zone}{number}" for number in range(size)] for zone, size in sizes.items()}
        self._renewals = 0
        for zone, names in self.names.items():
            for name in names:
                self.core.node_event(Event(EventType.ADDED, node(name, labels={ZONE_LABEL: zone}), None), 0.0)
        self.tick({})

    def tick(self, silent: dict[str, int], *, times: int = 1) -> None:
        """The first so many nodes of each zone say nothing."""
        for _ in range(times):
            self.now += TICK_SECONDS
            for zone, names in self.names.items():
                for name in names[silent.get(zone, 0) :]:
                    self._renewals += 1
                    self.core.lease_event(Event(EventType.MODIFIED, lease(name, self._renewals), None), self.now)
            self.core.tick(self.now, round(self.now * 1000), True)

    def evicting(self, zone: str) -> int:
        return sum(name in self.names[zone] for name, _ in self.core.evicting())


GRACE_TICKS = round(OPTIONS.node_grace_seconds / TICK_SECONDS) + 1


def test_evictions_that_stopped_at_half_of_a_zone_do_not_begin_again_when_all_of_it_is_lost() -> None:
    """Kubernetes' enhancement #5263."""
    zones = Zones({"a": 5, "b": 5})
    zones.tick({"a": 1}, times=GRACE_TICKS)
    assert zones.evicting("a") == 1
    for lost in (3, 4, 5):
        zones.tick({"a": lost}, times=2 * GRACE_TICKS)
        assert zones.evicting("a") == 0, f"{lost} of 5"
    zones.tick({"a": 1}, times=2)
    assert zones.evicting("a") == 1


def test_who_knows_that_his_zones_fail_as_a_whole_has_their_pods_evicted() -> None:
    zones = Zones({"a": 5, "b": 5}, replace(OPTIONS, full_disruption_evictions_per_second=0.1))
    zones.tick({"a": 4}, times=2 * GRACE_TICKS)
    assert zones.evicting("a") == 0
    zones.tick({"a": 5}, times=4 * GRACE_TICKS)
    assert zones.evicting("a") == 5
    zones.tick({"a": 5, "b": 5}, times=2 * GRACE_TICKS)
    assert zones.evicting("a") == zones.evicting("b") == 0


def test_from_a_large_zone_that_is_disrupted_they_go_on_at_the_secondary_rate() -> None:
    zones = Zones({"a": 60, "b": 5})
    zones.tick({"a": 40}, times=GRACE_TICKS)
    before = zones.evicting("a")
    zones.tick({"a": 40}, times=round(1000 / TICK_SECONDS))
    assert zones.evicting("a") - before == 10


def test_a_zone_does_not_pay_for_another() -> None:
    zones = Zones({"a": 20, "b": 20, "": 20})
    zones.tick({"a": 2, "b": 12, "": 2}, times=3 * GRACE_TICKS)
    assert (zones.evicting("a"), zones.evicting("b"), zones.evicting("")) == (2, 0, 2)


def test_two_nodes_that_die_say_nothing_of_their_zone() -> None:
    zones = Zones({"a": 2, "b": 1})
    zones.tick({"a": 2}, times=3 * GRACE_TICKS)
    assert zones.evicting("a") == 2


def test_where_a_node_is() -> None:
    assert zone_of({ZONE_LABEL: "a", REGION_LABEL: "eu"}) == Zone("eu", "a") != Zone("us", "a")
    assert (str(Zone("eu", "a")), str(Zone("", "a")), str(zone_of({}))) == ("eu/a", "a", "<none>")


@pytest.mark.parametrize(
    ("total", "lost", "health"),
    [(0, 0, "Normal"), (1, 1, "FullDisruption"), (3, 2, "Normal"), (20, 10, "Normal"), (20, 11, "PartialDisruption")],
)
def test_the_health_of_a_zone(total: int, lost: int, health: str) -> None:
    assert Census(total, lost).health(OPTIONS.unhealthy_zone_threshold) is Health(health)


@given(st.integers(1, 120), st.data())
def test_the_rate_never_rises_with_what_is_lost(total: int, data: st.DataObject) -> None:
    fewer = data.draw(st.integers(0, total))
    more = data.draw(st.integers(fewer, total))
    assert evictions_per_second(Census(total, more), OPTIONS) <= evictions_per_second(Census(total, fewer), OPTIONS)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.1]), st.floats(0, 100), st.integers(0, 3)), max_size=30))
def test_no_more_turns_are_taken_than_time_has_brought_and_one_that_was_saved(
    steps: list[tuple[float, float, int]],
) -> None:
    turns, zone, brought, taken = EvictionTurns(), Zone("", "a"), 1.0, 0
    for rate, elapsed, asked in steps:
        turns.pass_time({zone: rate}, elapsed)
        brought += rate * elapsed
        for _ in range(asked):
            got = turns.take(zone)
            assert not got or taken + 1 <= brought + 1e-9
            taken += got


SILENCES = st.lists(st.fixed_dictionaries({"a": st.integers(0, 6), "b": st.integers(0, 3)}), max_size=6)


@settings(deadline=None, max_examples=50)
@given(SILENCES, st.integers(1, 20))
def test_whatever_falls_silent_evictions_keep_to_the_rates_and_stop_where_there_is_none(
    silences: list[dict[str, int]], ticks: int
) -> None:
    zones = Zones({"a": 6, "b": 3})
    for silent in silences:
        for _ in range(ticks):
            before = {zone: zones.evicting(zone) for zone in zones.names}
            zones.tick(silent)
            census = {zone.zone: counted for zone, counted in zones.core.zones.items()}
            all_lost = all(counted.lost == counted.total for counted in census.values())
            for zone, counted in census.items():
                begun = zones.evicting(zone) - before[zone]
                assert zones.evicting(zone) <= counted.lost
                assert begun <= 1, "one in ten seconds"
                if all_lost or evictions_per_second(counted, OPTIONS) == 0:
                    assert zones.evicting(zone) == 0
