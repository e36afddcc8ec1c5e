"""The options that the commands of components share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

_LEVELS = ["debug", "info", "warning", "error"]


def process_options(command: _Command) -> _Command:
    """What every component takes."""
    for option in (
        click.option("--parent-pipe", is_flag=True, hidden=True, help="Stop when standard input ends."),
        click.option(
            "--log-level", type=click.Choice(_LEVELS), default="info", show_default=True, help="Of standard error."
        ),
        click.option(
            "--metrics-address",
            metavar="HOST:PORT",
            default="127.0.0.1:0",
            show_default=True,
            help="Where /metrics, /healthz and /readyz listen; port 0: any free one.",
        ),
    ):
        command = option(command)
    return command


def endpoint_options(command: _Command) -> _Command:
    """What every component but an apiserver takes."""
    for option in (
        click.option("--name", metavar="NAME", help="Of this process.  [default: COMPONENT-HOME]"),
        click.option("--faults-file", type=click.Path(path_type=Path), hidden=True, help="The one box's."),
        click.option("--home", metavar="NAME", required=True, help="The partition that this component serves."),
        click.option(
            "--resource-partition",
            "resource_partitions",
            metavar="NAME=HOST:PORT",
            multiple=True,
            help="A resource partition and its apiserver; repeatable.",
        ),
        click.option(
            "--tenant-partition",
            "tenant_partitions",
            metavar="NAME=HOST:PORT",
            multiple=True,
            help="A tenant partition and its apiserver; repeatable.",
        ),
    ):
        command = option(command)
    return command


def election_option(command: _Command) -> _Command:
    return click.option(
        "--leader-elect/--no-leader-elect",
        default=True,
        show_default=True,
        help="Work only while elected among the replicas of this component, by a Lease in its home.",
    )(command)
