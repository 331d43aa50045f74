"""The only reader of the wall clock, and of how long it is until a moment.

Everything above receives the time as an argument; whoever has no caller to receive it from
(a trigger that defaults to "now", a loop at the start of a turn) asks here. That makes time
replaceable as a whole: by `apscheduler.testing.VirtualClock`, and by freezegun and
time-machine, which replace `datetime` and `time` in every module.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from datetime import UTC as UTC
from datetime import datetime, timedelta, tzinfo
from time import monotonic as monotonic
from typing import Protocol


def since_boot() -> float:
    """Return seconds from an arbitrary origin, those in which the machine slept among them."""
    if _BOOT_CLOCK is None:
        return time.monotonic()
    return time.clock_gettime(_BOOT_CLOCK)


#: Not everywhere is there a clock that goes on while the machine sleeps.
_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """What a scheduler must know of time."""

    def now(self) -> datetime:
        """Return the present moment as an aware datetime in UTC."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary origin, never set back by anybody."""

    def seconds_until(self, moment: datetime) -> float:
        """Return for how many seconds to sleep so as to wake at ``moment``; 0 if it has passed."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def seconds_until(self, moment: datetime) -> float:
        # In absolute time: subtracting two datetimes of one zone would ignore a DST change
        # between them.
        return max(0.0, moment.timestamp() - self.now().timestamp())

    def __repr__(self) -> str:
        return "SystemClock()"


class ShiftedClock(SystemClock):
    """The machine's own clock, corrected.

    :param offset: what is added to it
    """

    def __init__(self, offset: timedelta) -> None:
        self.offset = offset

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def __repr__(self) -> str:
        return f"ShiftedClock({self.offset!r})"


SYSTEM_CLOCK: Clock = SystemClock()
_ambient: ContextVar[Clock] = ContextVar("apscheduler_clock", default=SYSTEM_CLOCK)


def now(tz: tzinfo = UTC) -> datetime:
    """Return the present moment in ``tz``, by the clock in force here."""
    moment = _ambient.get().now()
    return moment if tz is UTC else moment.astimezone(tz)


def ambient() -> Clock:
    """Return the clock in force here."""
    return _ambient.get()


class in_force:  # reads as a statement: `with in_force(clock):`
    """Let `now` read ``clock`` inside the ``with`` block, in this thread or task only."""

    # A class, because each job that is added enters one, and a generator costs thrice as much.
    __slots__ = ("_clock", "_token")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        self._token = _ambient.set(self._clock)

    def __exit__(self, *exc_info: object) -> None:
        _ambient.reset(self._token)


class JumpWatch:
    """Tells when the wall clock has moved otherwise than time itself.

    A clock set forward or back, and a machine that slept, look alike from inside: the wall
    clock and the monotonic clock disagree about how long it has been.

    :param tolerance: disagreement in seconds that is put down to ordinary slewing
    """

    __slots__ = ("_monotonic", "_tolerance", "_wall")

    def __init__(self, tolerance: float = 1.0) -> None:
        self._tolerance = tolerance
        self._wall: datetime | None = None
        self._monotonic = 0.0

    def observe(self, wall: datetime, monotonic: float) -> timedelta:
        """Return by how much the wall clock has jumped since the last call; zero if it has not."""
        before, self._wall = self._wall, wall
        elapsed, self._monotonic = monotonic - self._monotonic, monotonic
        if before is None:
            return timedelta(0)

        jump = (wall - before).total_seconds() - elapsed
        return timedelta(seconds=jump) if abs(jump) > self._tolerance else timedelta(0)
