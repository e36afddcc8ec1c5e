"""Webhooks over HTTP, beside the loop's other work."""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..admission import WebhookCall
from ..admission.webhook_calls import ANSWER_BYTES_MAX

_CHUNK_BYTES = 65_536


class HttpWebhookCaller:
    """A `WebhookCaller` of a process with an asyncio loop. Connections are kept and used again."""

    def __init__(self) -> None:
        self._http: Any = None
        self._tasks: dict[asyncio.Task[None], None] = {}

    def __call__(self, call: WebhookCall, done: Callable[[bytes | str], None]) -> None:
        task = asyncio.get_running_loop().create_task(self._tell(call, done))
        self._tasks[task] = None
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))

    async def close(self) -> None:
        """Give up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    async def _tell(self, call: WebhookCall, done: Callable[[bytes | str], None]) -> None:
        try:
            async with asyncio.timeout(call.timeout_seconds):
                answer: bytes | str = await self._post(call)
        except TimeoutError:
            answer = f"{call.url} did not answer within {call.timeout_seconds:g} seconds"
        except Exception as error:  # noqa: BLE001 - whatever it is, the write must hear of it
            answer = f"{call.url}: {_told(error)}"
        done(answer)

    async def _post(self, call: WebhookCall) -> bytes | str:
        http = await self._session()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = http.post(call.url, data=call.body, headers=headers, ssl=_tls(call.ca_bundle), allow_redirects=False)
        async with request as response:
            data = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                data += chunk
                if len(data) > ANSWER_BYTES_MAX:
                    return f"{call.url} answered with more than {ANSWER_BYTES_MAX} bytes"
            if response.status != 200:
                return f"{call.url} answered with HTTP {response.status}"
            return bytes(data)

    async def _session(self) -> Any:
        """Most partitions never call a webhook: what it takes is loaded for the first one, and not on the loop."""
        if self._http is None:
            loop = asyncio.get_running_loop()
            aiohttp = await loop.run_in_executor(None, importlib.import_module, "aiohttp")
            if self._http is None:  # Another call may have been faster.
                self._http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._http


def _told(error: Exception) -> str:
    """aiohttp wraps what went wrong into where it was connecting to, which the URL says already."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not accepted: {cause.verify_message}"
    return str(cause) or type(cause).__name__


@lru_cache(maxsize=64)
def _tls(ca_bundle: bytes) -> ssl.SSLContext:
    """Whoever is in the bundle is trusted, as in Kubernetes, also where that is no root and whatever a root may lack;
    what Python itself says of these has changed with its versions."""
    context = ssl.create_default_context(cadata=ca_bundle.decode() if ca_bundle else None)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
