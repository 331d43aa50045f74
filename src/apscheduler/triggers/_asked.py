"""How triggers are asked: those of other people in the way in which 3.x asked them."""

from __future__ import annotations

from datetime import datetime, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from apscheduler.triggers.base import BaseTrigger, answers_as_ours
from apscheduler.util import convert_to_datetime

if TYPE_CHECKING:
    from apscheduler.job import Job
    from apscheduler.triggers.combining import BaseCombiningTrigger


def trigger_of(job: Job) -> BaseTrigger:
    """Return what to ask for the fire times of a job: its trigger, or a wrapper round it."""
    trigger = job.trigger
    ours, combines = _class_of(type(trigger))
    if (ours and not combines) or (combines and is_ours(trigger)):
        return trigger
    return AskedTrigger(trigger, job._scheduler.timezone)


def asked_in(zone: tzinfo | None, trigger: BaseTrigger) -> BaseTrigger:
    """Do the same for a trigger that is told the time in a zone."""
    return trigger if zone is None or is_ours(trigger) else AskedTrigger(trigger, zone)


def is_ours(trigger: BaseTrigger) -> bool:
    """Tell whether a trigger takes the present in any zone, and can calculate.

    Not so if somebody else wrote it or one of its members, or has redefined what it answers: then
    that alone counts.
    """
    ours, combines = _class_of(type(trigger))
    if combines:
        return ours and all(map(is_ours, cast("BaseCombiningTrigger", trigger).triggers))
    return ours


@lru_cache(maxsize=256)
def _class_of(cls: type[BaseTrigger]) -> tuple[bool, bool]:
    """Return whether a class answers as ours do, and whether it combines others."""
    return answers_as_ours(cls), getattr(cls, "_combines", False)


class AskedTrigger(BaseTrigger):
    """Asks a trigger nothing but its next fire time.

    As in 3.x, it is told the present in the zone of the scheduler, and a naive answer, or a date,
    is taken in that zone.
    """

    __slots__ = ("trigger", "zone")

    def __init__(self, trigger: BaseTrigger, zone: tzinfo) -> None:
        self.trigger = trigger
        self.zone = zone

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        answer = self.trigger.get_next_fire_time(previous_fire_time, now.astimezone(self.zone))
        if isinstance(answer, datetime) and answer.tzinfo is not None:
            return answer
        return convert_to_datetime(answer, self.zone, "next_run_time")

    def __str__(self) -> str:
        return str(self.trigger)

    def __repr__(self) -> str:
        return repr(self.trigger)
