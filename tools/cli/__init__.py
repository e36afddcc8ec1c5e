"""The `ursa` command. What a subcommand needs is imported when it runs: `ursa --help` imports click alone.

A mistake of the person at the keyboard is one line on standard error and exit status 1, never a traceback. (Status 2 is
a timeout and 4 a threshold missed: see `ursa density`.)
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from importlib.util import find_spec
from typing import Any, NamedTuple, NoReturn

import click

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


class _Row(NamedTuple):
    """Where a subcommand is found, and its line in the overview."""

    module: str
    attribute: str
    help: str


# In the order of the overview.
_COMMANDS: dict[str, _Row] = {
    "up": _Row("up", "up", "Run a cluster on this machine, in the foreground."),
    "get": _Row("get", "get", "List objects, or show one."),
    "describe": _Row("describe", "describe", "Show objects with what happened to them."),
    "explain": _Row("explain", "explain", "Tell why a pod is on its node, or on none."),
    "apply": _Row("apply", "apply", "Create or change objects from manifests."),
    "delete": _Row("delete", "delete", "Delete objects."),
    "watch": _Row("watch", "watch", "Follow the changes of objects."),
    "top": _Row("top", "top", "Show who asks most of the partitions, and who hears of them."),
    "density": _Row("density", "density", "Fill a cluster with pods, and report on it."),
    "replay": _Row("replay", "replay", "Replay a trace of a real cluster, and report on it."),
    "simulate": _Row("simulate", "simulate_command", "Run a whole cluster from a seed, with faults, and judge it."),
    "compare": _Row("compare", "compare", "Compare profiles of the scheduler on the same pods."),
    "check": _Row("check", "check", "Check what was recorded of a run."),
    "bench": _Row("bench", "bench", "Measure one part alone."),
    "partition": _Row("partition", "partition", "Add, drain, remove and list partitions while all runs."),
    "fault": _Row("fault", "fault", "Cut, delay and freeze links between the parts of a cluster."),
    "tenant": _Row("tenant", "tenant", "Create, move, list and delete tenants."),
    "store": _Row("store", "store", "Look after the stores of a partition."),
    "apiserver": _Row("components", "apiserver", "Run the apiserver of one partition."),
    "scheduler": _Row("components", "scheduler", "Run the scheduler of a tenant partition."),
    "controller-manager": _Row("components", "controller_manager", "Run the controllers of a partition."),
    "hollow-nodes": _Row("components", "hollow_nodes", "Run many nodes that only pretend to run pods."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, row in _COMMANDS.items() if find_spec(f"{__name__}.{row.module}") is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = _COMMANDS.get(cmd_name)
        if row is None or cmd_name not in self.list_commands(ctx):
            return None
        command = getattr(importlib.import_module(f"{__name__}.{row.module}"), row.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, _COMMANDS[name].help) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows or [("none", "")])

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run it, and end the process with the right status."""
        try:
            result = super().main(*args, **kwargs | {"standalone_mode": False})
            status: int | None = result if isinstance(result, int) else 0
        except BaseException as error:
            status = _explain(error)
            if status is None:
                raise
        sys.exit(status)


def _explain(error: BaseException) -> int | None:
    """Print the one line that says what was wrong, and return the exit status; None: it is a bug, let it be seen."""
    from ...proto.errors import UrsaError

    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return _explain(error.exceptions[0])
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        # The reader has seen enough (`ursa get pods | head`), and Python must not try to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return 0
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        hint = f"; see `{context.command_path} --help`" if context is not None else ""
        click.echo(f"error: {_one_line(error.format_message())}{hint}", err=True)
        return EXIT_ERROR
    if isinstance(error, UrsaError):
        click.echo(f"error: {_one_line(str(error))}", err=True)
        return EXIT_ERROR
    return None


def _one_line(text: str) -> str:
    return " ".join(text.split()).removesuffix(".")


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="ursa")
def main() -> None:
    """Ursa: a partitioned, Kubernetes-shaped control plane.

    Start with `ursa up`, then `ursa get nodes` in another terminal.
    """
    # What gRPC's core has to say, every error of ours says in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
