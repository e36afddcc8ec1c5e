"""Which profiles and plugins the schedulers of a run have: part of its plan, as everything else is."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ...clients.scheduler import SchedulerOptions
from ...clients.scheduler.framework.config import KIND
from ...clients.scheduler.options import DEFAULT_SCHEDULER
from ...clients.scheduler.profiles import profiles_of
from ...proto.errors import InputError
from ..scheduler_config import load_plugin, read_scheduler_config
from .plan import Plan, Scheduling


def read_scheduling(file: str | os.PathLike[str] | None, plugins: Sequence[str] = ()) -> Scheduling:
    """
    Args:
        file: a KubeSchedulerConfiguration; None: what Kubernetes has by default.
        plugins: one's own, as `module:Class`.

    Raises:
        InputError: it cannot be read, or makes no sense; one line that names the field.
    """
    read = read_scheduler_config(file, plugins)
    _check_names(read.options, str(file))
    return Scheduling(read.options.profiles, tuple(plugins))


def scheduler_options(plan: Plan) -> SchedulerOptions:
    """
    Raises:
        InputError: the plan's profiles make no sense, or a plugin of its is not there.
    """
    scheduling = plan.scheduling
    own = tuple(load_plugin(each) for each in scheduling.plugins)
    options = SchedulerOptions(profiles=tuple(scheduling.profiles), plugins=own)
    try:
        profiles_of(options)
    except ValueError as error:
        raise InputError(f"the plan's scheduling: {error}") from error
    _check_names(options, "the plan's scheduling")
    return options


def _check_names(options: SchedulerOptions, file: str) -> None:
    names = [profile.scheduler_name for profile in profiles_of(options)]
    if DEFAULT_SCHEDULER not in names:
        raise InputError(
            f"{file}: the pods of a simulated run are of {DEFAULT_SCHEDULER}: "
            f"give one profile of the {KIND} this schedulerName, not only {', '.join(names)}"
        )
