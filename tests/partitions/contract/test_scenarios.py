"""Bugs that Kubernetes and etcd really had, staged here. Each test names its guard: take it out, and the test fails.

`guards.py` does that on a copy, one guard after the other. The numbers are those of the project's list of such bugs.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from ursa.clients.informer import Informer
from ursa.partitions.cache import window
from ursa.partitions.watches import lane
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Expired
from ursa.proto.objects import Object

from .objects import config, pod
from .stories import bytes_of
from .subjects import ClientSubject, CoreSubject, Story, Subject, over_all_subjects, stage


def over_clients(story: Story) -> Callable[[str], None]:
    """What is the client's business is told of the two that have one."""

    def test(subject_name: str) -> None:
        with stage(subject_name) as chosen:
            chosen.play(story)

    test.__name__ = test.__qualname__ = story.__name__
    test.__doc__, test.__module__ = story.__doc__, story.__module__
    return pytest.mark.parametrize("subject_name", ["memory", "grpc"])(test)


async def several_turns(subject: Subject) -> None:
    for _ in range(20):
        await subject.turn()


# ------------------------------------------------------------------------------------------------------------------ S1


@over_clients
async def test_s1_an_apiserver_that_is_behind_does_not_bring_back_a_deleted_pod(subject: ClientSubject) -> None:
    """kubernetes/kubernetes#59848: a kubelet lists at an apiserver that is behind, and runs a deleted pod once more.

    Guard: a client's read of any state is one not older than what it has seen (clients/reads.py).
    """
    first = await subject.create(pod("pod-0"))
    before = subject.host.head()
    await subject.delete(first)
    second = await subject.create(pod("pod-0"))
    assert [item.uid for item in (await subject.list("pods")).items] == [second.uid]
    subject.host.fall_behind(before)
    await subject.reconnected()
    seen: list[str] = []

    async def relist() -> None:
        seen.extend(item.uid for item in (await subject.list("pods", resource_version="0")).items)

    async def read_again() -> None:
        key = second.key
        seen.append((await subject.client.get("pods", key, resource_version="0")).uid)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(relist)
        nursery.start_soon(read_again)
        await several_turns(subject)
        assert seen == [], "it must wait: nothing that is true and new enough is to be had"
        subject.host.catch_up()
    assert seen == [second.uid, second.uid]


# ------------------------------------------------------------------------------------------------------------------ S6


@over_all_subjects
async def test_s6_no_crash_in_a_compaction_loses_a_deletion_or_takes_a_revision_back(subject: Subject) -> None:
    """etcd-io/etcd#18089, #19179, #17780: a deletion lost around compaction, and a revision that fell after a crash.

    Guard: all behind the floor is kept, by the store (storage/index.py) and by what a successor makes of its log
    (partitions/history.py); a watch from below it is refused, at its start and when it reads
    (partitions/watches/lane.py).
    """
    objects = [await subject.create(config(f"c-{number}")) for number in range(6)]
    changed = await subject.label(objects[0], x="1")
    gone = await subject.delete(objects[1])
    await subject.label(changed, x="2")
    also_gone = await subject.delete(objects[2])
    head = subject.host.head()
    listed = await subject.list("configmaps")
    before = 0
    for steps, asked in enumerate((1, changed.resource_version, gone, gone + 1, also_gone)):
        subject.host.compact_in_part(asked, steps)
        await subject.reconnected()
        floor = subject.host.floor()
        assert before <= floor <= asked, "the floor is where it was, or where it was to be"
        before = floor
        assert subject.host.head() == head
        page = await subject.list("configmaps")
        assert [item.message for item in page.items] == [item.message for item in listed.items]
        at_the_floor = subject.watch("configmaps", resource_version=max(floor, 1))
        await subject.settled(at_the_floor)
        expected = [revision for revision in (gone, also_gone) if revision > floor]
        assert [event.revision for event in at_the_floor.events if event.type == "DELETED"] == expected
        if floor > 1:
            below = subject.watch("configmaps", resource_version=floor - 1)
            await below.until(lambda below=below: below.error is not None)
            assert isinstance(below.error, Expired)
        exact = await subject.list("configmaps", resource_version=str(max(floor, gone - 1)), exact=True)
        assert ("c-1" in exact.names) == (floor < gone)
        at_the_floor.stop()
    assert before == also_gone


# ------------------------------------------------------------------------------------------------------------------ S7


def test_s7_a_watch_that_is_too_slow_is_told_so_and_nobody_else_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """etcd-io/etcd#17529, kubernetes/kubernetes#24091: one slow watcher starved others, or silently lost events.

    Guard: a watch that has fallen out of the window ends with Expired, and with a revision that one can go on from
    (partitions/watches/lane.py).
    """
    monkeypatch.setattr(window, "WINDOW_CHANGES_MAX", 32)

    async def story(subject: CoreSubject) -> None:
        head = subject.host.head()
        never = subject.slow_watch("configmaps", resource_version=head)
        sometimes = subject.slow_watch("configmaps", resource_version=head)
        quick = subject.watch("configmaps", resource_version=head)
        for number in range(200):
            await subject.create(config(f"c-{number:03}", "x" * 200))
            assert len(quick.events) == number + 1, "at once, whoever else is slow"
            if number % 20 == 0:
                while sometimes.read_one():
                    pass
        await subject.settled(sometimes, quick)
        assert [event.revision for event in sometimes.events] == [event.revision for event in quick.events]
        while never.read_one():
            pass
        assert isinstance(never.error, Expired)
        revisions = [event.revision for event in never.events]
        assert revisions == [event.revision for event in quick.events][: len(revisions)], "no gap before the end"
        floor = never.error.resource_version
        resumed = subject.watch("configmaps", resource_version=floor)
        await subject.settled(resumed)
        assert [event.revision for event in resumed.events] == list(range(floor + 1, subject.host.head() + 1))

    with stage("core") as chosen:
        chosen.play(story)


# ------------------------------------------------------------------------------------------------------------------ S8


def test_s8_no_bookmark_overtakes_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """etcd-io/etcd#15220: a progress notification that was sent before the events it speaks for.

    Guard: a reply has a bookmark only where nothing older is still to be sent (partitions/watches/lane.py).
    """
    monkeypatch.setattr(lane, "REPLY_BYTES", 200)

    async def story(subject: CoreSubject) -> None:
        created = [await subject.create(config(f"c-{number}", "x" * 300)) for number in range(5)]
        start = created[0].resource_version - 1
        several = pb.WatchRequest()
        for number in (1, 2, 3):
            begin = several.start.add(id=number, selection=pb.Selection(resource="configmaps"), resource_version=start)
            begin.initial_events = number == 3
        told: dict[int, list[int]] = {1: [], 2: [], 3: []}
        async with subject.stream("Watch") as stream:
            await stream.send(several)
            for number in range(5):
                await subject.label(created[number], x="1")
            head = subject.host.head()
            bookmark = 0
            while bookmark < head:
                for reply in await stream.receive():
                    for batch in reply.batches:
                        told[batch.id] += [event.resource_version for event in batch.events]
                    bookmark = reply.resource_version or bookmark
                    if reply.resource_version:
                        for number in (1, 2):
                            assert told[number] == list(range(start + 1, bookmark + 1))
        assert told[3] == sorted(told[3])

    with stage("core") as chosen:
        chosen.play(story)


@over_all_subjects
async def test_s8_a_watch_of_a_revision_that_is_to_come_is_refused(subject: Subject) -> None:
    """etcd-io/etcd#20221: a watch on a future revision was sent events older than that.

    Guard: the check of where a watch begins (partitions/watches/lane.py).
    """
    future = subject.host.head() + 3
    watching = subject.watch("configmaps", resource_version=future)
    await watching.until(lambda: watching.error is not None)
    for number in range(6):
        await subject.create(config(f"c-{number}"))
    await several_turns(subject)
    assert isinstance(watching.error, Expired)
    assert watching.events == []


@over_clients
async def test_s8_a_watch_that_was_refused_is_complete_up_to_nothing(subject: ClientSubject) -> None:
    """A bookmark in the very message that ends a watch is for the others on its stream.

    Guard: bookmarks cover watches that are open (clients/watches.py).
    """
    watching = subject.watch("configmaps", resource_version=subject.host.head() + 3)
    other = subject.watch("configmaps")
    await watching.until(lambda: watching.error is not None)
    await subject.create(config("a"))
    await subject.settled(other)
    assert (watching.watch.resource_version, other.watch.resource_version) == (0, subject.host.head())


# ----------------------------------------------------------------------------------------------------------------- S16


@over_clients
async def test_s16_a_client_that_has_seen_another_incarnation_begins_anew(subject: ClientSubject) -> None:
    """kubernetes/kubernetes#107133: a client asks for "not older than" what the partition will not reach.

    Guard: a read that is told of another incarnation is asked once more, for any state (clients/reads.py).
    """
    for number in range(10):
        await subject.create(config(f"c-{number}"))
    assert len((await subject.list("configmaps", resource_version="0")).items) == 10
    subject.host.replace_store("two")
    await subject.reconnected()
    assert (await subject.list("configmaps", resource_version="0")).names == []
    fresh = await subject.create(config("fresh"))
    assert (await subject.client.get("configmaps", fresh.key, resource_version="0")).message == fresh.message


@over_clients
async def test_s16_after_a_restore_clients_begin_anew_and_do_not_wait_for_the_old_revision(
    subject: ClientSubject,
) -> None:
    """kubernetes/kubernetes#91073, #107133: "too large resource version", again and again.

    Guards, each of which suffices here: the informer looks at whose its revision is (clients/informer.py), and so does
    the partition (partitions/watches/lane.py); and a revision from the future is refused.
    """
    for number in range(10):
        await subject.create(config(f"c-{number}"))
    informer = Informer(subject.client, "configmaps")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(informer.run)
        await informer.wait_synced()
        assert len(informer.objects) == 10
        subject.host.replace_store("two")
        await subject.reconnected()
        fresh = await subject.create(config("fresh"))
        await until(subject, lambda: [obj.name for obj in informer.objects.values()] == ["fresh"])
        assert informer.resource_version == fresh.resource_version < 10
        page = await subject.list("configmaps", resource_version="0")
        assert page.names == ["fresh"]
        await subject.label(fresh, x="1")
        await until(subject, lambda: [dict(obj.labels) for obj in informer.objects.values()] == [{"x": "1"}])
        nursery.cancel_scope.cancel()


@over_clients
async def test_s16_an_informer_from_the_future_takes_a_new_view_and_goes_on(subject: ClientSubject) -> None:
    """kubernetes/kubernetes#91073: an apiserver that is behind, and an informer that waits for it for ever.

    Guard: a watch from the future ends with Expired (partitions/watches/lane.py).
    """
    created = await subject.create(config("a"))
    before = subject.host.head()
    await subject.create(config("lost"))
    informer = Informer(subject.client, "configmaps")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(informer.run)
        await informer.wait_synced()
        subject.host.fall_behind(before)
        await subject.reconnected()
        await until(subject, lambda: [obj.name for obj in informer.objects.values()] == ["a"])
        await subject.label(created, x="1")
        await until(subject, lambda: [dict(obj.labels) for obj in informer.objects.values()] == [{"x": "1"}])
        nursery.cancel_scope.cancel()


async def until(subject: Subject, condition: Callable[[], bool]) -> None:
    for _ in range(5000):
        if condition():
            return
        await subject.turn()
    raise AssertionError("it does not happen")


# ----------------------------------------------------------------------------------------------------------------- S17


@over_all_subjects
async def test_s17_a_deletion_that_a_successor_reads_from_the_log_leaves_no_ghost(subject: Subject) -> None:
    """kubernetes/kubernetes#76624, #123072: a deletion without the previous value was dropped, and left a ghost.

    Guard: a change that is made again from its record has the state before it (partitions/state.py).
    """
    inside = await subject.create(config("a", labels={"x": "1"}))
    page = await subject.list("configmaps", label_selector="x=1")
    leaving = await subject.create(config("b", labels={"x": "1"}))
    outside = await subject.label(leaving, x="2")
    await subject.delete(outside)
    gone = await subject.delete(inside)
    await subject.crash()
    watching = subject.watch("configmaps", resource_version=page.resource_version, label_selector="x=1")
    await subject.settled(watching)
    assert [(event.type, event.object.name, event.revision) for event in watching.events] == [
        ("ADDED", "b", leaving.resource_version),
        ("DELETED", "b", outside.resource_version),
        ("DELETED", "a", gone),
    ]
    assert (await subject.list("configmaps")).names == []


@over_all_subjects
async def test_s17_what_is_listed_is_what_is_stored_over_crashes_and_compactions(subject: Subject) -> None:
    """kubernetes/kubernetes#123072: a cache that had an object which the store had not.

    Guard: a change takes its object out of the cache as well as in (partitions/cache/collection.py).
    """
    for number in range(12):
        created = await subject.create(config(f"c-{number % 5}-{number}", labels={"x": str(number % 2)}))
        if number % 3 == 0:
            await subject.delete(created)
        elif number % 3 == 1:
            await subject.label(created, x="changed")
        if number % 4 == 3:
            subject.host.compact(subject.host.head() - 1)
            await subject.crash()
        listed = {item.name: bytes_of(item.message) for item in (await subject.list("configmaps")).items}
        stored = {
            key.rpartition("/")[2]: value
            for key, value in subject.host.stored().items()
            if key.startswith("/registry/configmaps/")
        }
        assert listed == stored


# ----------------------------------------------------------------------------------------------------------------- S21


@over_all_subjects
async def test_s21_a_list_at_a_revision_lacks_nothing_before_it(subject: Subject) -> None:
    """k3s-io/kine#676, #82: a revision was given out before it was there, and a list at N lacked N - 1.

    Guard: what a list shows is taken at the moment of the revision that it says (partitions/reads/listing.py), and that
    revision is one that is published (partitions/cache/watch_cache.py).
    """
    start = subject.host.head()
    watching = subject.watch("configmaps", resource_version=start)
    subject.host.hold_commits()
    async with subject.stream("Mutate") as one, subject.stream("Mutate") as other, subject.stream("List") as late:
        for number in range(6):
            operation = pb.Operation(resource="configmaps")
            operation.create.object.CopyFrom(Object.from_dict(config(f"c-{number}")).message)
            await (one, other)[number % 2].send(pb.MutateRequest(operations=[operation] * 2, batch=number))
            page = await subject.list_patiently("configmaps")
            assert (page.names, page.resource_version) == ([], start)
        await late.send(pb.ListRequest(selection=pb.Selection(resource="configmaps")))
        await several_turns(subject)
        subject.host.release_commits()
        for stream in (one, other):
            answers: list[pb.MutateReply] = []
            while len(answers) < 3:
                answers += await stream.receive()
            assert [len(answer.results) for answer in answers] == [2, 2, 2]
        [reply] = await subject.while_time_passes(late.receive)
    await subject.settled(watching)
    revisions = [event.revision for event in watching.events]
    assert revisions == list(range(start + 1, start + 7))
    by_revision = {event.revision: event.object.name for event in watching.events}
    for revision in range(start, start + 7):
        page = await subject.list("configmaps", resource_version=str(revision), exact=True)
        assert page.names == sorted(by_revision[each] for each in range(start + 1, revision + 1))
    shown = sorted(by_revision[each] for each in range(start + 1, reply.resource_version + 1))
    assert [item.metadata.name for item in reply.items] == shown
