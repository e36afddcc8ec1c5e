"""Which plugins are on at an extension point, by the rules of Kubernetes.

https://kubernetes.io/docs/reference/scheduling/config/#multipoint. The defaults stand as if each were enabled by
`multiPoint`. A profile's own sets are laid over them: what is `disabled` (by name, or all by "*") goes; a default that
is enabled again keeps its place, with the new weight; others come after. At one point then come first the plugins that
both it and `multiPoint` enable, in its own order, then those of `multiPoint` alone, then the others of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from .interface import Plugin
from .points import MULTI_POINT, POINTS, takes_part

EVERYTHING: Final = "*"
WEIGHT_MAX: Final = 100


class PluginSet(NamedTuple):
    """`enabled`: weights by name, 0 where none is given; `disabled`: names."""

    enabled: Mapping[str, int] = {}
    disabled: Mapping[str, None] = {}


def read_sets(plugins: Any, field: str) -> dict[str, PluginSet]:
    """The `plugins` of a profile, by point.

    Raises:
        ValueError: it makes no sense; the message names the field.
    """
    if plugins is None:
        return {}
    if not isinstance(plugins, Mapping):
        raise ValueError(f"{field} must be sets of plugins by extension point, not {plugins!r}")
    sets = {}
    for point, entry in plugins.items():
        if point not in (MULTI_POINT, *POINTS):
            raise ValueError(f"{field}.{point} is no extension point: there are {', '.join((MULTI_POINT, *POINTS))}")
        sets[point] = _read_set(entry or {}, f"{field}.{point}")
    return sets


def _read_set(entry: Any, field: str) -> PluginSet:
    if not isinstance(entry, Mapping) or any(key not in ("enabled", "disabled") for key in entry):
        raise ValueError(f"{field} must have nothing but `enabled` and `disabled`, not {entry!r}")
    enabled: dict[str, int] = {}
    for at, each in enumerate(_objects(entry.get("enabled"), f"{field}.enabled")):
        place = f"{field}.enabled[{at}]"
        name, weight = _name(each, place), each.get("weight") or 0
        if name in enabled:
            raise ValueError(f"{place}.name: {name} is enabled twice")
        if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= WEIGHT_MAX:
            raise ValueError(f"{place}.weight must be a whole number from 1 to {WEIGHT_MAX}, not {weight!r}")
        enabled[name] = weight
    disabled = {
        _name(each, f"{field}.disabled[{at}]"): None
        for at, each in enumerate(_objects(entry.get("disabled"), f"{field}.disabled"))
    }
    return PluginSet(enabled, disabled)


def _objects(value: Any, field: str) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list | tuple) or not all(isinstance(each, Mapping) for each in value):
        raise ValueError(f"{field} must be a list of plugins like {{name: NodeName}}, not {value!r}")
    return list(value)


def _name(entry: Mapping[str, Any], field: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{field}.name must be the name of a plugin, not {name!r}")
    return name


def with_defaults(own: Mapping[str, PluginSet], defaults: Mapping[str, int]) -> dict[str, PluginSet]:
    """A profile's sets laid over the default plugins."""
    sets = dict(own)
    multi = sets.get(MULTI_POINT, PluginSet())
    gone = dict(defaults) if EVERYTHING in multi.disabled else {name: 1 for name in defaults if name in multi.disabled}
    merged = {name: multi.enabled.get(name, weight) for name, weight in defaults.items() if name not in gone}
    merged |= {name: weight for name, weight in multi.enabled.items() if name not in merged}
    sets[MULTI_POINT] = PluginSet(merged, multi.disabled)
    return sets


def enabled_at(point: str, sets: Mapping[str, PluginSet], classes: Mapping[str, type[Plugin]]) -> dict[str, int]:
    """Weights by name of the plugins that are on at a point, in the order in which they are asked."""
    own, multi = sets.get(point, PluginSet()), sets.get(MULTI_POINT, PluginSet())
    everywhere = {
        name: weight
        for name, weight in multi.enabled.items()
        if takes_part(classes[name], point) and name not in own.disabled and EVERYTHING not in own.disabled
    }
    both = {name: weight for name, weight in own.enabled.items() if name in everywhere}
    return {**both, **{name: weight for name, weight in everywhere.items() if name not in both}, **own.enabled}
