"""What a simulated apiserver has set a timer for happens while it lives, and what goes wrong there is its own."""

from __future__ import annotations

import pytest
import trio
from ursa.tools.determinism import seeded_run
from ursa.tools.simulation.runtime import SimulatedRuntime


def test_nothing_is_called_after_its_death() -> None:
    async def main() -> None:
        runtime, called = SimulatedRuntime(0.0), list[str]()
        runtime.call_later(1.0, lambda: called.append("alive"))
        runtime.call_later(2.0, lambda: called.append("dead"))
        await trio.sleep(1.5)
        runtime.stop()
        await trio.sleep(1.5)
        assert called == ["alive"]

    seeded_run(1, main)


def test_what_a_callback_raises_ends_its_own_loop_alone() -> None:
    async def main() -> None:
        failing, other, called = SimulatedRuntime(0.0), SimulatedRuntime(0.0), list[str]()

        def fail() -> None:
            raise KeyError("unexpected")

        failing.call_later(1.0, fail)
        failing.call_later(1.0, lambda: called.append("failing"))
        other.call_later(1.0, lambda: called.append("other"))
        with pytest.raises(KeyError, match="unexpected"):
            await failing.run()
        assert (trio.current_time(), called) == (1.0, ["other"])

    seeded_run(1, main)
