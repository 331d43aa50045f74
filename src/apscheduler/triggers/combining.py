"""Triggers that are made of other triggers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.triggers.base import BaseTrigger, answers_as_ours, check_version, checked_jitter
from apscheduler.triggers.date import DateTrigger
from apscheduler.util import obj_to_ref, ref_to_obj

MOST_ROUNDS = 10_000
"""So many times the members of an `AndTrigger` may miss each other before it gives up."""

_logger = logging.getLogger("apscheduler.scheduler")


class BaseCombiningTrigger(BaseTrigger):
    """What the combining triggers share.

    :param triggers: the member triggers
    :param jitter: each fire time is put off by a random time of up to this many seconds
    :raises ValueError: if ``jitter`` is negative
    """

    __slots__ = ("jitter", "triggers")

    _combines = True

    triggers: Sequence[BaseTrigger]
    jitter: float | None

    def __init__(self, triggers: Sequence[BaseTrigger], jitter: float | None = None) -> None:
        self.triggers = triggers
        self.jitter = checked_jitter(jitter)

    def _same_schedule(self, other: BaseTrigger) -> bool:
        return self is other or (
            isinstance(other, BaseCombiningTrigger)
            and type(self) is type(other)
            and self.jitter == other.jitter
            and len(self.triggers) == len(other.triggers)
            and all(
                mine._same_schedule(theirs)
                for mine, theirs in zip(self.triggers, other.triggers, strict=True)
            )
        )

    def __getstate__(self) -> dict[str, Any]:
        return {
            "version": 1,
            "triggers": [
                (obj_to_ref(type(trigger)), trigger.__getstate__()) for trigger in self.triggers
            ],
            "jitter": self.jitter,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        check_version(self, state, 1)
        self.jitter = state["jitter"]
        self.triggers = [_restored(ref, member) for ref, member in state["triggers"]]

    def __str__(self) -> str:
        name = type(self).__name__.removesuffix("Trigger").lower()
        return f"{name}[{', '.join(map(str, self.triggers))}]"

    def __repr__(self) -> str:
        jitter = f", jitter={self.jitter}" if self.jitter else ""
        return f"<{type(self).__name__}({self.triggers!r}{jitter})>"

    def _members(self) -> list[BaseTrigger]:
        """Return the triggers; of one that somebody has redefined, only its answers count."""
        return [
            trigger if answers_as_ours(type(trigger)) else _Answers(trigger)
            for trigger in self.triggers
        ]


class _Answers(BaseTrigger):
    """A trigger of which nothing is known but what it answers."""

    __slots__ = ("_trigger",)

    def __init__(self, trigger: BaseTrigger) -> None:
        self._trigger = trigger

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        return self._trigger.get_next_fire_time(previous_fire_time, now)

    def __repr__(self) -> str:
        return repr(self._trigger)


class AndTrigger(BaseCombiningTrigger):
    """Fires when all its members would fire at the same instant.

    The search is bounded: members that miss each other 10,000 times on end are taken never to
    meet, which is logged as a warning, and the trigger is finished. It is finished as soon as
    one member is.

    Jitter of a member is left out, since two jittered times never agree; give it to this
    trigger.

    :param triggers: the member triggers
    :param jitter: each fire time is put off by a random time of up to this many seconds
    :raises ValueError: if ``jitter`` is negative
    """

    __slots__ = ("_gave_up",)

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        return self._apply_jitter(self._next_on_grid(previous_fire_time, now), self.jitter, now)

    def _next_on_grid(self, previous: datetime | None, now: datetime) -> datetime | None:
        if not self.triggers:
            raise ValueError("An AndTrigger without members never fires: give it a trigger")

        target = _BEGINNING
        if self.jitter and previous is not None:
            # No member knows a jittered time as its own: they start anew after it.
            target = min(_instant(now), _instant(previous) + timedelta(microseconds=1))
            previous, now = None, target
        members = self._members()
        answers = [trigger._next_on_grid(previous, now) for trigger in members]
        for _ in range(MOST_ROUNDS):
            times = [answer for answer in answers if answer is not None]
            if len(times) < len(answers):
                return None
            target = max(target, *map(_instant, times))
            lagging = [member for member, at in enumerate(times) if _instant(at) < target]
            if not lagging:
                return times[0]
            for member in lagging:
                answers[member] = members[member]._catch_up(times[member], target)

        if not getattr(self, "_gave_up", False):
            self._gave_up = True
            _logger.warning(
                "The members of %s never fire together (looked until %s), so it has no fire time "
                "left. Give it members that can meet: intervals with start dates that fit",
                self,
                target,
            )
        return None


class OrTrigger(BaseCombiningTrigger):
    """Fires whenever one of its members would; it is finished when all of them are.

    Every member is asked what follows the last fire time of them all. An interval member
    therefore counts from there, whichever member has fired.

    :param triggers: the member triggers
    :param jitter: each fire time is put off by a random time of up to this many seconds
    :raises ValueError: if ``jitter`` is negative
    """

    __slots__ = ()

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        earliest = _earliest(
            trigger.get_next_fire_time(_own_previous(trigger, previous_fire_time), now)
            for trigger in self.triggers
        )
        return self._apply_jitter(earliest, self.jitter, now)

    def _next_on_grid(self, previous: datetime | None, now: datetime) -> datetime | None:
        return _earliest(
            trigger._next_on_grid(_own_previous(trigger, previous), now)
            for trigger in self._members()
        )

    def _catch_up(self, fire_time: datetime, moment: datetime) -> datetime | None:
        answers = []
        for trigger in self._members():
            answer = trigger._next_on_grid(_own_previous(trigger, fire_time), moment)
            if answer is not None and _instant(answer) < _instant(moment):
                answer = trigger._catch_up(answer, moment)
            answers.append(answer)
        return _earliest(answers)


_BEGINNING = datetime.min.replace(tzinfo=UTC)


def _instant(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _earliest(fire_times: Iterable[datetime | None]) -> datetime | None:
    return min((moment for moment in fire_times if moment is not None), key=_instant, default=None)


def _own_previous(trigger: BaseTrigger, previous: datetime | None) -> datetime | None:
    """Return ``previous``, unless it cannot have been a fire time of this member of an Or.

    A date that still lies ahead has not fired, whatever the other members did.
    """
    if (
        previous is not None
        and isinstance(trigger, DateTrigger)
        and _instant(trigger.run_date) > _instant(previous)
    ):
        return None
    return previous


def _restored(ref: str, state: Any) -> BaseTrigger:
    cls = ref_to_obj(ref)
    trigger: BaseTrigger = cls.__new__(cls)
    if hasattr(trigger, "__setstate__"):
        trigger.__setstate__(state)
    else:
        trigger.__dict__.update(state)
    return trigger
