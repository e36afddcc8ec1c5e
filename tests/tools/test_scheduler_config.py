"""Profiles and plugins as a person names them."""

from __future__ import annotations

from pathlib import Path

import pytest
import ursa
from ursa.proto.errors import InputError
from ursa.tools.scheduler_config import read_scheduler_config

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
PLUGIN = """
from ursa.clients.scheduler.framework.interface import NodeScorePlugin

class Seven(NodeScorePlugin):
    name = "Seven"
    def score_node(self, state, pod, node):
        return 7
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_plugins.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_file_and_a_class_in_the_current_directory(folder: Path) -> None:
    file = folder / "profiles.yaml"
    file.write_text(
        HEAD + "percentageOfNodesToScore: 5\nprofiles: [{plugins: {score: {enabled: [{name: Seven, weight: 3}]}}}]"
    )
    options, notes = read_scheduler_config(file, ["my_plugins:Seven"], "mine")
    assert [plugin.name for plugin in options.plugins] == ["Seven"]
    assert options.scheduler_name == "mine"
    assert notes == ("percentageOfNodesToScore is ignored: every node is scored",)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("my_plugins", "a plugin is named as module:Class, not 'my_plugins'"),
        ("my_plugins:Eight", "plugin my_plugins:Eight is no class derived from a plugin class"),
        ("no_such_module:Seven", "plugin no_such_module:Seven: No module named 'no_such_module'"),
        ("json:JSONDecoder", "plugin json:JSONDecoder is no class derived from a plugin class"),
    ],
)
def test_a_reference_that_leads_nowhere(folder: Path, reference: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_scheduler_config(None, [reference])


def test_what_is_wrong_is_said_before_anything_is_started(folder: Path) -> None:
    file = folder / "profiles.yaml"
    file.write_text(HEAD + "profiles: [{plugins: {score: {enabled: [{name: Seven}]}}}]")
    with pytest.raises(
        InputError, match=r"profiles.yaml: profiles\[0\].plugins.score.enabled: there is no plugin Seven"
    ):
        ursa.Cluster(scheduler_config=file)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        ursa.Cluster(scheduler_config=folder / "other.yaml")
