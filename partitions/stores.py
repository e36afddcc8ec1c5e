"""The stores of a partition on disk: the main one in its data directory, the one of its Events in `events/` there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple

from ..proto import ursa_pb2 as pb
from ..proto.errors import InputError
from ..proto.kinds import EVENTS_STORE, KINDS
from ..storage import Change, Committer, InlineCommitter, LmdbStore
from ..storage.lmdb_store import MAP_BYTES
from ..storage.log_store import raise_error

# Quotas, in bytes of records. Those of etcd: the most it recommends for objects, and its default.
QUOTA_BYTES = 8 << 30
EVENTS_QUOTA_BYTES = 2 << 30
# Events moved in one commit.
MOVED_AT_ONCE = 1000

_EVENT_PREFIXES = tuple(f"/registry/{kind.resource}/" for kind in KINDS if kind.store == EVENTS_STORE)


class Stores(NamedTuple):
    """`events` None: the main store keeps the Events, too."""

    main: LmdbStore
    events: LmdbStore | None


@contextmanager
def open_stores(
    data_dir: Path,
    committer: Callable[[], Committer],
    random: Random,
    *,
    quota_bytes: int = QUOTA_BYTES,
    events_quota_bytes: int = EVENTS_QUOTA_BYTES,
    map_bytes: int = MAP_BYTES,
    on_fatal: Callable[[BaseException], None] = raise_error,
) -> Iterator[Stores]:
    """Open them for the block. Events that were written before they were kept apart are moved first.

    Args:
        events_quota_bytes: 0: Events are not kept apart.

    Raises:
        InputError: Events are kept apart here already. UrsaError: as LmdbStore.open.
    """
    events_dir = data_dir / EVENTS_STORE
    if not events_quota_bytes and events_dir.exists():
        raise InputError(f"{data_dir} keeps its Events apart, in {events_dir}: give them a quota above 0")
    with ExitStack() as opened_stores:

        def opened(path: Path, bytes_max: int) -> LmdbStore:
            store = LmdbStore.open(
                path,
                committer(),
                incarnation_random=random,
                bytes_max=bytes_max,
                map_bytes=map_bytes,
                on_fatal=on_fatal,
            )
            opened_stores.callback(store.close)
            return store

        main = opened(data_dir, quota_bytes)
        if not events_quota_bytes:
            yield Stores(main, None)
            return
        if _strays(main):
            opened_stores.close()
            _move_apart(data_dir, events_dir, random)
            main = opened(data_dir, quota_bytes)
        yield Stores(main, opened(events_dir, events_quota_bytes))


def _strays(main: LmdbStore) -> list[tuple[str, bytes]]:
    """Events in the main store, some of them."""
    found = (record for prefix in _EVENT_PREFIXES for record in main.range(prefix))
    return [(record.key, record.value) for record in islice(found, MOVED_AT_ONCE)]


def _move_apart(data_dir: Path, events_dir: Path, random: Random) -> None:
    """Nobody is served yet, so commits may block. What was moved when a crash came is not moved again."""
    with (
        closing(LmdbStore.open(data_dir, InlineCommitter(), incarnation_random=random)) as main,
        closing(LmdbStore.open(events_dir, InlineCommitter(), incarnation_random=random)) as events,
    ):
        while strays := _strays(main):
            events.stage(
                [Change(key, partial(_stamped, data), reserve=True) for key, data in strays if events.get(key) is None]
            )
            events.commit(lambda _: None)
            main.stage([Change(key, data, deleted=True) for key, data in strays])
            main.commit(lambda _: None)


def _stamped(data: bytes, revision: int) -> bytes:
    """An object with the revision that it has in the store of the Events."""
    message = pb.Object.FromString(data)
    message.metadata.resource_version = revision
    return message.SerializeToString(deterministic=True)
