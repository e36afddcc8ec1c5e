"""A tenant is in one partition, and all of it comes along when it moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ...proto.kinds import BY_KIND, MAIN_STORE, SYSTEM_TENANT
from ...proto.objects import decode
from ...proto.tenants import ACTIVE, ARRIVING, LEFT, TENANTS, Record, read_record
from .changes import OBJECTS_PREFIX, Change
from .recorded import History, Recording
from .violations import Violation

MOVES = "Tenants live in one partition"

_TENANT_PREFIX = f"{OBJECTS_PREFIX}{TENANTS}///"
_PODS = BY_KIND["Pod"].resource
_NEVER_MOVED = (BY_KIND["Event"].resource,)


class _Said(NamedTuple):
    """What a partition said of a tenant from a moment on. `restored`: because it was set back to when it said so."""

    time: float
    partition: str
    name: str
    record: Record | None
    restored: bool


def tenants_live_in_one_partition(recording: Recording) -> Iterator[Violation]:
    """**At no time is a tenant Active in two partitions**, unless one of them was set back to when it had it. **When it
    is opened where it has moved to, all that it had is there as it was**: uid, spec, status and times. **A pod that ran
    runs on, since when it did.** (proto/tenants.py, clients/tenants/moving.py)"""
    mains = [each for (_, store), each in recording.incarnations.items() if store == MAIN_STORE]
    histories = [history for each in mains for history in each]
    yield from _twice_active(recording)
    for history in histories:
        for change in history.by_resource.get(TENANTS, ()):
            yield from _opened(change, history, histories)


def _twice_active(recording: Recording) -> Iterator[Violation]:
    now: dict[str, dict[str, _Said]] = {}
    for said in sorted(_sayings(recording), key=lambda each: each.time):
        of_tenant = now.setdefault(said.name, {})
        before = of_tenant.get(said.partition)
        still = before is not None and before.restored and _same(before.record, said.record)
        of_tenant[said.partition] = said._replace(restored=said.restored or still)
        active = [each for each in of_tenant.values() if each.record is not None and each.record.state == ACTIVE]
        if len(active) > 1 and not any(each.restored for each in active):
            where = " and ".join(f"{each.partition} (epoch {_epoch(each)})" for each in active)
            yield Violation(MOVES, f"tenant {said.name} is Active in {where}", _TENANT_PREFIX + said.name, said.time)


def _sayings(recording: Recording) -> Iterator[_Said]:
    for (partition, store), histories in recording.incarnations.items():
        if store != MAIN_STORE:
            continue
        known: dict[str, None] = {}
        for number, history in enumerate(histories):
            opened = history.opened[0].time if history.opened else 0.0
            after = history.snapshot if number else 0
            if number:
                state = {change.key: change for change in history.replay.range(_TENANT_PREFIX, after)}
                for key in dict.fromkeys([*known, *state]):
                    yield _said(opened, partition, key, state.get(key), restored=True)
            for change in history.by_resource.get(TENANTS, ()):
                known[change.key] = None
                if change.revision > after:
                    yield _said(change.time, partition, change.key, change, restored=False)


def _said(time: float, partition: str, key: str, change: Change | None, *, restored: bool) -> _Said:
    name = key.removeprefix(_TENANT_PREFIX)
    gone = change is None or change.deleted or name == SYSTEM_TENANT
    return _Said(time, partition, name, None if change is None or gone else _record(change), restored)


def _same(one: Record | None, other: Record | None) -> bool:
    return one is not None and other is not None and (one.state, one.epoch) == (other.state, other.epoch)


def _epoch(said: _Said) -> int:
    return 0 if said.record is None else said.record.epoch


def _record(change: Change) -> Record:
    return read_record(decode(change.message.spec) if change.message.spec else {})


# ---------------------------------------------------------------------------------------------------- what has come


def _opened(change: Change, target: History, histories: list[History]) -> Iterator[Violation]:
    """Where a tenant that arrived becomes Active: it is compared with what its source let go."""
    before = target.by_revision.get(change.previous_revision)
    if change.deleted or before is None or before.key != change.key or not target.knows(TENANTS, change.revision):
        return
    arriving, opened = _record(before), _record(change)
    if arriving.state != ARRIVING or opened.state != ACTIVE or opened.epoch != arriving.epoch:
        return
    left = _left(change, arriving, histories)
    if left is None:
        return  # Its source was set back since, or a person has decided.
    source, revision = left
    had, has = _held(source, revision, change), _held(target, change.revision, change)
    where = f"when tenant {change.message.metadata.name} was opened in {target.partition}"
    for key, data in had.items():
        if key not in has:
            yield Violation(MOVES, f"{where}, {key} was not there, which {source.partition} had", key, change.time)
        elif has[key] != data:
            yield Violation(MOVES, f"{where}, {key} was not as {source.partition} had it", key, change.time)
    for key in has:
        if key not in had:
            yield Violation(MOVES, f"{where}, {key} was there, which {source.partition} did not have", key, change.time)
    yield from _go_on(target, change, where)


def _left(change: Change, arriving: Record, histories: list[History]) -> tuple[History, int] | None:
    for history in histories:
        if history.partition != arriving.partition:
            continue
        for each in history.by_resource.get(TENANTS, ()):
            if each.uid == change.uid and not each.deleted and each.time <= change.time:
                record = _record(each)
                if (record.state, record.epoch) == (LEFT, arriving.epoch):
                    return history, each.revision
    return None


def _held(history: History, revision: int, tenant: Change) -> Mapping[str, bytes]:
    """All that it has, but for what is the partition's own: revisions, and the ids of requests."""
    name, found = tenant.message.metadata.name, {}
    for change in history.replay.range(OBJECTS_PREFIX, revision):
        _, _, resource, of_tenant, _, _ = change.key.split("/", 5)
        if of_tenant == name and resource not in _NEVER_MOVED:
            message = change.message
            message.metadata.resource_version = 0
            message.metadata.request_id = b""
            found[change.key] = message.SerializeToString(deterministic=True)
    return found


def _go_on(target: History, opened: Change, where: str) -> Iterator[Violation]:
    """Pods that run when their tenant is opened say ever after that they run since then."""
    started: dict[str, object] = {}
    tenant = opened.message.metadata.name
    for change in target.by_resource.get(_PODS, ()):
        message = change.message
        status = decode(message.status) if message.status else {}
        if message.metadata.tenant != tenant or status.get("phase") != "Running":
            continue
        if change.revision < opened.revision:
            started[change.uid] = status.get("startTime")
        elif change.uid in started and status.get("startTime") != started[change.uid]:
            text = f"{where}, {change.key} ran since {started[change.uid]}, and later since {status.get('startTime')}"
            yield Violation(MOVES, text, change.key, change.time)
