"""What every process answers over HTTP: `/metrics`, `/healthz`, `/readyz`.

One thread serves one request at a time, and sleeps in `select` otherwise: an idle process is not woken for it. Health
is asked of the process's own loop, from this thread and with a bound, so a loop that is stuck is reported as one.
"""

from __future__ import annotations

import json
import math
import selectors
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, make_wsgi_app

from ..proto.errors import InputError
from .addresses import Address

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from ..clients.contact import Seen

# A client that sends half a request holds the only thread for at most this long.
REQUEST_SECONDS = 5.0
# A loop that does not answer within this time is reported as stuck.
LOOP_ANSWER_SECONDS = 2.0

Conditions = Mapping[str, bool]
Probe = Callable[[], Conditions]


class LoopProbe:
    """Asks a loop, from another thread, which conditions hold.

    `call_soon` carries a function into the loop (trio: `token.run_sync_soon`; asyncio: `loop.call_soon_threadsafe`).
    Raises TimeoutError where the loop does not answer, and whatever `call_soon` raises where it has ended.
    """

    def __init__(self, conditions: Probe, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._conditions = conditions
        self._call_soon = call_soon

    def __call__(self) -> Conditions:
        answer: Future[Conditions] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._conditions())
            except Exception as error:  # noqa: BLE001 - carried to the thread that asked
                answer.set_exception(error)

        self._call_soon(ask)
        return answer.result(LOOP_ANSWER_SECONDS)


class ObservabilityServer:
    """`with ObservabilityServer("127.0.0.1:0", registry, probe) as server:`; then `server.address` is where it listens.

    `/readyz` answers 200 once all conditions of the probe hold and 503 otherwise, with each condition on a line (as
    JSON with `?format=json`), and with `?verbose` also each of the `partitions`: one that is missed makes nobody
    unready. `/partitions` has these as JSON. `/healthz` answers 200 as long as the probe answers at all. A POST to the
    path of one of the `actions` runs it, on this server's thread, and answers 200 when it has returned, 503 with what
    it has raised.

    Raises:
        InputError: the address cannot be used.
    """

    def __init__(
        self,
        address: str,
        registry: CollectorRegistry,
        probe: Probe,
        actions: Mapping[str, Callable[[], object]] | None = None,
        partitions: Callable[[], Iterable[Seen]] = tuple,
    ) -> None:
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self._probe = probe
        self._actions = dict(actions or {})
        self._partitions = partitions
        self._metrics = make_wsgi_app(registry)
        self._server = _listen(Address.parse(address, "--metrics-address"))
        self._server.set_app(self._application)
        self._stop_reader, self._stop_writer = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="ursa-observability", daemon=True)

    @property
    def address(self) -> str:
        host, port = self._server.server_address[:2]
        return str(Address(str(host), int(port)))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_writer.close()
        self._thread.join(REQUEST_SECONDS + LOOP_ANSWER_SECONDS)
        self._stop_reader.close()
        self._server.server_close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            stopping = selector.register(self._stop_reader, selectors.EVENT_READ)
            while stopping not in (key for key, _ in selector.select()):
                self._server.handle_request()

    # ---------------------------------------------------------------------------------------------------- answers

    def _application(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"].rstrip("/")
        if path == "/metrics":
            return self._metrics(environ, start_response)  # type: ignore[no-any-return]
        if path in self._actions and environ["REQUEST_METHOD"] == "POST":
            return self._act(self._actions[path], start_response)
        if path == "/partitions":
            seen = [each._asdict() | {"seconds": _finite(each.seconds)} for each in self._partitions()]
            return _answer(start_response, "200 OK", json.dumps(seen) + "\n", "application/json")
        if path not in ("/healthz", "/readyz"):
            known = "known are /metrics, /healthz, /readyz and /partitions\n"
            return _answer(start_response, "404 Not Found", known)
        try:
            conditions = self._probe()
        except (Exception, CancelledError) as error:  # noqa: BLE001 - whatever the loop's trouble is, it is the answer
            reason = str(error) or type(error).__name__
            return _answer(start_response, "503 Service Unavailable", f"the loop does not answer: {reason}\n")
        if path == "/healthz":
            return _answer(start_response, "200 OK", "ok\n")
        ready = all(conditions.values())
        status = "200 OK" if ready else "503 Service Unavailable"
        if "format=json" in environ.get("QUERY_STRING", ""):
            return _answer(start_response, status, json.dumps(dict(conditions)) + "\n", "application/json")
        lines = [_line(name, holds=holds) for name, holds in conditions.items()]
        if "verbose" in environ.get("QUERY_STRING", ""):
            lines += [_line(str(each), holds=not each.missed) for each in self._partitions()]
        return _answer(start_response, status, "\n".join([*lines, "ok" if ready else "not ready"]) + "\n")

    def _act(self, action: Callable[[], object], start_response: StartResponse) -> Iterable[bytes]:
        try:
            action()
        except (Exception, CancelledError) as error:  # noqa: BLE001 - whatever it is, it is the answer
            reason = str(error) or type(error).__name__
            return _answer(start_response, f"503 {' '.join(reason.split())}", reason + "\n")
        return _answer(start_response, "200 OK", "ok\n")


def _line(text: str, *, holds: bool) -> str:
    return f"[{'+' if holds else '-'}] {text}"


def _finite(seconds: float) -> float | None:
    """JSON has no infinity."""
    return round(seconds, 3) if math.isfinite(seconds) else None


def _answer(
    start_response: StartResponse, status: str, text: str, content_type: str = "text/plain; charset=utf-8"
) -> Iterable[bytes]:
    body = text.encode()
    start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]


class _Server(WSGIServer):
    request_queue_size = 16

    def server_bind(self) -> None:
        # Not HTTPServer's: it asks the resolver for the host's name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or stalled, concerns nobody."""


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        """A scrape is no news."""


def _listen(address: Address) -> WSGIServer:
    try:
        return _Server((address.host, address.port), _Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"--metrics-address {address} cannot be used ({reason}): choose another, or port 0 for any free one"
        ) from None
