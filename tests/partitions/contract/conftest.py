"""The process behind gRPC serves all tests of a run, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .subjects import end_process


@pytest.fixture(scope="session", autouse=True)
def process_ends_with_the_run() -> Iterator[None]:
    yield
    end_process()
