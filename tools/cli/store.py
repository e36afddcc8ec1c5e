"""`ursa store`: look after the data directory of a partition that is not running."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any

import click

from ...proto.errors import InputError, StoreCorrupt, StoreIncompatible

if TYPE_CHECKING:
    from ...storage import LmdbStore

# What `ursa get` and its like are given: host:port, or unix:path.
_ENDPOINT = re.compile(r"(unix:.+|(\S+://)?[\w.\-\[\]:]+:\d+)")
# Wide enough for any path: a table is never cut off, whatever the terminal.
_CONSOLE_WIDTH = 500


class _Directory(click.Path):
    """The directory of a store that exists."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if _ENDPOINT.fullmatch(str(value)) and not Path(value).exists():
            raise InputError(f"{value} is an endpoint, and this works on directories: stop the partition, give its own")
        path = Path(value)
        if not (path / "data.mdb").exists():
            raise StoreIncompatible(f"{path}: there is no store here: give the data directory of a partition")
        return path


_directory = click.argument("directory", type=_Directory(), metavar="DIR")


@click.group()
def store() -> None:
    """Look after the data directory (DIR) of a partition that is not running."""


@store.command()
@_directory
def status(directory: Path) -> None:
    """Say what the store holds."""
    with _open(directory) as opened:
        found = asdict(opened.status())
    found["alarms"] = ", ".join(found["alarms"]) or "none"
    _print_table(found)


@store.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="DIR|SNAPSHOT")
def verify(path: Path) -> None:
    """Read the whole store, or a snapshot, and check everything in it; name the first record that is wrong."""
    from ...storage.verify import verify as verify_store

    path = path if path.is_file() else _Directory().convert(path, None, None)
    report = asdict(verify_store(path))
    problem = report.pop("problem")
    _print_table(report)
    if problem is not None:
        raise StoreCorrupt(f"{path}: {problem}")
    click.echo("nothing is wrong with it")


@store.command()
@_directory
@click.option("--revision", type=int, help="The state at this one; default: the newest.")
def digest(directory: Path, revision: int | None) -> None:
    """Print a hash over all keys and values: equal stores have equal ones."""
    with _open(directory) as opened:
        click.echo(opened.digest(revision))


@store.command()
@_directory
@click.argument("file", type=click.Path(path_type=Path), metavar="SNAPSHOT")
def snapshot(directory: Path, file: Path) -> None:
    """Copy the store into a new file."""
    with _open(directory) as opened:
        opened.snapshot(file, _raise)
        click.echo(f"{file}: the store at revision {opened.head}")


@store.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="SNAPSHOT")
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
def restore(file: Path, directory: Path) -> None:
    """Make a new store from a snapshot, in a new directory.

    It has a new incarnation and a revision that was never given out: every client lists again.
    """
    from ...storage.snapshot import restore as restore_store

    revision = restore_store(file, directory, SystemRandom())
    click.echo(f"{directory}: restored, its revision is {revision}")


@store.command()
@_directory
def defragment(directory: Path) -> None:
    """Give back the room on disk that the store no longer needs."""
    with _open(directory) as opened:
        before = opened.status().bytes_on_disk
        opened.defragment(_raise)
        click.echo(f"{directory}: {before} bytes before, {opened.status().bytes_on_disk} now")


@store.command()
@_directory
@click.option("--revision", type=int, help="Keep what can be asked for from this one on; default: the newest alone.")
def compact(directory: Path, revision: int | None) -> None:
    """Forget history. The room is used again; `defragment` gives it back."""
    with _open(directory) as opened:
        before = opened.status().bytes
        opened.compact(opened.head if revision is None else revision)
        while opened.sweep_step():
            pass
        found = opened.status()
        click.echo(f"{directory}: compacted at {found.compacted}, {before} bytes before, {found.bytes} now")


@contextmanager
def _open(directory: Path) -> Iterator[LmdbStore]:
    from ...storage import InlineCommitter, LmdbStore

    opened = LmdbStore.open(directory, InlineCommitter(), incarnation_random=SystemRandom())
    try:
        yield opened
    finally:
        opened.close()


def _raise(error: BaseException | None) -> None:
    """The end of a copy, which an inline committer reports at once."""
    if error is not None:
        raise error


def _print_table(values: dict[str, object]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in values.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    Console(width=_CONSOLE_WIDTH, highlight=False, markup=False).print(table)
