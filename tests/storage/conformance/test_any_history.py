"""Anything that may be asked of a subject, in any order, against a plain list of changes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .model import KEYS, PREFIXES, Story
from .stages import SUBJECTS, stage
from .subject import Subject

# Histories in one run of a test.
HISTORIES = {"memory-store": 50, "lmdb-store": 25, "watch-cache": 30, "client-memory": 15, "client-grpc": 8}
SOAK_FACTOR = 40 if os.environ.get("URSA_SOAK") else 1

Step = tuple[str, Sequence[Any]]


def step(verb: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(verb), st.tuples(*arguments))


keys = st.integers(0, len(KEYS) - 1)
prefixes = st.integers(0, len(PREFIXES) - 1)
which = st.integers(0, 9)
back = st.one_of(st.integers(0, 4), st.integers(-1, 15))
batches = step("write", st.lists(st.tuples(keys, st.booleans()), min_size=1, max_size=5))
steps = st.lists(
    st.one_of(
        batches,
        batches,
        batches,
        step("write_if", keys, st.booleans(), st.sampled_from(["right", "right", "absent", "stale", "later"])),
        step("range", prefixes, back),
        step("newest", prefixes),
        step("get", keys, back),
        step("pages", prefixes, st.integers(1, 3)),
        step("watch", prefixes, back),
        step("watch", prefixes, back),
        step("settle", which),
        step("resume", which),
        step("forget", back),
        step("digest", back),
    ),
    min_size=4,
    max_size=30,
)


@pytest.mark.parametrize("subject_name", SUBJECTS)
def test_any_history_is_told_as_it_was(subject_name: str) -> None:
    @settings(
        max_examples=HISTORIES[subject_name] * SOAK_FACTOR,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.nested_given],
    )
    @given(chosen=steps)
    def check(chosen: list[Step]) -> None:
        async def story(subject: Subject) -> None:
            told = Story(subject, await subject.head())
            for verb, arguments in chosen:
                await getattr(told, verb)(*arguments)
            await told.end()

        played.play(story)

    with stage(subject_name) as played:
        check()
