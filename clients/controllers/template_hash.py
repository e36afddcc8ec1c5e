"""Short names that follow from what they are for: of a pod template, of a place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Without vowels and look-alikes, as the names of pods.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_LENGTH = 10


def template_hash(template: Mapping[str, Any], collisions: int) -> str:
    """The same for the same template in every process. `collisions` makes another where a name is taken."""
    return short_name(json.dumps([template, collisions], sort_keys=True, separators=(",", ":"), default=repr), _LENGTH)


def short_name(text: str, length: int) -> str:
    """Letters and digits that look random, and are the same for the same text."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    letters = []
    for _ in range(length):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)
