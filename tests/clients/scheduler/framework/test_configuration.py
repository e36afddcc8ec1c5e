"""Profiles as a KubeSchedulerConfiguration has them, with the defaults and the merging of Kubernetes."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import yaml
from ursa.clients.scheduler.framework.config import read_configuration
from ursa.clients.scheduler.framework.interface import NodeScorePlugin, Plugin, QueueSortPlugin
from ursa.clients.scheduler.framework.profile import Profile
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.profiles import profiles_of

SCORES = (
    "TaintToleration",
    "NodeAffinity",
    "NodeResourcesFit",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
    "Lucky",
)
HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


class Lucky(NodeScorePlugin):
    name: ClassVar[str] = "Lucky"

    def score_node(self, state: Any, pod: Any, node: Any) -> int:
        return 7


class Nothing(Plugin):
    name: ClassVar[str] = "Nothing"


class OldestFirst(QueueSortPlugin):
    name: ClassVar[str] = "OldestFirst"

    def sort_key(self, pod: Any) -> tuple[Any, ...]:
        return (pod.order,)


class NewestFirst(OldestFirst):
    name: ClassVar[str] = "NewestFirst"


def made(text: str, *own: type[Plugin]) -> list[Profile]:
    read = read_configuration(HEAD + text)
    return list(profiles_of(SchedulerOptions(profiles=read.profiles, plugins=own)))


def names(profile: Profile, point: str) -> list[str]:
    return [plugin.name for plugin in profile.points[point]]


def test_a_configuration_that_says_nothing_has_the_plugins_and_weights_of_kubernetes() -> None:
    [profile] = made("")
    assert profile.scheduler_name == "default-scheduler"
    weights = {
        "TaintToleration": 3,
        "NodeAffinity": 2,
        "NodeResourcesFit": 1,
        "NodeResourcesBalancedAllocation": 1,
        "ImageLocality": 1,
    }
    assert {name: profile.weights[name] for name in weights} == weights
    first = ["NodeUnschedulable", "NodeName", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit"]
    first += ["VolumeBinding", "VolumeZone", "PodTopologySpread", "InterPodAffinity"]
    assert names(profile, "filter")[: len(first)] == first


def test_several_profiles_each_with_its_own_arguments() -> None:
    spreading, packing = made(
        """
profiles:
- schedulerName: spreading
- schedulerName: packing
  pluginConfig:
  - name: NodeResourcesFit
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeResourcesFitArgs
      scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 3}]}
"""
    )
    assert (spreading.scheduler_name, packing.scheduler_name) == ("spreading", "packing")
    fit = [
        profile.points["score"][names(profile, "score").index("NodeResourcesFit")] for profile in (spreading, packing)
    ]
    assert fit[0] is not fit[1]


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        ("score: {disabled: [{name: '*'}]}", []),
        ("score: {disabled: [{name: '*'}], enabled: [{name: NodeResourcesFit, weight: 5}]}", ["NodeResourcesFit=5"]),
        (
            "multiPoint: {disabled: [{name: '*'}], enabled: [{name: ImageLocality}, {name: DefaultBinder}]}",
            ["ImageLocality=1"],
        ),
        # Enabled again, a default keeps its place; at the point itself it comes first.
        (
            "multiPoint: {enabled: [{name: NodeAffinity, weight: 9}]}",
            ["TaintToleration=3", "NodeAffinity=9", "NodeResourcesFit=1", "NodeResourcesBalancedAllocation=1",
             "ImageLocality=1"],
        ),
        (
            "score: {enabled: [{name: ImageLocality, weight: 9}]}",
            ["ImageLocality=9", "TaintToleration=3", "NodeAffinity=2", "NodeResourcesFit=1",
             "NodeResourcesBalancedAllocation=1"],
        ),
        (
            ("multiPoint: {disabled: [{name: TaintToleration}, {name: NodeAffinity}, {name: NodeResourcesFit}], "
             "enabled: [{name: Lucky, weight: 4}]}"),
            ["NodeResourcesBalancedAllocation=1", "ImageLocality=1", "Lucky=4"],
        ),
        # What is disabled and not here, is off.
        ("score: {disabled: [{name: '*'}, {name: VolumeBinding}], enabled: [{name: Lucky}]}", ["Lucky=1"]),
    ],
)  # fmt: skip
def test_sets_are_merged_as_kubernetes_does(plugins: str, expected: list[str]) -> None:
    [profile] = made(f"profiles: [{{plugins: {{{plugins}}}}}]", Lucky)
    scores = [f"{name}={profile.weights[name]}" for name in names(profile, "score") if name in SCORES]
    assert scores == expected


def test_a_plugin_is_one_object_at_all_its_points() -> None:
    [profile] = made("")
    taints = [
        plugin
        for point in ("preFilter", "filter", "preScore", "score")
        for plugin in profile.points[point]
        if plugin.name == "TaintToleration"
    ]
    assert len(taints) == 4
    assert all(plugin is taints[0] for plugin in taints)


def test_what_has_no_meaning_here_is_said_to_be_ignored() -> None:
    read = read_configuration(HEAD + "percentageOfNodesToScore: 50\nleaderElection: {leaderElect: true}\n")
    assert read.notes == (
        "percentageOfNodesToScore is ignored: every node is scored",
        "leaderElection is ignored: see --leader-elect",
    )


BAD = {
    "no yaml": ("profiles: [", "is no YAML"),
    "unknown field": ("profilez: []", "profilez is no field of a KubeSchedulerConfiguration"),
    "extenders": ("extenders: [{urlPrefix: http://x}]", "extenders: webhooks of a scheduler are not called"),
    "profiles no list": ("profiles: 5", "profiles must be a list of profiles, not 5"),
    "profile field": ("profiles: [{name: x}]", r"profiles\[0\].name is no field of a profile"),
    "unknown point": ("profiles: [{plugins: {scores: {}}}]", r"profiles\[0\].plugins.scores is no extension point"),
    "unknown plugin": (
        "profiles: [{plugins: {score: {enabled: [{name: NodeResourceFit}]}}}]",
        r"profiles\[0\].plugins.score.enabled: there is no plugin NodeResourceFit; did you mean NodeResourcesFit\?",
    ),
    "not at that point": (
        "profiles: [{plugins: {score: {enabled: [{name: NodeName}]}}}]",
        r"profiles\[0\].plugins.score.enabled: NodeName takes no part in score",
    ),
    "weight below zero": (
        "profiles: [{plugins: {score: {enabled: [{name: ImageLocality, weight: -1}]}}}]",
        r"profiles\[0\].plugins.score.enabled\[0\].weight must be a whole number from 1 to 100, not -1",
    ),
    "weight above a hundred": (
        "profiles: [{plugins: {multiPoint: {enabled: [{name: ImageLocality, weight: 101}]}}}]",
        r"weight must be a whole number from 1 to 100, not 101",
    ),
    "twice": (
        "profiles: [{plugins: {score: {enabled: [{name: ImageLocality}, {name: ImageLocality}]}}}]",
        r"profiles\[0\].plugins.score.enabled\[1\].name: ImageLocality is enabled twice",
    ),
    "half a plugin": (
        "profiles: [{plugins: {preFilter: {disabled: [{name: NodeAffinity}]}}}]",
        r"profiles\[0\].plugins.preFilter: NodeAffinity prepares there for filter: disable both, or neither",
    ),
    "arguments of no plugin": (
        "profiles: [{pluginConfig: [{name: Unheard, args: {}}]}]",
        r"profiles\[0\].pluginConfig\[0\].name: there is no plugin Unheard",
    ),
    "arguments twice": (
        "profiles: [{pluginConfig: [{name: NodeAffinity}, {name: NodeAffinity}]}]",
        r"profiles\[0\].pluginConfig\[1\].name: NodeAffinity is there twice",
    ),
    "arguments of the wrong type": (
        "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: [1]}]}]",
        r"profiles\[0\].pluginConfig\[0\].args must be fields by name, not \[1\]",
    ),
    "unknown argument": (
        "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {strategy: x}}]}]",
        r"profiles\[0\].pluginConfig: NodeResourcesFit: strategy is no field: there are",
    ),
    "no such strategy": (
        "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: Best}}}]}]",
        r"NodeResourcesFit: scoringStrategy.type must be LeastAllocated or MostAllocated or RequestedToCapacityRatio",
    ),
    "no time for volumes": (
        "profiles: [{pluginConfig: [{name: VolumeBinding, args: {bindTimeoutSeconds: 0}}]}]",
        r"VolumeBinding: bindTimeoutSeconds must be a whole number from 1 to 86400, not 0",
    ),
    "weight of a resource": (
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {resources: "
            "[{name: cpu, weight: 0}]}}}]}]"
        ),
        r"scoringStrategy.resources\[0\].weight must be a whole number from 1 to 100, not 0",
    ),
    "a ratio without a shape": (
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: "
            "{type: RequestedToCapacityRatio}}}]}]"
        ),
        r"requestedToCapacityRatio goes with type RequestedToCapacityRatio",
    ),
    "a shape that goes back": (
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: "
            "{type: RequestedToCapacityRatio, "
            "requestedToCapacityRatio: {shape: [{utilization: 9, score: 1}, {utilization: 9, score: 2}]}}}}]}]"
        ),
        r"shape\[1\].utilization must be more than that of the point before, 9",
    ),
    "added affinity": (
        (
            "profiles: [{pluginConfig: [{name: NodeAffinity, args: {addedAffinity: "
            "{requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}}]}]"
        ),
        r"addedAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms must have a term",
    ),
    "two profiles of one name": ("profiles: [{}, {}]", "two of them have schedulerName default-scheduler"),
    "two sorts": (
        (
            "profiles: [{schedulerName: a, plugins: {queueSort: {disabled: [{name: '*'}], "
            "enabled: [{name: OldestFirst}]}}},"
            " {schedulerName: b, plugins: {queueSort: {disabled: [{name: '*'}], enabled: [{name: NewestFirst}]}}}]"
        ),
        "queueSort: a and b must have the same, not OldestFirst and NewestFirst",
    ),
}


@pytest.mark.parametrize("text", [text for text, _ in BAD.values()], ids=list(BAD))
def test_what_makes_no_sense_is_one_line_that_names_the_field(text: str) -> None:
    says = next(says for each, says in BAD.values() if each == text)
    with pytest.raises(ValueError, match=says) as refused:
        made(text, OldestFirst, NewestFirst)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "apiVersion: v1\nkind: Pod\n", "[1]", HEAD.replace("/v1\n", "/v1beta3\n")])
def test_another_kind_of_file_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"must (have kind: KubeSchedulerConfiguration|be kubescheduler.config.k8s.io/v1)"
    ):
        read_configuration(text)


def test_a_plugin_without_a_point_or_in_the_place_of_another_is_refused() -> None:
    with pytest.raises(ValueError, match="plugin Nothing takes part in no extension point"):
        made("", Nothing)

    class Impostor(Lucky):
        name: ClassVar[str] = "NodeName"

    with pytest.raises(ValueError, match="plugin NodeName would take the place of Ursa's own"):
        made("", Impostor)


def test_a_plugin_with_arguments_that_it_does_not_take() -> None:
    with pytest.raises(ValueError, match="Lucky takes no arguments, not \\['x'\\]"):
        made(
            "profiles: [{plugins: {score: {enabled: [{name: Lucky}]}}, pluginConfig: [{name: Lucky, args: {x: 1}}]}]",
            Lucky,
        )


def test_the_same_profiles_can_be_written_in_python() -> None:
    text = "profiles: [{schedulerName: mine, plugins: {score: {disabled: [{name: ImageLocality}]}}}]"
    [of_text] = made(text)
    [of_python] = profiles_of(SchedulerOptions(profiles=tuple(yaml.safe_load(text)["profiles"])))
    assert [names(of_text, point) for point in of_text.points] == [
        names(of_python, point) for point in of_python.points
    ]
