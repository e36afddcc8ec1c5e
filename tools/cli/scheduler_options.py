"""The flags of commands that start schedulers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def scheduler_options(command: _Command) -> _Command:
    """`scheduler_config` and `scheduler_plugins`."""
    command = click.option(
        "--scheduler-plugin",
        "scheduler_plugins",
        multiple=True,
        metavar="MODULE:CLASS",
        help="A plugin of your own, for the profiles.",
    )(command)
    return click.option(
        "--scheduler-config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A KubeSchedulerConfiguration, with the profiles of the schedulers.",
    )(command)
