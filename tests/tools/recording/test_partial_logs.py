"""What is known of a log in part is judged in part: by a watch of one kind, behind a compaction, after a restore."""

from __future__ import annotations

from random import Random

import pytest
import trio
from trio.testing import MockClock
from ursa.clients.actor import Actor, Clock
from ursa.clients.client import open_client
from ursa.clients.transport.memory import MemoryTransport
from ursa.partitions.frontends.local import open_local_partition
from ursa.proto.kinds import Role
from ursa.proto.objects import ObjectKey
from ursa.storage import MemoryStore
from ursa.tools.checking.check import check
from ursa.tools.recording import Recorder, WatchedLog, record_store
from ursa.tools.recording.records import Complete, Get, Listed, Logged, Opened, Record, View, Write

from .faulty_run import WALL_OFFSET_SECONDS, config_map, faulty_run

RESOURCE = "configmaps"


async def some_work(recorder: Recorder, store: MemoryStore, *, cut: bool = False) -> None:
    """A client that writes and reads, beside another one by whose watch the log of one kind is known."""
    async with open_local_partition(
        "tp-1", Role.TENANT, store, Random(1), wall_offset_seconds=WALL_OFFSET_SECONDS
    ) as server:
        links = [MemoryTransport("tp-1", server, random=Random(number)) for number in range(2)]
        worker, follower = (Actor(name, Clock(WALL_OFFSET_SECONDS), Random(name)) for name in ("worker", "follower"))
        async with (
            open_client(recorder.wrap(links[0], recorder.life_of("worker")), worker) as client,
            open_client(links[1], follower) as following,
            trio.open_nursery() as nursery,
        ):
            await client.create(config_map("before", 1))
            log = WatchedLog(recorder, following, RESOURCE)
            nursery.start_soon(log.run)
            with trio.fail_after(100):
                await log.reach(store.head)
            for number in range(20):
                await client.create(config_map(f"m-{number}", number))
                if number == 10 and cut:
                    links[1].cut()
                    await trio.sleep(1)
                    links[1].heal()
                if number % 3 == 0:
                    await client.delete(RESOURCE, ObjectKey("system", "default", f"m-{number}"))
                await client.list(RESOURCE)
                await client.get(RESOURCE, ObjectKey("system", "default", "before"))
            with trio.fail_after(100):
                await log.reach(store.head)
            log.close()
            nursery.cancel_scope.cancel()
    recorder.finish()


def run(recorder: Recorder, store: MemoryStore, *, cut: bool = False) -> list[Record]:
    async def main() -> None:
        await some_work(recorder, store, cut=cut)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return recorder.records


@pytest.mark.parametrize("cut", [False, True])
def test_the_log_by_a_watch_is_that_of_the_store(cut: bool) -> None:
    recorder, store = Recorder(), MemoryStore(incarnation="i")
    records = run(recorder, store, cut=cut)
    logged = [each for each in records if isinstance(each, Logged)]
    there = {record.revision: record for record in store.log(0)}
    assert len(logged) >= 27
    for each in logged:
        record = there[each.revision]
        assert (each.key, each.deleted, each.data) == (record.key, record.deleted, record.value)
        assert (each.create_revision, each.previous_revision) == (record.create_revision, record.previous_revision)
    [complete] = [each for each in records if isinstance(each, Complete)]
    assert complete.resources == (RESOURCE,)
    assert complete.to == store.head


def test_what_it_says_is_judged() -> None:
    records = run(Recorder(), MemoryStore(incarnation="i"))
    assert check(records) == []
    listed = [each for each in records if isinstance(each, Listed)][-1]
    write = [each for each in records if isinstance(each, Write)][-1]
    get = [each for each in records if isinstance(each, Get)][-1]
    for promise, old, new in (
        ("Listed", listed, listed._replace(items=listed.items[1:])),
        ("Writes", write, write._replace(uid="another")),
        ("Reads", get, get._replace(crc=get.crc + 1)),
    ):
        spoilt = [new if record is old else record for record in records]
        assert [violation.promise for violation in check(spoilt)] == [promise]


def test_what_it_does_not_say_is_not_judged() -> None:
    """Of another kind nothing is known, nor of what came before the watch, nor behind its end."""
    records = run(Recorder(), MemoryStore(incarnation="i"))
    get = next(each for each in records if isinstance(each, Get))
    unknown = [
        get._replace(key="/registry/secrets/t/n/s", client="x#1"),
        get._replace(revision=1, client="x#1", call=0.0),
        get._replace(revision=get.revision + 1000, client="x#1", call=1e6, ret=1e6 + 1),
    ]
    assert check([*records, *unknown]) == []


def test_a_log_whose_beginning_was_compacted_is_judged_behind_it() -> None:
    recorder, store = Recorder(), MemoryStore(incarnation="i")
    records = [each for each in run(recorder, store) if not isinstance(each, Logged | Complete)]
    store.compact(store.head - 10)
    while store.sweep_step():
        pass
    after = Recorder(lambda: 1000.0)
    record_store(after, "tp-1", "main", store)
    known = [*records, *after.records]
    assert [each.after for each in known if isinstance(each, Complete)] == [store.compacted]
    assert check(known) == []
    early, late = ([each for each in records if isinstance(each, Get)][place] for place in (0, -1))
    assert early.revision < store.compacted < late.revision
    assert check([early._replace(crc=1) if each is early else each for each in known]) == []
    assert [v.promise for v in check([late._replace(crc=1) if each is late else each for each in known])] == ["Reads"]


def test_of_a_store_that_was_restored_only_the_snapshot_stands_for_what_was() -> None:
    """The first incarnation's own log is not known: what was acknowledged behind the snapshot may be gone."""
    records = faulty_run(1)
    opened = next(each for each in records if isinstance(each, Opened) and each.incarnation == "second")
    kept = [each for each in records if not (isinstance(each, Logged | Complete) and each.incarnation == "first")]
    # A log that was not followed from the snapshot on, but read at the end, from the beginning.
    log = [each for each in records if isinstance(each, Logged) and each.incarnation == "first"]
    prefix = [each._replace(incarnation="second", time=0.0) for each in log if each.revision <= opened.head]
    spans = [each._replace(after=0) if isinstance(each, Complete) else each for each in kept]
    known = [*prefix, *(each for each in spans if not isinstance(each, View))]
    assert check(known) == []
    told = [each for each in records if isinstance(each, Write) and each.incarnation == "first" and each.code == 200]
    within, beyond = told[0], told[-1]
    assert within.revision <= opened.head < beyond.revision
    assert check([beyond._replace(uid="x") if each is beyond else each for each in known]) == []
    assert {v.promise for v in check([within._replace(uid="x") if each is within else each for each in known])} == {
        "Writes"
    }
