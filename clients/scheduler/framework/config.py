"""Profiles from a KubeSchedulerConfiguration, as kube-scheduler reads it.

    apiVersion: kubescheduler.config.k8s.io/v1
    kind: KubeSchedulerConfiguration
    profiles:
    - schedulerName: packing
      plugins: {score: {disabled: [{name: ImageLocality}], enabled: [{name: NodeResourcesFit, weight: 5}]}}
      pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated}}}]

https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/. What else such a file may say either makes no
difference here, and is noted as ignored, or is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import yaml

from ..options import DEFAULT_SCHEDULER
from .interface import BindPlugin, Plugin
from .plugin_sets import PluginSet, enabled_at, read_sets, with_defaults
from .points import MULTI_POINT, POINTS, takes_part
from .profile import Profile

API_VERSION: Final = "kubescheduler.config.k8s.io/v1"
KIND: Final = "KubeSchedulerConfiguration"
# What has no meaning here, and why.
IGNORED: Final = {
    "percentageOfNodesToScore": "every node is scored",
    "parallelism": "all nodes are looked at at once",
    "leaderElection": "see --leader-elect",
    "clientConnection": "see the flags of the command",
    "healthzBindAddress": "see --metrics-port",
    "metricsBindAddress": "see --metrics-port",
    "enableProfiling": "there is none",
    "enableContentionProfiling": "there is none",
    "podInitialBackoffSeconds": "backoff is the scheduler's own",
    "podMaxBackoffSeconds": "backoff is the scheduler's own",
    "delayCacheUntilActive": "there is no cache to delay",
}
_REFUSED: Final = {"extenders": "webhooks of a scheduler are not called here: write a plugin"}
# Points that go with another: what a plugin prepares is for its own Filter or Score.
_PREPARED: Final = {"filter": "preFilter", "score": "preScore"}


class Configuration(NamedTuple):
    """`profiles` as they are written; `notes`: what has been ignored, a line each."""

    profiles: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]


def read_configuration(text: str) -> Configuration:
    """
    Raises:
        ValueError: it is no such configuration; one line that names the field.
    """
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"the scheduler's configuration is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(read, Mapping) or read.get("kind") != KIND:
        raise ValueError(f"the scheduler's configuration must have kind: {KIND}")
    if read.get("apiVersion") != API_VERSION:
        raise ValueError(f"apiVersion must be {API_VERSION}, not {read.get('apiVersion')!r}")
    notes = []
    for field in read:
        if field in _REFUSED:
            raise ValueError(f"{field}: {_REFUSED[field]}")
        if field in IGNORED:
            notes.append(f"{field} is ignored: {IGNORED[field]}")
        elif field not in ("apiVersion", "kind", "profiles"):
            raise ValueError(f"{field} is no field of a {KIND}")
    profiles: Any = read.get("profiles") or ({},)
    if not isinstance(profiles, list | tuple) or not all(isinstance(each, Mapping) for each in profiles):
        raise ValueError(f"profiles must be a list of profiles, not {profiles!r}")
    return Configuration(tuple(profiles), tuple(notes))


def make_profiles(
    profiles: Sequence[Mapping[str, Any]],
    built_in: Mapping[str, type[Plugin]],
    defaults: Mapping[str, int],
    own: Mapping[str, type[Plugin]],
) -> tuple[Profile, ...]:
    """The plugins of each profile, made.

    Args:
        built_in: the classes of our own plugins, by name.
        defaults: the weights of those that are on unless a profile says otherwise.
        own: the classes of the user's plugins.

    Raises:
        ValueError: one line that names the field.
    """
    for name, plugin in own.items():
        if name in built_in:
            raise ValueError(f"plugin {name} would take the place of Ursa's own: give it another name")
        if not any(takes_part(plugin, point) for point in POINTS):
            raise ValueError(f"plugin {name} takes part in no extension point: derive it from FilterPlugin or another")
    maker = _Maker({**built_in, **own}, defaults, dict.fromkeys(built_in))
    made = [maker.profile(each, f"profiles[{at}]") for at, each in enumerate(profiles)]
    names: dict[str, None] = {}
    for profile in made:
        if profile.scheduler_name in names:
            raise ValueError(f"profiles: two of them have schedulerName {profile.scheduler_name}")
        names[profile.scheduler_name] = None
    _check_sorts(made)
    return tuple(made)


class _Maker:
    def __init__(
        self, classes: Mapping[str, type[Plugin]], defaults: Mapping[str, int], trusted: Mapping[str, None]
    ) -> None:
        self._classes, self._defaults, self._trusted = classes, defaults, trusted

    def profile(self, written: Mapping[str, Any], field: str) -> Profile:
        for key in written:
            if key not in ("schedulerName", "plugins", "pluginConfig", "percentageOfNodesToScore"):
                raise ValueError(f"{field}.{key} is no field of a profile")
        name = written.get("schedulerName") or DEFAULT_SCHEDULER
        if not isinstance(name, str):
            raise ValueError(f"{field}.schedulerName must be a text, not {name!r}")
        own = read_sets(written.get("plugins"), f"{field}.plugins")
        self._check_names(own, f"{field}.plugins")
        sets = with_defaults(own, self._defaults)
        enabled = {point: enabled_at(point, sets, self._classes) for point in POINTS}
        _check_prepared(enabled, self._classes, f"{field}.plugins")
        _check_binders(tuple(enabled["bind"]), self._classes, f"{field}.plugins.bind")
        args = self._read_args(written.get("pluginConfig"), f"{field}.pluginConfig")
        made: dict[str, Plugin] = {}
        for plugin in dict.fromkeys(name for names in enabled.values() for name in names):
            made[plugin] = self._make(plugin, args.get(plugin), f"{field}.pluginConfig")
        return Profile(
            name,
            {point: tuple(made[plugin] for plugin in names) for point, names in enabled.items()},
            {plugin: weight or 1 for plugin, weight in enabled["score"].items()},
            self._trusted,
        )

    def _check_names(self, sets: Mapping[str, PluginSet], field: str) -> None:
        """Of what is enabled. What is disabled and not there is off as it should be."""
        for point, plugins in sets.items():
            for name in plugins.enabled:
                place = f"{field}.{point}.enabled"
                self._check_known(name, place)
                if point != MULTI_POINT and not takes_part(self._classes[name], point):
                    raise ValueError(f"{place}: {name} takes no part in {point}")

    def _check_known(self, name: str, place: str) -> None:
        if name not in self._classes:
            near = difflib.get_close_matches(name, self._classes, 1)
            guess = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"{place}: there is no plugin {name}; {guess}there are {', '.join(sorted(self._classes))}")

    def _read_args(self, configs: Any, field: str) -> dict[str, Mapping[str, Any]]:
        if configs is not None and not isinstance(configs, list | tuple):
            raise ValueError(f"{field} must be a list of {{name, args}}, not {configs!r}")
        args: dict[str, Mapping[str, Any]] = {}
        for at, each in enumerate(configs or ()):
            name = each.get("name") if isinstance(each, Mapping) else None
            if not isinstance(name, str):
                raise ValueError(f"{field}[{at}].name must be the name of a plugin, not {name!r}")
            self._check_known(name, f"{field}[{at}].name")
            if name in args:
                raise ValueError(f"{field}[{at}].name: {name} is there twice")
            args[name] = each.get("args") or {}
            if not isinstance(args[name], Mapping):
                raise ValueError(f"{field}[{at}].args must be fields by name, not {each['args']!r}")
        return args

    def _make(self, name: str, args: Mapping[str, Any] | None, field: str) -> Plugin:
        try:
            return self._classes[name](args)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None
        except Exception as error:
            raise ValueError(f"{field}: {name} cannot be made: {type(error).__name__}: {error}") from error


def _check_prepared(enabled: Mapping[str, Mapping[str, int]], classes: Mapping[str, type[Plugin]], field: str) -> None:
    for point, before in _PREPARED.items():
        for name in enabled[point]:
            if takes_part(classes[name], before) and name not in enabled[before]:
                raise ValueError(f"{field}.{before}: {name} prepares there for {point}: disable both, or neither")


def _check_binders(names: Sequence[str], classes: Mapping[str, type[Plugin]], field: str) -> None:
    if not names:
        raise ValueError(f"{field}: no plugin binds pods: enable DefaultBinder")
    for at, name in enumerate(names[:-1], 1):
        plugin = classes[name]
        if issubclass(plugin, BindPlugin) and not plugin.skips:
            order = ", ".join(f"{{name: {each}}}" for each in (*names[: at - 1], *names[at:], name))
            raise ValueError(
                f"{field}: {name} binds every pod, and {names[at]} after it is never asked: "
                f"say bind: {{disabled: [{{name: '*'}}], enabled: [{order}]}}"
            )


def _check_sorts(profiles: Sequence[Profile]) -> None:
    """All pods wait in one queue, so there is one order."""
    sorts = [[plugin.name for plugin in profile.points["queueSort"]] for profile in profiles]
    for profile, names in zip(profiles, sorts, strict=True):
        if len(names) > 1:
            raise ValueError(f"queueSort of {profile.scheduler_name}: one plugin sorts, not {' and '.join(names)}")
        if names != sorts[0]:
            raise ValueError(
                f"queueSort: {profiles[0].scheduler_name} and {profile.scheduler_name} must have the same, "
                f"not {' '.join(sorts[0]) or 'none'} and {' '.join(names) or 'none'}"
            )
