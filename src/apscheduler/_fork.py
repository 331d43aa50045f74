"""What is to be done in a child process that was forked off, before anything else is done there.

Of all threads the child has only the one that forked. Whatever another one held stays held for
ever, and what it was about to do is done in the parent alone.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final, Protocol
from weakref import ref


class Forked(Protocol):
    """What hears of a fork."""

    def _after_fork(self) -> None:
        """Let go, in the child, of what belongs to the parent.

        Takes no lock, waits for nothing and does not log: any of these may already be out of
        reach, and a child that is about to run another program does this too.
        """


_watched: Final[dict[int, ref[Forked]]] = {}
_kept: Final[list[object]] = []


def watch(thing: Forked) -> None:
    """Let something hear of forks for as long as it lives."""
    # By identity: what a program makes of a scheduler need not be hashable.
    key = id(thing)
    _watched[key] = ref(thing, lambda _: _watched.pop(key, None))


def keep(thing: object) -> None:
    """Let something of the parent not be collected: to close it would change it for both."""
    _kept.append(thing)


def disown_threads(pool: Any) -> None:
    """Let the end of a child not wait for the threads of a pool of the standard library.

    The child has at most one of them; and that one, if it has forked and is to end the child,
    would wait for itself, and fail.
    """
    listed = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", {})
    for thread in list(getattr(pool, "_threads", ())):
        listed.pop(thread, None)


def _after_fork_in_child() -> None:
    failed: Exception | None = None
    for known in list(_watched.values()):
        thing = known()
        if thing is not None:
            try:
                thing._after_fork()
            except Exception as error:  # one of somebody else's
                failed = error
    if failed is not None:
        raise failed  # The interpreter says so, and goes on.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
