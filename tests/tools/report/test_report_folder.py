from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from ursa.proto.errors import InputError
from ursa.tools.report import folder, page
from ursa.tools.report.summarise import summarise
from ursa.tools.report.verdict import print_verdict


def test_every_run_gets_a_new_folder_with_the_three_files(tmp_path: Path, observations):
    report = summarise(observations)
    path = folder.write_report(tmp_path / "runs", report)
    assert path.parent == tmp_path / "runs"
    assert path.name == "2023-11-14T22-13-17Z-density-1a2b3c"
    assert sorted(os.listdir(path)) == ["PodStartupLatency.json", "report.html", "report.json"]
    assert json.loads((path / "report.json").read_text()) == report.document
    other = folder.write_report(tmp_path / "runs", summarise(replace(observations, run_id="ffffff")))
    assert sorted(os.listdir(tmp_path / "runs")) == sorted([path.name, other.name])


def test_a_report_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, observations, monkeypatch):
    def fail(document):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page, "render_page", fail)
    with pytest.raises(InputError, match=r"cannot write the report .*No space left"):
        folder.write_report(tmp_path, summarise(observations))
    assert os.listdir(tmp_path) == []


def test_an_output_directory_that_is_a_file_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError) as refused:
        folder.require_writable(tmp_path / "taken")
    assert "name another --output" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_json_file_is_replaced_as_a_whole(tmp_path: Path):
    folder.write_json(tmp_path / "deep" / "main.json", [1])
    folder.write_json(tmp_path / "deep" / "main.json", [2])
    assert json.loads((tmp_path / "deep" / "main.json").read_text()) == [2]
    assert os.listdir(tmp_path / "deep") == ["main.json"]


class Elements(HTMLParser):
    """The tags of a page, their ids, and its visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href"):
                self.links.append(value)


def test_the_page_needs_no_network_and_has_its_plots(observations):
    text = page.render_page(summarise(observations).document)
    elements = Elements()
    elements.feed(text)
    assert elements.links == []
    assert not {"link", "img", "iframe"} & set(elements.tags)
    assert {"pods", "startup", "throughput", "cpu", "memory", "series"} <= set(elements.ids)
    assert "@import" not in text[: text.index("</style>")]


def test_the_page_carries_the_curves_of_the_report(observations):
    document = summarise(observations).document
    text = page.render_page(document)
    data = re.search(r'<script id="series" type="application/json">(.*?)</script>', text, re.DOTALL)
    plots = json.loads(data[1])
    assert [trace["name"] for trace in plots["pods"]["traces"]] == ["created", "bound", "running"]
    assert plots["pods"]["traces"][2]["y"] == document["series"]["pods"]["running"]
    assert [trace["name"] for trace in plots["cpu"]["traces"]] == ["tp-1", "rp-1"]
    assert [mark["x"] for mark in plots["startup"]["marks"]] == [200, 900, 900]


def test_nothing_that_came_from_outside_becomes_markup(observations):
    evil = "</script><script>alert(1)</script>"
    harmless = replace(observations, problems=[evil], parameters={evil: evil}, details={"notes": {evil: evil}})
    usage = [replace(sample, resident_bytes={evil: 1}, cpu_seconds={evil: 1.0}) for sample in observations.usage]
    text = page.render_page(summarise(replace(harmless, usage=usage)).document)
    assert "<script>alert" not in text


def print_to_text(observations, path=None) -> str:
    out = StringIO()
    print_verdict(summarise(observations), path, Console(file=out, width=140))
    return out.getvalue()


def test_the_verdict_is_a_box_with_the_figures_and_then_the_path(observations):
    text = print_to_text(observations, Path("/runs/one"))
    assert "density: PASS" in text
    assert "4 running of 4 requested" in text
    assert "p50 200 ms" in text
    assert text.rstrip().endswith("report: /runs/one/report.html")


def test_a_failed_verdict_lists_its_failures_but_not_without_end(observations):
    text = print_to_text(replace(observations, problems=[f"broken {n}" for n in range(25)]))
    assert "density: FAIL" in text
    assert "broken 9" in text
    assert "broken 10" not in text
    assert "and 15 more, in the report" in text


def test_notes_of_a_command_stand_in_the_verdict(observations):
    text = print_to_text(replace(observations, details={"notes": {"durability": "7 acknowledged, 0 lost"}}))
    assert "7 acknowledged, 0 lost" in text
