"""`ursa store` as a person uses it: on the directory of a partition that is not running, and on one that is."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result
from ursa.storage import Change, InlineCommitter, LmdbStore
from ursa.tools.cli import main
from ursa.tools.processes import URSA_COMMAND, ReadyLine


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


def test_a_store_in_use_says_whom_to_ask(directory, tmp_path):
    store = LmdbStore.open(directory, InlineCommitter(), incarnation_random=Random(1))
    for command in ("status", "compact", "digest", "defragment"):
        assert re.search(
            rf"in use by process \d+: .*, or ask the partition that runs on it: ursa store {command} HOST:PORT",
            refused(command, directory),
        )
    assert "or ask the partition" in refused("snapshot", directory, tmp_path / "copy")
    assert "take a snapshot of the partition that runs on it" in refused("verify", directory)
    store.close()


def content(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(directory.iterdir())}


def test_to_look_changes_nothing(directory):
    before = content(directory)
    for command in ("status", "digest", "verify"):
        assert run(command, directory).exit_code == 0
    assert content(directory) == before


def test_a_digest_says_on_standard_error_what_it_is_of(directory):
    result = run("digest", directory, "--revision", 490)
    assert re.fullmatch(r"[0-9a-f]{64}\n", result.stdout)
    assert re.fullmatch(rf"{directory}: revision 490 of incarnation [0-9a-f]{{32}}\n", result.stderr)


def test_the_store_of_the_events(directory):
    assert "there is no store here" in refused("digest", directory, "--store", "events")
    assert "--store leases: a partition's stores are main, events" in refused("compact", directory, "--store", "leases")
    assert run("status", directory).stdout.count("incarnation") == 1
    LmdbStore.open(directory / "events", InlineCommitter(), incarnation_random=Random(2)).close()
    assert run("status", directory).stdout.count("incarnation") == 2
    assert run("digest", directory, "--store", "events").stdout != run("digest", directory).stdout


# --- a partition that is running -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An apiserver that nobody else uses."""
    command = [*URSA_COMMAND, "apiserver", "--name", "p-1", "--role", "tenant", "--listen", "127.0.0.1:0"]
    command += ["--data-dir", str(tmp_path_factory.mktemp("data"))]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        yield ReadyLine.parse(process.stdout.readline().encode()).address
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.slow
def test_a_running_partition_tells_its_status(endpoint):
    result = run("status", endpoint)
    assert result.exit_code == 0
    assert re.search(r"^store +main *$", result.stdout, re.MULTILINE)
    assert re.search(r"^backend +lmdb *$", result.stdout, re.MULTILINE)
    assert re.search(r"^keys +[1-9]\d* *$", result.stdout, re.MULTILINE)
    assert re.search(r"^alarms +none *$", result.stdout, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("store", ["main", "events"])
def test_a_running_partition_is_copied_compacted_and_defragmented(endpoint, tmp_path, store):
    whole = run("digest", endpoint, "--store", store)
    assert re.fullmatch(rf"{endpoint}: revision \d+ of incarnation [0-9a-f]{{32}}\n", whole.stderr)
    result = run("snapshot", endpoint, tmp_path / "copy", "--store", store)
    assert re.fullmatch(rf"{tmp_path}/copy: the store at revision \d+\n", result.stdout)
    assert run("verify", tmp_path / "copy").exit_code == 0
    assert run("restore", tmp_path / "copy", tmp_path / "restored").exit_code == 0
    assert run("digest", tmp_path / "restored").stdout == whole.stdout
    assert re.search(r"compacted at \d+, \d+ bytes before, \d+ now", run("compact", endpoint, "--store", store).stdout)
    assert re.search(r": \d+ bytes before, \d+ now", run("defragment", endpoint, "--store", store).stdout)
    assert run("digest", endpoint, "--store", store).stdout == whole.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "restored"]


@pytest.mark.slow
def test_what_a_running_partition_refuses(endpoint, tmp_path):
    (tmp_path / "mine").write_text("mine")
    assert "p-1 has no store 'leases': its stores are main, events" in refused("digest", endpoint, "--store", "leases")
    assert "revision 1000000 does not exist yet" in refused("compact", endpoint, "--revision", 1_000_000)
    assert f"{tmp_path}/mine: exists already" in refused("snapshot", endpoint, tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4100", "unix:/run/tp-1.sock", "[::1]:4100"])
def test_what_only_works_on_files_says_what_to_do_instead(endpoint, tmp_path):
    assert f"{endpoint} is a running partition: copy it (ursa store snapshot {endpoint} FILE)" in refused(
        "verify", endpoint
    )
    assert f"{endpoint} is a running partition: copy it" in refused("restore", endpoint, tmp_path / "new")
    assert f"{endpoint} is a running partition: restore into a new directory" in refused(
        "restore", tmp_path / "copy", endpoint
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "digest", "defragment", "compact"])
def test_nobody_listens_there(command, unused_address):
    assert f"{unused_address}: no link to {unused_address}" in refused(command, unused_address)
    assert "give the endpoint as HOST:PORT, without the scheme" in refused(command, f"http://{unused_address}")


@pytest.fixture
def unused_address() -> Iterator[str]:
    """Bound, and nobody listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_a_snapshot_leaves_nothing(tmp_path):
    """The far end is a socket that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        command = [*URSA_COMMAND, "store", "snapshot", address, str(tmp_path / "copy")]
        with subprocess.Popen(command, text=True, stderr=subprocess.PIPE) as process:
            connection, _ = silent.accept()
            assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            said = process.stderr.read()
            connection.close()
    assert (process.returncode, said.strip()) == (130, "")
    assert list(tmp_path.iterdir()) == []
