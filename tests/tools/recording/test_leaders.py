"""The judges of leaders, to the letter."""

from __future__ import annotations

from collections.abc import Sequence

from ursa.tools.checking.bindings import schedulers_claim_one_node_at_a_time
from ursa.tools.checking.check import check
from ursa.tools.checking.leaders import deposed_leaders_write_nothing, terms_rise
from ursa.tools.checking.silence import no_watch_waits_in_silence
from ursa.tools.recording.records import Complete, Finished, Record, Selection, Watched, WatchEnded, WatchStarted, Write

from .led_run import LEASE, granted, led, led_well, written
from .recorded_run import recorded_run


def told(records: Sequence[Record]) -> list[str]:
    return [each.text for each in check(records, [deposed_leaders_write_nothing, terms_rise])]


def test_leaders_that_take_turns_keep_every_promise() -> None:
    assert check(led_well()) == []


def test_a_write_of_the_older_term_is_told_with_who_led() -> None:
    [text] = told(led(granted(1, "one", 1), granted(2, "two", 2, after=1), written(3, "one", 1)))
    assert "decided on by one in term 1, when" in text
    assert text.endswith("was held by two in term 2")


def test_a_write_that_nobody_was_told_of_counts_by_the_log() -> None:
    records = led(granted(1, "one", 1), granted(2, "two", 2, after=1), written(3, "one", 1))
    lost = [
        each._replace(code=0, ret=float("inf"), revision=0) if isinstance(each, Write) else each for each in records
    ]
    assert len(told(lost)) == 1


def test_a_write_that_was_refused_is_as_it_should_be() -> None:
    _, refused = written(3, "one", 1)
    assert isinstance(refused, Write)
    refused = refused._replace(code=409, reason="Conflict", revision=0)
    assert told(led(granted(1, "one", 1), granted(2, "two", 2, after=1), [refused], written(4, "two", 2))) == []


def test_a_write_of_a_lease_that_is_gone_or_was_made_again_is_told() -> None:
    assert len(told(led(written(1, "one", 1)))) == 1
    again = led(granted(1, "one", 1, uid="another"), written(2, "one", 1))
    assert len(told(again)) == 1


def test_where_the_log_is_not_known_nothing_is_judged() -> None:
    records = led(granted(1, "one", 1), granted(2, "two", 2, after=1), written(3, "one", 1))
    assert told([each for each in records if not isinstance(each, Complete)]) == []


def test_a_term_of_two_holders_and_one_that_goes_back_are_told() -> None:
    [text] = told(led(granted(1, "one", 1), written(2, "one", 1), granted(3, "two", 1, after=1)))
    assert text.endswith("was taken by two in term 1, which was that of one")
    [text] = told(led(granted(1, "one", 5), written(2, "one", 5), granted(3, "one", 4, after=1)))
    assert text.endswith("went back from term 5 to 4")


def test_terms_of_a_lease_that_was_made_again_begin_anew() -> None:
    records = led(granted(1, "one", 5), written(2, "one", 5), granted(3, "two", 1, uid="another"))
    assert told(records) == []


def test_an_elected_scheduler_is_another_in_each_term() -> None:
    """What it had claimed in the term before it does not know any more, as after a restart."""
    claim = next(each for each in recorded_run() if isinstance(each, Write) and each.resource == "placements.ursa.dev")
    elsewhere = "rp-2" if claim.partition == "rp-1" else "rp-1"
    refused = claim._replace(
        partition=elsewhere,
        call=claim.ret + 0.001,
        ret=claim.ret + 0.002,
        request_id=b"another",
        code=409,
        reason="Conflict",
        incarnation="",
        revision=0,
        uid="",
        crc=0,
    )
    judges = [schedulers_claim_one_node_at_a_time]
    assert len(check([*recorded_run(), refused], judges)) == 1
    assert check([*recorded_run(), refused._replace(fence=(LEASE, "lease", 2, "one"))], judges) == []


def test_a_stream_without_watches_has_nothing_to_hear() -> None:
    started = WatchStarted("scheduler#1", "tp-1", 1.0, 1, 1, Selection("pods"))
    ended = WatchEnded("scheduler#1", "tp-1", 2.0, 1)
    again = started._replace(time=90.0, watch=2)
    told_of = Watched("scheduler#1", "tp-1", 91.0, 2, 1, "main", "i", bookmark=7)
    judges = [no_watch_waits_in_silence]
    assert check([started, ended, again, told_of, Finished(92.0)], judges) == []
    assert len(check([started, again, told_of, Finished(92.0)], judges)) == 1
