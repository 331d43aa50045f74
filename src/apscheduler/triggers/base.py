"""What every trigger is, and what the engine may ask of one beyond its next fire time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache
from operator import index
from typing import Any, ClassVar

from apscheduler.util import astimezone

MOST_COUNTED = 1000
"""Fire times of a backlog are counted one by one up to here."""


class BaseTrigger(ABC):
    """Says when a job is due.

    Subclasses implement `get_next_fire_time`. A trigger keeps no changing state: all that it
    may go by are its own settings and the two arguments.
    """

    __slots__ = ()

    _steps_over_past_start: ClassVar[bool] = False
    """Whether a scheduler that takes a job in shall step on from a first fire time that is past
    to the first one that is not (see `_catch_up`)."""

    _combines: ClassVar[bool] = False
    """Whether it is made of others, which are in its ``triggers``."""

    @abstractmethod
    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Return the next fire time, or None when there is none left.

        The answer is aware, and may lie in the past.

        :param previous_fire_time: what this trigger answered last (aware), or None at the start
        :param now: the present moment (aware)
        """

    def _apply_jitter(
        self, next_fire_time: datetime | None, jitter: float | None, now: datetime
    ) -> datetime | None:
        """Return ``next_fire_time`` put off by a random 0 to ``jitter`` seconds."""
        if next_fire_time is None or not jitter:
            return next_fire_time

        from random import uniform

        # In absolute time: added to the wall clock, it could make a time that does not exist.
        delay = timedelta(seconds=uniform(0, jitter))
        return (next_fire_time.astimezone(UTC) + delay).astimezone(next_fire_time.tzinfo)

    def _next_on_grid(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return the next fire time before jitter; a trigger that has jitter overrides this."""
        return self.get_next_fire_time(previous, now)

    def _last_due(self, first: datetime, until: datetime) -> tuple[datetime, int]:
        """Return the last fire time up to ``until``, and how many there are from ``first`` on.

        Both ends are counted, jitter is left out. 1,000 means "at least that many" where the
        trigger cannot tell without listing them.

        :param first: a fire time of this trigger that is not after ``until``
        :raises ValueError: if the trigger answers with a time that is not after the one it got
        """
        last, count = first, 1
        moment, limit = first.astimezone(UTC), until.astimezone(UTC)
        while count < MOST_COUNTED:
            following = self._next_on_grid(last, until)
            if following is None:
                return last, count
            previous, moment = moment, following.astimezone(UTC)
            if moment <= previous:
                raise ValueError(
                    f"The trigger {self!r} does not advance: asked what follows {last}, "
                    f"it answers {following}"
                )
            if moment > limit:
                return last, count
            last, count = following, count + 1
        return self._leap(last, until), count

    def _leap(self, last: datetime, until: datetime) -> datetime:
        """Return the last fire time up to ``until`` without listing those before it.

        A trigger that has no way to do so stays where it is.

        :param last: a fire time that is not after ``until``
        """
        return last

    def _catch_up(self, fire_time: datetime, moment: datetime) -> datetime | None:
        """Step on from ``fire_time`` to the first fire time that is not before ``moment``.

        A trigger that knows no short cut makes at most 1,000 steps, so its answer may still be
        before ``moment``; it is after ``fire_time`` in any case.
        """
        last = self._leap(fire_time, moment)
        if last is fire_time:
            last, _ = self._last_due(fire_time, moment)
        if last is not fire_time and last.astimezone(UTC) == moment.astimezone(UTC):
            return last
        return self._next_on_grid(last, moment)

    def _same_schedule(self, other: BaseTrigger) -> bool:
        """Tell whether ``other`` is due at the same times by its settings.

        A start date that nobody gave is left out, since it only says when the trigger was made.
        Triggers that do not say what their state is are equal to nothing but themselves.
        """
        if self is other:
            return True
        if type(self) is not type(other) or type(self).__getstate__ is object.__getstate__:
            return False
        try:
            mine: Any = self.__getstate__()
            theirs: Any = other.__getstate__()
            if _start_is_defaulted(self) or _start_is_defaulted(other):
                mine = {**mine, "start_date": None}
                theirs = {**theirs, "start_date": None}
            return bool(mine == theirs)
        except Exception:
            # States of other people's triggers may hold what cannot be compared.
            return False


@cache
def answers_as_ours(cls: type[BaseTrigger]) -> bool:
    """Tell whether triggers of a class are ours, and nobody has redefined what they answer."""
    module = getattr(cls.get_next_fire_time, "__module__", None)
    return module is not None and module.startswith("apscheduler.triggers.")


def _start_is_defaulted(trigger: BaseTrigger) -> bool:
    return bool(getattr(trigger, "_start_defaulted", False))


def given_timezone(
    timezone: tzinfo | str | None,
    start_date: date | datetime | str | None,
    end_date: date | datetime | str | None,
) -> tzinfo | None:
    """Return the zone that the arguments of a trigger name: the first of the three that does."""
    if timezone:
        return astimezone(timezone)
    return astimezone(getattr(start_date, "tzinfo", None) or getattr(end_date, "tzinfo", None))


def require_whole(**parts: int) -> None:
    """Refuse what is not a whole number, naming the parameter."""
    for name, value in parts.items():
        try:
            index(value)
        except TypeError:
            raise TypeError(_wrong_type(name, "a whole number", value)) from None


def require_forward(**parts: float) -> None:
    """Refuse what is not a number, or is negative, naming the parameter."""
    for name, value in parts.items():
        try:
            negative = value < 0
        except TypeError:
            raise TypeError(_wrong_type(name, "a number", value)) from None
        if negative:
            raise ValueError(
                f"{name} must not be negative, got {value!r}: fire times only go forward"
            )


def _wrong_type(name: str, wanted: str, value: object) -> str:
    return f"{name} must be {wanted}, got {value!r} ({type(value).__name__})"


def checked_jitter(jitter: float | None) -> float | None:
    """Return ``jitter`` if it is None or a number of seconds that is not negative."""
    if jitter is not None:
        require_forward(jitter=jitter)
    return jitter


def slot_state(state: Any) -> Mapping[str, Any]:
    """Return the settings out of a pickled state.

    Version 3.0 pickled some triggers as ``(None, settings)``.
    """
    return state[1] if isinstance(state, tuple) else state  # type: ignore[no-any-return]


def check_version(trigger: BaseTrigger, state: Mapping[str, Any], newest: int) -> None:
    """Refuse a state that a later release wrote in a way not known here.

    :raises ValueError: if the state's version is above ``newest``
    """
    version = state.get("version", 1)
    if version > newest:
        raise ValueError(
            f"Got serialized data for version {version} of {type(trigger).__name__}, "
            f"but only versions up to {newest} can be handled"
        )
