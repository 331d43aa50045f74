"""A clock that goes only when it is told to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from apscheduler.clock import UTC, in_force

_DEFAULT_START = datetime(2000, 1, 1, tzinfo=UTC)


class VirtualClock:
    """Time for tests: it stands still until it is moved.

    Pass it to a scheduler as its ``clock``. Triggers that are made outside a scheduler see it
    inside ``with clock:``.

    :param start: aware datetime at which it stands; 2000-01-01 00:00 UTC by default
    :raises ValueError: if ``start`` has no time zone
    """

    def __init__(self, start: datetime = _DEFAULT_START) -> None:
        self._now = _in_utc("start", start)
        self._elapsed = timedelta(0)
        self._entered: list[in_force] = []

    def now(self) -> datetime:
        """Return where the clock stands, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds by which the clock has been advanced."""
        return self._elapsed.total_seconds()

    def seconds_until(self, moment: datetime) -> float:
        """Return by how many seconds to advance so as to reach ``moment``; 0 if it has passed."""
        return max(0.0, (moment.astimezone(UTC) - self._now).total_seconds())

    def advance(self, delta: timedelta | None = None, **parts: float) -> None:
        """Let time pass.

        :param delta: how much
        :param parts: or the arguments of a `timedelta`, such as ``minutes=5``
        :raises ValueError: if that is negative: time does not run backwards; see `jump`
        """
        delta = _delta(delta, parts)
        if delta < timedelta(0):
            raise ValueError(
                f"time cannot be advanced by {delta}; use jump() to set the clock back"
            )
        self._elapsed += delta
        self._now += delta

    def advance_to(self, moment: datetime) -> None:
        """Let time pass until a moment.

        :param moment: aware datetime
        :raises ValueError: if it has passed, or has no time zone
        """
        self.advance(_in_utc("moment", moment) - self._now)

    def jump(self, delta: timedelta | None = None, **parts: float) -> None:
        """Set the clock forward or back, as an operator does: no time passes.

        :param delta: by how much
        :param parts: or the arguments of a `timedelta`
        """
        self._now += _delta(delta, parts)

    def __enter__(self) -> VirtualClock:
        entered = in_force(self)
        entered.__enter__()
        self._entered.append(entered)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._entered.pop().__exit__()

    def __repr__(self) -> str:
        return f"<VirtualClock at {self._now}>"


def _delta(delta: timedelta | None, parts: dict[str, Any]) -> timedelta:
    if delta is not None and not isinstance(delta, timedelta):
        raise TypeError(
            f"delta must be a timedelta, got {delta!r}; name a number, such as seconds={delta!r}"
        )
    if (delta is None) == (not parts):
        raise TypeError("give either a timedelta or parts of one, such as minutes=5")
    return timedelta(**parts) if delta is None else delta


def _in_utc(name: str, moment: datetime) -> datetime:
    if not isinstance(moment, datetime):
        raise TypeError(f"{name} must be a datetime, got {moment!r}")
    if moment.tzinfo is None:
        raise ValueError(f"{name} must have a time zone, got {moment!r}; add tzinfo=timezone.utc")
    return moment.astimezone(UTC)
