"""The power fails: what was synced is there, of the rest any part, torn or not, and the store is opened all the same.

A process that uses a store is traced, its system calls are replayed on a simulated disk (disk.py), and that is cut off
at many moments; each image it may leave is opened. Some are worked on and cut off again. LMDB writes in C, so this is
the only way to see what it writes; what is found is thus true of the real code, of every byte it wrote.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

import pytest
from ursa.storage import Change, InlineCommitter, LmdbStore
from ursa.storage.verify import verify

from . import disk_trace
from .disk import PAGE_BYTES, SECTOR_BYTES
from .disk_images import BEFORE, DISK, NEXT, RECORDS, TRACE, begin_with
from .disk_workload import MUTANTS

ROOT = Path(__file__).parents[2]
SOAK = "URSA_SOAK" in os.environ
SEED = Random().getrandbits(32) if SOAK else 1
# Crashes, each followed by another life, and images drawn from each life.
LIVES = 8 if SOAK else 2
IMAGES = 800 if SOAK else 150
ROUNDS = 28
# Enough for each of the bugs.
MUTANT_ROUNDS = 24
IMAGES_SECONDS_MAX = 600
# Where there is such a place: the images need no durability.
MEMORY = Path("/dev/shm")

pytestmark = pytest.mark.skipif(disk_trace.missing() is not None, reason=str(disk_trace.missing()))


def trace(folder: Path, seed: int, rounds: int = ROUNDS, mutant: str = "none", after: Path | None = None) -> None:
    """A life of the workload, begun with what a crash left, or with nothing."""
    (folder / DISK).mkdir(parents=True)
    if after is not None:
        begin_with(after, folder)
    workload = Path(__file__).with_name("disk_workload.py")
    command = [sys.executable, workload, folder / DISK, folder / RECORDS, str(seed), str(rounds), mutant]
    impossible = disk_trace.run([str(word) for word in command], folder / TRACE)
    if impossible:
        pytest.skip(impossible)


def open_images(folder: Path, seed: int, count: int) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else folder) as place:
        main = "from tests.storage.disk_images import main; main()"
        command = [sys.executable, "-c", main, folder, str(seed), str(count), place]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=IMAGES_SECONDS_MAX, check=False
        )


def test_whatever_the_disk_left_nothing_acknowledged_is_lost_and_no_batch_is_in_pieces(tmp_path):
    found: dict[str, int] = {}
    for life in range(LIVES):
        folder = tmp_path / f"life-{life}"
        trace(folder, SEED + life, after=tmp_path / f"life-{life - 1}" / NEXT if life else None)
        opened = open_images(folder, SEED + life, IMAGES)
        assert opened.returncode == 0, f"seed {SEED + life} in {folder}:\n{opened.stdout[-4000:]}\n{opened.stderr}"
        for line in opened.stdout.splitlines()[-1:]:
            for what, count in json.loads(line.removeprefix("found ")).items():
                found[what] = found.get(what, 0) + count
        assert (folder / BEFORE).exists() == (life > 0)
        (folder / TRACE).unlink()  # Kept where something is wrong: it is large.
    # The images were of all kinds.
    for what in (
        *("half made", "not acknowledged, but there", "compacted", "with leases", "checkpoint none", "checkpoint good"),
        *("defragmenting", "snapshot there", "snapshot not there", "restored there", "restored not there"),
    ):
        assert found.get(what, 0) > 0, f"no image was of a moment {what}: {found}"


@pytest.mark.parametrize("mutant", [name for name in MUTANTS if name != "none"])
def test_the_images_show_it_if(mutant, tmp_path):
    trace(tmp_path, 1, MUTANT_ROUNDS, mutant)
    opened = open_images(tmp_path, 1, IMAGES)
    assert opened.returncode != 0
    # It is the images that show it.
    assert re.match(r"0 event \d+", opened.stdout), opened.stderr
    killed = opened.returncode < 0
    assert killed or re.search(r"^(AssertionError|ursa\.proto\.errors\.Store\w+): ", opened.stdout, re.MULTILINE)


# --- the page that makes a commit valid ------------------------------------------------------------------------------


def open_store(path: Path) -> LmdbStore:
    return LmdbStore.open(path, InlineCommitter(), incarnation_random=Random(1), map_bytes=1 << 24)


def test_a_sector_torn_from_front_to_back_is_not_believed(tmp_path):
    store = open_store(tmp_path / "store")
    data = tmp_path / "store" / "data.mdb"
    for number in range(260):
        store.stage([Change(f"key-{number % 7}", b"%d" % number * 300)])
        # The number of the transaction is the last thing in the page. Around 256 more than its last byte changes.
        watched = number == 20 or number >= 252
        before = data.read_bytes() if watched else b""
        store.commit(lambda _: None)
        if watched:
            tear(before, data.read_bytes(), tmp_path / str(number), number, store.digest(number))
    store.close()


def tear(before: bytes, after: bytes, folder: Path, head: int, digest: str) -> None:
    """Everything of a commit is on the disk but the end of the page that makes it valid: it was never made."""
    pages = [page for page in (0, PAGE_BYTES) if before[page : page + PAGE_BYTES] != after[page : page + PAGE_BYTES]]
    assert len(pages) == 1
    end = pages[0] + PAGE_BYTES
    changed = [place for place in range(pages[0], end) if before[place] != after[place]]
    assert changed[0] // SECTOR_BYTES == changed[-1] // SECTOR_BYTES
    for torn_at in changed:
        image = folder / str(torn_at)
        image.mkdir(parents=True)
        (image / "data.mdb").write_bytes(after[:torn_at] + before[torn_at:end] + after[end:])
        assert verify(image).problem is None
        store = open_store(image)
        assert (store.head, store.digest()) == (head, digest)
        store.close()
