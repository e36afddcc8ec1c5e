"""`ursa density --fault`: links that are disturbed while pods are created."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
import trio
from rich.console import Console
from trio.testing import MockClock
from ursa.proto.errors import InputError
from ursa.tools.faults.rules import Fault
from ursa.tools.load.density import DensityOptions, run_density
from ursa.tools.load.faults import LinkFault
from ursa.tools.load.progress import Reporter
from ursa.tools.recording import read_recording
from ursa.tools.recording.records import Happened
from ursa.tools.report.summarise import summarise

DENSITY = DensityOptions(nodes=8, pods_per_node=10, qps=20, tenants_per_partition=2, processes=False)


def test_a_fault_names_what_is_wrong_between_whom_and_when() -> None:
    assert LinkFault.parse("cut:scheduler-tp-1:rp-2@50%").fault == Fault("cut", "scheduler-tp-1", "rp-2")
    parsed = LinkFault.parse("delay=0.5:rp-2:scheduler-tp-1:one-way@20%+15")
    assert parsed.fault == Fault("delay", "rp-2", "scheduler-tp-1", one_way=True, seconds=0.5)
    assert (parsed.percent, parsed.lasts_seconds) == (20, 15.0)
    assert LinkFault.parse("cut:*:rp-2:refuse@0%").fault == Fault("cut", "*", "rp-2", refuse=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cut", "like cut:scheduler-tp-1:rp-2@50%"),
        ("cut:a:b@101%", "like cut:scheduler"),
        ("cut:a:b@1%+1.2.3", "like cut:scheduler"),
        ("delay:a:b@1%", "only a delay has seconds"),
        ("cut=1:a:b@1%", "only a delay has seconds"),
        ("freeze:a:b:refuse@1%", "only a cut may refuse"),
        ("delay=99:a:b@1%", "at most 60 seconds"),
    ],
)
def test_one_of_another_form_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        LinkFault.parse(text)
    assert "\n" not in str(refusal.value)


def test_a_link_that_the_cluster_will_not_have_is_refused_before_it_starts() -> None:
    wrong = {"cut:scheduler-tp-9:rp-1@1%": "there is no scheduler-tp-9", "cut:tp-1:rp-1@1%": "nothing links"}
    for text, says in wrong.items():
        with pytest.raises(InputError, match=says):
            replace(DENSITY, faults=[LinkFault.parse(text)])
    hosts = replace(DENSITY, nodes=2500, resource_partitions=1, processes=True)
    replace(hosts, faults=[LinkFault.parse("cut:hollow-nodes-rp-1-3:tp-1@1%")])
    with pytest.raises(InputError, match="there is no hollow-nodes-rp-1-4"):
        replace(hosts, faults=[LinkFault.parse("cut:hollow-nodes-rp-1-4:tp-1@1%")])


@pytest.mark.slow
def test_disturbed_links_hold_a_run_up_and_break_no_promise(tmp_path: Path) -> None:
    texts = ["cut:scheduler-tp-1:rp-2@20%+25", "freeze:tp-2:hollow-nodes-rp-1:one-way@30%+10", "delay=0.2:*:tp-1@40%"]
    faults = [LinkFault.parse(text) for text in texts]
    options = replace(DENSITY, faults=faults, record=tmp_path / "recording")
    reporter = Reporter(Console(file=StringIO(), width=200))
    observations = trio.run(partial(run_density, options, reporter), clock=MockClock(autojump_threshold=0))
    document = summarise(observations).document
    assert summarise(observations).failures == []
    assert document["pods"]["running"] == 80
    assert document["promises"]["violations"] == 0
    assert [each["fault"] for each in document["faults"]] == ["cut", "freeze, one way", "delay by 0.2 s"]
    assert document["faults"][0]["healedAtSeconds"] - document["faults"][0]["atSeconds"] == 25
    notes = [each.what for each in read_recording(tmp_path / "recording") if isinstance(each, Happened)]
    assert notes.count("fault: scheduler-tp-1 rp-2: cut") == notes.count("fault healed: scheduler-tp-1 rp-2: cut") == 1
    assert sum(note.startswith("fault: ") for note in notes) == sum(note.startswith("fault healed: ") for note in notes)
