"""Any interleaving of writes, lists, watches, compactions, crashes and slow readers keeps every promise."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ursa.partitions.cache import window
from ursa.partitions.reads import listing
from ursa.partitions.watches import lane, sharing

from .stories import Story
from .subjects import SUBJECTS, Subject, stage

# Stories in one run of a test.
STORIES = {"core": 300, "memory": 80, "grpc": 10}
SOAK_FACTOR = 40 if os.environ.get("URSA_SOAK") else 1

Step = Callable[[Story], Awaitable[None]]

which = st.integers(0, 9)
back = st.integers(0, 12)
batches = st.lists(st.tuples(st.integers(0, 7), which), min_size=1, max_size=4)


def step(verb: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.tuples(st.just(verb), *arguments)


steps = st.lists(
    st.one_of(
        step("write", batches),
        step("write", batches),
        step("write_to_a_slow_disk", batches, which),
        step("list_newest", which),
        step("list_any", which),
        step("list_exactly", back, which),
        step("read_page", st.integers(1, 3), which),
        step("read_page", st.integers(1, 3), which),
        step("start_watch", back, which),
        step("start_watch", back, which),
        step("read_watch", which),
        step("read_watch", which),
        step("resume_watch", which),
        step("compact", back),
        step("crash"),
        step("pass_time"),
    ),
    min_size=5,
    max_size=40,
)

# A few that read slowly while much is written: they are behind by all distances.
steps_of_watches = st.lists(
    st.one_of(
        *[step("write", batches)] * 6,
        step("start_watch", back, which),
        *[step("read_watch", which)] * 2,
        step("read_page", st.integers(1, 3), which),
        step("list_exactly", back, which),
    ),
    min_size=20,
    max_size=60,
)


@pytest.mark.parametrize("subject_name", SUBJECTS)
def test_what_clients_are_told_is_what_happened(subject_name: str) -> None:
    play(subject_name, steps, STORIES[subject_name])


def test_what_clients_are_told_is_what_happened_where_everything_is_scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that in service are met under load only: replies, shared events, the window."""
    monkeypatch.setattr(lane, "REPLY_BYTES", 600)
    monkeypatch.setattr(sharing, "CHUNK_BYTES", 600)
    monkeypatch.setattr(sharing, "SHARED_BYTES_MAX", 1500)
    monkeypatch.setattr(sharing, "SHARED_COMMITS_MAX", 3)
    monkeypatch.setattr(window, "WINDOW_CHANGES_MAX", 32)
    monkeypatch.setattr(listing, "CHUNK_BYTES", 400)
    monkeypatch.setattr(listing, "STEP_RECORDS", 2)
    play("core", steps, STORIES["core"] // 2)
    play("core", steps_of_watches, STORIES["core"] // 2)


def play(subject_name: str, drawn_from: st.SearchStrategy[list[tuple[object, ...]]], stories: int) -> None:
    with stage(subject_name) as chosen:

        @settings(
            max_examples=stories * SOAK_FACTOR,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(drawn_from)
        def played(drawn: list[tuple[object, ...]]) -> None:
            async def tell(subject: Subject) -> None:
                story = Story(subject)
                for verb, *arguments in drawn:
                    await getattr(story, str(verb))(*arguments)
                await story.end()

            chosen.play(tell)

        played()
