"""`ursa check`."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...proto.errors import InputError

if TYPE_CHECKING:
    from ..checking.violations import Violation

EXIT_PROMISE_BROKEN = 4
VIOLATIONS_SHOWN_MAX = 20


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--story", "key", metavar="KEY", help="Tell all that happened to this object: pods/TENANT/NAMESPACE/NAME."
)
@click.option(
    "--all", "show_all", is_flag=True, help=f"Show every broken promise, not the first {VIOLATIONS_SHOWN_MAX}."
)
def check(file: Path, key: str | None, *, show_all: bool) -> int:
    """Check what was recorded of a run against what Ursa promises.

    FILE is a recording, as `ursa density --record FILE` writes it. Exit status: 0 every promise was kept, 1 error, 4 a
    promise was broken.
    """
    gc.disable()  # Millions of tuples, and no cycles among them: a fifth of the time.
    try:
        return _tell(file, key) if key is not None else _judge(file, show_all=show_all)
    finally:
        gc.enable()


def _judge(file: Path, *, show_all: bool) -> int:
    from ..recording import read_recording

    records = list(read_recording(file))
    from ..checking.check import PROMISES
    from ..checking.check import check as judge

    violations = judge(records)
    _print(violations, len(violations) if show_all else VIOLATIONS_SHOWN_MAX)
    counts = Counter(type(record).__name__ for record in records)
    told = sum(counts[kind] for kind in ("Write", "Get", "Listed", "Watched"))
    broken = len(dict.fromkeys(violation.promise for violation in violations))
    kept = f"{len(PROMISES) - broken} of {len(PROMISES)} promises kept"
    click.echo(f"{kept}; {told:,} operations and {counts['Logged']:,} changes looked at")
    return EXIT_PROMISE_BROKEN if violations else 0


def _tell(file: Path, text: str) -> int:
    from ..checking.story import full_key, story
    from ..recording import read_recording

    records = list(read_recording(file))
    key = full_key(records, text)
    if not key:
        raise InputError(
            f"{text} is no object of this recording, or of several: give all of RESOURCE/TENANT/NAMESPACE/NAME"
        )
    click.echo(key)
    for line in story(records, key):
        click.echo(line)
    return 0


def _print(violations: Sequence[Violation], shown_max: int) -> None:
    for violation in violations[:shown_max]:
        click.echo(f"✗ {violation}")
    if (hidden := len(violations) - shown_max) > 0:
        click.echo(f"  and {hidden} more: see them with --all")
    about = next((violation.key for violation in violations if violation.key), "")
    if about:
        click.echo(f"  what happened to the first one's object: --story {about.removeprefix('/registry/')}")
