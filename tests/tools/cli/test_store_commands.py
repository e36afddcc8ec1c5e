"""`ursa store` as a person uses it, on the directory of a partition that is not running."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result
from ursa.storage import Change, InlineCommitter, LmdbStore
from ursa.tools.cli import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["store", *map(str, arguments)])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    store = LmdbStore.open(tmp_path / "store", InlineCommitter(), incarnation_random=Random(1))
    for round_ in range(50):
        store.stage([Change(f"key-{number}", b"%d;" % round_ * 200) for number in range(10)])
        store.commit(lambda _: None)
    store.close()
    return tmp_path / "store"


def test_status(directory):
    output = run("status", directory).stdout
    assert re.search(r"^head +500 *$", output, re.MULTILINE)
    assert re.search(r"^keys +10 *$", output, re.MULTILINE)
    assert re.search(r"^alarms +none *$", output, re.MULTILINE)


def test_verify_says_that_all_is_well_or_names_what_is_not(directory):
    result = run("verify", directory)
    assert result.exit_code == 0
    assert result.stdout.endswith("nothing is wrong with it\n")
    data = directory / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"7;7;7;", b"8;7;7;", 1))
    assert re.search(rf"{directory}: revision \d+ fails its checksum", refused("verify", directory))


def test_compact_then_defragment(directory):
    digest = run("digest", directory).stdout
    assert re.search(r"compacted at 500, \d+ bytes before, \d+ now", run("compact", directory).stdout)
    before, after = re.findall(r"(\d+) (?:bytes before|now)", run("defragment", directory).stdout)
    assert int(after) < int(before) / 3
    assert run("digest", directory).stdout == digest
    assert "revision 7 has been compacted" in refused("digest", directory, "--revision", 7)
    assert "revision 501 does not exist yet" in refused("compact", directory, "--revision", 501)


def test_snapshot_then_restore(directory, tmp_path):
    file, target = tmp_path / "copy", tmp_path / "restored"
    assert run("snapshot", directory, file).stdout == f"{file}: the store at revision 500\n"
    assert "exists already" in refused("snapshot", directory, file)
    assert run("verify", file).exit_code == 0
    assert run("restore", file, target).stdout == f"{target}: restored, its revision is 1000500\n"
    assert run("digest", target).stdout == run("digest", directory).stdout
    assert "not empty" in refused("restore", file, target)


@pytest.mark.parametrize("command", ["status", "verify", "digest", "defragment", "compact"])
def test_what_is_no_directory_of_a_store(command, tmp_path):
    assert "there is no store here" in refused(command, tmp_path / "missing")
    assert not (tmp_path / "missing").exists()
    for endpoint in ("127.0.0.1:4100", "unix:/run/tp-1.sock", "[::1]:4100"):
        assert f"{endpoint} is an endpoint" in refused(command, endpoint)


def test_a_store_in_use(directory):
    store = LmdbStore.open(directory, InlineCommitter(), incarnation_random=Random(1))
    for command in ("status", "verify", "compact"):
        assert "in use by process" in refused(command, directory)
    store.close()
