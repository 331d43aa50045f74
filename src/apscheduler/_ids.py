"""Ids of jobs that are given none."""

from __future__ import annotations

import os

from apscheduler.clock import SYSTEM_CLOCK

#: Ids for jobs to come, the next one last. They are drawn many at once: to ask the system for
#: each would cost a quarter of what it costs to make a job.
_ids: list[str] = []
_IDS_DRAWN = 256
_last_drawn = 0
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
    digits = os.urandom(8 * _IDS_DRAWN).hex()
    # The variant, two bits, takes the place of as many random ones.
    return [
        f"{milliseconds:012x}7{count:03x}{'89ab'[count % 4]}{digits[16 * count : 16 * count + 15]}"
        for count in range(_IDS_DRAWN)
    ]
