"""Continue tokens: where the next page of a list starts, at which revision, of which query.

A token holds everything, the server nothing: pages may be asked for after a restart, by another client, again, or
never. It is no secret and no proof, so what comes back is checked like any other input. It is bound to the query it
came with, and to the incarnation of the store whose revision it names.

    list, limit 2, at revision 90     -> a, b; token {90, start at c, 3 more}
    list, limit 2, token              -> c, d; token {90, start at e, 1 more}       whatever was written meanwhile
    revision 90 is compacted
    list, limit 2, token              -> Expired, with a token {newest, start at e}
    list, limit 2, that one           -> e as it is now, and what has come behind it since
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import NamedTuple

import msgpack

from ...proto import ursa_pb2 as pb
from ...proto.errors import BadRequest

# A key has at most some 900 characters, of up to four bytes.
TOKEN_CHARACTERS_MAX = 8192
# What a token's query is shortened to: enough that no two are taken for each other by accident.
QUERY_BYTES = 12

_NOT_OURS = "the continue token is none of this server's: list again without it"


class Continue(NamedTuple):
    """`revision` 0: whatever is the newest. `remaining`: items from `start` on; 0: not known."""

    incarnation: str
    revision: int
    start: str
    query: bytes
    remaining: int


def query_of(selection: pb.Selection) -> bytes:
    """What tells a query from others, in any process."""
    return sha256(selection.SerializeToString(deterministic=True)).digest()[:QUERY_BYTES]


def format_continue(token: Continue) -> str:
    return base64.urlsafe_b64encode(msgpack.packb(tuple(token))).decode()


def parse_continue(text: str) -> Continue:
    """Raises BadRequest: no token, or one that no server ever made."""
    if len(text) > TOKEN_CHARACTERS_MAX:
        raise BadRequest(_NOT_OURS)
    try:
        values = msgpack.unpackb(base64.b64decode(text, altchars=b"-_", validate=True))
        token = Continue(*values)
    except (ValueError, TypeError, binascii.Error, msgpack.UnpackException):
        raise BadRequest(_NOT_OURS) from None
    kinds = tuple(type(value) for value in token)
    if kinds != (str, int, str, bytes, int) or token.revision < 0 or token.remaining < 0:
        raise BadRequest(_NOT_OURS)
    return token
