"""From bytes to requests."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from ..proto.errors import BadRequest

Request = TypeVar("Request", bound=Message)


def parse_request(kind: type[Request], data: bytes) -> Request:
    """Raises BadRequest: the bytes are no such message."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise BadRequest(f"this is no {kind.__name__}: {error}") from None
