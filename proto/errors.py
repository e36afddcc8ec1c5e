"""Every error Ursa raises on purpose, in one tree. The type says whose fault it is; the fields say the rest.

UrsaError
├── InputError                 a file or a flag that cannot be used: names file, line and column
├── ApiError                   a partition's answer, Kubernetes' Status of a failure
│   ├── BadRequest        400  the caller: this can never work
│   ├── Forbidden         403  the caller may not
│   ├── NotFound          404  no such object
│   ├── MethodNotSupported 405 the caller: this kind cannot do that
│   ├── AlreadyExists     409  an object of that name is there
│   ├── Conflict          409  the caller's view was stale: read again, then retry
│   ├── Expired           410  the caller's revision is gone: list again
│   ├── UnsupportedMediaType 415
│   ├── Invalid           422  the caller: the object breaks a rule; all causes are listed
│   ├── TooManyRequests   429  retry after `retry_after_ms`
│   ├── InternalError     500  the partition is at fault
│   ├── ServiceUnavailable 503 the partition cannot serve now
│   └── Timeout           504
├── LinkError                  no answer from a partition
│   ├── Unreachable            nothing was sent, or it was a read: safe to retry
│   └── OutcomeUnknown         a write went out and its answer was lost: it may or may not have happened
└── StoreError                 the data directory cannot be used, or a promise of the store would break
    ├── StoreInUse             another process has it open
    ├── StoreIncompatible      written by another version, or no store at all
    ├── StoreCorrupt           a record fails its checksum
    ├── StoreFull              over its quota
    ├── Compacted              the revision asked for is below the floor
    └── FutureRevision         the revision asked for does not exist yet
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from . import ursa_pb2 as pb


class UrsaError(Exception):
    """The root. Its text is one line that says what to do."""


class InputError(UrsaError):
    """A file or a flag that cannot be used."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, column: int = 0) -> None:
        place = ":".join(str(part) for part in (file, line, column) if part)
        super().__init__(f"{place}: {message}" if place else message)
        self.file, self.line, self.column = file, line, column


class ApiError(UrsaError):
    """A partition's refusal. `status` is what travels on the wire."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        key: str = "",
        resource_version: int = 0,
        causes: Sequence[Cause] = (),
        retry_after_ms: int = 0,
        continue_token: str = "",
        trace: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.resource_version = resource_version
        self.causes = tuple(causes)
        self.retry_after_ms = retry_after_ms
        self.continue_token = continue_token
        self.trace = trace

    def __str__(self) -> str:
        # Where it was not the caller's fault, somebody will look for the request in the partition's log.
        looked_for = self.trace and (self.code >= 500 or self.code == TooManyRequests.code)
        return f"{self.message} (request {self.trace})" if looked_for else self.message

    @property
    def status(self) -> pb.Status:
        return pb.Status(
            code=self.code,
            reason=self.reason,
            message=self.message,
            key=self.key,
            resource_version=self.resource_version,
            causes=[pb.Cause(field=c.field, reason=c.reason, message=c.message) for c in self.causes],
            retry_after_ms=self.retry_after_ms,
            continue_token=self.continue_token,
            trace=self.trace,
        )


class Cause:
    """One broken rule of an Invalid object."""

    __slots__ = ("field", "message", "reason")

    def __init__(self, field: str, message: str, reason: str = "FieldValueInvalid") -> None:
        self.field, self.message, self.reason = field, message, reason

    def __repr__(self) -> str:
        return f"{self.field}: {self.message}"


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    code, reason = 404, "NotFound"


class MethodNotSupported(ApiError):
    code, reason = 405, "MethodNotAllowed"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    code, reason = 409, "Conflict"


class Expired(ApiError):
    code, reason = 410, "Expired"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    code, reason = 422, "Invalid"


# The cause of a TooManyRequests of flow control, which carried out nothing of the request; named as in the metrics.
QUEUE_FULL, CONCURRENCY_LIMIT, TIME_OUT = "queue-full", "concurrency-limit", "time-out"
_NO_TURN = (QUEUE_FULL, CONCURRENCY_LIMIT, TIME_OUT)


class TooManyRequests(ApiError):
    code, reason = 429, "TooManyRequests"


def had_no_turn(status: pb.Status) -> bool:
    """Flow control refused it: nothing was carried out, and `retry_after_ms` later it may be asked again."""
    return status.code == TooManyRequests.code and any(cause.reason in _NO_TURN for cause in status.causes)


# The cause of a BadRequest: another partition was meant.
WRONG_PARTITION = "WrongPartition"
# The cause of a Conflict of a write that was fenced, by who no longer leads.
FENCED_OFF = "FencedOff"


def was_fenced_off(status: pb.Status) -> bool:
    """Nothing was carried out, as whoever asked for it no longer leads."""
    return status.code == Conflict.code and any(cause.reason == FENCED_OFF for cause in status.causes)


class InternalError(ApiError):
    code, reason = 500, "InternalError"


class ServiceUnavailable(ApiError):
    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    code, reason = 504, "Timeout"


_BY_REASON: dict[str, type[ApiError]] = {
    kind.reason: kind
    for kind in (
        BadRequest,
        Forbidden,
        NotFound,
        MethodNotSupported,
        AlreadyExists,
        Conflict,
        Expired,
        UnsupportedMediaType,
        Invalid,
        TooManyRequests,
        InternalError,
        ServiceUnavailable,
        Timeout,
    )
}


def from_status(status: pb.Status) -> ApiError:
    """The error a Status on the wire stands for."""
    kind = _BY_REASON.get(status.reason, InternalError)
    return kind(
        status.message,
        key=status.key,
        resource_version=status.resource_version,
        causes=[Cause(c.field, c.message, c.reason) for c in status.causes],
        retry_after_ms=status.retry_after_ms,
        continue_token=status.continue_token,
        trace=status.trace,
    )


class LinkError(UrsaError):
    """No answer from a partition."""

    def __init__(self, partition: str, message: str) -> None:
        super().__init__(f"{partition}: {message}")
        self.partition = partition


class Unreachable(LinkError):
    """Nothing was sent, or it was a read: safe to retry."""


class WrongPartition(Unreachable):
    """Another partition answers where this one should be: one of their addresses is wrong. Nothing was carried out."""


class OutcomeUnknown(LinkError):
    """A write went out and its answer was lost. Read before deciding what to do; never repeat it blindly."""


class StoreError(UrsaError):
    """The data directory cannot be used, or a promise of the store would break."""


class StoreInUse(StoreError):
    """Another process has the store open."""


class StoreIncompatible(StoreError):
    """Written by another version, or no store at all."""


class StoreCorrupt(StoreError):
    """A record fails its checksum."""


class StoreFull(StoreError):
    """Over its quota."""


class Compacted(StoreError):
    """The revision asked for is below `floor`."""

    def __init__(self, revision: int, floor: int) -> None:
        super().__init__(f"revision {revision} has been compacted, the oldest kept is {floor}: list again")
        self.revision, self.floor = revision, floor


class FutureRevision(StoreError):
    """The revision asked for is above `head`."""

    def __init__(self, revision: int, head: int) -> None:
        super().__init__(f"revision {revision} does not exist yet, the newest is {head}")
        self.revision, self.head = revision, head
