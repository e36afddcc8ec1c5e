import http.client
import os
import socket
import threading
from collections.abc import Mapping

import pytest
import trio
from prometheus_client import CollectorRegistry, Counter
from ursa.proto.errors import InputError
from ursa.tools import observability
from ursa.tools.observability import LoopProbe, ObservabilityServer


def fetch(address: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_metrics_hold_the_components_own_and_the_process() -> None:
    registry = CollectorRegistry()
    Counter("answers", "Answers given", registry=registry).inc(3)
    with ObservabilityServer("127.0.0.1:0", registry, dict) as server:
        status, text = fetch(server.address, "/metrics")
    assert status == 200
    assert "answers_total 3.0" in text
    assert "process_cpu_seconds_total" in text


def test_readyz_lists_its_conditions_and_turns_when_all_hold() -> None:
    conditions = {"nodes synced": True, "tp-1 connected": False}
    with ObservabilityServer("127.0.0.1:0", CollectorRegistry(), lambda: conditions) as server:
        status, text = fetch(server.address, "/readyz")
        assert (status, text) == (503, "[+] nodes synced\n[-] tp-1 connected\nnot ready\n")
        assert fetch(server.address, "/healthz") == (200, "ok\n")
        conditions["tp-1 connected"] = True
        assert fetch(server.address, "/readyz")[0] == 200
        assert fetch(server.address, "/elsewhere")[0] == 404


def test_a_loop_that_is_stuck_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observability, "LOOP_ANSWER_SECONDS", 0.05)

    async def main() -> None:
        probe = LoopProbe(dict, trio.lowlevel.current_trio_token().run_sync_soon)
        with ObservabilityServer("127.0.0.1:0", CollectorRegistry(), probe) as server:
            # The loop waits for its own answer here, and so cannot give it.
            assert fetch(server.address, "/healthz")[0] == 503
            assert await trio.to_thread.run_sync(fetch, server.address, "/healthz") == (200, "ok\n")

    trio.run(main)


def test_a_probe_that_fails_says_why() -> None:
    def broken() -> Mapping[str, bool]:
        raise RuntimeError("the table is upside down")

    with ObservabilityServer("127.0.0.1:0", CollectorRegistry(), broken) as server:
        status, text = fetch(server.address, "/readyz")
    assert status == 503
    assert "the table is upside down" in text


def test_a_port_in_use_is_one_line_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--metrics-address 127.0.0.1:{port} cannot be used"):
            ObservabilityServer(f"127.0.0.1:{port}", CollectorRegistry(), dict)


def test_a_stalled_client_is_dropped_and_a_stop_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observability._Handler, "timeout", 0.1)
    threads, files = threading.enumerate(), descriptors()
    for _ in range(5):
        with ObservabilityServer("127.0.0.1:0", CollectorRegistry(), dict) as server:
            host, port = server.address.split(":")
            with socket.create_connection((host, int(port))) as stalled:
                stalled.sendall(b"GET /metr")
                assert fetch(server.address, "/healthz") == (200, "ok\n")
    assert [thread for thread in threading.enumerate() if thread not in threads] == []
    assert descriptors() <= files  # what earlier tests left may close meanwhile
