"""Which links a fault is of, and what it makes of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.clients.transport.conditions import FREE, Conditions, Way
from ursa.proto.errors import InputError
from ursa.tools.faults.file import read_faults, write_faults
from ursa.tools.faults.rules import CUT, DELAY, FREEZE, Fault, Names, added, conditions_of, healed

NAMES = Names(["scheduler-tp-1", "hollow-nodes-rp-1-1"], ["tp-1", "rp-1"])
LINKS = [(component, partition) for component in NAMES.components for partition in NAMES.partitions]
_ENDS = st.sampled_from([*LINKS, *((partition, component) for component, partition in LINKS)])
_FAULTS = st.builds(
    lambda kind, ends, one_way: Fault(kind, *ends, one_way, seconds=1.0 if kind == DELAY else 0.0),
    st.sampled_from([CUT, DELAY, FREEZE]),
    _ENDS,
    st.booleans(),
)


def test_names_and_stars_stand_for_links_and_nothing_else_does() -> None:
    assert NAMES.links("scheduler-tp-1", "rp-1") == [("scheduler-tp-1", "rp-1")]
    assert NAMES.links("rp-1", "scheduler-tp-1") == [("rp-1", "scheduler-tp-1")]
    assert NAMES.links("*", "rp-1") == [("scheduler-tp-1", "rp-1"), ("hollow-nodes-rp-1-1", "rp-1")]
    assert NAMES.links("tp-1", "*") == [("tp-1", "scheduler-tp-1"), ("tp-1", "hollow-nodes-rp-1-1")]
    assert NAMES.links("*", "*") == LINKS
    with pytest.raises(InputError, match=r"there is no rp-9 in this cluster; there are scheduler-tp-1, .*rp-1$"):
        NAMES.links("scheduler-tp-1", "rp-9")
    for ends in itertools.product(*NAMES[:1], *NAMES[:1]):
        with pytest.raises(InputError, match=f"nothing links {ends[0]} and {ends[1]}: .* one of tp-1, rp-1"):
            NAMES.links(*ends)


def test_one_way_is_what_the_first_one_sends() -> None:
    cut = Way(cut=True)
    requests = conditions_of("scheduler-tp-1", [Fault(CUT, "scheduler-tp-1", "rp-1", one_way=True)])
    answers = conditions_of("scheduler-tp-1", [Fault(CUT, "rp-1", "scheduler-tp-1", one_way=True)])
    assert requests == {"rp-1": Conditions(cut, FREE)}
    assert answers == {"rp-1": Conditions(FREE, cut)}
    assert conditions_of("scheduler-tp-1", [Fault(CUT, "rp-1", "scheduler-tp-1")]) == {"rp-1": Conditions(cut, cut)}
    assert conditions_of("hollow-nodes-rp-1-1", [Fault(CUT, "rp-1", "scheduler-tp-1")]) == {}


@given(st.lists(_FAULTS, max_size=12), st.lists(st.tuples(_ENDS, st.integers(0, 12)), max_size=4))
def test_healing_a_link_heals_it_and_no_other(faults: list[Fault], heals: list[tuple[tuple[str, str], int]]) -> None:
    in_force: list[Fault] = []
    for number, fault in enumerate(faults):
        in_force = added(in_force, [fault])
        assert in_force[-1] == fault
        assert len(in_force) == len({(each.kind, each.source, each.target) for each in in_force})
        for ends, at in heals:
            if at == number:
                before = {name: conditions_of(name, in_force) for name in NAMES.components}
                in_force = healed(in_force, [ends])
                for name in NAMES.components:
                    rest = {other: each for other, each in before[name].items() if {name, other} != set(ends)}
                    assert conditions_of(name, in_force) == rest
    with TemporaryDirectory() as folder:
        path = Path(folder) / "faults.json"
        write_faults(path, in_force)
        assert read_faults(path) == in_force
        assert path.exists() == bool(in_force)


def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    for seconds in (0.0, -1.0, 61.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="a delay is more than 0 and at most 60 seconds"):
            Fault(DELAY, "scheduler-tp-1", "rp-1", seconds=seconds)
    with pytest.raises(InputError, match="no fault 'slow': use one of cut, delay, freeze"):
        Fault("slow", "scheduler-tp-1", "rp-1")
    with pytest.raises(InputError, match="both ways or not at all"):
        Fault(CUT, "scheduler-tp-1", "rp-1", one_way=True, refuse=True)
    path = tmp_path / "faults.json"
    slow = '{"faults": [{"kind": "slow", "source": "", "target": ""}]}'
    for text in ("{", "[]", '{"faults": [{"kind": "cut"}]}', slow):
        path.write_text(text)
        with pytest.raises(InputError) as refusal:
            read_faults(path)
        assert "\n" not in str(refusal.value)
