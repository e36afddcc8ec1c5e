"""What may be wrong with a link, as data. A link has two ways: requests go to the partition, replies come back."""

from __future__ import annotations

from typing import NamedTuple


class Way(NamedTuple):
    """One way of a link.

    Args:
        delay_seconds: what is sent arrives so much later.
        frozen: nothing arrives; what is sent is held in its order, and arrives when the way is free again.
        cut: what is sent is lost, and nobody is told. A stream with a hole in it is worth nothing: when the way is free
            again, what lost something fails, and what begins then works.
    """

    delay_seconds: float = 0.0
    frozen: bool = False
    cut: bool = False

    @property
    def silent(self) -> bool:
        return self.frozen or self.cut

    def and_also(self, other: Way) -> Way:
        """With what is wrong in either."""
        delay_seconds = max(self.delay_seconds, other.delay_seconds)
        return Way(delay_seconds, self.frozen or other.frozen, self.cut or other.cut)


FREE = Way()


class Conditions(NamedTuple):
    """Of both ways. `refused`: connections are reset at once, so both ends know."""

    requests: Way = FREE
    replies: Way = FREE
    refused: bool = False

    @property
    def silent(self) -> bool:
        return not self.refused and (self.requests.silent or self.replies.silent)

    def and_also(self, other: Conditions) -> Conditions:
        return Conditions(
            self.requests.and_also(other.requests), self.replies.and_also(other.replies), self.refused or other.refused
        )


CLEAR = Conditions()
