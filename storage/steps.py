"""Long work beside commits: in bounded steps on the committer, so that a commit waits behind one step and no more."""

from __future__ import annotations

from collections.abc import Callable

from .committer import Committer, Done


def run_steps(committer: Committer, step: Callable[[], bool], done: Done) -> None:
    """Run `step` on the committer until it returns False or raises; then call `done` on the loop.

    Each step is submitted when the one before it has been reported: commits of that time come in between. An inline
    committer reports at once; then this is a loop, not a recursion.
    """
    more = True
    inside = again = False

    def work() -> None:
        nonlocal more
        more = step()

    def stepped(error: BaseException | None) -> None:
        nonlocal again
        if error is not None or not more:
            done(error)
            return
        again = True
        if not inside:
            submit()

    def submit() -> None:
        nonlocal inside, again
        again = inside = True
        while again:
            again = False
            committer.submit(work, stepped)
        inside = False

    submit()
