"""How a child of Ursa's own begins: as a copy of a process that has imported all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing
from ursa.tools import children as module
from ursa.tools.children import URSA_COMMAND, CannotLaunch, Child, Launcher

from .leftovers import children, held, title

SECONDS = 30.0


class Log:
    """A launcher whose children write their standard error to `path`."""

    def __init__(self, launcher: Launcher, path: Path) -> None:
        self._launcher, self.path = launcher, path

    async def launch(self, *arguments: str) -> Child:
        return await self.execute(*URSA_COMMAND, *arguments)

    async def execute(self, *command: str) -> Child:
        with self.path.open("ab") as file:
            return await self._launcher.launch(command, file)

    async def serve(self, path: Path) -> Child:
        """An apiserver that runs."""
        role = ("--role", "tenant", "--data-dir", str(path / "tp-1"), "--parent-pipe")
        child = await self.launch("apiserver", "--name", "tp-1", *role)
        assert await child.stdout.receive_some()
        return child


def run(tmp_path: Path, main: Callable[[Log], Awaitable[None]]) -> None:
    async def within() -> None:
        with trio.fail_after(2 * SECONDS):
            async with Launcher(tmp_path / "fork-server.log") as launcher:
                await main(Log(launcher, tmp_path / "log"))

    trio.run(within)


async def output_of(child: Child) -> str:
    said = b""
    while data := await child.stdout.receive_some():
        said += data
    return said.decode()


def fork_server() -> psutil.Process:
    (found,) = [each for each in psutil.Process().children() if title(each) == "ursa fork server"]
    return found


@pytest.mark.parametrize("arguments", [["--version"], ["scheduler", "--help"], ["get"], ["no-such-command"]], ids=str)
def test_a_copy_says_and_returns_what_the_command_does(tmp_path: Path, arguments: list[str]) -> None:
    real = subprocess.run([*URSA_COMMAND, *arguments], capture_output=True, text=True, check=False)

    async def main(log: Log) -> None:
        child = await log.launch(*arguments)
        assert await output_of(child) == real.stdout
        assert await child.wait() == real.returncode
        assert log.path.read_text() == real.stderr
        await child.aclose()

    run(tmp_path, main)


def test_it_begins_without_imports_in_the_directory_and_with_the_environment_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(log: Log) -> None:
        warm = await log.launch("--version")
        assert await warm.wait() == 0
        await warm.aclose()
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        child = await log.serve(Path())
        assert (tmp_path / "elsewhere" / "tp-1" / "data.mdb").exists()
        assert title(psutil.Process(child.pid)).startswith("ursa apiserver --name tp-1 --role tenant --data-dir tp-1 ")
        assert os.getpgid(child.pid) == child.pid
        assert fork_server().num_threads() == 1
        assert psutil.Process(child.pid).cpu_times().user < fork_server().cpu_times().user / 2
        child.terminate()
        assert await child.wait() == 0
        await child.aclose()
        monkeypatch.setenv("_URSA_COMPLETE", "bash_source")
        completing = await log.launch()
        assert "complete -o nosort -F _ursa_completion ursa" in await output_of(completing)
        assert await completing.wait() == 0
        await completing.aclose()

    run(tmp_path, main)


def test_how_it_ended_is_known_and_what_it_used_can_be_asked_before_that(tmp_path: Path) -> None:
    async def main(log: Log) -> None:
        child = await log.serve(tmp_path)
        found: list[str] = []
        child.kill()
        assert await child.wait(lambda: found.append(psutil.Process(child.pid).status())) == -signal.SIGKILL
        assert found == [psutil.STATUS_ZOMBIE]
        child.kill()  # of nobody
        assert await child.wait() == -signal.SIGKILL
        assert not psutil.pid_exists(child.pid)
        await child.aclose()

    run(tmp_path, main)


def test_a_child_ends_with_whoever_holds_its_input(tmp_path: Path) -> None:
    async def main(log: Log) -> None:
        child = await log.serve(tmp_path)
        await child._stdin.aclose()
        assert await child.wait() == 0
        await child.aclose()

    run(tmp_path, main)


def test_children_outlive_their_fork_server_and_the_next_one_has_another(tmp_path: Path) -> None:
    async def main(log: Log) -> None:
        first = await log.serve(tmp_path / "a")
        dead = fork_server()
        dead.kill()
        with pytest.raises(CannotLaunch, match=r"its fork server died; see .*fork-server\.log"):
            await log.launch("--version")
        second = await log.launch("--version")
        assert await second.wait() == 0
        other = fork_server()
        assert other.pid != dead.pid
        assert psutil.Process(first.pid).is_running()
        first.terminate()
        assert await first.wait() == module.STATUS_UNKNOWN
        first.kill()  # of nobody: whoever took it over has waited for it
        assert fork_server() == other  # which was not asked about what it knows nothing of
        for child in (first, second):
            await child.aclose()

    run(tmp_path, main)


def test_a_fork_server_that_cannot_start_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FORK_SERVER_COMMAND", (sys.executable, "-c", "import sys; sys.exit('no such module')"))
    before = children()

    async def main(log: Log) -> None:
        with pytest.raises(CannotLaunch, match="its fork server died"):
            await log.launch("--version")

    run(tmp_path, main)
    assert (tmp_path / "fork-server.log").read_text() == "no such module\n"
    assert children() == before


def test_a_fork_server_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORK_SERVER_COMMAND", (sys.executable, "-c", "import signal; signal.pause()"))
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(module, "STOP_SECONDS", 0.1)
    before = children()

    async def main(log: Log) -> None:
        with pytest.raises(CannotLaunch, match="its fork server died"):
            await log.launch("--version")

    run(tmp_path, main)
    assert children() == before


def test_a_command_that_there_is_not_is_an_error_in_one_line(tmp_path: Path) -> None:
    async def main(log: Log) -> None:
        with pytest.raises(CannotLaunch, match=r"^/no/such/command: No such file or directory$"):
            await log.execute("/no/such/command")

    run(tmp_path, main)


def test_many_at_once_get_each_their_own_and_nothing_is_left(tmp_path: Path) -> None:
    async def main(log: Log) -> None:
        async def one(number: int) -> None:
            child = await log.launch("get", "pods", "--cluster", f"none-{number}")
            assert await child.wait() == 1
            await child.aclose()

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)
        said = log.path.read_text()
        assert [f"none-{number}" in said for number in range(20)] == [True] * 20

    run(tmp_path, main)
    before = held()
    run(tmp_path, main)
    assert held().left_by(before) == ""


def test_a_launch_that_is_cancelled_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    before = children()

    async def main(log: Log) -> None:
        launched: list[Child] = []

        async def one() -> None:
            launched.append(await log.launch("--version"))

        async with trio.open_nursery() as nursery:
            # The first waits for the fork server's answer, the second for the first.
            nursery.start_soon(one)
            nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(launched) == 1
        await trio.lowlevel.checkpoint()
        await one()
        for child in launched:
            assert (await output_of(child)).startswith("ursa")
            assert await child.wait() == 0
            await child.aclose()

    run(tmp_path, main)
    assert children() == before
