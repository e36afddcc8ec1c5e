"""The `pattern`s of schemas: searched for by RE2, as Kubernetes does, in time that is linear in the text.

Python's own `re` goes back and tries again: with `(a+)+$` a hundred letters take it longer than the universe is old.
RE2 never does, but where its automaton grows too large it takes every step of the pattern for every byte of the text.
So a pattern has a size, and a search has a cost.
"""

from __future__ import annotations

import re2

CHARACTERS_MAX = 10_000
# Of all patterns of a schema, in RE2's instructions. An ordinary pattern has a hundred or less, a Unicode class that is
# repeated sixty times 75,000; a million takes half a second to compile.
INSTRUCTIONS_MAX = 200_000
# For one pattern, two thirds of it the program, of some 16 bytes an instruction; then it is refused.
_MEMORY_BYTES = 4 * 1024 * 1024
# At worst an instruction takes a byte of text 10 ns: fifty are a step of the budget.
_INSTRUCTION_BYTES_PER_STEP = 50


class Pattern:
    """Raises ValueError: it cannot be served; the text says why."""

    __slots__ = ("_search", "size", "text")

    def __init__(self, text: object) -> None:
        if not isinstance(text, str):
            raise ValueError("it is no text")
        if len(text) > CHARACTERS_MAX:
            raise ValueError(f"it has {len(text)} characters, at most {CHARACTERS_MAX} are allowed")
        self.text = text
        try:
            compiled = re2.compile(text.encode(), _options())
        except re2.error as error:
            raise ValueError(_told(error)) from None
        self.size: int = compiled.programsize
        self._search = compiled.search

    def cost(self, data: bytes) -> int:
        """Of a search, in steps of the budget."""
        return 1 + len(data) * self.size // _INSTRUCTION_BYTES_PER_STEP

    def is_in(self, data: bytes) -> bool:
        """Anywhere in a text in UTF-8: who means all of it writes ^ and $."""
        return self._search(data) is not None


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False  # They are the answer to whoever wrote the pattern.
    options.never_capture = True
    options.max_mem = _MEMORY_BYTES
    return options


def _told(error: re2.error) -> str:
    [told] = error.args
    text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
    return f"{text} (RE2 has neither look-around nor back-references)"
