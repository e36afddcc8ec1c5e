import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing
from ursa.proto.errors import UrsaError
from ursa.tools import processes
from ursa.tools.processes import ProcessFailed, ProcessSpec, ReadyLine, Supervisor, open_supervisor

from .leftovers import children, held

# A component in miniature: it listens where it is told, says so, and then waits for its parent to go away.
COMPONENT = """
import json, os, socket, sys
place = sys.argv[sys.argv.index("--listen") + 1].rsplit(":", 1)
server = socket.create_server((place[0], int(place[1])))
address = "127.0.0.1:%d" % server.getsockname()[1]
print(json.dumps({"component": "dummy", "name": "a", "pid": os.getpid(), "address": address}), flush=True)
"""
SERVE = COMPONENT + "sys.stdin.read()\n"
BURN = "import time\nwhile time.process_time() < 0.3: pass\n" + SERVE
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVE
REFUSE = "import sys\nprint('noise', file=sys.stderr)\nsys.exit('error: the data directory is in use')\n"
# Starts well the first time only: a second start finds the file it left.
ONCE = "import os, sys\npath = sys.argv[1]\nif os.path.exists(path): os.remove(path); sys.exit('error: not now')\n"


def child(script: str, name: str = "a", *arguments: str) -> ProcessSpec:
    return ProcessSpec(name, "dummy", [sys.executable, "-S", "-c", script, *arguments], listen_flag="--listen")


class Changes:
    """Lets a test wait for what a supervisor says about its processes."""

    def __init__(self) -> None:
        self._changed = trio.Event()

    def __call__(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(20):
            while not condition():
                await self._changed.wait()


def test_a_ready_line_survives_the_round_trip() -> None:
    line = ReadyLine("apiserver", "tp-1", 7, "127.0.0.1:1", "127.0.0.1:2")
    assert ReadyLine.parse(line.dump().encode()) == line
    with pytest.raises(ValueError, match="no ready line"):
        ReadyLine.parse(b'{"name": "tp-1"}')


def test_a_process_that_dies_comes_back_under_its_name_and_port(tmp_path: Path) -> None:
    async def main() -> None:
        changes = Changes()
        async with open_supervisor(tmp_path, changes) as supervisor:
            await supervisor.start([child(SERVE)])
            before = supervisor.processes["a"]
            assert before.running
            assert before.restarts == 0
            supervisor.signal("a", signal.SIGKILL)
            await changes.wait_until(
                lambda: supervisor.processes["a"].restarts == 1 and supervisor.processes["a"].running
            )
            after = supervisor.processes["a"]
            assert after.pid != before.pid
            assert after.address == before.address
        assert not psutil.pid_exists(after.pid)

    trio.run(main)


def test_a_restart_that_fails_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    marker = tmp_path / "marker"

    async def main() -> None:
        changes = Changes()
        async with open_supervisor(tmp_path, changes) as supervisor:
            await supervisor.start([child(ONCE + SERVE, "a", str(marker))])
            marker.touch()
            supervisor.signal("a", signal.SIGKILL)
            await changes.wait_until(
                lambda: supervisor.processes["a"].restarts == 2 and supervisor.processes["a"].running
            )

    with caplog.at_level(logging.WARNING):
        trio.run(main)
    assert "killed by SIGKILL" in caplog.text
    assert "a did not start: not now" in caplog.text


def test_a_start_that_fails_is_one_line_with_the_childs_own_reason_and_stops_the_others(tmp_path: Path) -> None:
    before = children()

    async def main() -> None:
        async with open_supervisor(tmp_path) as supervisor:
            await supervisor.start([child(SERVE, "first")])
            with pytest.raises(ProcessFailed, match=r"^second did not start: the data directory is in use$"):
                await supervisor.start([child(REFUSE, "second"), child(SERVE, "third")])
            assert list(supervisor.processes) == ["first"]
            assert len(children()) == len(before) + 1

    trio.run(main)


def test_a_child_that_never_gets_ready_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    monkeypatch.setattr(processes, "READY_SECONDS", 0.2)

    async def main() -> None:
        async with open_supervisor(tmp_path) as supervisor:
            with pytest.raises(ProcessFailed, match="was not ready after"):
                await supervisor.start([child("import sys; sys.stdin.read()")])
            with pytest.raises(ProcessFailed, match="no ready line"):
                await supervisor.start([child("print('hello')")])
        assert children() == before

    trio.run(main)


def test_a_child_that_ignores_its_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.1)

    async def main() -> None:
        async with open_supervisor(tmp_path) as supervisor:
            await supervisor.start([child(DEAF)])
            pid = supervisor.processes["a"].pid
        assert not psutil.pid_exists(pid)

    trio.run(main)


def test_a_stop_that_takes_too_long_can_be_cut_short(tmp_path: Path) -> None:
    before = children()

    async def main() -> None:
        leaving = trio.Event()
        async with trio.open_nursery() as nursery:
            with trio.fail_after(processes.STOP_SECONDS / 2):
                async with open_supervisor(tmp_path) as supervisor:
                    await supervisor.start([child(DEAF)])

                    async def kill_when_it_waits() -> None:
                        await leaving.wait()
                        await trio.testing.wait_all_tasks_blocked()
                        supervisor.kill_all()

                    nursery.start_soon(kill_when_it_waits)
                    leaving.set()
        assert children() == before

    trio.run(main)


def test_the_cpu_time_of_a_killed_process_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        changes = Changes()
        async with open_supervisor(tmp_path, changes) as supervisor:
            await supervisor.start([child(BURN)])
            supervisor.signal("a", signal.SIGKILL)
            await changes.wait_until(
                lambda: supervisor.processes["a"].restarts == 1 and supervisor.processes["a"].running
            )
            await supervisor.stop(["a"])
            assert not supervisor.processes
            # Two lives of 0.3 seconds, less what the resolution of a hundredth may swallow.
            assert supervisor.usage()["a"].cpu_seconds > 0.55
            assert supervisor.usage()["a"].resident_bytes_max > 1_000_000

    trio.run(main)


def test_an_error_in_the_block_stops_every_process_and_comes_out_as_it_was(tmp_path: Path) -> None:
    before = children()

    async def main() -> None:
        with pytest.raises(KeyError, match="mine"):  # noqa: PT012 - the block is what is tested
            async with open_supervisor(tmp_path) as supervisor:
                await supervisor.start([child(SERVE, "a"), child(SERVE, "b")])
                assert len(children()) == len(before) + 2
                raise KeyError("mine")
        assert children() == before

    trio.run(main)


def test_cancelling_the_block_stops_every_process(tmp_path: Path) -> None:
    before = children()

    async def main() -> None:
        with trio.move_on_after(60) as scope:
            async with open_supervisor(tmp_path) as supervisor:
                await supervisor.start([child(SERVE)])
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert children() == before

    trio.run(main)


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_supervisor(tmp_path) as supervisor:
            await supervisor.start([child(SERVE)])
            with pytest.raises(UrsaError, match="no process 'b'; known are a"):
                supervisor.signal("b", signal.SIGKILL)
            with pytest.raises(ProcessFailed, match="a is running already"):
                await supervisor.start([child(SERVE)])

    trio.run(main)


def test_nothing_is_left_after_many_rounds(tmp_path: Path) -> None:
    async def one_round() -> None:
        async with open_supervisor(tmp_path) as supervisor:
            await supervisor.start([child(SERVE)])

    trio.run(one_round)
    before = held()
    for _ in range(5):
        trio.run(one_round)
    assert held().left_by(before) == ""


def test_usage_of_a_supervisor_without_processes_is_empty(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_supervisor(tmp_path) as supervisor:
            assert isinstance(supervisor, Supervisor)
            assert supervisor.usage() == {}

    trio.run(main)
