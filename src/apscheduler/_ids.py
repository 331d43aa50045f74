"""Ids of Runs, and of jobs that are given none."""

from __future__ import annotations

import os
from datetime import datetime
from itertools import count

from apscheduler.clock import SYSTEM_CLOCK

#: Ids for jobs to come, the next one last. They are drawn many at once: to ask the system for
#: each would cost a quarter of what it costs to make a job.
_ids: list[str] = []
_IDS_DRAWN = 256
_last_drawn = 0
#: Bytes of these ids: the version, before a number that tells apart those that were drawn at once.
_VERSION, _COUNT = b"\x70" * _IDS_DRAWN, bytes(range(_IDS_DRAWN))
#: Puts the variant, two bits, in the place of as many random ones.
_VARIANT = bytes(0x80 | byte & 0x3F for byte in range(256))
if hasattr(os, "register_at_fork"):
    # Two processes must not draw the same.
    os.register_at_fork(after_in_child=_ids.clear)


def new_id() -> str:
    """Return 32 hexadecimal digits that nobody else has: a UUID of version 7 (RFC 9562).

    Such ids sort by the time at which they were made. What is due at one moment is taken by id,
    and so it lies in memory, or in the pages of a database, in the order in which it is needed.
    """
    try:
        return _ids.pop()
    except IndexError:
        first, *others = _draw_ids()
        _ids.extend(reversed(others))
        return first


def _draw_ids() -> list[str]:
    global _last_drawn
    milliseconds = int(SYSTEM_CLOCK.now().timestamp() * 1000)
    _last_drawn = milliseconds = max(milliseconds, _last_drawn + 1)
    # All at once: to format one id after the other takes four times as long.
    ids = bytearray(os.urandom(16 * _IDS_DRAWN))
    for place, byte in enumerate(milliseconds.to_bytes(6, "big")):
        ids[place::16] = bytes((byte,)) * _IDS_DRAWN
    ids[6::16] = _VERSION
    ids[7::16] = _COUNT
    ids[8::16] = ids[8::16].translate(_VARIANT)
    return ids.hex(" ", 16).split()


class RunIds:
    """Makes ids of Runs, which sort by when they were made, and of one moment in that order.

    :param node: what tells them from those of others
    """

    def __init__(self, node: str) -> None:
        self._numbers = count()
        self._begin("0" * 14, node)

    def moment_is(self, now: datetime, node: str) -> None:
        """Make ids of this moment from now on."""
        self._begin(f"{int(now.timestamp() * 1e6):014x}", node)

    def new(self) -> str:
        """Return an id of the moment that it is by then."""
        return self.next()

    def _begin(self, stamp: str, node: str) -> None:
        #: Returns an id of this moment, which it takes no frame to make.
        self.next = map(f"{stamp}%08x{node}".__mod__, self._numbers).__next__
