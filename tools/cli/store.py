"""`ursa store`: look after the stores of a partition, in its data directory or, while it runs, at its endpoint."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ...proto.errors import InputError, StoreCorrupt, StoreIncompatible, StoreInUse

if TYPE_CHECKING:
    from ...clients.administration import Administration
    from ...storage import LmdbStore

_Reply = TypeVar("_Reply")

# What an apiserver is given to listen on: host:port, or unix:path.
_ENDPOINT = re.compile(r"(unix:.+|(\S+://)?[\w.\-\[\]:]+:\d+)")
# Wide enough for any path: a table is never cut off, whatever the terminal.
_CONSOLE_WIDTH = 500
_MAIN = "main"
# The stores of a partition besides its main one, in directories of these names within its own.
_OTHERS = ("events",)


class _Endpoint(str):
    """Where a partition listens."""

    __slots__ = ()


class _Place(click.Path):
    """A data directory that exists, or an endpoint."""

    name = "DIR|ENDPOINT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | _Endpoint:
        if not _is_endpoint(value):
            return _existing(Path(value))
        if "://" in value:
            raise InputError(f"{value}: give the endpoint as HOST:PORT, without the scheme")
        return _Endpoint(value)


_place = click.argument("place", type=_Place(), metavar="DIR|ENDPOINT")
_store = click.option("--store", "name", default=_MAIN, show_default=True, help="Which one; the other may be `events`.")


@click.group()
def store() -> None:
    """Look after the stores of a partition.

    DIR is the data directory of a partition that is not running, ENDPOINT the host:port of one that is.
    """


@store.command()
@_place
def status(place: Path | _Endpoint) -> None:
    """Say what the stores hold. Changes nothing, so a directory may be read-only."""
    if isinstance(place, _Endpoint):
        _print_tables([_status_of(one) for one in _ask(place, _status).stores])
        return
    others = [place / name for name in _OTHERS if (place / name / "data.mdb").exists()]
    tables: list[dict[str, object]] = []
    for directory in (place, *others):
        with _looked_at(directory, "status") as opened:
            name = _MAIN if directory is place else directory.name
            tables.append({"store": name} | asdict(opened.status()))
    _print_tables(tables)


@store.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="DIR|SNAPSHOT")
def verify(path: Path) -> None:
    """Read the whole store, or a snapshot, and check everything in it; name the first record that is wrong.

    The partition must not be running; of one that is, verify a snapshot.
    """
    from ...storage.verify import verify as verify_store

    if _is_endpoint(path):
        raise InputError(
            f"{path} is a running partition: copy it (ursa store snapshot {path} FILE), then verify that FILE"
        )
    with _in_use_explained("take a snapshot of the partition that runs on it, and verify that"):
        report = asdict(verify_store(path if path.is_file() else _existing(path)))
    problem = report.pop("problem")
    _print_tables([report])
    if problem is not None:
        raise StoreCorrupt(f"{path}: {problem}")
    click.echo("nothing is wrong with it")


@store.command()
@_place
@_store
@click.option("--revision", type=click.IntRange(min=1), help="The state at this one; default: the newest.")
def digest(place: Path | _Endpoint, name: str, revision: int | None) -> None:
    """Print a hash over all keys and values: equal stores have equal ones.

    Which state that is of which store is said on standard error.
    """
    if isinstance(place, _Endpoint):
        reply = _ask(place, lambda partition: partition.digest(store=name, resource_version=revision or 0))
        found, at, incarnation = reply.digest, reply.resource_version, reply.incarnation
    else:
        with _looked_at(_directory(place, name), "digest") as opened:
            at = opened.head if revision is None else revision
            found, incarnation = opened.digest(at), opened.incarnation
    click.echo(found)
    click.echo(f"{place}: revision {at} of incarnation {incarnation}", err=True)


@store.command()
@_place
@click.argument("file", type=click.Path(path_type=Path), metavar="SNAPSHOT")
@_store
def snapshot(place: Path | _Endpoint, file: Path, name: str) -> None:
    """Copy the store into a new file."""
    if isinstance(place, _Endpoint):
        revision = _ask(place, lambda partition: partition.snapshot(file, store=name)).resource_version
    else:
        with _open(_directory(place, name), "snapshot") as opened:
            opened.snapshot(file, _raise)
            revision = opened.head
    click.echo(f"{file}: the store at revision {revision}")


@store.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="SNAPSHOT")
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
def restore(file: Path, directory: Path) -> None:
    """Make a new store from a snapshot, in a new directory.

    It has a new incarnation and a revision that was never given out: every client lists again.
    """
    from ...storage.snapshot import restore as restore_store

    if _is_endpoint(file):
        raise InputError(f"{file} is a running partition: copy it (ursa store snapshot {file} FILE), then restore FILE")
    if _is_endpoint(directory):
        raise InputError(
            f"{directory} is a running partition: restore into a new directory, "
            "then start the partition with that as its --data-dir"
        )
    revision = restore_store(file, directory, SystemRandom())
    click.echo(f"{directory}: restored, its revision is {revision}")


@store.command()
@_place
@_store
def defragment(place: Path | _Endpoint, name: str) -> None:
    """Give back the room on disk that the store no longer needs."""
    if isinstance(place, _Endpoint):
        reply = _ask(place, lambda partition: partition.defragment(store=name))
        before, now = reply.bytes_on_disk_before, reply.bytes_on_disk
    else:
        with _open(_directory(place, name), "defragment") as opened:
            before = opened.status().bytes_on_disk
            opened.defragment(_raise)
            now = opened.status().bytes_on_disk
    click.echo(f"{place}: {before} bytes before, {now} now")


@store.command()
@_place
@_store
@click.option(
    "--revision",
    type=click.IntRange(min=1),
    help="Keep what can be asked for from this one on; default: the newest alone.",
)
def compact(place: Path | _Endpoint, name: str, revision: int | None) -> None:
    """Forget history. The room is used again; `defragment` gives it back."""
    if isinstance(place, _Endpoint):
        reply = _ask(place, lambda partition: partition.compact(store=name, resource_version=revision or 0))
        compacted, before, now = reply.compacted_resource_version, reply.bytes_before, reply.bytes
    else:
        with _open(_directory(place, name), "compact") as opened:
            before = opened.status().bytes
            opened.compact(opened.head if revision is None else revision)
            while opened.sweep_step():
                pass
            compacted, now = opened.compacted, opened.status().bytes
    click.echo(f"{place}: compacted at {compacted}, {before} bytes before, {now} now")


# --- where it is -----------------------------------------------------------------------------------------------------


def _is_endpoint(value: object) -> bool:
    return _ENDPOINT.fullmatch(str(value)) is not None and not Path(str(value)).exists()


def _existing(path: Path) -> Path:
    if not (path / "data.mdb").exists():
        raise StoreIncompatible(f"{path}: there is no store here: give the data directory of a partition")
    return path


def _directory(path: Path, name: str) -> Path:
    """Of one of the stores that a data directory has."""
    if name not in (_MAIN, *_OTHERS):
        raise InputError(f"--store {name}: a partition's stores are {', '.join((_MAIN, *_OTHERS))}")
    return path if name == _MAIN else _existing(path / name)


# --- a directory -----------------------------------------------------------------------------------------------------


@contextmanager
def _open(directory: Path, command: str) -> Iterator[LmdbStore]:
    from ...storage import InlineCommitter, LmdbStore

    with _in_use_explained(f"ask the partition that runs on it: ursa store {command} HOST:PORT"):
        opened = LmdbStore.open(directory, InlineCommitter(), incarnation_random=SystemRandom())
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def _looked_at(directory: Path, command: str) -> Iterator[LmdbStore]:
    from ...storage import LmdbStore

    with _in_use_explained(f"ask the partition that runs on it: ursa store {command} HOST:PORT"):
        opened = LmdbStore.open_read_only(directory)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def _in_use_explained(advice: str) -> Iterator[None]:
    try:
        yield
    except StoreInUse as error:
        raise StoreInUse(f"{error}, or {advice}") from None


def _raise(error: BaseException | None) -> None:
    """The end of a copy, which an inline committer reports at once."""
    if error is not None:
        raise error


# --- an endpoint -----------------------------------------------------------------------------------------------------


def _ask(endpoint: _Endpoint, question: Callable[[Administration], Awaitable[_Reply]]) -> _Reply:
    import trio

    from ...clients.administration import Administration
    from ...clients.transport.grpc import GrpcBridge, GrpcTransport

    async def main() -> _Reply:
        async with GrpcBridge() as bridge:
            transport = GrpcTransport(str(endpoint), str(endpoint), bridge, user="ursa-cli", any_name=True)
            try:
                return await question(Administration(transport))
            finally:
                await transport.aclose()

    return trio.run(main)


async def _status(partition: Administration) -> Any:
    return await partition.status()


def _status_of(of_store: Any) -> dict[str, object]:
    """As a directory's, under the same names."""
    return {
        "store": of_store.name,
        "backend": of_store.backend,
        "incarnation": of_store.incarnation,
        "head": of_store.resource_version,
        "compacted": of_store.compacted_resource_version,
        "keys": of_store.keys,
        "bytes": of_store.bytes,
        "bytes_max": of_store.bytes_max,
        "bytes_on_disk": of_store.bytes_on_disk,
        "alarms": tuple(of_store.alarms),
        "leases": of_store.leases,
    }


def _print_tables(tables: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    for number, values in enumerate(tables):
        if number:
            click.echo()
        table = Table.grid(padding=(0, 2))
        for name, value in values.items():
            table.add_row(name.replace("_", " "), _shown(value))
        Console(width=_CONSOLE_WIDTH, highlight=False, markup=False).print(table)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
