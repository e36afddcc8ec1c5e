"""Which profiles and plugins the schedulers have, as a person says it: a file, and references to classes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..clients.scheduler import SchedulerOptions
from ..clients.scheduler.framework.config import read_configuration
from ..clients.scheduler.framework.interface import Plugin
from ..clients.scheduler.profiles import profiles_of
from ..proto.errors import InputError


class SchedulerConfig(NamedTuple):
    """`notes`: what of the file makes no difference here, a line each."""

    options: SchedulerOptions
    notes: tuple[str, ...]


def read_scheduler_config(
    file: str | os.PathLike[str] | None, plugins: Sequence[str] = (), scheduler_name: str | None = None
) -> SchedulerConfig:
    """
    Args:
        file: a KubeSchedulerConfiguration; None: what Kubernetes has by default.
        plugins: one's own, as `module:Class`; a module is looked for where Python looks, and in the current directory.
        scheduler_name: of a scheduler without profiles.

    Raises:
        InputError: it cannot be read, or makes no sense; one line that names the field.
    """
    own = tuple(load_plugin(each) for each in plugins)
    try:
        read = read_configuration(Path(file).read_text()) if file is not None else None
        options = SchedulerOptions(profiles=read.profiles if read is not None else (), plugins=own)
        if scheduler_name is not None:
            options = SchedulerOptions(scheduler_name, profiles=options.profiles, plugins=own)
        profiles_of(options)
    except OSError as error:
        raise InputError(f"the scheduler's configuration {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{file}: {error}" if file is not None else str(error)) from error
    return SchedulerConfig(options, read.notes if read is not None else ())


def load_plugin(reference: str) -> type[Plugin]:
    """The class that `module:Class` names.

    Raises:
        InputError: there is none, or it is no plugin.
    """
    module_name, _, class_name = reference.partition(":")
    if not module_name or not class_name:
        raise InputError(f"a plugin is named as module:Class, not {reference!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except ImportError as error:
        raise InputError(f"plugin {reference}: {error}") from error
    if (
        not isinstance(found, type)
        or not issubclass(found, Plugin)
        or not isinstance(getattr(found, "name", None), str)
    ):
        raise InputError(f"plugin {reference} is no class derived from a plugin class, with a name")
    return found
