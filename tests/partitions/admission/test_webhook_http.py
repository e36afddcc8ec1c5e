"""Webhooks over real HTTP, from the caller that an apiserver's process has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from ursa.partitions.admission import WebhookCall
from ursa.partitions.admission.webhook_calls import ANSWER_BYTES_MAX
from ursa.partitions.frontends.webhooks import HttpWebhookCaller

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def asked(handler: Handler, *, timeout_seconds: float = 5.0, path: str = "/review") -> bytes | str:
    """What the caller makes of a server with this handler."""

    async def main() -> bytes | str:
        application = web.Application()
        application.router.add_post("/review", handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        caller = HttpWebhookCaller()
        outcome: asyncio.Future[bytes | str] = asyncio.get_running_loop().create_future()
        caller(WebhookCall(f"http://127.0.0.1:{port}{path}", b'{"a": 1}', b"", timeout_seconds), outcome.set_result)
        try:
            return await outcome
        finally:
            await caller.close()
            await runner.cleanup()

    return asyncio.run(main())


def test_the_body_of_the_answer_is_handed_back() -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        assert request.content_type == "application/json"
        return web.Response(body=await request.read())

    assert asked(echo) == b'{"a": 1}'


def test_any_other_outcome_is_a_line_that_says_what_failed() -> None:
    async def redirect(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/elsewhere")

    async def endless(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * (ANSWER_BYTES_MAX + 1))

    outcomes = [asked(redirect), asked(redirect, path="/missing"), asked(endless)]
    assert [isinstance(outcome, str) for outcome in outcomes] == [True] * 3
    for outcome, text in zip(outcomes, ("HTTP 302", "HTTP 404", "more than"), strict=True):
        assert text in str(outcome)


def test_a_server_that_never_answers_is_given_up() -> None:
    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    assert "did not answer within 0.2 seconds" in str(asked(silent, timeout_seconds=0.2))


def test_nobody_listening_is_an_outcome_too() -> None:
    async def main() -> bytes | str:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        caller = HttpWebhookCaller()
        outcome: asyncio.Future[bytes | str] = asyncio.get_running_loop().create_future()
        caller(WebhookCall(f"http://127.0.0.1:{port}/", b"{}", b"", 5.0), outcome.set_result)
        try:
            return await outcome
        finally:
            await caller.close()

    assert f"{'http://127.0.0.1'}" in str(asyncio.run(main()))
