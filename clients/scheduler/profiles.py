"""The profiles that a scheduler has by its options."""

from __future__ import annotations

from .framework.config import make_profiles
from .framework.profile import Profile
from .options import SchedulerOptions
from .plugins.node_resources_fit import NodeResourcesFit
from .plugins.registry import BUILT_IN, DEFAULT_WEIGHTS


def profiles_of(options: SchedulerOptions) -> tuple[Profile, ...]:
    """
    Raises:
        ValueError: there is no such plugin, or its arguments make no sense; one line that names the field.
    """
    fit = {"name": NodeResourcesFit.name, "args": options.scoring_strategy.args()}
    profiles = options.profiles or ({"schedulerName": options.scheduler_name, "pluginConfig": [fit]},)
    own = {plugin.name: plugin for plugin in options.plugins}
    return make_profiles(profiles, BUILT_IN, DEFAULT_WEIGHTS, own)
