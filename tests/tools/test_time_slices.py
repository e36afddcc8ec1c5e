"""How components ask for long time slices. A process of its own asks for the real thing: nobody gives it back."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import trio
from ursa.tools.children import URSA_COMMAND, Launcher
from ursa.tools.time_slices import SLICE_SECONDS, ask_for_long_slices

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275, "riscv64": 275}
LINUX = sys.platform == "linux" and os.uname().machine in SCHED_GETATTR


def attributes_of(pid: int) -> tuple[int, int, float]:
    """Policy, nice value and slice in seconds, as the kernel says."""
    buffer = (ctypes.c_uint32 * 12)()
    number = SCHED_GETATTR[os.uname().machine]
    assert ctypes.CDLL(None).syscall(number, pid, buffer, ctypes.sizeof(buffer), 0) == 0
    return buffer[1], ctypes.c_int32(buffer[4]).value, (buffer[6] + (buffer[7] << 32)) / 1e9


def has_custom_slices() -> bool:
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(filter(str.isdigit, minor)))) >= (6, 12)


@pytest.mark.skipif(not LINUX, reason="only Linux knows slices")
def test_components_and_all_their_threads_have_long_slices_and_nobody_else(tmp_path: Path) -> None:
    before = attributes_of(0)

    async def main() -> None:
        with (tmp_path / "log").open("ab") as log:
            async with Launcher(tmp_path / "fork-server.log") as launcher:
                where = ("--role", "tenant", "--data-dir", str(tmp_path / "tp-1"), "--parent-pipe")
                child = await launcher.launch([*URSA_COMMAND, "apiserver", "--name", "tp-1", *where], log)
                assert await child.stdout.receive_some()
                threads = psutil.Process(child.pid).threads()
                assert len(threads) > 1
                for thread in threads:
                    policy, nice, slice_seconds = attributes_of(thread.id)
                    assert (policy, nice) == (os.SCHED_BATCH, before[1])
                    if has_custom_slices():
                        assert slice_seconds == pytest.approx(SLICE_SECONDS)
                child.terminate()
                assert await child.wait() == 0
                await child.aclose()

    trio.run(main)
    assert attributes_of(0) == before


@pytest.mark.skipif(not LINUX, reason="only Linux knows slices")
def test_who_is_nice_stays_so() -> None:
    script = "import os; from ursa.tools.time_slices import ask_for_long_slices as ask; os.nice(7); "
    script += "assert ask(); print(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))"
    printed = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.split() == [str(os.SCHED_BATCH), str(min(os.getpriority(os.PRIO_PROCESS, 0) + 7, 19))]


def test_a_system_that_knows_no_slices_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = SimpleNamespace(machine="pdp11")
    monkeypatch.setattr(os, "uname", lambda: machine)
    assert ask_for_long_slices() is False
