"""Asking webhooks: off the loop, a bounded number at once, each for a bounded time.

The core sends through a `WebhookCaller`: HTTP in a process of its own, a function in memory. Whatever that does, a
question has its outcome when its time is over: the answer, or what the webhook's failurePolicy makes of having none. So
a webhook that asks its own partition, and waits for what waits for it, costs its timeout and not the partition.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from random import Random
from typing import NamedTuple, Protocol

from ...proto.errors import InternalError
from ...proto.objects import new_uid
from ..pacing import Runtime
from .timing import AdmissionMetrics
from .webhooks import Answer, Ask

log = logging.getLogger("ursa.admission")

# Enough for a batch whose every write is asked about, little enough not to storm a webhook.
CALLS_AT_ONCE_MAX = 64
# An answer is a verdict and a patch of one object.
ANSWER_BYTES_MAX = 4 * 1024 * 1024


class WebhookCall(NamedTuple):
    """A POST of JSON. `ca_bundle`: PEM, whom to trust instead of the system's authorities; empty: those."""

    url: str
    body: bytes
    ca_bundle: bytes
    timeout_seconds: float


class WebhookCaller(Protocol):
    def __call__(self, call: WebhookCall, done: Callable[[bytes | str], None]) -> None:
        """Call `done` on the loop, now or later, with the body of a 200 answer, or with a line that says what failed.

        One that takes longer than its timeout need not be given up: nobody waits for it any more.
        """


def no_webhooks(call: WebhookCall, done: Callable[[bytes | str], None]) -> None:
    """For partitions that cannot reach any."""
    done(f"this partition calls no webhooks, so not {call.url}")


class _Waiting:
    """A question and whoever waits for its outcome."""

    __slots__ = ("ask", "asked_at", "done", "over", "sent", "uid")

    def __init__(self, ask: Ask, uid: str, asked_at: float, done: Callable[[Answer], None]) -> None:
        self.ask = ask
        self.uid = uid
        self.asked_at = asked_at
        self.done = done
        self.sent = False
        self.over = False


class Webhooks:
    """Sends questions, and tells their outcomes. Owned by the partition's loop."""

    def __init__(self, caller: WebhookCaller, runtime: Runtime, random: Random, metrics: AdmissionMetrics) -> None:
        self._caller = caller
        self._runtime = runtime
        self._random = random
        self._metrics = metrics
        self._queue: deque[_Waiting] = deque()
        self._in_flight = 0
        self.closed = False

    def ask(self, ask: Ask, done: Callable[[Answer], None]) -> None:
        """`done` is called once, now or later, within the webhook's timeout; but not once the partition is closed."""
        waiting = _Waiting(ask, new_uid(self._random), self._runtime.monotonic(), done)
        seconds = ask.hook.timeout_seconds
        self._runtime.call_later(seconds, lambda: self._failed(waiting, f"no answer within {seconds:g} seconds"))
        self._queue.append(waiting)
        self._send()

    def close(self) -> None:
        self.closed = True
        self._queue.clear()

    def _send(self) -> None:
        while self._queue and self._in_flight < CALLS_AT_ONCE_MAX:
            waiting = self._queue.popleft()
            if waiting.over:
                continue
            self._in_flight += 1
            waiting.sent = True
            hook = waiting.ask.hook
            call = WebhookCall(hook.url, waiting.ask.body(waiting.uid), hook.ca_bundle, hook.timeout_seconds)
            self._caller(call, lambda data, waiting=waiting: self._answered(waiting, data))  # type: ignore[misc]

    def _answered(self, waiting: _Waiting, data: bytes | str) -> None:
        if waiting.over:
            return
        if isinstance(data, str):
            self._failed(waiting, data)
            return
        try:
            answer = waiting.ask.answer(waiting.uid, data)
        except ValueError as error:
            self._failed(waiting, str(error))
            return
        if answer.refusal is not None:
            self._metrics.webhook_rejected(*_labels(waiting.ask), "no_error", answer.refusal.code)
        self._over(waiting, answer)

    def _failed(self, waiting: _Waiting, text: str) -> None:
        if waiting.over or self.closed:
            return
        hook = waiting.ask.hook
        log.warning("admission webhook %s failed: %s", hook.key, text)
        if hook.fails_open:
            self._metrics.failed_open(hook.name, _labels(waiting.ask)[1])
            self._over(waiting, Answer())
            return
        refusal = InternalError(f'failed calling webhook "{hook.name}" of {hook.key.partition("/")[0]}: {text}')
        self._metrics.webhook_rejected(*_labels(waiting.ask), "calling_webhook_error", refusal.code)
        self._over(waiting, Answer(refusal))

    def _over(self, waiting: _Waiting, answer: Answer) -> None:
        waiting.over = True
        self._in_flight -= waiting.sent
        if self.closed:
            return
        seconds = self._runtime.monotonic() - waiting.asked_at
        self._metrics.webhook(*_labels(waiting.ask), seconds, rejected=answer.refusal is not None)
        self._send()
        waiting.done(answer)


def _labels(ask: Ask) -> tuple[str, str, str]:
    return ask.hook.name, "admit" if ask.hook.mutating else "validate", ask.operation
