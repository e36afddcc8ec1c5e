"""What clients were told, spoilt: of the log, of writes and reads, of watches, lists and informers."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from ursa.tools.recording.records import (
    ADDED,
    ANY,
    CONSISTENT,
    MODIFIED,
    Complete,
    Get,
    Happened,
    Listed,
    Logged,
    Opened,
    Record,
    View,
    Watched,
    WatchStarted,
    Write,
)

from .faulty_run import faulty_run
from .recorded_run import recorded_run
from .spoilt import CASES, breaks, changed, edited, of, truth

__all__ = ["CASES"]

# --------------------------------------------------------------------------------------------------------- the log


@breaks("Log")
def a_record_tells_of_another_life() -> list[Record]:
    logged = next(each for each in of(Logged, recorded_run()) if each.previous_revision)
    return changed(recorded_run(), logged, logged._replace(create_revision=logged.create_revision + 1))


@breaks("Log")
def the_log_ends_too_early() -> list[Record]:
    complete = of(Complete, recorded_run())[0]
    return changed(recorded_run(), complete, complete._replace(to=complete.to + 1))


@breaks("Log")
def a_revision_is_given_twice() -> list[Record]:
    records = truth(faulty_run(1))
    logged = next(each for each in of(Logged, records) if each.key.startswith("/registry/configmaps"))
    return changed(records, logged, logged, logged._replace(data=logged.data + b"\x32\x01x"))


def the_beginning_restored() -> tuple[list[Record], list[Logged]]:
    """What really was of a run with a restored store, and its first object there, as often as the store was opened."""
    records = truth(faulty_run(1))
    restored = [each for each in of(Logged, records) if each.incarnation == "second"]
    return records, [each for each in restored if each._replace(time=0.0) == restored[0]._replace(time=0.0)]


@breaks("Restored")
def a_restored_store_has_another_beginning() -> list[Record]:
    records, copies = the_beginning_restored()
    for logged in copies:
        records = changed(records, logged, logged._replace(data=logged.data + b"\x32\x01x"))
    return records


@breaks("Restored")
def a_restored_store_lacks_what_the_snapshot_held() -> list[Record]:
    records, copies = the_beginning_restored()
    for logged in copies:
        records = changed(records, logged)
    return records


@breaks("Restored")
def a_restored_store_claims_more_than_there_was() -> list[Record]:
    records = truth(faulty_run(1))
    opened = next(each for each in of(Opened, records) if each.incarnation == "second")
    return changed(records, opened, opened._replace(head=1000))


@breaks("Durable")
def a_change_is_told_before_it_is_committed() -> list[Record]:
    logged = next(each for each in of(Logged, recorded_run()) if "/pods/" in each.key and each.time)
    return changed(recorded_run(), logged, logged._replace(time=logged.time + 1))


# ----------------------------------------------------------------------------------------------- writes and reads


def a_write(verb: str = "create", resource: str = "pods") -> Write:
    return next(each for each in of(Write, recorded_run()) if each.verb == verb and each.resource == resource)


@breaks("Writes")
def a_refused_write_was_carried_out() -> list[Record]:
    write = a_write()
    return changed(recorded_run(), write, write._replace(code=409, reason="Conflict", revision=0))


@breaks("Writes")
def an_acknowledged_write_is_not_in_the_log() -> list[Record]:
    write = a_write("create", "placements.ursa.dev")
    last = max(each.to for each in of(Complete, recorded_run()) if each.partition == write.partition)
    hole = Write("x#1", write.partition, 0.0, inf, "update", write.resource, write.key, b"lost")
    told = hole._replace(ret=90.0, store="main", incarnation=write.incarnation, revision=write.revision + 1)
    assert write.revision < last
    return [*recorded_run(), told]


@breaks("Writes")
def an_acknowledged_create_was_another_ones() -> list[Record]:
    write = a_write()
    return changed(recorded_run(), write, write._replace(request_id=b"another"))


@breaks("Writes")
def a_write_was_told_another_uid() -> list[Record]:
    write = a_write()
    return changed(recorded_run(), write, write._replace(uid="another"))


@breaks("Writes")
def a_write_was_carried_out_against_its_precondition() -> list[Record]:
    write = a_write("bind")
    return changed(recorded_run(), write, write._replace(revision_asked=write.revision - 1))


@breaks("Writes")
def a_write_was_carried_out_on_another_uid() -> list[Record]:
    write = a_write("bind")
    return changed(recorded_run(), write, write._replace(uid_asked="another"))


@breaks("Writes")
def a_dry_run_was_carried_out() -> list[Record]:
    write = a_write()
    return changed(recorded_run(), write, write._replace(dry_run=True))


@breaks("Writes")
def a_write_of_unknown_outcome_was_carried_out_twice() -> list[Record]:
    records = truth(recorded_run())
    one, other = [each for each in of(Logged, records) if "/deployments" in each.key][:2]
    records = changed(records, one, edited(one, request_id=b"twice"))
    records = changed(records, other, edited(other, request_id=b"twice"))
    return [
        *records,
        Write("x#1", one.partition, 0.0, inf, "patch", "deployments.apps", one.key, b"twice", code=0, store="main"),
    ]


def a_get() -> Get:
    return next(get for get in of(Get, recorded_run()) if "/pods/" in get.key)


@breaks("Reads")
def a_get_tells_of_an_old_object() -> list[Record]:
    get = a_get()
    return changed(recorded_run(), get, get._replace(object_revision=get.object_revision - 1))


@breaks("Reads")
def a_get_tells_of_other_bytes() -> list[Record]:
    get = a_get()
    return changed(recorded_run(), get, get._replace(crc=get.crc + 1))


@breaks("Reads")
def a_get_finds_nothing_where_there_is_something() -> list[Record]:
    get = a_get()
    return changed(recorded_run(), get, get._replace(code=404))


@breaks("Reads")
def a_get_is_older_than_asked_for() -> list[Record]:
    get = a_get()
    return changed(recorded_run(), get, get._replace(match="not older", asked=get.revision + 1))


@breaks("Reads")
def a_list_is_not_of_the_revision_asked_for() -> list[Record]:
    listed = next(each for each in of(Listed, recorded_run()) if each.revision)
    return changed(recorded_run(), listed, listed._replace(match="exact", asked=listed.revision - 1))


def an_early_list() -> Listed:
    """At the beginning: true then, and not for long."""
    return min((each for each in of(Listed, recorded_run()) if each.match == CONSISTENT), key=lambda each: each.call)


@breaks("Linearizable")
def a_consistent_list_misses_what_was_told_before() -> list[Record]:
    listed = an_early_list()
    late = listed._replace(client="x#1", call=90.0, ret=91.0)
    return [*recorded_run(), late]


@breaks("Linearizable")
def a_write_has_a_lower_revision_than_was_known_before() -> list[Record]:
    write = a_write()
    return changed(recorded_run(), write, write._replace(client="x#1", call=90.0, ret=91.0))


@breaks("Linearizable")
def a_watch_begins_with_an_old_view() -> list[Record]:
    started = next(
        each
        for each in of(WatchStarted, recorded_run())
        if each.initial and each.selection.resource == "pods" and not each.selection.field_selector
    )
    return changed(recorded_run(), started, started._replace(time=90.0))


@breaks("Linearizable")
def a_write_is_refused_for_what_was_long_gone() -> list[Record]:
    deleted = next(each for each in of(Logged, recorded_run()) if "/pods/" in each.key and each.deleted)
    refused = Write("x#1", deleted.partition, 90.0, 91.0, "create", "pods", deleted.key, b"refused", code=409)
    told = refused._replace(reason="AlreadyExists", found=deleted.previous_revision, found_key=deleted.key)
    return [*recorded_run(), told._replace(store="main", incarnation=deleted.incarnation)]


@breaks("Linearizable")
def a_write_is_told_that_what_lives_is_not_there() -> list[Record]:
    get = a_get()
    refused = Write("x#1", get.partition, get.ret, get.ret + 1, "delete", "pods", get.key, b"refused", code=404)
    told = refused._replace(reason="NotFound", found_key=get.key, store="main", incarnation=get.incarnation)
    return [*recorded_run(), told]


@breaks("Monotonic")
def a_client_goes_back_to_a_cache_that_is_behind() -> list[Record]:
    listed = an_early_list()
    return changed(recorded_run(), listed, listed._replace(match=ANY, call=90.0, ret=91.0))


@breaks("Monotonic")
def the_view_of_an_informer_falls() -> list[Record]:
    first, *_, last = [
        each for each in of(View, recorded_run()) if each.partition == of(View, recorded_run())[0].partition
    ]
    assert first.revision < last.revision
    return [*recorded_run(), first]


# -------------------------------------------------------------------------------------------------------- watches


def told_in_steps(records: Sequence[Record], resource: str = "pods") -> list[Watched]:
    """What one watch was given behind its initial objects."""
    starts = {each.watch: each for each in of(WatchStarted, records)}
    wanted = [
        watch
        for watch, start in starts.items()
        if start.selection.resource == resource and not start.selection.field_selector
    ]
    given = [each for each in of(Watched, records) if each.watch == wanted[0]]
    end = next((number for number, each in enumerate(given) if each.initial_end), -1)
    return [each for each in given[end + 1 :] if each.events]


@breaks("Reliable")
def a_watch_misses_an_event() -> list[Record]:
    told = told_in_steps(recorded_run())[3]
    return changed(recorded_run(), told, told._replace(events=told.events[1:]))


@breaks("Reliable")
def a_watch_misses_the_last_events_before_a_bookmark() -> list[Record]:
    told = told_in_steps(recorded_run())[-1]
    return changed(recorded_run(), told, told._replace(events=()))


@breaks("Unique and atomic")
def a_watch_is_told_twice() -> list[Record]:
    told = told_in_steps(recorded_run())[3]
    return changed(recorded_run(), told, told._replace(events=(*told.events, told.events[-1])))


@breaks("Ordered")
def a_watch_is_told_the_wrong_way_round() -> list[Record]:
    told = next(each for each in told_in_steps(recorded_run()) if len(each.events) > 2)
    second, first, *others = told.events
    return changed(recorded_run(), told, told._replace(events=(first, second, *others)))


@breaks("Faithful")
def a_watch_is_told_of_other_bytes() -> list[Record]:
    told = told_in_steps(recorded_run())[3]
    kind, key, object_revision, revision, crc = told.events[0]
    event = kind, key, object_revision, revision, crc + 1
    return changed(recorded_run(), told, told._replace(events=(event, *told.events[1:])))


@breaks("Faithful")
def a_watch_is_told_of_what_never_was() -> list[Record]:
    told = told_in_steps(recorded_run())[3]
    kind, key, object_revision, revision, crc = told.events[0]
    event = kind, key + "x", object_revision, revision, crc
    return changed(recorded_run(), told, told._replace(events=(event, *told.events[1:])))


@breaks("Filter")
def what_enters_a_selection_is_not_added() -> list[Record]:
    selecting = {each.watch for each in of(WatchStarted, recorded_run()) if each.selection.field_selector}
    told = next(
        each
        for each in of(Watched, recorded_run())
        if each.watch in selecting and not each.initial_end and any(event[0] == ADDED for event in each.events)
    )
    events = tuple((MODIFIED, *event[1:]) if event[0] == ADDED else event for event in told.events)
    return changed(recorded_run(), told, told._replace(events=events))


@breaks("Filter")
def a_watch_is_told_of_what_it_does_not_select() -> list[Record]:
    started = next(
        each
        for each in of(WatchStarted, recorded_run())
        if each.selection.resource == "pods" and not each.selection.field_selector
    )
    selection = started.selection._replace(label_selector="app=another")
    given = [each for each in of(Watched, recorded_run()) if each.watch == started.watch]
    assert not given[0].events, "no pods at the beginning"
    return changed(recorded_run(), started, started._replace(selection=selection))


@breaks("Resumable")
def a_watch_goes_on_too_late() -> list[Record]:
    records = faulty_run(1)
    for started in of(WatchStarted, records):
        given = [each for each in of(Watched, records) if each.watch == started.watch and each.events]
        before = [
            each.revision
            for each in of(Logged, records)
            if each.revision <= started.after and "/configmaps/" in each.key and each.incarnation == started.incarnation
        ]
        if started.after and given and before and not started.selection.label_selector:
            return changed(records, started, started._replace(after=max(before) - 1))
    raise AssertionError("no watch was resumed")


@breaks("Resumable")
def a_watch_is_told_again_of_what_it_had_seen() -> list[Record]:
    records = faulty_run(1)
    for started in of(WatchStarted, records):
        given = [each for each in of(Watched, records) if each.watch == started.watch and each.events]
        if started.after and given:
            return changed(records, started, started._replace(after=given[0].events[0][3]))
    raise AssertionError("no watch was resumed")


@breaks("Resumable")
def a_watch_of_another_incarnation_goes_on() -> list[Record]:
    records = faulty_run(1)
    for started in of(WatchStarted, records):
        if started.after and any(each.watch == started.watch and each.events for each in of(Watched, records)):
            return changed(records, started, started._replace(incarnation="another"))
    raise AssertionError("no watch was resumed")


@breaks("Bookmarkable")
def a_bookmark_overtakes_an_event() -> list[Record]:
    told = next(each for each in told_in_steps(recorded_run())[1:] if each.bookmark)
    bookmark, late = told._replace(watch=0, events=()), told._replace(bookmark=0)
    return changed(recorded_run(), told, bookmark, late)


@breaks("Bookmarkable")
def the_bookmarks_of_a_stream_fall() -> list[Record]:
    told = next(each for each in told_in_steps(recorded_run()) if each.bookmark > 1)
    bookmark = told._replace(watch=0, events=(), bookmark=told.bookmark - 1)
    return changed(recorded_run(), told, told, bookmark)


@breaks("Initial")
def a_view_at_the_beginning_of_a_watch_is_not_whole() -> list[Record]:
    told = next(each for each in of(Watched, recorded_run()) if each.initial_end and len(each.events) > 1)
    return changed(recorded_run(), told, told._replace(events=told.events[1:]))


@breaks("Full")
def a_partition_without_room_refuses_a_deletion() -> list[Record]:
    deletion = next(each for each in of(Write, recorded_run()) if each.verb == "delete")
    full = Happened(deletion.call - 0.001, f"full {deletion.partition} 0")
    refused = deletion._replace(request_id=b"again", code=503, reason="ServiceUnavailable", revision=0, crc=0)
    return [*recorded_run(), full, refused]


@breaks("Listed")
def a_list_lacks_an_object() -> list[Record]:
    listed = next(each for each in of(Listed, recorded_run()) if len(each.items) > 2 and each.complete)
    return changed(recorded_run(), listed, listed._replace(items=listed.items[:-1]))


@breaks("Listed")
def a_page_of_a_list_lacks_an_object_in_the_middle() -> list[Record]:
    listed = next(each for each in of(Listed, recorded_run()) if len(each.items) > 2 and not each.complete)
    return changed(recorded_run(), listed, listed._replace(items=(listed.items[0], *listed.items[2:])))


@breaks("Listed")
def a_list_is_not_in_the_order_of_keys() -> list[Record]:
    listed = next(each for each in of(Listed, recorded_run()) if len(each.items) > 2)
    return changed(recorded_run(), listed, listed._replace(items=listed.items[::-1]))


@breaks("Informer equals server")
def an_informer_has_a_ghost() -> list[Record]:
    view = of(View, recorded_run())[-1]
    return changed(recorded_run(), view, view._replace(items=(*view.items, ("/registry/pods/t/n/ghost", 1, 1))))


@breaks("Informer equals server")
def an_informer_holds_an_old_object() -> list[Record]:
    view = of(View, recorded_run())[-1]
    key, revision, crc = view.items[0]
    return changed(recorded_run(), view, view._replace(items=((key, revision - 1, crc), *view.items[1:])))
