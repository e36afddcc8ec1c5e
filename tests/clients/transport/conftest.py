from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

_spec = importlib.util.spec_from_file_location("transport_echo", Path(__file__).with_name("echo.py"))
assert _spec is not None
assert _spec.loader is not None
_echo = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_echo)


@pytest.fixture(scope="session")
def echo_service() -> Any:
    """The class of the small apiserver of echo.py."""
    return _echo.EchoService
