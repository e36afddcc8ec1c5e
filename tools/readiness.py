"""Waiting until processes say that they are ready."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial

import trio

from ..clients.nurseries import run_all
from .addresses import Address
from .waiting import WaitTimeout

# Ready is asked for this often while a cluster starts; a process answers in under a millisecond.
POLL_SECONDS = 0.05
# One question. A process that is still busy with its imports is asked again.
ANSWER_SECONDS = 2.0


async def fetch_conditions(metrics_address: str) -> dict[str, bool]:
    """What `/readyz` says. Raises OSError or TooSlowError where nothing answers, ValueError where it is no answer."""
    address = Address.parse(metrics_address)
    with trio.fail_after(ANSWER_SECONDS):
        async with await trio.open_tcp_stream(address.host, address.port) as stream:
            await stream.send_all(b"GET /readyz?format=json HTTP/1.0\r\n\r\n")
            answer = b"".join([chunk async for chunk in stream])
    conditions = json.loads(answer.partition(b"\r\n\r\n")[2])
    if not isinstance(conditions, dict):
        raise TypeError(f"{metrics_address} answers {answer[:80]!r}")
    return conditions


async def wait_ready(addresses: Mapping[str, Callable[[], str]], timeout_seconds: float) -> None:
    """Wait until every process, by name, says that all its conditions hold. An address is asked for anew every time.

    Raises:
        WaitTimeout: the message names one that does not, and the conditions that do not hold.
    """
    missing: dict[str, str] = {}

    async def wait_for(name: str, address: Callable[[], str]) -> None:
        while True:
            try:
                conditions = await fetch_conditions(address())
            except (OSError, ValueError, TypeError, trio.TooSlowError) as error:
                missing[name] = f"does not answer ({error or type(error).__name__})"
            else:
                failing = [condition for condition, holds in conditions.items() if not holds]
                if not failing:
                    missing.pop(name, None)
                    return
                missing[name] = f"is not ready: {', '.join(failing)}"
            await trio.sleep(POLL_SECONDS)

    with trio.move_on_after(timeout_seconds) as scope:
        await run_all([partial(wait_for, name, address) for name, address in addresses.items()])
    if scope.cancelled_caught:
        name, reason = next(iter(missing.items()))
        raise WaitTimeout(f"after {timeout_seconds:g} s {name} {reason}")
